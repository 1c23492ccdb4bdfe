//! How deep JSON nests. One bound for every engine: what one takes in, all do, and what is published comes back as it was.

/// How deeply arrays and objects of an event's data may nest: whoever reads an event must be able to. (`serde_json` reads 128, and a page
/// or a frame puts three around the data.)
pub const MOST_DEPTH: usize = 100;

/// How deep arrays and objects are nested, if the text is JSON.
pub(crate) fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// So many arrays within each other, and nothing in them.
#[cfg(any(test, feature = "contract"))]
pub(crate) fn nested(depth: usize) -> String {
    ["[".repeat(depth), "]".repeat(depth)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_outside_of_strings_alone() {
        assert_eq!(depth("1"), 0);
        assert_eq!(depth(r#"{"a":[1,{"b":2}],"c":[]}"#), 3);
        assert_eq!(depth(r#"["[[\"[[", "\\", ["]"]]"#), 2);
        assert_eq!(depth(&nested(MOST_DEPTH)), MOST_DEPTH);
    }

    #[test]
    fn the_deepest_event_can_be_read_within_a_page_and_a_frame() {
        let data = nested(MOST_DEPTH);
        let page = format!(r#"{{"events":[{{"data":{data}}}]}}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&page).is_ok());
    }
}
