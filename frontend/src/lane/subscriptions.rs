//! What one connection of the stream is subscribed to. Pure.

/// The topics that a connection asked for.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    topic: String,
    /// The server told where the reader begins.
    confirmed: bool,
}

impl Subscriptions {
    pub(super) fn has(&self, topic: &str) -> bool {
        self.asked.iter().any(|asked| asked.topic == topic)
    }

    /// From now on these are asked for. What is to be unsubscribed: not what the server refused, which it would refuse again.
    pub(super) fn change<'a>(&mut self, wanted: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut kept = Vec::new();
        for topic in wanted {
            kept.push(match self.asked.iter().position(|asked| asked.topic == topic) {
                Some(at) => self.asked.swap_remove(at),
                None => Asked {
                    topic: topic.to_owned(),
                    confirmed: false,
                },
            });
        }
        let dropped = std::mem::replace(&mut self.asked, kept);
        dropped
            .into_iter()
            .filter(|asked| asked.confirmed)
            .map(|asked| asked.topic)
            .collect()
    }

    pub(super) fn confirm<'a>(&mut self, topics: impl Iterator<Item = &'a String>) {
        for topic in topics {
            if let Some(asked) = self.asked.iter_mut().find(|asked| asked.topic == *topic) {
                asked.confirmed = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_gave_is_given_back() {
        let mut subscriptions = Subscriptions::default();
        assert_eq!(subscriptions.change(["a", "refused", "b"].into_iter()), [""; 0]);
        subscriptions.confirm([String::from("a"), String::from("b"), String::from("unasked")].iter());
        assert_eq!(subscriptions.change(["b", "c"].into_iter()), ["a"]);
        assert!(subscriptions.has("b") && subscriptions.has("c") && !subscriptions.has("a"));
        assert_eq!(subscriptions.change(["c"].into_iter()), ["b"], "it stays confirmed");
    }
}
