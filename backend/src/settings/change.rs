//! From one version to the next: pure.

use freshet_wire::{SettingChange, Settings, SettingsChange, SettingsDocument, SettingsVersion};
use serde_json::Value;

use super::schema::{schema, value};
use super::{Refusal, SettingsError, check};

/// Changes that are kept.
pub const HISTORY: usize = 50;
/// And how large they may be together, in bytes of JSON: engines bound what a key holds.
const HISTORY_BYTES: usize = 256 << 10;

/// Versions of documents that somebody else wrote are below this: what follows must have room, and be a number in JavaScript as well.
const VERSIONS: u64 = 1 << 52;

/// Who makes a version, where, and when.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    pub by: &'a str,
    pub node: &'a str,
    pub now_us: i64,
}

/// What an empty store is filled with.
pub fn first(settings: Settings, author: Author<'_>) -> SettingsDocument {
    document(1, settings, Vec::new(), Vec::new(), author)
}

/// The version after this one, which differs from it in these settings; it is above `floor` as well.
pub fn next(base: &SettingsDocument, settings: Settings, floor: u64, author: Author<'_>) -> SettingsDocument {
    let changes = differences(&base.newest.settings, &settings);
    let version = base.newest.version.max(floor) + 1;
    document(version, settings, changes, base.history.clone(), author)
}

fn document(
    version: u64,
    settings: Settings,
    changes: Vec<SettingChange>,
    mut history: Vec<SettingsChange>,
    author: Author<'_>,
) -> SettingsDocument {
    let change = SettingsChange {
        version,
        changed_us: author.now_us,
        changed_by: author.by.to_owned(),
        changed_on: author.node.to_owned(),
        changes: changes.clone(),
    };
    history.insert(0, change);
    history.truncate(HISTORY);
    let mut bytes = 0;
    let sizes = history
        .iter()
        .map(|change| serde_json::to_vec(change).map_or(0, |text| text.len()));
    let fitting = sizes.take_while(|size| {
        bytes += size;
        bytes <= HISTORY_BYTES
    });
    // The newest stays, however large.
    let fitting = fitting.count().max(1);
    history.truncate(fitting);
    SettingsDocument {
        newest: SettingsVersion {
            version,
            changed_us: author.now_us,
            changed_by: author.by.to_owned(),
            changed_on: author.node.to_owned(),
            changes,
            settings,
        },
        history,
    }
}

/// The keys in which they differ.
pub fn differences(before: &Settings, after: &Settings) -> Vec<SettingChange> {
    let (before, after) = (to_value(before), to_value(after));
    let of = |settings: &Value, key: &str| value(settings, key).cloned().unwrap_or_default();
    let keys = schema().keys.iter().map(|key| SettingChange {
        key: key.key.clone(),
        before: of(&before, &key.key),
        after: of(&after, &key.key),
    });
    keys.filter(|change| change.before != change.after).collect()
}

/// A JSON merge patch of the settings.
pub(crate) fn patched(settings: &Settings, patch: &Value) -> Result<Settings, SettingsError> {
    if !patch.is_object() {
        let refusal = Refusal::new("body", "a merge patch of the settings is a JSON object");
        return Err(refusal.into());
    }
    let mut document = to_value(settings);
    merge(&mut document, patch);
    Ok(check(&document)?)
}

/// The settings as they were at an earlier version: the changes since are undone, the newest first.
pub(super) fn rolled_back(document: &SettingsDocument, version: u64) -> Result<Settings, SettingsError> {
    let newest = document.newest.version;
    let oldest = document.history.last().map_or(newest, |change| change.version);
    let is_kept = version == newest
        || document.history.iter().any(|change| change.version == version)
        // What the oldest change was made on is known by what it says was before; the first one was made on nothing.
        || version > 0 && version + 1 == oldest;
    if !is_kept {
        return Err(SettingsError::NotKept {
            version,
            oldest,
            newest,
        });
    }
    let mut settings = to_value(&document.newest.settings);
    for change in document.history.iter().take_while(|change| change.version > version) {
        for change in &change.changes {
            let patch = change.key.rsplit('.').fold(change.before.clone(), |inner, name| {
                Value::Object([(name.to_owned(), inner)].into_iter().collect())
            });
            merge(&mut settings, &patch);
        }
    }
    Ok(check(&settings)?)
}

fn to_value(settings: &Settings) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

