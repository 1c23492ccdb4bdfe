//! How much is kept of each topic follows the settings.

use freshet_wire::{Retention, RetentionSettings};

use crate::source;
use crate::tail::Tail;

/// What the settings say of each topic.
pub(crate) fn of(settings: RetentionSettings) -> Retention {
    Retention {
        max_age_s: Some(settings.max_age_s),
        max_bytes: Some(settings.max_bytes),
    }
}

/// Has the engine keep so much of each topic that is this service's own, from now on. A topic that is only watched is its owner's.
pub(crate) fn retain(tail: &Tail, settings: RetentionSettings) {
    if !tail.engine().capabilities().retains {
        return;
    }
    let retention = of(settings);
    let sources = source::topics(retention);
    for topic in tail.topics() {
        let is_source = sources.iter().any(|spec| *spec.name == **topic.name());
        if topic.is_open() && (topic.is_writable() || is_source) {
            tail.engine().retain(topic.name(), retention);
            topic.set_retention(retention);
        }
    }
}
