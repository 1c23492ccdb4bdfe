//! What is published: JSON within bounds, without white space that means nothing. Pure.

use serde_json::value::RawValue;

use crate::error::Error;

/// How deeply arrays and objects may nest: whoever reads an event must be able to.
const MOST_DEPTH: usize = 100;

/// One JSON value, as an event's data. `what` names it in a refusal.
pub(super) fn data(text: &[u8], most: usize, what: &str) -> Result<Box<RawValue>, Error> {
    if text.len() > most {
        return Err(Error::event_too_large(format!(
            "{what} has {} bytes; an event's data may have {most}",
            text.len()
        )));
    }
    let value: &RawValue =
        serde_json::from_slice(text).map_err(|error| Error::not_json(format!("{what} is not JSON: {error}")))?;
    check(value, what)
}

/// JSON that was read already: within the bound of depth, and compact.
pub(super) fn check(value: &RawValue, what: &str) -> Result<Box<RawValue>, Error> {
    let compact = compact(value.get())
        .ok_or_else(|| Error::not_json(format!("{what} nests more than {MOST_DEPTH} arrays and objects")))?;
    // Still JSON: white space between its tokens meant nothing.
    RawValue::from_string(compact).map_err(|error| Error::not_json(format!("{what} is not JSON: {error}")))
}

/// How many values a batch has, before any of them is read.
pub(super) fn count(body: &[u8], most: usize) -> Result<usize, Error> {
    let count = filled(body).count();
    match count > most {
        true => Err(too_many(most)),
        false => Ok(count),
    }
}

fn too_many(most: usize) -> Error {
    Error::event_too_large(format!("a batch may have {most} events"))
}

/// The lines in which there is something, and their places.
fn filled(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = body.split(|&byte| byte == b'\n').enumerate();
    lines.filter(|(_, line)| !line.trim_ascii().is_empty())
}

/// The values of a batch: one a line (NDJSON); empty lines are passed over.
pub(super) fn lines(body: &[u8], most: usize, most_bytes: usize) -> Result<Vec<Box<RawValue>>, Error> {
    let mut values = Vec::new();
    for (number, line) in filled(body) {
        if values.len() == most {
            return Err(too_many(most));
        }
        values.push(data(line, most_bytes, &format!("line {}", number + 1))?);
    }
    if values.is_empty() {
        return Err(Error::not_json(
            "the batch has no event: one JSON value a line is expected",
        ));
    }
    Ok(values)
}

/// The text without white space between its tokens; `None` if it nests too deeply.
fn compact(json: &str) -> Option<String> {
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped, mut depth) = (false, false, 0_usize);
    for char in json.chars() {
        if in_string {
            in_string = escaped || char != '"';
            escaped = !escaped && char == '\\';
        } else {
            match char {
                ' ' | '\n' | '\r' | '\t' => continue,
                '"' => in_string = true,
                '{' | '[' => depth += 1,
                '}' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > MOST_DEPTH {
                return None;
            }
        }
        out.push(char);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    proptest! {
        #[test]
        fn compact_json_says_the_same_without_white_space(key in ".{0,20}", value in ".{0,40}", number: i64) {
            let json = serde_json::json!({ key: [value, number, { "a b": [] }] });
            let pretty = serde_json::to_string_pretty(&json).unwrap();
            let compact = data(pretty.as_bytes(), 1 << 20, "the body").unwrap();
            prop_assert_eq!(compact.get(), serde_json::to_string(&json).unwrap());
        }

        #[test]
        fn no_body_makes_it_panic(body: Vec<u8>) {
            let _ = data(&body, 1000, "the body");
            let _ = lines(&body, 10, 1000);
        }
    }

    #[test]
    fn a_string_keeps_its_white_space_and_its_escapes() {
        let text = r#"{"a": "x \" y \\" , "b" : " \\\" " }"#;
        let compact = data(text.as_bytes(), 100, "the body").unwrap();
        assert_eq!(compact.get(), r#"{"a":"x \" y \\","b":" \\\" "}"#);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert!(data(nested(MOST_DEPTH).as_bytes(), 1000, "the body").is_ok());
        assert!(data(nested(MOST_DEPTH + 1).as_bytes(), 1000, "the body").is_err());
        // Brackets in a string nest nothing.
        assert!(data(format!("\"{}\"", "[".repeat(500)).as_bytes(), 1000, "the body").is_ok());
    }

    #[test]
    fn a_batch_is_a_value_a_line() {
        let values = lines(b"{\"a\":1}\r\n\n  [2, 3]\n\"x\"", 10, 100).unwrap();
        let texts: Vec<_> = values.iter().map(|value| value.get()).collect();
        assert_eq!(texts, [r#"{"a":1}"#, "[2,3]", "\"x\""]);
        assert!(lines(b"\n \n", 10, 100).is_err());
        assert!(lines(b"1\n2\n3", 2, 100).is_err());
        assert_eq!(count(b"1\r\n\n 2\n{]\n", 3).ok(), Some(3));
        assert!(count(b"1\n2\n3", 2).is_err());
        let wrong = lines(b"1\n{]\n", 10, 100).unwrap_err();
        assert!(wrong.problem().detail.unwrap().starts_with("line 2"));
        assert_eq!(serde_json::from_str::<Value>(values[1].get()).unwrap()[1], 3);
    }
}
