//! Errors as RFC 9457 has them, with one extension: the field at fault.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// `application/problem+json` (RFC 9457). On the stream it is a member of the message of that name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Problem {
    /// A URI reference that names the kind of problem, for example `urn:freshet:unknown-topic`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, and what would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The parameter, header or member at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The policies that had no room (draft-ietf-httpapi-ratelimit-headers-11, problem type `quota-exceeded`).
    #[serde(default, rename = "violated-policies", skip_serializing_if = "Vec::is_empty")]
    pub violated_policies: Vec<String>,
    /// Of 429, also where there are no headers: seconds after which the same may be admitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// Of 412: the version of the settings that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<u64>,
}
