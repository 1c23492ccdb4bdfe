//! The fixed configuration: what is decided when the process starts, and what decided it.

use freshet_wire::{ConfigKey, ConfigSource};
use leptos::prelude::*;
use serde_json::Value;

use super::super::bind::live;
use super::super::format;
use super::values::{said, within};
use super::{Board, heads};

pub fn fixed(board: Board) -> AnyView {
    let rows = move || {
        let keys = board
            .fixed
            .with(|config| config.as_ref().map(|config| config.keys.clone()));
        keys.unwrap_or_default().into_iter().map(row).collect::<Vec<_>>()
    };
    let is_known = move || board.fixed.with(Option::is_some);
    let head = move || {
        board
            .fixed
            .with(|config| match config.as_ref().map(|config| &config.file) {
                Some(Some(file)) => ["from ", file, ", the environment and flags; a change needs a restart"].concat(),
                Some(None) => String::from("no file: the environment and flags alone; a change needs a restart"),
                None => String::new(),
            })
    };
    view! {
        <section class="panel fixed" aria-label="Fixed configuration">
            <div class="head"><h2 id="at-fixed" tabindex="-1">"Fixed at the start"</h2><span class="dim">{head}</span></div>
            <p class="dim" hidden=is_known>{live(board.no_fixed)}</p>
            <table hidden=move || !is_known()>
                <caption class="unseen">"Every key of the fixed configuration, its value, default and source"</caption>
                {heads("key")}
                <tbody>{rows}</tbody>
            </table>
        </section>
    }
    .into_any()
}

fn row(key: ConfigKey) -> AnyView {
    let unit = match key.value {
        Value::Number(_) => [" ", &*key.unit].concat(),
        _ => String::new(),
    };
    let (from, place) = source(&key.source);
    let takes = match key.choices.is_empty() {
        true => within(key.kind, key.least, key.most),
        false => ["one of ", &*key.choices.join(", ")].concat(),
    };
    view! {
        <tr class="key">
            <th scope="row"><code>{key.key.clone()}</code><span class="what">{key.what.clone()}" "<span class="within">{takes}</span></span></th>
            <td class="field"><span class="mono">{said(&key.value)}</span><span class="unit">{unit}</span></td>
            <td class="default">{said(&key.default)}</td>
            <td class="from"><b>{from}</b><span class="small">{place}</span></td>
        </tr>
    }
    .into_any()
}

fn source(source: &ConfigSource) -> (&'static str, String) {
    match source {
        ConfigSource::Default => ("default", String::new()),
        ConfigSource::File { file, line } => {
            let line = line.map(|line| [", line ", &*format::count(line.into())].concat());
            ("file", [&**file, &line.unwrap_or_default()].concat())
        }
        ConfigSource::Environment { variable } => ("environment", variable.clone()),
        ConfigSource::Flag { flag } => ("flag", flag.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_value_came_from_is_said_as_one_would_look_for_it() {
        let file = ConfigSource::File {
            file: "freshet.toml".into(),
            line: Some(12),
        };
        assert_eq!(source(&file), ("file", "freshet.toml, line 12".to_owned()));
        let flag = ConfigSource::Flag {
            flag: "--listen".into(),
        };
        assert_eq!(source(&flag), ("flag", "--listen".to_owned()));
        assert_eq!(source(&ConfigSource::Default), ("default", String::new()));
    }
}
