//! Whatever is typed, nothing panics, and a refusal names its key or its line: static configuration in three formats, in the environment and
//! behind flags, and live settings as a merge patch, as the file and as an engine's document. `FRESHET_FUZZ` is how many executions each gets.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use fastrand::Rng;
use freshet_wire::{ConfigSource, Settings};
use serde_json::{Value, json};

use super::tests::uncommented;
use super::*;
use crate::cli::seeds;
use crate::settings::{SettingsError, change, check, file};

/// As many as `make test` has time for.
const EXECUTIONS: u32 = 1500;
const SEED: u64 = 7;

fn executions() -> u32 {
    let asked = std::env::var("FRESHET_FUZZ").ok();
    asked.map_or(EXECUTIONS, |count| count.parse().expect("FRESHET_FUZZ is a number"))
}

/// What has a meaning somewhere.
const WORDS: [&[u8]; 48] = [
    b"\n",
    b"\n\n",
    b"\t",
    b" ",
    b"=",
    b":",
    b": ",
    b"- ",
    b"#",
    b"[",
    b"]",
    b"[[",
    b"{",
    b"}",
    b",",
    b".",
    b"\"",
    b"'",
    b"\"\"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa2",
    b"null",
    b"true",
    b"no",
    b"~",
    b"inf",
    b"nan",
    b"0",
    b"-1",
    b"1e308",
    b"1e-300",
    b"18446744073709551616",
    b"9223372036854775807",
    b"0x7f",
    b"2020-01-01",
    b"&a",
    b"*a",
    b"!!str ",
    b"---\n",
    b"|\n",
    b"engine = 'kafka'\n",
    b"[seed.source]\n",
    b"0.0.0.0:1",
];

/// Changes some of it.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(0..=bytes.len());
        let end = (at + rng.usize(0..24)).min(bytes.len());
        match rng.u8(0..8) {
            0 => _ = bytes.drain(at..end),
            1 => {
                let part = bytes[at..end].to_vec();
                let to = rng.usize(0..=bytes.len());
                bytes.splice(to..to, part);
            }
            2 if at < bytes.len() => bytes[at] = rng.u8(..),
            3 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
            4 => {
                let from = rng.usize(0..=other.len());
                let part = &other[from..(from + rng.usize(0..64)).min(other.len())];
                bytes.splice(at..end, part.iter().copied());
            }
            5 => {
                let digits = rng.i64(..).to_string();
                bytes.splice(at..end, digits.into_bytes());
            }
            6 => _ = bytes.splice(at..at, WORDS[rng.usize(0..WORDS.len())].repeat(rng.usize(1..4))),
            _ => _ = bytes.splice(at..end, WORDS[rng.usize(0..WORDS.len())].iter().copied()),
        }
    }
}

/// What came of all executions.
#[derive(Debug, Default)]
struct Count {
    taken: u32,
    refused: u32,
}

impl Count {
    fn tell(self, what: &str) {
        println!("{what}: {} taken, {} refused", self.taken, self.refused);
        // Neither all nor nothing, or it was not much of a test.
        assert!(self.taken > 0 && self.refused > 0, "{what}: {self:?}");
    }
}

/// Where and why each fault is.
fn judge(result: Result<Config, Faults>, count: &mut Count, input: &dyn Fn() -> String) {
    match result {
        Ok(config) => {
            count.taken += 1;
            for told in &config.stated.keys {
                assert!(!told.secret || told.value.is_null() || told.value == freshet_wire::ConfigKey::MASK);
                let key = key(&told.key).unwrap();
                let kept = told.value.is_null() || key.secret || key.checked(told.value.clone()).is_ok();
                assert!(kept, "{} is {}: {}", told.key, told.value, input());
            }
        }
        Err(Faults(faults)) => {
            count.refused += 1;
            assert!(!faults.is_empty());
            for fault in faults {
                let is_placed = match fault.place {
                    ConfigSource::Default => false,
                    ConfigSource::File { line, .. } => line.is_some(),
                    ConfigSource::Environment { .. } | ConfigSource::Flag { .. } => true,
                };
                assert!(is_placed, "{fault:?}: {}", input());
                assert!(!fault.why.is_empty() && !fault.to_string().contains('\n'), "{fault:?}");
            }
        }
    }
}

