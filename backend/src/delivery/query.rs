//! The path and the query of a request: every parameter known, every value within its bounds, or a clear refusal.

use std::borrow::Cow;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use freshet_wire::From;

use crate::config::is_name;
use crate::error::Error;

/// Takes the parameters one by one; what is not expected is refused by name.
pub(super) fn pairs(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
}

/// A part of the path, whose escapes may make no text.
pub(super) fn path<T>(field: &'static str, path: Result<Path<T>, PathRejection>) -> Result<T, Error> {
    match path {
        Ok(Path(part)) => Ok(part),
        Err(_) => Err(Error::parameter(field, format!("{field} in the path is not UTF-8"))),
    }
}

pub(super) fn unknown(name: &str) -> Error {
    Error::parameter(name.to_owned(), format!("there is no parameter {name:?} here"))
}

/// A whole number from `least` to `most`.
pub(super) fn number(field: &'static str, text: &str, least: u64, most: u64) -> Result<u64, Error> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && (least..=most).contains(&number) => Ok(number),
        _ => Err(Error::parameter(
            field,
            format!("{field} takes a whole number from {least} to {most}"),
        )),
    }
}

/// `TOPIC[@POSITION]`; `so_far` is how many there were before it.
pub(super) fn from(text: &str, so_far: usize, most: usize) -> Result<From, Error> {
    if so_far >= most {
        return Err(too_many(most));
    }
    Ok(text.parse::<From>()?)
}

pub(super) fn too_many(most: usize) -> Error {
    Error::parameter("from", format!("at most {most} topics can be read at once"))
}

/// The name under which a reader wants its figures counted.
pub(super) fn reader(text: Cow<'_, str>) -> Result<String, Error> {
    if is_name(&text) {
        return Ok(text.into_owned());
    }
    Err(Error::parameter(
        "reader",
        "reader takes 1 to 64 letters, digits, '.', '_' and '-'",
    ))
}
