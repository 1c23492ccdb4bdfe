//! TOML 1.1.

use serde_json::{Number, Value};
use toml_edit::{Document, Item, TableLike};

use super::{MOST_DEPTH, Member, Node, Unreadable, line_of};

pub(super) fn parse(text: &str) -> Result<Vec<Member>, Unreadable> {
    let document = Document::parse(text).map_err(|error| {
        let at = error.span().map_or(text.len(), |span| span.start);
        // Its Display shows the line, and a secret may stand there.
        Unreadable::new(line_of(text.as_bytes(), at), error.message().replace('\n', ", "))
    })?;
    table(document.as_table(), text, 1, 0)
}

fn table(table: &dyn TableLike, text: &str, line: u32, depth: usize) -> Result<Vec<Member>, Unreadable> {
    if depth > MOST_DEPTH {
        return Err(Unreadable::too_deep(line));
    }
    let mut members = Vec::new();
    for (name, item) in table.iter() {
        let at = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
        let line = at.map_or(line, |span| line_of(text.as_bytes(), span.start));
        let node = match item.as_table_like() {
            Some(inner) => Node::Table(self::table(inner, text, line, depth + 1)?),
            None => Node::Value(of_item(item, text, line, depth)?),
        };
        members.push(Member {
            name: name.to_owned(),
            line,
            node,
        });
    }
    Ok(members)
}

fn of_item(item: &Item, text: &str, line: u32, depth: usize) -> Result<Value, Unreadable> {
    match item {
        Item::None => Ok(Value::Null),
        Item::Value(value) => of_value(value, text, line, depth + 1),
        Item::Table(inner) => Ok(Node::Table(table(inner, text, line, depth + 1)?).into_value()),
        Item::ArrayOfTables(tables) => {
            let tables = tables.iter().map(|inner| table(inner, text, line, depth + 1));
            tables.map(|table| Ok(Node::Table(table?).into_value())).collect()
        }
    }
}

fn of_value(value: &toml_edit::Value, text: &str, line: u32, depth: usize) -> Result<Value, Unreadable> {
    if depth > MOST_DEPTH {
        return Err(Unreadable::too_deep(line));
    }
    Ok(match value {
        toml_edit::Value::String(text) => Value::String(text.value().clone()),
        toml_edit::Value::Integer(integer) => Value::from(*integer.value()),
        toml_edit::Value::Boolean(flag) => Value::Bool(*flag.value()),
        toml_edit::Value::Float(float) => match Number::from_f64(*float.value()) {
            Some(number) => Value::Number(number),
            None => return Err(Unreadable::new(line, "inf and nan are no values here")),
        },
        toml_edit::Value::Datetime(_) => return Err(Unreadable::new(line, "a date is no value here")),
        toml_edit::Value::Array(list) => {
            let values = list.iter().map(|value| of_value(value, text, line, depth + 1));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        toml_edit::Value::InlineTable(inner) => Node::Table(table(inner, text, line, depth + 1)?).into_value(),
    })
}
