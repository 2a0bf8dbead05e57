//! Request paths as applications receive them: decoded, without dot segments, with single slashes.
//!
//! These are nginx's rules (`ngx_http_parse_complex_uri`, `merge_slashes on`), so that an application sees the same path on
//! every host. REQUEST_URI has the path as it was sent.

use std::borrow::Cow;

/// Decodes the path of a request, for [`split_path`](super::split_path): percent-escapes and dot segments are resolved,
/// slashes merged. Returns `None` for a path that must be refused with 400: it does not begin with `/`, has an invalid escape
/// or a NUL, or leaves its root.
///
/// ```
/// use wsgi_core::host::decode_path;
///
/// assert_eq!(decode_path(b"/a%20b//./c").as_deref(), Some(&b"/a b/c"[..]));
/// assert_eq!(decode_path(b"/../etc/passwd"), None);
/// ```
pub fn decode_path(path: &[u8]) -> Option<Cow<'_, [u8]>> {
    if is_clean(path) {
        return Some(Cow::Borrowed(path));
    }
    let decoded = unescape(path)?;
    let (b'/', segments) = decoded.split_first()? else { return None };
    let mut clean = Vec::with_capacity(decoded.len());
    let mut segments = segments.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"" | b"." => {}
            b".." => clean.truncate(clean.iter().rposition(|byte| *byte == b'/')?),
            segment => {
                clean.push(b'/');
                clean.extend_from_slice(segment);
                continue;
            }
        }
        // A path that ends in a dot segment, or in a slash, denotes a folder and ends in a slash.
        if last {
            clean.push(b'/');
        }
    }
    Some(Cow::Owned(clean))
}

/// Converts a prefix of paths from an operator (`/mnt`) to the form of decoded paths: a prefix in another form would never
/// match. Empty for the root, else without a trailing slash. `None` if no path can begin with it; a `%` is written `%25`.
///
/// ```
/// use wsgi_core::host::decode_prefix;
///
/// assert_eq!(decode_prefix("/a//b/../c%20d/").as_deref(), Some(&b"/a/c d"[..]));
/// assert_eq!(decode_prefix("/.."), None);
/// ```
pub fn decode_prefix(prefix: &str) -> Option<Vec<u8>> {
    let decoded = decode_path(format!("/{prefix}").as_bytes())?.into_owned();
    Some(super::path::without_slash(&decoded).to_vec())
}

/// Whether a path needs no changes. Some such paths are not recognized.
fn is_clean(path: &[u8]) -> bool {
    path.first() == Some(&b'/')
        && !path.iter().any(|byte| matches!(byte, b'%' | 0))
        && !path.windows(2).any(|pair| matches!(pair, b"//" | b"/."))
}

fn unescape(path: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        let mut byte = *byte;
        if byte == b'%' {
            let (digits, behind) = rest.split_first_chunk()?;
            byte = hex(*digits)?;
            rest = behind;
        }
        if byte == 0 {
            return None;
        }
        decoded.push(byte);
    }
    Some(decoded)
}

fn hex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_decoded_and_cleaned_as_nginx_does() {
        let cases: [(&str, &[u8]); 22] = [
            ("/", b"/"),
            ("/a/b", b"/a/b"),
            ("/a/", b"/a/"),
            ("//a///b//", b"/a/b/"),
            ("/a%20b%C3%A9%e9", b"/a b\xc3\xa9\xe9"),
            ("/100%25", b"/100%"),
            ("/a%252e", b"/a%2e"),
            ("/a%3Fb%23c+d", b"/a?b#c+d"),
            ("/a%2Fb", b"/a/b"),
            ("/a%2F%2Fb", b"/a/b"),
            ("/.", b"/"),
            ("/./", b"/"),
            ("/a/.", b"/a/"),
            ("/a/./b", b"/a/b"),
            ("/a/..", b"/"),
            ("/a/../", b"/"),
            ("/a/b/..", b"/a/"),
            ("/a/b/../c", b"/a/c"),
            ("/a/%2e%2E/c", b"/c"),
            ("/a//../c", b"/c"),
            ("/...", b"/..."),
            ("/..a/.b/c..", b"/..a/.b/c.."),
        ];
        for (path, expected) in cases {
            assert_eq!(decode_path(path.as_bytes()).as_deref(), Some(expected), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leads_out_of_its_root(path in "/?([/.ab]|%2[eEfF5]|%0[01]|%[4a]?|[\\x00-\\x7f]){0,12}") {
            let Some(decoded) = decode_path(path.as_bytes()) else {
                // A path without special characters is never refused.
                prop_assert!(!path.starts_with('/') || path.contains(['%', '\0', '.']));
                return Ok(());
            };
            prop_assert!(decoded.starts_with(b"/") && !decoded.contains(&0));
            let segments: Vec<&[u8]> = decoded[1..].split(|byte| *byte == b'/').collect();
            prop_assert!(segments.iter().all(|segment| !matches!(*segment, b"." | b"..")));
            prop_assert!(segments[..segments.len() - 1].iter().all(|segment| !segment.is_empty()));
            // Decoding is idempotent for paths without escapes.
            if !decoded.contains(&b'%') {
                let again = decode_path(&decoded);
                prop_assert_eq!(again.as_deref(), Some(&*decoded));
            }
        }
    }

    #[test]
    fn paths_that_nginx_refuses_are_refused() {
        for path in
            ["", "*", "a", "/%", "/%2", "/%zz", "/%+1", "/a%00", "/..", "/a/../..", "/a/%2e%2e/%2e%2e/b", "//.."]
        {
            assert_eq!(decode_path(path.as_bytes()), None, "{path}");
        }
    }
}
