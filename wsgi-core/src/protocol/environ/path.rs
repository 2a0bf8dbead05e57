//! Splitting a path into SCRIPT_NAME and PATH_INFO.

/// How the host selected the application for a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mount<'a> {
    /// By a prefix of the path, e.g. nginx's `location /app`.
    Prefix(&'a [u8]),
    /// By the whole path, e.g. nginx's `location = /app`.
    Exact(&'a [u8]),
    /// By a rule that names no part of the path, e.g. a regular expression.
    None,
}

/// Splits a decoded path, which begins with `/`, into SCRIPT_NAME and PATH_INFO.
///
/// SCRIPT_NAME never ends in `/`, PATH_INFO is empty or begins with it, and concatenated they are `uri`. A prefix matches
/// only at the border of a segment: `/application` is not below `/app`. Both parts have the bytes of `uri`; the prefix is
/// compared without case, because the host has matched it already, on some file systems without case.
pub fn split_path<'a>(uri: &'a [u8], mount: Mount<'_>) -> (&'a [u8], &'a [u8]) {
    let script = match mount {
        Mount::Prefix(prefix) => without_slash(prefix),
        Mount::Exact(_) => without_slash(uri),
        Mount::None => b"",
    };
    match uri.split_at_checked(script.len()) {
        Some((head, rest)) if head.eq_ignore_ascii_case(script) && is_border(rest) => (head, rest),
        _ => uri.split_at(0),
    }
}

/// Strips the trailing slashes of a SCRIPT_NAME that the operator sets.
pub(super) fn without_slash(path: &[u8]) -> &[u8] {
    let slashes = path.iter().rev().take_while(|byte| **byte == b'/').count();
    &path[..path.len() - slashes]
}

/// Returns PATH_INFO if SCRIPT_NAME is `wanted` instead of `script`; `None` if the path does not begin with `wanted`.
///
/// `buffer` holds the result if it is not a part of `path`.
pub(super) fn split_again<'a>(
    script: &[u8],
    path: &'a [u8],
    wanted: &[u8],
    buffer: &'a mut Vec<u8>,
) -> Option<&'a [u8]> {
    if let Some(rest) = wanted.strip_prefix(script) {
        return path.strip_prefix(rest).filter(|rest| is_border(rest));
    }
    let between = script.strip_prefix(wanted).filter(|between| is_border(between))?;
    buffer.extend_from_slice(between);
    buffer.extend_from_slice(path);
    Some(buffer)
}

fn is_border(rest: &[u8]) -> bool {
    rest.is_empty() || rest[0] == b'/'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(uri: &str, mount: Mount<'_>) -> (String, String) {
        let (script, path) = split_path(uri.as_bytes(), mount);
        (String::from_utf8(script.to_vec()).unwrap(), String::from_utf8(path.to_vec()).unwrap())
    }

    #[test]
    fn path_is_split_at_the_mount_point() {
        let cases = [
            ("/", Mount::Prefix(b"/"), "", "/"),
            ("/a/b", Mount::Prefix(b"/"), "", "/a/b"),
            ("/a", Mount::Prefix(b""), "", "/a"),
            ("/app", Mount::Prefix(b"/app"), "/app", ""),
            ("/app/", Mount::Prefix(b"/app"), "/app", "/"),
            ("/app/x", Mount::Prefix(b"/app"), "/app", "/x"),
            ("/application", Mount::Prefix(b"/app"), "", "/application"),
            ("/app/x", Mount::Prefix(b"/app/"), "/app", "/x"),
            ("/app/", Mount::Prefix(b"/app/"), "/app", "/"),
            ("/app", Mount::Prefix(b"/app/"), "/app", ""),
            ("/APP/x", Mount::Prefix(b"/app"), "/APP", "/x"),
            ("/new/x", Mount::Prefix(b"/app"), "", "/new/x"),
            ("/app", Mount::Exact(b"/app"), "/app", ""),
            ("/app/", Mount::Exact(b"/app/"), "/app", "/"),
            ("/", Mount::Exact(b"/"), "", "/"),
            ("/x/y.py", Mount::None, "", "/x/y.py"),
        ];
        for (uri, mount, script, path) in cases {
            assert_eq!(split(uri, mount), (script.to_owned(), path.to_owned()), "{uri} {mount:?}");
        }
    }

    proptest! {
        #[test]
        fn a_path_is_split_without_losing_a_byte(
            uri in "/[/Aab]{0,8}",
            prefix in prop_oneof!["/[/Aab]{0,5}", "[/a]{0,3}"],
        ) {
            for mount in [Mount::Prefix(prefix.as_bytes()), Mount::Exact(prefix.as_bytes()), Mount::None] {
                let (script, path) = split(&uri, mount);
                prop_assert_eq!(format!("{script}{path}"), &*uri);
                prop_assert!(!script.ends_with('/'));
                prop_assert!(path.is_empty() || path.starts_with('/'));
            }
            let wanted = prefix.trim_end_matches('/').to_lowercase();
            let (script, _) = split(&uri, Mount::Prefix(prefix.as_bytes()));
            let below = uri.to_lowercase().strip_prefix(&wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            prop_assert_eq!(script.to_lowercase(), if below { wanted } else { String::new() });
        }
    }

    #[test]
    fn another_script_name_changes_the_split_of_the_path() {
        let cases = [
            ("", "/a/b/c", "/a", Some("/b/c")),
            ("", "/a/b/c", "/a/b/c", Some("")),
            ("", "/a/b/c", "", Some("/a/b/c")),
            ("", "/abc", "/a", None),
            ("", "/abc", "/x", None),
            ("/a", "/b/c", "/a/b", Some("/c")),
            ("/a", "/b/c", "/a", Some("/b/c")),
            ("/a/b", "/c", "/a", Some("/b/c")),
            ("/a/b", "/c", "", Some("/a/b/c")),
            ("/ab", "/c", "/a", None),
            ("/a", "/b", "/x", None),
        ];
        for (script, path, wanted, expected) in cases {
            let mut buffer = Vec::new();
            let found = split_again(script.as_bytes(), path.as_bytes(), wanted.as_bytes(), &mut buffer);
            assert_eq!(found, expected.map(str::as_bytes), "{script} {path} {wanted}");
        }
    }
}