fn corpus(format: Format) -> Vec<Vec<u8>> {
    let texts = uncommented();
    let text = |toml: &String| match format {
        Format::Toml => toml.clone(),
        other => {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("freshet.toml");
            std::fs::write(&path, toml).unwrap();
            let sources = Sources {
                file: Some(path),
                ..Sources::default()
            };
            print(&load(&sources, seeds()).unwrap(), other).replace("••••", "sixteen-characters-or-more")
        }
    };
    texts.iter().map(|toml| text(toml).into_bytes()).collect()
}

fn fuzz_file(format: Format, name: &str) {
    let (mut rng, mut count) = (Rng::with_seed(SEED), Count::default());
    let (json, corpus) = (corpus(Format::Json), corpus(format));
    let documents: Vec<Value> = json.iter().map(|text| serde_json::from_slice(text).unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join(name);
    let sources = Sources {
        file: Some(file.clone()),
        ..Sources::default()
    };
    for _ in 0..executions() {
        let mut bytes = corpus[rng.usize(0..corpus.len())].clone();
        // Of a part of it more is taken; and changes of whole values leave JSON what it is, which YAML reads as well.
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        if format == Format::Toml && rng.bool() {
            bytes = lines.filter(|_| rng.u8(0..4) == 0).flatten().copied().collect();
        }
        if format != Format::Toml && rng.bool() {
            let mut document = documents[rng.usize(0..documents.len())].clone();
            for _ in 0..rng.usize(0..3) {
                reshape(&mut document, &mut rng);
            }
            bytes = document.to_string().into_bytes();
        }
        if rng.u8(0..4) > 0 {
            mutate(&mut bytes, &corpus[rng.usize(0..corpus.len())], &mut rng);
        }
        std::fs::write(&file, &bytes).unwrap();
        judge(load(&sources, seeds()), &mut count, &|| {
            String::from_utf8_lossy(&bytes).into_owned()
        });
    }
    count.tell(name);
}

#[test]
fn whatever_is_in_a_toml_file() {
    fuzz_file(Format::Toml, "freshet.toml");
}

#[test]
fn whatever_is_in_a_yaml_file() {
    fuzz_file(Format::Yaml, "freshet.yaml");
}

#[test]
fn whatever_is_in_a_json_file() {
    fuzz_file(Format::Json, "freshet.json");
}

#[test]
fn whatever_is_in_the_environment_and_behind_flags() {
    let (mut rng, mut count) = (Rng::with_seed(SEED), Count::default());
    let all: Vec<Key> = table()
        .iter()
        .cloned()
        .chain(seeds().settings.iter().map(Key::seed))
        .collect();
    let value = |key: &Key, rng: &mut Rng| {
        let value = if key.default.is_null() {
            &key.example
        } else {
            &key.default
        };
        let mut bytes = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
            .into_bytes();
        if rng.bool() {
            mutate(&mut bytes, b"a,b", rng);
        }
        bytes
    };
    for _ in 0..executions() {
        let mut sources = Sources::default();
        for _ in 0..rng.usize(0..4) {
            let key = &all[rng.usize(0..all.len())];
            let mut name = key.variable().into_bytes();
            if rng.u8(0..8) == 0 {
                mutate(&mut name, b"FRESHET_X__Y", &mut rng);
            }
            let value = value(key, &mut rng);
            sources
                .environment
                .push((OsString::from_vec(name), OsString::from_vec(value)));
        }
        for _ in 0..rng.usize(0..3) {
            let key = &all[rng.usize(0..all.len())];
            let mut name = key.name.clone().into_bytes();
            if rng.u8(0..8) == 0 {
                mutate(&mut name, b"a.b", &mut rng);
            }
            let key_name = String::from_utf8_lossy(&name).into_owned();
            sources.flags.push(Flag {
                flag: format!("--set {key_name}"),
                key: key_name,
                given: Given::Text(String::from_utf8_lossy(&value(key, &mut rng)).into_owned()),
            });
        }
        judge(load(&sources, seeds()), &mut count, &|| format!("{sources:?}"));
    }
    count.tell("environment and flags");
}

/// Changes a value somewhere in it, takes it out, or adds one.
fn reshape(document: &mut Value, rng: &mut Rng) {
    let Value::Object(members) = document else {
        *document = value(rng);
        return;
    };
    let names: Vec<String> = members.keys().cloned().collect();
    match (names.is_empty(), rng.u8(0..10)) {
        (true, _) | (_, 0) => _ = members.insert("added".to_owned(), value(rng)),
        (_, 1) => _ = members.remove(&names[rng.usize(0..names.len())]),
        _ => {
            if let Some(member) = members.get_mut(&names[rng.usize(0..names.len())]) {
                reshape(member, rng);
            }
        }
    }
}

/// A value that is of another kind, too large, or right.
fn value(rng: &mut Rng) -> Value {
    match rng.u8(0..12) {
        0 => Value::Null,
        1 => json!(rng.bool()),
        2 => json!(rng.i64(..)),
        3 => json!(rng.u64(..)),
        4 => json!(f64::from_bits(rng.u64(..))),
        5 => json!(rng.u32(0..100)),
        6 => json!(["10.0.0.0/8", rng.u8(..)]),
        7 => json!(["10.0.0.0/8"]),
        8 => json!({"burst": {"quota": rng.u32(..), "window_s": rng.u32(0..100)}}),
        9 => json!(String::from_utf8_lossy(WORDS[rng.usize(0..WORDS.len())])),
        10 => json!("bursts"),
        _ => json!({}),
    }
}

#[test]
fn whatever_a_merge_patch_of_the_live_settings_is() {
    let (mut rng, mut count) = (Rng::with_seed(SEED), Count::default());
    let settings = Settings::default();
    let keys = seeds().settings;
    for _ in 0..executions() {
        let mut patch = json!({});
        for _ in 0..rng.usize(0..4) {
            let mut path: Vec<&str> = keys[rng.usize(0..keys.len())].key.split('.').collect();
            if rng.u8(0..6) == 0 {
                path.truncate(rng.usize(0..path.len()));
            }
            if rng.u8(0..8) == 0 {
                path.push(["x", "", ".", "quota", "•"][rng.usize(0..5)]);
            }
            let inner = path
                .iter()
                .rev()
                .fold(value(&mut rng), |inner, name| json!({*name: inner}));
            change::merge(&mut patch, &inner);
        }
        let mut bytes = patch.to_string().into_bytes();
        if rng.u8(0..3) == 0 {
            mutate(&mut bytes, br#"{"limit":{"read":null}}"#, &mut rng);
        }
        // As it comes through the API.
        let Ok(patch) = serde_json::from_slice::<Value>(&bytes) else {
            continue;
        };
        match change::patched(&settings, &patch) {
            Ok(changed) => {
                count.taken += 1;
                assert_eq!(check(&serde_json::to_value(&changed).unwrap()), Ok(changed), "{patch}");
            }
            Err(SettingsError::Invalid { field, reason }) => {
                count.refused += 1;
                assert!(!field.is_empty() && !reason.is_empty(), "{patch}");
            }
            Err(other) => panic!("{other}: {patch}"),
        }
    }
    count.tell("merge patches");
}

#[test]
fn whatever_is_in_the_file_of_the_live_settings_and_in_an_engines_document() {
    let (mut rng, mut of_file, mut of_document) = (Rng::with_seed(SEED), Count::default(), Count::default());
    let text = file::text::render(&Settings::default()).into_bytes();
    let author = change::Author {
        by: "test",
        node: "n",
        now_us: 1,
    };
    let document = serde_json::to_vec(&change::first(Settings::default(), author)).unwrap();
    for _ in 0..executions() {
        let mut bytes = text.clone();
        mutate(&mut bytes, &document, &mut rng);
        if let Ok(text) = std::str::from_utf8(&bytes) {
            match file::text::read(text) {
                Ok(_) => of_file.taken += 1,
                Err(refusal) => {
                    of_file.refused += 1;
                    assert!(!refusal.key.is_empty() && !refusal.reason.is_empty(), "{text}");
                }
            }
        }
        let mut bytes = document.clone();
        if rng.bool() {
            let mut value: Value = serde_json::from_slice(&document).unwrap();
            reshape(&mut value, &mut rng);
            bytes = value.to_string().into_bytes();
        } else {
            mutate(&mut bytes, &text, &mut rng);
        }
        match change::read(&bytes) {
            Ok(_) => of_document.taken += 1,
            Err((refusal, _)) => {
                of_document.refused += 1;
                assert!(!refusal.key.is_empty() && !refusal.reason.is_empty());
            }
        }
    }
    of_file.tell("settings.toml");
    of_document.tell("documents");
}
