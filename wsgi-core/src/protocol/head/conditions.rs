//! Conditions of a request, evaluated with the validators of its response.

/// Whether the entity tag of a response is in the list of `If-Match` (RFC 9110, 13.1.1). Tags are compared byte by byte.
pub fn is_listed(list: &[u8], tag: Option<&[u8]>) -> bool {
    list == b"*" || tag.is_some_and(|tag| tags(list).any(|other| other == tag))
}

/// Returns the entity tags of a list. A tag may contain commas between its quotes.
fn tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        rest = &rest[start..];
        let mut quoted = false;
        let end = rest.iter().position(|byte| {
            quoted ^= *byte == b'"';
            !quoted && *byte == b','
        });
        let (tag, behind) = rest.split_at(end.unwrap_or(rest.len()));
        rest = behind;
        Some(tag.trim_ascii_end())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_anywhere_in_a_list() {
        for list in ["\"a\"", "\"b\", \"a\"", " ,\"b\" , \"a\",", "\"a\",\"b\"", "*", "\"b,c\",\"a\""] {
            assert!(is_listed(list.as_bytes(), Some(b"\"a\"")), "{list}");
        }
        for list in ["", "\"b\"", "\"ab\"", "W/\"a\"", "\"b,\"a\"", "a", "\"b", "* , \"b\""] {
            assert!(!is_listed(list.as_bytes(), Some(b"\"a\"")), "{list}");
        }
        assert!(is_listed(b"*", None) && !is_listed(b"\"a\"", None));
        assert!(is_listed(b"\"x\", \"a, b\"", Some(b"\"a, b\"")) && is_listed(b"W/\"a\"", Some(b"W/\"a\"")));
    }
}
