//! Validators (RFC 9110, section 13.1.2).

use http::{HeaderMap, header};

/// True when `If-None-Match` names this tag, by the weak comparison, or any (`*`).
pub(super) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| opaque(tag.trim()))
        .any(|tag| tag == opaque(etag) || tag == "*")
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_a_list_weak_or_strong_and_no_other() {
        let known = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, http::HeaderValue::from_static(value));
            is_known(&headers, "\"a1\"")
        };
        for yes in ["\"a1\"", "W/\"a1\"", "\"b\", \"a1\"", "*"] {
            assert!(known(yes), "{yes}");
        }
        for no in ["\"a\"", "a1", "\"b\", \"c\"", ""] {
            assert!(!known(no), "{no}");
        }
    }
}
