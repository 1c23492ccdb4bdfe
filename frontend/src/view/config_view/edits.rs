//! What was typed and is not applied yet, held against what is in force now.

use std::collections::BTreeMap;

use freshet_wire::{SettingChange, SettingKey, SettingsChange};
use serde_json::Value;

use super::values::{at, read};

/// What stands in a field.
#[derive(Debug, Clone, PartialEq)]
struct Edit {
    /// What was in force when it was begun.
    before: Value,
    typed: String,
}

/// All of them, by key. They stay while other views are shown.
#[derive(Debug, Default)]
pub struct Edits(BTreeMap<String, Edit>);

/// One of them, as it stands to what is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    pub key: String,
    pub unit: String,
    pub before: Value,
    /// What it is to be; or what would be right.
    pub after: Result<Value, String>,
    /// Somebody else changed it since it was begun: from what.
    pub conflict: Option<Value>,
}

impl Edits {
    /// What is typed into a key's field; what is in force already is no change.
    pub fn typed(&mut self, key: &SettingKey, typed: &str, settings: &Value) {
        let now = at(settings, &key.key);
        if read(key, typed).as_ref() == Ok(now) {
            self.0.remove(&key.key);
            return;
        }
        let before = self
            .0
            .get(&key.key)
            .map_or_else(|| now.clone(), |edit| edit.before.clone());
        let typed = typed.to_owned();
        self.0.insert(key.key.clone(), Edit { before, typed });
    }

    /// What stands in a key's field, if it is not what is in force.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|edit| &*edit.typed)
    }

    pub fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Of a conflict: it is known, and mine is wanted nevertheless.
    pub fn insist(&mut self, key: &str, settings: &Value) {
        if let Some(edit) = self.0.get_mut(key) {
            edit.before = at(settings, key).clone();
        }
    }

    /// In the order of the schema. What came into force meanwhile by somebody else's change is no change any more.
    pub fn pending(&mut self, schema: &[SettingKey], settings: &Value) -> Vec<Pending> {
        let mut pending = Vec::new();
        for key in schema {
            let Some(edit) = self.0.get(&key.key) else { continue };
            let (now, after) = (at(settings, &key.key), read(key, &edit.typed));
            if after.as_ref() == Ok(now) {
                self.0.remove(&key.key);
                continue;
            }
            pending.push(Pending {
                key: key.key.clone(),
                unit: key.unit.clone(),
                before: now.clone(),
                after,
                conflict: (edit.before != *now).then(|| edit.before.clone()),
            });
        }
        pending
    }
}

/// What a way back to a version changes: the changes since then, the newest first, undone one after the other. `None` where not all of
/// them are known.
pub fn back_to(version: u64, newest: u64, changes: &[SettingsChange]) -> Option<Vec<SettingChange>> {
    let mut undone: BTreeMap<&str, SettingChange> = BTreeMap::new();
    let mut at = newest;
    for change in changes {
        if at <= version {
            break;
        }
        if change.version != at {
            return None;
        }
        for part in &change.changes {
            let kept = undone.entry(&part.key).or_insert_with(|| SettingChange {
                key: part.key.clone(),
                before: part.after.clone(),
                after: Value::Null,
            });
            kept.after = part.before.clone();
        }
        at -= 1;
    }
    let changed = undone.into_values().filter(|change| change.before != change.after);
    (at == version).then(|| changed.collect())
}

#[cfg(test)]
mod tests {
    use freshet_wire::SettingKind;
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> SettingKey {
        SettingKey {
            key: name.into(),
            kind: SettingKind::Integer,
            unit: "events".into(),
            least: Some(0.0),
            most: Some(100.0),
            zero: None,
            choices: Vec::new(),
            default: json!(1),
            restart: false,
            what: String::new(),
        }
    }

    #[test]
    fn what_is_typed_is_pending_until_it_is_in_force() {
        let (schema, now) = ([key("a.x"), key("a.y")], json!({"a": {"x": 1, "y": 2}}));
        let mut edits = Edits::default();
        edits.typed(&schema[1], "7", &now);
        edits.typed(&schema[0], "1000", &now);
        let pending = edits.pending(&schema, &now);
        assert_eq!(pending.len(), 2);
        assert_eq!((&*pending[0].key, pending[0].after.is_err()), ("a.x", true));
        assert_eq!((&pending[1].before, &pending[1].after), (&json!(2), &Ok(json!(7))));
        edits.typed(&schema[0], "1", &now);
        assert_eq!(edits.pending(&schema, &now).len(), 1, "typed back, it is no change");
        assert_eq!(edits.get("a.y"), Some("7"));
        // Somebody else wants the same.
        assert_eq!(edits.pending(&schema, &json!({"a": {"x": 1, "y": 7}})), []);
        assert_eq!(edits.get("a.y"), None);
    }

    #[test]
    fn what_somebody_else_changed_meanwhile_is_a_conflict_until_it_is_decided() {
        let (schema, now) = ([key("a.x"), key("a.y")], json!({"a": {"x": 1, "y": 2}}));
        let mut edits = Edits::default();
        edits.typed(&schema[0], "5", &now);
        edits.typed(&schema[1], "6", &now);
        let theirs = json!({"a": {"x": 3, "y": 2}});
        let pending = edits.pending(&schema, &theirs);
        assert_eq!((&pending[0].before, &pending[0].conflict), (&json!(3), &Some(json!(1))));
        assert_eq!(pending[1].conflict, None, "this one nobody else touched");
        // Typing on decides nothing.
        edits.typed(&schema[0], "50", &theirs);
        assert!(edits.pending(&schema, &theirs)[0].conflict.is_some());
        edits.insist("a.x", &theirs);
        assert_eq!(edits.pending(&schema, &theirs)[0].conflict, None);
        edits.forget("a.x");
        assert_eq!(edits.pending(&schema, &theirs).len(), 1);
    }

    #[test]
    fn the_way_back_undoes_what_came_since_and_no_more() {
        let change = |version: u64, parts: &[(&str, i64, i64)]| SettingsChange {
            version,
            changed_us: 0,
            changed_by: String::new(),
            changed_on: String::new(),
            changes: parts
                .iter()
                .map(|&(key, before, after)| SettingChange {
                    key: key.into(),
                    before: json!(before),
                    after: json!(after),
                })
                .collect(),
        };
        let changes = [
            change(5, &[("a", 3, 4)]),
            change(4, &[("b", 1, 2)]),
            change(3, &[("a", 1, 3), ("b", 2, 1)]),
        ];
        let back = |version| back_to(version, 5, &changes);
        assert_eq!(back(5), Some(vec![]));
        let only = |key: &str, before: i64, after: i64| SettingChange {
            key: key.into(),
            before: json!(before),
            after: json!(after),
        };
        assert_eq!(back(4), Some(vec![only("a", 4, 3)]));
        assert_eq!(back(2), Some(vec![only("a", 4, 1)]), "b is again what it was");
        assert_eq!(back(1), None, "what changed then is not kept");
    }
}
