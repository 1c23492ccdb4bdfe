//! Keys under which the engine remembers what was published. A key that was brought and an id are told apart, whatever they are.

use sha2::{Digest, Sha256};

/// What stands before the id of one event, before what stands for those of many, and before a key that begins like one of the three.
const ID: &str = "id:";
const IDS: &str = "ids:";
const KEY: &str = "key:";

/// What the key of an engine was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin<'a> {
    /// A key of idempotency.
    Key(&'a str),
    Id(&'a str),
    /// The ids of a batch.
    Ids,
}

pub(super) fn of_key(key: &str) -> String {
    match [ID, IDS, KEY].iter().any(|begin| key.starts_with(begin)) {
        true => format!("{KEY}{key}"),
        false => key.to_owned(),
    }
}

/// An id is unique within its topic, so the second event with it is the first one again; the same holds for a batch of them.
pub(super) fn of_ids<'a>(mut ids: impl ExactSizeIterator<Item = &'a str>) -> Option<String> {
    if ids.len() == 1 {
        return ids.next().map(|id| format!("{ID}{id}"));
    }
    let mut hasher = Sha256::new();
    for id in ids {
        hasher.update((id.len() as u64).to_le_bytes());
        hasher.update(id);
    }
    let digest = hasher.finalize();
    Some(
        digest[..16]
            .iter()
            .fold(IDS.to_owned(), |text, byte| format!("{text}{byte:02x}")),
    )
}

pub(super) fn origin(key: &str) -> Origin<'_> {
    if let Some(id) = key.strip_prefix(ID) {
        return Origin::Id(id);
    }
    if key.starts_with(IDS) {
        return Origin::Ids;
    }
    Origin::Key(key.strip_prefix(KEY).unwrap_or(key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_and_an_id_never_meet(one in "(id:|ids:|key:|x){0,3}", other in "(id:|ids:|key:|x){0,3}") {
            let id = of_ids([&*other].into_iter()).unwrap();
            prop_assert_ne!(of_key(&one), id.clone());
            prop_assert_eq!(of_key(&one) == of_key(&other), one == other);
            let key = of_key(&one);
            prop_assert_eq!(origin(&key), Origin::Key(&one));
            prop_assert_eq!(origin(&id), Origin::Id(&other));
        }
    }

    #[test]
    fn the_ids_of_a_batch_stand_in_their_order() {
        let of = |ids: &[&'static str]| of_ids(ids.iter().copied()).unwrap();
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        assert_ne!(of(&["a", "b"]), of(&["b", "a"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_eq!(origin(&of(&["a", "b"])), Origin::Ids);
    }
}
