//! How long a change took: to be applied in each process, and to arrive at this page by each lane.

use leptos::prelude::*;

use super::super::format;
use super::super::frame::on_frame;
use super::Board;
use crate::route::View;

pub fn arrival(board: Board) -> AnyView {
    let bound = RwSignal::new(String::new());
    on_frame(move |frame| {
        if frame.second && board.ui.view() == View::Config {
            let words = frame
                .model
                .offset()
                .map(|offset| ["by the server's clock, ± ", &*format::latency_text(offset.bound_us)].concat());
            super::put(bound, words.unwrap_or_default());
        }
    });
    let processes = move || {
        board.news.track();
        let applied = board.status.with_value(|status| {
            let status = status.as_ref()?;
            Some((status.in_force.version, status.applied.clone()))
        });
        let (version, applied) = applied.unwrap_or_default();
        applied
            .into_iter()
            .map(|it| {
                let took = match it.took_us {
                    Some(took_us) => format::latency_text(took_us as f64),
                    None => String::from("found when it started"),
                };
                let mut of = ["version ", &*format::count(it.version)].concat();
                if it.version != version {
                    of += ", behind";
                }
                view! {
                    <tr>
                        <th scope="row">{it.node}</th>
                        <td>{of}</td>
                        <td>{took}</td>
                    </tr>
                }
            })
            .collect::<Vec<_>>()
    };
    let lanes = move || {
        board.news.track();
        board.propagation.with_value(|it| {
            let most = it.arrived.iter().flat_map(|it| it.took_us).flatten().fold(1.0, f64::max);
            it.arrived
                .iter()
                .map(|it| {
                    let [poll, stream] = it.took_us;
                    let bar = |took: Option<f64>, look: &'static str| {
                        let words = took.map_or_else(|| String::from("not by itself"), format::latency_text);
                        let share = took.map_or(0.0, |took| (took / most).clamp(0.004, 1.0));
                        // Not an attribute: the page's policy allows none.
                        let width = [&*format::plain((share * 1e4).round() / 100.0), "%"].concat();
                        let none = took.is_none();
                        view! {
                            <td class=["lane ", look].concat()>
                                <span class=if none { "none" } else { "" }>{words}</span>
                                <i aria-hidden="true"><i style:width=width></i></i>
                            </td>
                        }
                    };
                    view! {
                        <tr>
                            <th scope="row">{["version ", &*format::count(it.version)].concat()}<span class="small">{it.by.clone()}</span></th>
                            {bar(poll, "poll")}
                            {bar(stream, "stream")}
                        </tr>
                    }
                })
                .collect::<Vec<_>>()
        })
    };
    let none = move || {
        board.news.track();
        board.propagation.with_value(|it| !it.arrived.is_empty())
    };
    view! {
        <section class="panel reach" aria-label="How long a change takes">
            <div class="head"><h2 id="at-reach" tabindex="-1">"How long a change takes"</h2><span class="dim">{move || bound.get()}</span></div>
            <h3>"until each process had applied the newest one"</h3>
            <table>
                <caption class="unseen">"Processes, the version each has applied, and how long after it was written"</caption>
                <thead class="unseen"><tr><th scope="col">"process"</th><th scope="col">"version"</th><th scope="col">"after"</th></tr></thead>
                <tbody>{processes}</tbody>
            </table>
            <h3>"until this page had it, by each lane"</h3>
            <p class="dim" hidden=none>"Nothing was changed since this page watches: change something, here or in the store, and it is timed."</p>
            <table>
                <caption class="unseen">"The newest changes, and how long each took to this page by polling and by streaming"</caption>
                <thead hidden=move || !none()><tr><th scope="col">"change"</th><th scope="col" class="poll">"polling"</th><th scope="col" class="stream">"streaming"</th></tr></thead>
                <tbody>{lanes}</tbody>
            </table>
        </section>
    }
    .into_any()
}