/// RFC 7396, section 2; but a null, which would remove a member, is left to stand: every setting has a value,
/// so it is refused at its own path.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(members)) => {
            for (name, value) in members {
                merge(target.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// A document as an engine has it, in JSON. What it says of itself must be right as well as its settings.
pub fn read(text: &[u8]) -> Result<SettingsDocument, (Refusal, Option<u64>)> {
    let unreadable = |why: String| Refusal::new("document", why);
    let value: Value =
        serde_json::from_slice(text).map_err(|error| (unreadable(format!("it is not JSON: {error}")), None))?;
    let version = value.get("version").and_then(Value::as_u64);
    let version = version.filter(|&version| version < VERSIONS);
    let read = || {
        let settings = value
            .get("settings")
            .ok_or_else(|| Refusal::new("settings", "it is missing"))?;
        let settings = check(settings)?;
        // Sections that an older program did not know are filled up; the rest is as it stands.
        let mut document = value.clone();
        document["settings"] = to_value(&settings);
        let document: SettingsDocument =
            serde_json::from_value(document).map_err(|error| unreadable(error.to_string()))?;
        match document.newest.version {
            0 => Err(Refusal::new("version", "the first version is 1")),
            VERSIONS.. => Err(Refusal::new("version", format!("a version is below {VERSIONS}"))),
            _ => Ok(document),
        }
    };
    read().map_err(|refusal| (refusal, version))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn author(now_us: i64) -> Author<'static> {
        Author {
            by: "test",
            node: "n",
            now_us,
        }
    }

    fn step(document: &SettingsDocument, patch: &Value) -> SettingsDocument {
        let settings = patched(&document.newest.settings, patch).unwrap();
        next(document, settings, 0, author(2))
    }

    #[test]
    fn a_version_says_what_it_changed_from_what_to_what() {
        let document = first(Settings::default(), author(1));
        let document = step(
            &document,
            &json!({"source": {"cpu_hz": 4}, "limit": {"exempt": ["10.0.0.0/8"], "read": {"burst": {"quota": 7}}}}),
        );
        let changes: Vec<_> = document
            .newest
            .changes
            .iter()
            .map(|change| (&*change.key, &change.after))
            .collect();
        assert_eq!(
            changes,
            [
                ("source.cpu_hz", &json!(4.0)),
                ("limit.read.burst.quota", &json!(7)),
                ("limit.exempt", &json!(["10.0.0.0/8"]))
            ]
        );
        assert_eq!(document.newest.changes[0].before, json!(10.0));
        assert_eq!(document.history.len(), 2);
        assert_eq!(document.history[0].changes, document.newest.changes);
    }

    #[test]
    fn a_rollback_reaches_every_version_that_is_kept_and_no_other() {
        let mut document = first(Settings::default(), author(1));
        let mut all = vec![document.newest.settings.clone()];
        for number in 1..=60 {
            document = step(
                &document,
                &json!({"workload": {"payload_bytes": 100 + number, "rate_hz": f64::from(number % 3)}}),
            );
            all.push(document.newest.settings.clone());
        }
        assert_eq!((document.history.len(), document.newest.version), (HISTORY, 61));
        for version in 11..=61 {
            assert_eq!(
                rolled_back(&document, version).unwrap(),
                all[usize::try_from(version).unwrap() - 1]
            );
        }
        for version in [0, 10, 62] {
            assert!(
                matches!(
                    rolled_back(&document, version),
                    Err(SettingsError::NotKept { oldest: 12, .. })
                ),
                "{version}"
            );
        }
        assert!(rolled_back(&first(Settings::default(), author(1)), 0).is_err());
    }

    #[test]
    fn a_history_of_large_changes_is_shorter() {
        let mut document = first(Settings::default(), author(1));
        for number in 0..40 {
            let networks: Vec<_> = (0..250)
                .map(|last| format!("2001:db8:ffff:{number:x}:{last:x}::/80"))
                .collect();
            document = step(&document, &json!({"limit": {"denied": networks}}));
        }
        assert!((5..30).contains(&document.history.len()), "{}", document.history.len());
        assert!(serde_json::to_vec(&document).unwrap().len() < 300 << 10);
    }

    #[test]
    fn a_document_is_read_as_it_was_written_and_what_is_wrong_in_it_is_named() {
        let document = step(
            &first(Settings::default(), author(1)),
            &json!({"source": {"cpu_hz": 4}}),
        );
        let text = serde_json::to_vec(&document).unwrap();
        assert_eq!(read(&text).unwrap(), document);
        let mut value: Value = serde_json::from_slice(&text).unwrap();
        value["settings"].as_object_mut().unwrap().remove("retention");
        assert_eq!(
            read(value.to_string().as_bytes()).unwrap(),
            document,
            "as an older program wrote it"
        );
        value["settings"]["source"]["cpu_hz"] = json!(1000);
        let (refusal, version) = read(value.to_string().as_bytes()).unwrap_err();
        assert_eq!((&*refusal.key, version), ("source.cpu_hz", Some(2)));
        value["settings"]["source"]["cpu_hz"] = json!(10);
        for wrong in [0, VERSIONS, u64::MAX] {
            value["version"] = json!(wrong);
            let (refusal, version) = read(value.to_string().as_bytes()).unwrap_err();
            assert_eq!((&*refusal.key, version), ("version", (wrong == 0).then_some(0)));
        }
        for (text, key) in [
            ("", "document"),
            ("[]", "settings"),
            ("{\"settings\":{}}", "document"),
            ("nonsense", "document"),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap_err().0.key, key, "{text:?}");
        }
    }
}
