//! YAML 1.2 with its core schema (`yes` is a text), as far as a configuration needs it: one document, no aliases, no tags.

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use serde_json::{Number, Value};

use super::{MOST_DEPTH, Member, Node, Unreadable};

pub(super) fn parse(text: &str) -> Result<Vec<Member>, Unreadable> {
    let last = u32::try_from(text.lines().count()).unwrap_or(u32::MAX).max(1);
    // What is missing at the end is told to be behind it.
    document(text).map_err(|unreadable| Unreadable {
        line: unreadable.line.clamp(1, last),
        ..unreadable
    })
}

fn document(text: &str) -> Result<Vec<Member>, Unreadable> {
    let mut events = Events(Parser::new_from_str(text));
    let mut root = None;
    loop {
        let (event, line) = events.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::Nothing | Event::DocumentEnd => {}
            Event::DocumentStart(_) if root.is_some() => {
                return Err(Unreadable::new(line, "a second document begins here: one is expected"));
            }
            Event::DocumentStart(_) => {
                let (event, line) = events.next()?;
                root = Some((events.node(event, line, 0)?, line));
            }
            _ => return Err(Unreadable::new(line, "a table is expected")),
        }
    }
    match root {
        None | Some((Node::Value(Value::Null), _)) => Ok(Vec::new()),
        Some((Node::Table(members), _)) => Ok(members),
        Some((Node::Value(_), line)) => Err(Unreadable::new(line, "a table is expected")),
    }
}

struct Events<'a>(Parser<'a, StrInput<'a>>);

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(Event<'a>, u32), Unreadable> {
        match self.0.next_event() {
            Some(Ok((event, span))) => Ok((event, line(span))),
            Some(Err(error)) => {
                let line = u32::try_from(error.marker().line()).unwrap_or(u32::MAX);
                Err(Unreadable::new(line.max(1), error.info().replace('\n', ", ")))
            }
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    /// What begins with this event.
    fn node(&mut self, event: Event<'a>, line: u32, depth: usize) -> Result<Node, Unreadable> {
        if depth > MOST_DEPTH {
            return Err(Unreadable::too_deep(line));
        }
        match event {
            Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
                Err(Unreadable::new(line, "tags are not taken"))
            }
            Event::Scalar(text, style, _, None) => Ok(Node::Value(scalar(&text, style))),
            Event::SequenceStart(_, None) => self.list(depth),
            Event::MappingStart(_, None) => self.table(depth),
            Event::Alias(_) => Err(Unreadable::new(line, "aliases are not taken: write the value again")),
            _ => Err(Unreadable::new(line, "a value is expected")),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Node, Unreadable> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Node::Value(Value::Array(list))),
                (event, line) => list.push(self.node(event, line, depth + 1)?.into_value()),
            }
        }
    }

    fn table(&mut self, depth: usize) -> Result<Node, Unreadable> {
        let mut members: Vec<Member> = Vec::new();
        loop {
            let (name, line) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Node::Table(members)),
                (Event::Scalar(name, _, _, None), line) => (name.into_owned(), line),
                (Event::Alias(_), line) => return Err(Unreadable::new(line, "aliases are not taken")),
                (_, line) => return Err(Unreadable::new(line, "a key is a word")),
            };
            if members.iter().any(|member| member.name == name) {
                return Err(Unreadable::new(line, format!("{name:?} stands there twice")));
            }
            let (event, at) = self.next()?;
            let node = self.node(event, at, depth + 1)?;
            members.push(Member { name, line, node });
        }
    }
}

fn line(span: Span) -> u32 {
    u32::try_from(span.start.line()).unwrap_or(u32::MAX)
}

/// YAML 1.2.2, section 10.3.2.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::from(text);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let based = |prefix: &str, base| {
        text.strip_prefix(prefix)
            .and_then(|text| i64::from_str_radix(text, base).ok())
    };
    if let Some(integer) = based("0o", 8).or_else(|| based("0x", 16)) {
        return Value::from(integer);
    }
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if is_number {
        if let Ok(integer) = text.parse::<i64>() {
            return Value::from(integer);
        }
        if let Some(number) = text.parse().ok().and_then(Number::from_f64) {
            return Value::Number(number);
        }
    }
    Value::from(text)
}
