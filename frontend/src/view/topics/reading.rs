//! What an event of a known topic says in a few words, and as one number for its line. Pure.

use crate::view::format;

/// The machine's telemetry in a few words; nothing for topics that only their users understand.
pub fn reading(topic: &str, data: &str) -> Option<(f64, String)> {
    let first = |key: &str| numbers(data, key).next();
    Some(match topic {
        "host.cpu" => {
            let busy = first("busy")?;
            (busy, format::percent(busy))
        }
        "host.memory" => {
            let used = first("used_bytes")?;
            (
                used,
                [&*format::bytes(used), " of ", &format::bytes(first("total_bytes")?)].concat(),
            )
        }
        "host.network" => {
            let down: f64 = numbers(data, "rx_bytes_per_s").sum();
            let up: f64 = numbers(data, "tx_bytes_per_s").sum();
            (
                down + up,
                [
                    "\u{2193}",
                    &*format::bytes(down),
                    "/s \u{2191}",
                    &format::bytes(up),
                    "/s",
                ]
                .concat(),
            )
        }
        "host.disk" => {
            let both = first("read_bytes_per_s")? + first("write_bytes_per_s")?;
            (both, [&*format::bytes(both), "/s"].concat())
        }
        "host.processes" => {
            let cpu = first("cpu")?;
            let name = data.split(r#""name":""#).nth(1)?.split('"').next()?;
            (cpu, [name, " ", &format::percent(cpu)].concat())
        }
        _ => return None,
    })
}

/// The numbers that stand under a key, wherever it is. Enough for shapes that are known, and much smaller than reading all of it.
fn numbers<'a>(json: &'a str, key: &'a str) -> impl Iterator<Item = f64> + 'a {
    let after = move |text: &'a str| text.strip_prefix(key)?.strip_prefix("\":");
    json.split('"')
        .scan(0, |at, part| {
            // A key begins after a quotation mark.
            let start = *at;
            *at += part.len() + 1;
            Some(start)
        })
        .filter_map(move |start| {
            let text = after(&json[start..])?.trim_start();
            let end = text.find([',', '}', ']']).unwrap_or(text.len());
            // The reader of JSON is there anyway; the standard library's own would come on top.
            serde_json::from_str(text[..end].trim()).ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(topic: &str, data: &str) -> Option<String> {
        reading(topic, data).map(|(_, text)| text.replace('\u{a0}', " "))
    }

    #[test]
    fn telemetry_is_said_in_a_few_words() {
        assert_eq!(
            said("host.cpu", r#"{"busy":0.31,"cores":[0.4,0.22]}"#).as_deref(),
            Some("31 %")
        );
        assert_eq!(
            said(
                "host.memory",
                r#"{"total_bytes":24000000000,"used_bytes": 4200000000,"available_bytes":1}"#
            )
            .as_deref(),
            Some("4.2 GB of 24.0 GB")
        );
        let network = r#"{"interfaces":[{"name":"a","rx_bytes_per_s":1000.0,"tx_bytes_per_s":2.0},{"name":"b","rx_bytes_per_s":500,"tx_bytes_per_s":3e1}]}"#;
        assert_eq!(
            said("host.network", network).as_deref(),
            Some("\u{2193}1.5 kB/s \u{2191}32 B/s")
        );
        let processes = r#"{"busiest":[{"name":"rustc","cpu":0.97,"memory_bytes":5}]}"#;
        assert_eq!(said("host.processes", processes).as_deref(), Some("rustc 97 %"));
    }

    #[test]
    fn what_is_not_there_is_not_made_up() {
        assert_eq!(said("host.cpu", "{}"), None);
        assert_eq!(said("host.cpu", r#"{"busy":null}"#), None);
        assert_eq!(said("host.memory", r#"{"used_bytes":1}"#), None);
        assert_eq!(said("orders", r#"{"busy":1}"#), None);
        assert_eq!(said("host.cpu", r#"{"busy":"#), None);
    }
}
