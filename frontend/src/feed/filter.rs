//! What of a topic is shown: events that have a text in them, and whose fields are as wanted. Pure.
//!
//! A field is a path into the event's data, with an operator: `cpu.user > 0.5`, `cores[0] >= 0.9`, `busiest[*].name ~ rust`,
//! `"odd key".x = "a b"`, `error` (it is there). Several are joined by `and` or `&&`. Where a path means several values (`[*]`), one
//! that is as wanted is enough. Numbers are compared as numbers, strings by their characters; `~` is "contains".

use std::cmp::Ordering;

use super::json::{Step, any_at, text_of};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// Letters of ASCII in lower case.
    text: String,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    path: Vec<Step>,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Exists,
    Is(Operator, Operand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    Different,
    Less,
    AtMost,
    More,
    AtLeast,
    Contains,
}

/// The longer ones first.
const OPERATORS: [(&str, Operator); 8] = [
    ("==", Operator::Equal),
    ("!=", Operator::Different),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::More),
    ("~", Operator::Contains),
];

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    /// The second is how it was written: what formats floats weighs more than this file.
    Number(f64, String),
    Text(String),
    /// `true`, `false` or `null`.
    Word(String),
}

impl Filter {
    /// A text to look for (capitals of ASCII do not matter) and conditions on fields; both may be empty. The error is for people.
    pub fn new(text: &str, fields: &str) -> Result<Self, String> {
        let mut conditions = Vec::new();
        let mut rest = fields.trim();
        while !rest.is_empty() {
            let condition;
            (condition, rest) = condition_of(rest)?;
            conditions.push(condition);
        }
        Ok(Self {
            text: text.trim().to_ascii_lowercase(),
            conditions,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.conditions.is_empty()
    }

    /// Whether an event is shown: the text of all of it, and of its data.
    pub fn takes(&self, event: &str, data: &str) -> bool {
        contains(event, &self.text) && self.conditions.iter().all(|condition| condition.holds(data))
    }
}

impl Condition {
    fn holds(&self, data: &str) -> bool {
        any_at(data, &self.path, &|raw| match &self.test {
            Test::Exists => true,
            Test::Is(Operator::Contains, operand) => contains(&text_of(raw), &operand.text().to_ascii_lowercase()),
            Test::Is(operator, operand) => operator.holds(operand.compare(raw)),
        })
    }
}

impl Operator {
    /// `None`: the two cannot be compared, so they are different.
    fn holds(self, found: Option<Ordering>) -> bool {
        match (self, found) {
            (Self::Different, found) => found != Some(Ordering::Equal),
            (Self::Equal, Some(found)) => found.is_eq(),
            (Self::Less, Some(found)) => found.is_lt(),
            (Self::AtMost, Some(found)) => found.is_le(),
            (Self::More, Some(found)) => found.is_gt(),
            (Self::AtLeast, Some(found)) => found.is_ge(),
            _ => false,
        }
    }
}

impl Operand {
    fn text(&self) -> String {
        match self {
            Self::Number(_, text) | Self::Text(text) | Self::Word(text) => text.clone(),
        }
    }

    /// How the value that was found lies to this one.
    fn compare(&self, raw: &str) -> Option<Ordering> {
        match self {
            Self::Number(wanted, _) => serde_json::from_str::<f64>(raw).ok()?.partial_cmp(wanted),
            Self::Text(wanted) => raw.starts_with('"').then(|| (*text_of(raw)).cmp(wanted)),
            Self::Word(wanted) => (raw == wanted).then_some(Ordering::Equal),
        }
    }
}

/// Whether the text has this in it, which is in lower case; capitals of ASCII do not matter.
fn contains(text: &str, lower: &str) -> bool {
    let (text, lower) = (text.as_bytes(), lower.as_bytes());
    let Some((&first, rest)) = lower.split_first() else {
        return true;
    };
    let upper = first.to_ascii_uppercase();
    let last = match text.len().checked_sub(lower.len()) {
        Some(last) => last,
        None => return false,
    };
    text[..=last].iter().enumerate().any(|(at, &byte)| {
        (byte == first || byte == upper) && text[at + 1..=at + rest.len()].eq_ignore_ascii_case(rest)
    })
}

/// The first condition of the text, and what stands behind it.
fn condition_of(text: &str) -> Result<(Condition, &str), String> {
    let (path, rest) = path_of(text)?;
    let rest = rest.trim_start();
    let operator = OPERATORS.iter().find(|(sign, _)| rest.starts_with(sign));
    let Some((sign, operator)) = operator else {
        let rest = joined(rest)?;
        return Ok((
            Condition {
                path,
                test: Test::Exists,
            },
            rest,
        ));
    };
    let (operand, rest) = operand_of(rest[sign.len()..].trim_start(), sign)?;
    let test = Test::Is(*operator, operand);
    Ok((Condition { path, test }, joined(rest.trim_start())?))
}

/// What stands behind `and`.
fn joined(rest: &str) -> Result<&str, String> {
    if rest.is_empty() {
        return Ok(rest);
    }
    let behind = rest.strip_prefix("&&").or_else(|| rest.strip_prefix("and "));
    match behind.map(str::trim_start) {
        Some(behind) if !behind.is_empty() => Ok(behind),
        Some(_) => Err("a condition is missing after “and”".to_owned()),
        None => Err(["“", rest, "”: an operator is expected here: = != < <= > >= ~"].concat()),
    }
}

fn path_of(text: &str) -> Result<(Vec<Step>, &str), String> {
    let mut path = Vec::new();
    let mut rest = text.strip_prefix('$').unwrap_or(text);
    loop {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(inner) = rest.strip_prefix('[') {
            let (index, behind) = inner.split_once(']').ok_or("“[” has no “]”")?;
            path.push(match index.trim() {
                "*" | "" => Step::Any,
                index => Step::Index(
                    serde_json::from_str(index).map_err(|_| ["“[", index, "]”: a number or * is expected"].concat())?,
                ),
            });
            rest = behind;
        } else if rest.starts_with('"') {
            let (name, behind) = quoted(rest)?;
            path.push(Step::Key(name));
            rest = behind;
        } else {
            let ends = |c: char| c.is_whitespace() || ".[=!<>~&\"".contains(c);
            let (name, behind) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
            if name.is_empty() {
                break;
            }
            path.push(if name == "*" {
                Step::Any
            } else {
                Step::Key(name.to_owned())
            });
            rest = behind;
        }
        if !rest.starts_with(['.', '[']) {
            break;
        }
    }
    match path.is_empty() {
        true => Err("a field is expected, such as cpu.user > 0.5".to_owned()),
        false => Ok((path, rest)),
    }
}

fn operand_of<'a>(text: &'a str, sign: &str) -> Result<(Operand, &'a str), String> {
    if text.starts_with('"') {
        return quoted(text).map(|(text, rest)| (Operand::Text(text), rest));
    }
    let end = [text.find("&&"), text.find(" and ")].into_iter().flatten().min();
    let (value, rest) = text.split_at(end.unwrap_or(text.len()));
    let value = value.trim();
    let operand = match value {
        "" => return Err(["a value is missing after “", sign, "”"].concat()),
        "true" | "false" | "null" => Operand::Word(value.to_owned()),
        _ => match serde_json::from_str(value) {
            Ok(number) => Operand::Number(number, value.to_owned()),
            Err(_) => Operand::Text(value.to_owned()),
        },
    };
    Ok((operand, rest))
}

/// A JSON string at the beginning of the text.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
    match strings.next() {
        Some(Ok(string)) => {
            let end = strings.byte_offset();
            Ok((string, &text[end..]))
        }
        _ => Err("a quotation mark is not closed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DATA: &str = r#"{"cpu":{"user":0.62,"idle":0},"cores":[0.4,0.97],"host":"Alpha","ok":true,"gone":null,
        "odd key":{"x":"a b"},"busiest":[{"name":"rustc","n":3},{"name":"cc","n":12}],"esc":"a\"b"}"#;

    fn takes(fields: &str) -> bool {
        Filter::new("", fields).unwrap().takes(DATA, DATA)
    }

    #[test]
    fn a_field_is_compared_as_what_it_is() {
        for yes in [
            "cpu.user > 0.5",
            "cpu.user>0.5",
            "$.cpu.user >= 0.62",
            "cpu.user = 6.2e-1",
            "cpu.idle == 0",
            "cpu.user != 1",
            "host = Alpha",
            "host = \"Alpha\"",
            "host > Aaa",
            "host ~ LPH",
            "ok = true",
            "gone = null",
            "gone",
            "gone != 1",
            "\"odd key\".x = a b",
            "esc = \"a\\\"b\"",
            "cores[1] > 0.9",
            "cores[*] > 0.9",
            "busiest[*].name ~ rust",
            "busiest.*.n >= 12",
            "cpu ~ 0.62",
            "cpu.user > 0.5 and host = Alpha",
            "cpu.user > 0.5&&ok=true && cores",
            "  ",
        ] {
            assert!(takes(yes), "{yes}");
        }
        for no in [
            "cpu.user > 0.62",
            "cpu.user < abc",
            "cpu.nothing",
            "cpu.nothing != 1",
            "cores[2] > 0",
            "cores.x",
            "cpu[0]",
            "host > 5",
            "host = alpha",
            "ok = \"true\"",
            "ok > false",
            "busiest[*].n > 12",
            "cpu.user > 0.5 and host = Beta",
        ] {
            assert!(!takes(no), "{no}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        let why = |fields: &str| Filter::new("", fields).unwrap_err();
        assert!(why("cpu.user >").contains("value is missing"));
        assert!(why("> 5").contains("field is expected"));
        assert!(why("cpu user").contains("operator is expected"));
        assert!(why("cpu > 5 &&").contains("condition is missing"));
        assert!(why("cores[x] > 5").contains("number or *"));
        assert!(why("cores[1 > 5").contains("no “]”"));
        assert!(why("host = \"x").contains("not closed"));
    }

    #[test]
    fn a_text_is_found_whatever_its_capitals() {
        let takes = |text: &str| Filter::new(text, "").unwrap().takes(DATA, DATA);
        assert!(takes("") && takes("ALPHA") && takes("alpha") && takes(" rustc ") && takes("}"));
        assert!(!takes("beta") && !takes(&"x".repeat(1000)));
        assert!(Filter::new("é", "").unwrap().takes("caf\u{e9}", ""));
        assert!(Filter::new(" ", " ").unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text: String, fields in "[a-z\\[\\]*.=<>!~&\" 0-9é]{0,24}", data: String) {
            if let Ok(filter) = Filter::new(&text, &fields) {
                filter.takes(&data, &data);
            }
        }

        #[test]
        fn a_text_is_found_exactly_where_it_is(hay in "[abAB]{0,12}", needle in "[ab]{0,4}") {
            prop_assert_eq!(contains(&hay, &needle), hay.to_ascii_lowercase().contains(&needle));
        }
    }
}
