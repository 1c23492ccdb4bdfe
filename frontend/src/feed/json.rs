//! Walks over JSON text without building values from it: filters look into thousands of events a second, some of a megabyte.
//!
//! The text is known to be JSON. What is none gives nothing or something odd, but never a panic.

/// Deeper than this, text is shown as it is.
const MOST_DEPTH: usize = 128;

/// What may stand in one line.
const LINE_BYTES: usize = 80;

/// The parts of an array or an object: raw key (with its quotation marks; empty in an array) and raw value.
#[derive(Debug, Clone)]
pub(crate) struct Parts<'a> {
    text: &'a str,
    at: usize,
    object: bool,
}

impl<'a> Parts<'a> {
    /// `None` for what has no parts.
    pub(crate) fn of(json: &'a str) -> Option<Self> {
        let text = json.trim_ascii();
        let object = match text.as_bytes().first()? {
            b'{' => true,
            b'[' => false,
            _ => return None,
        };
        Some(Self { text, at: 1, object })
    }

    pub(crate) fn is_object(&self) -> bool {
        self.object
    }

    fn skip(&mut self, what: impl Fn(u8) -> bool) {
        let rest = &self.text.as_bytes()[self.at.min(self.text.len())..];
        self.at += rest.iter().take_while(|byte| what(**byte)).count();
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        self.skip(|byte| byte.is_ascii_whitespace() || byte == b',');
        if matches!(bytes.get(self.at)?, b'}' | b']') {
            return None;
        }
        let mut key = "";
        if self.object {
            let end = value_end(bytes, self.at);
            key = self.text.get(self.at..end)?;
            self.at = end;
            self.skip(|byte| byte.is_ascii_whitespace() || byte == b':');
        }
        let (from, end) = (self.at, value_end(bytes, self.at));
        self.at = end;
        let value = self.text.get(from..end)?;
        (!value.is_empty()).then_some((key, value))
    }
}

/// Behind the value that begins at `at`.
fn value_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let len = match rest.first() {
        Some(b'"') => string_len(rest),
        Some(b'{' | b'[') => {
            let (mut depth, mut i) = (0_usize, 0);
            while let Some(byte) = rest.get(i) {
                match byte {
                    b'"' => {
                        i += string_len(&rest[i..]);
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                i += 1;
                if depth == 0 {
                    break;
                }
            }
            i
        }
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b':') || byte.is_ascii_whitespace();
            rest.iter().position(ends).unwrap_or(rest.len())
        }
    };
    at + len
}

/// With both of its quotation marks.
fn string_len(bytes: &[u8]) -> usize {
    let mut i = 1;
    while let Some(byte) = bytes.get(i) {
        match byte {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    bytes.len()
}

/// A raw string (or key) as the text that it stands for; anything else as it is written.
pub(crate) fn text_of(raw: &str) -> std::borrow::Cow<'_, str> {
    match raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) {
        Some(inner) if !inner.contains('\\') => inner.into(),
        Some(_) => serde_json::from_str::<String>(raw).map_or(raw.into(), Into::into),
        None => raw.into(),
    }
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
    /// Each part.
    Any,
}

/// Whether one of the values at the path is as wanted.
pub(crate) fn any_at(json: &str, path: &[Step], wanted: &dyn Fn(&str) -> bool) -> bool {
    let Some((step, rest)) = path.split_first() else {
        return wanted(json);
    };
    let Some(mut parts) = Parts::of(json) else { return false };
    match step {
        Step::Key(key) => {
            parts.is_object() && parts.any(|(raw, value)| text_of(raw) == *key && any_at(value, rest, wanted))
        }
        Step::Index(at) => !parts.is_object() && parts.nth(*at).is_some_and(|(_, value)| any_at(value, rest, wanted)),
        Step::Any => parts.any(|(_, value)| any_at(value, rest, wanted)),
    }
}

/// JSON over several lines, numbers and strings as they are written; at most so many bytes, and whether that was not all.
pub(crate) fn pretty(json: &str, most: usize) -> (String, bool) {
    let mut out = String::new();
    let cut = !write(&mut out, json, 0, most);
    (out, cut)
}

/// False as soon as there is no room for more.
fn write(out: &mut String, json: &str, depth: usize, most: usize) -> bool {
    let parts = Parts::of(json).filter(|_| depth < MOST_DEPTH);
    let Some(parts) = parts else {
        let text = json.trim_ascii();
        let room = text.floor_char_boundary(most.saturating_sub(out.len()));
        out.push_str(&text[..room]);
        return room == text.len();
    };
    let (open, close) = if parts.is_object() { ('{', '}') } else { ('[', ']') };
    let flat = json.len() <= LINE_BYTES && parts.clone().all(|(_, value)| Parts::of(value).is_none());
    let one_line = flat && (!parts.is_object() || depth > 0) || parts.clone().next().is_none();
    out.push(open);
    for (i, (key, value)) in parts.enumerate() {
        if out.len() >= most {
            return false;
        }
        if i > 0 {
            out.push(',');
        }
        if one_line {
            out.push_str(if i > 0 { " " } else { "" });
        } else {
            indent(out, depth + 1);
        }
        if !key.is_empty() {
            out.push_str(key);
            out.push_str(": ");
        }
        if !write(out, value, depth + 1, most) {
            return false;
        }
    }
    if !one_line {
        indent(out, depth);
    }
    out.push(close);
    true
}

fn indent(out: &mut String, depth: usize) {
    out.push('\n');
    (0..depth).for_each(|_| out.push_str("  "));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn pretty_text_says_the_same(value in value(), spaced: bool) {
            let text = if spaced { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let (pretty, cut) = pretty(&text, usize::MAX);
            prop_assert!(!cut);
            prop_assert_eq!(serde_json::from_str::<Value>(&pretty).unwrap(), value);
        }

        #[test]
        fn each_part_is_found_under_its_key(map in prop::collection::btree_map(".{0,6}", value(), 0..6)) {
            let text = serde_json::to_string(&map).unwrap();
            for (key, value) in &map {
                let same = |raw: &str| serde_json::from_str::<Value>(raw).is_ok_and(|found| found == *value);
                prop_assert!(any_at(&text, &[Step::Key(key.clone())], &same), "{}", key);
            }
            prop_assert!(!any_at(&text, &[Step::Key("no such key".to_owned())], &|_| true));
        }

        #[test]
        fn no_text_makes_it_panic(text: String, most in 0usize..200) {
            let (pretty, _) = pretty(&text, most);
            prop_assert!(pretty.len() <= most + text.len() + 300);
            any_at(&text, &[Step::Any, Step::Any], &|_| false);
            any_at(&["{", &text].concat(), &[Step::Key("a".to_owned())], &|_| true);
            any_at(&["[", &text].concat(), &[Step::Index(1)], &|_| true);
        }
    }

    #[test]
    fn numbers_stay_as_they_are_written_and_short_parts_stay_in_a_line() {
        let text = r#"{"big":12345678901234567890.10,"cores":[0.4,0.22],"none":{},"in":{"a":[{"b":1}]}}"#;
        let wanted = "{\n  \"big\": 12345678901234567890.10,\n  \"cores\": [0.4, 0.22],\n  \"none\": {},\n  \"in\": {\n    \"a\": [\n      {\"b\": 1}\n    ]\n  }\n}";
        assert_eq!(pretty(text, 1000), (wanted.to_owned(), false));
        let (cut, was_cut) = pretty(text, 20);
        assert!(was_cut && wanted.starts_with(&cut), "{cut}");
    }
}
