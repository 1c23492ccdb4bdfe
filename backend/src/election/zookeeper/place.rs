//! The names of candidates in the queue.

/// A candidate's place: its znode is `NODE-SESSION-SEQUENCE`, and the lowest sequence leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) node: String,
    /// Which session made it, as [`tag`] has it.
    pub(super) tag: String,
    sequence: i64,
    /// The name of the znode.
    pub(super) name: String,
}

/// A session in the name of a znode.
pub(super) fn tag(session: i64) -> String {
    format!("{session:016x}")
}

impl Place {
    /// `None` is what somebody else put there.
    pub(super) fn read(name: &str) -> Option<Self> {
        let mut parts = name.rsplitn(3, '-');
        let (sequence, tag, node) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            node: node.to_owned(),
            tag: tag.to_owned(),
            sequence: sequence.parse().ok()?,
            name: name.to_owned(),
        })
    }

    /// What the name of a place begins with; ZooKeeper appends the sequence.
    pub(super) fn prefix(node: &str, tag: &str) -> String {
        format!("{node}-{tag}-")
    }

    /// All of them, whoever leads first.
    pub(super) fn queue(names: &[String]) -> Vec<Self> {
        let mut places: Vec<_> = names.iter().filter_map(|name| Self::read(name)).collect();
        places.sort_by_key(|place| place.sequence);
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_the_right_whatever_the_node_is_called() {
        let tag = tag(-2);
        assert_eq!(tag, "fffffffffffffffe");
        let name = format!("{}0000000012", Place::prefix("host-7.a_b", &tag));
        let place = Place::read(&name).unwrap();
        assert_eq!((&*place.node, &*place.tag, place.sequence), ("host-7.a_b", &*tag, 12));
        assert_eq!(place.name, name);
    }

    #[test]
    fn the_queue_is_in_the_order_of_arrival_and_knows_what_is_not_its_own() {
        let names = ["a-1-0000000010", "b-1-0000000009", "stray", "c-2-x", "c-2-0000000011"];
        let queue = Place::queue(&names.map(str::to_owned));
        let nodes: Vec<_> = queue.iter().map(|place| &*place.node).collect();
        assert_eq!(nodes, ["b", "a", "c"]);
    }
}
