//! What the reader of the page chose, and where it is remembered: the URL's fragment first, then local storage.
//! Both hold the same text, for example `topics=host.cpu,host.network&interval=1000`.

use std::ops::RangeInclusive;

use freshet_wire::MAX_TOPIC_BYTES;
use web_sys::Storage;

/// The fastest and the slowest polling, in milliseconds.
pub const INTERVAL_MS: RangeInclusive<u32> = 100..=30_000;

const STORED_AS: &str = "freshet";
const DEFAULT_TOPICS: [&str; 3] = ["host.cpu", "host.network", "host.memory"];
/// What a link can make the page subscribe to.
const MAX_TOPICS: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) topics: Vec<String>,
    /// `None` where the reader left it to the service (`lane.poll_interval_ms`).
    pub(crate) interval_ms: Option<u32>,
}

impl Choice {
    pub(crate) fn recall() -> Self {
        let mut choice = Self {
            topics: DEFAULT_TOPICS.map(str::to_owned).to_vec(),
            interval_ms: None,
        };
        if let Some(text) = storage().and_then(|storage| storage.get_item(STORED_AS).ok()?) {
            choice.read(&text);
        }
        let hash = web_sys::window()
            .and_then(|window| window.location().hash().ok())
            .unwrap_or_default();
        if let Ok(text) = js_sys::decode_uri_component(hash.trim_start_matches('#')) {
            choice.read(&String::from(text));
        }
        choice
    }

    /// Best effort: a browser may refuse storage. The address goes before it when the page is loaded again, so what it says of this
    /// is brought up to date, without an entry of the browser's history more.
    pub(crate) fn remember(&self) {
        if let Some(storage) = storage() {
            let _ = storage.set_item(STORED_AS, &self.write());
        }
        let location = web_sys::window().map(|window| window.location());
        let hash = location.as_ref().and_then(|location| location.hash().ok());
        if let Some((location, hash)) = location.zip(hash)
            && let Some(fragment) = self.brought_into(hash.trim_start_matches('#'))
        {
            let _ = location.replace(&["#", &*fragment].concat());
        }
    }

    /// The fragment with this choice in the place of the one that it holds; `None` where it holds none, or this one.
    fn brought_into(&self, fragment: &str) -> Option<String> {
        let own = self.write();
        let said = |member: &str| {
            let (name, _) = member.split_once('=')?;
            let is_it = |own: &&str| own.split_once('=').is_some_and(|(own, _)| own == name);
            own.split('&').find(is_it)
        };
        let members: Vec<_> = fragment
            .split('&')
            .map(|member| said(member).unwrap_or(member))
            .collect();
        let new = members.join("&");
        (new != fragment).then_some(new)
    }

    /// Takes over what is right and passes over what is not.
    fn read(&mut self, text: &str) {
        for member in text.split('&') {
            match member.split_once('=') {
                Some(("topics", names)) => {
                    self.topics.clear();
                    for name in names.split(',') {
                        let known = self.topics.iter().any(|topic| topic == name);
                        if may_be_a_topic(name) && !known && self.topics.len() < MAX_TOPICS {
                            self.topics.push(name.to_owned());
                        }
                    }
                }
                Some(("interval", ms)) => {
                    if let Ok(ms) = ms.parse() {
                        self.interval_ms = Some(clamp_interval_ms(ms));
                    }
                }
                _ => {}
            }
        }
    }

    fn write(&self) -> String {
        let mut text = String::from("topics=");
        text.push_str(&self.topics.join(","));
        if let Some(ms) = self.interval_ms {
            text.push_str("&interval=");
            text.push_str(&ms.to_string());
        }
        text
    }
}

/// Could be asked for; the server has the last word. The whole rule of names needs Unicode's tables, which weigh as much as a lane.
fn may_be_a_topic(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_TOPIC_BYTES && !name.contains(['@', ' '])
}

pub(crate) fn clamp_interval_ms(ms: u32) -> u32 {
    ms.clamp(*INTERVAL_MS.start(), *INTERVAL_MS.end())
}

fn storage() -> Option<Storage> {
    web_sys::window()?.local_storage().ok()?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Choice {
        let mut choice = Choice {
            topics: vec!["d".to_owned()],
            interval_ms: None,
        };
        choice.read(text);
        choice
    }

    proptest! {
        #[test]
        fn a_choice_reads_back_as_it_was_written(topics in prop::collection::hash_set("[a-z._ü水-]{1,9}", 0..9), interval_ms in prop::option::of(INTERVAL_MS)) {
            let choice = Choice { topics: topics.into_iter().collect(), interval_ms };
            prop_assert_eq!(read(&choice.write()), choice);
        }

        #[test]
        fn no_text_is_too_strange(text: String) {
            let choice = read(&text);
            prop_assert!(choice.interval_ms.is_none_or(|ms| INTERVAL_MS.contains(&ms)));
        }
    }

    #[test]
    fn an_address_that_says_a_choice_says_the_newest_and_one_that_says_none_stays_as_it_is() {
        let choice = read("topics=a,b&interval=500");
        let brought = |fragment: &str| choice.brought_into(fragment);
        assert_eq!(
            brought("view=topics&topic=x&topics=c&interval=1000").as_deref(),
            Some("view=topics&topic=x&topics=a,b&interval=500")
        );
        assert_eq!(brought("interval=1000").as_deref(), Some("interval=500"));
        for same in ["", "view=topics&topic=x", "topics=a,b&interval=500"] {
            assert_eq!(brought(same), None, "{same}");
        }
        assert_eq!(
            read("topics=").brought_into("interval=1000&topics=c").as_deref(),
            Some("interval=1000&topics=")
        );
    }

    #[test]
    fn what_is_wrong_is_passed_over() {
        let choice = read("topics=a,a b,,a,c&interval=5&else&x=y");
        assert_eq!(
            (choice.topics, choice.interval_ms),
            (vec!["a".to_owned(), "c".to_owned()], Some(100))
        );
        assert_eq!(read("interval=soon").interval_ms, None);
        assert_eq!(read("").topics, ["d"]);
        let many: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
        assert_eq!(read(&format!("topics={}", many.join(","))).topics.len(), MAX_TOPICS);
    }
}
