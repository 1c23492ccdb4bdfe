//! Fencing: what a leader that leads no more appends does not count. An engine in this process refuses it; from a log that takes it
//! nevertheless it is read over, in the same way by everyone who reads.

use freshet_wire::Token;
use serde::{Deserialize, Serialize};

use super::{PubSubError, Record};

/// So many scopes are remembered, the newest ones. There is one a cluster and engine; more than two is rare.
const MOST_SCOPES: usize = 8;

/// The newest token that was seen of each scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Marks(Vec<(String, u64)>);

impl Marks {
    fn of(&self, scope: &str) -> Option<u64> {
        let mark = self.0.iter().find(|(known, _)| known == scope);
        mark.map(|(_, number)| *number)
    }

    /// Numbers grow within a scope; a scope that is new starts a new mark.
    pub(super) fn note(&mut self, token: &Token<'_>) {
        match self.0.iter_mut().find(|(known, _)| *known == token.scope) {
            Some((_, number)) => *number = (*number).max(token.number),
            None => {
                if self.0.len() == MOST_SCOPES {
                    self.0.remove(0);
                }
                self.0.push((token.scope.clone().into_owned(), token.number));
            }
        }
    }

    /// Whether an event that carries this token counts, after those that were asked about before it, in the order of their offsets.
    #[cfg(feature = "kafka")]
    pub(super) fn passes(&mut self, token: Option<&Token<'_>>) -> bool {
        let Some(token) = token else { return true };
        let is_old = self.of(&token.scope).is_some_and(|newest| newest > token.number);
        if !is_old {
            self.note(token);
        }
        !is_old
    }

    /// The marks as they are once these are appended; `None`: as they are now.
    pub(super) fn after(&self, records: &[Record]) -> Result<Option<Self>, PubSubError> {
        let mut after: Option<Self> = None;
        for token in records.iter().filter_map(|record| record.token.as_ref()) {
            match after.as_ref().unwrap_or(self).of(&token.scope) {
                Some(newest) if newest > token.number => {
                    return Err(PubSubError::Fenced {
                        token: token.number,
                        newest,
                    });
                }
                Some(newest) if newest == token.number => {}
                _ => after.get_or_insert_with(|| self.clone()).note(token),
            }
        }
        Ok(after)
    }
}

#[cfg(all(test, feature = "kafka"))]
mod tests {
    use super::*;

    #[test]
    fn an_older_token_counts_no_more_once_a_newer_one_was_seen_and_scopes_do_not_mix() {
        let mut marks = Marks::default();
        let mut passes = |scope: &'static str, number| {
            marks.passes(Some(&Token {
                scope: scope.into(),
                number,
            }))
        };
        assert!(passes("etcd:a", 7) && passes("etcd:a", 7) && passes("etcd:a", 9));
        assert!(!passes("etcd:a", 8) && !passes("etcd:a", 7));
        assert!(passes("raft:b", 1), "another scope has a mark of its own");
        assert!(passes("etcd:a", 9));
        assert!(marks.passes(None), "what carries no token is nobody's but its sender's");
    }
}
