//! Request paths as applications get them: decoded, without dot segments, with single slashes.
//!
//! These are nginx's rules (`ngx_http_parse_complex_uri`, `merge_slashes on`), so that an application sees the same
//! below either host. REQUEST_URI has the path as it was sent.

/// Decodes a path that begins with `/`; `None` for one that is to be refused: with an invalid escape, a NUL, or a way
/// out at the top.
pub(crate) fn decode(path: &[u8]) -> Option<Vec<u8>> {
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
        // What stands for a folder ends like one.
        if last {
            clean.push(b'/');
        }
    }
    Some(clean)
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

/// The other way, for a part of a path that nobody has sent.
pub(crate) fn encode(path: &[u8]) -> String {
    path.iter().fold(String::with_capacity(path.len()), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(*byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

#[cfg(test)]
mod tests {
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
            assert_eq!(decode(path.as_bytes()).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn what_nginx_refuses_is_refused() {
        for path in
            ["", "*", "a", "/%", "/%2", "/%zz", "/%+1", "/a%00", "/..", "/a/../..", "/a/%2e%2e/%2e%2e/b", "//.."]
        {
            assert_eq!(decode(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn encoding_is_undone_by_decoding() {
        let path = b"/m\xc3\xbc%/a b?\"";
        assert_eq!(encode(path), "/m%C3%BC%25/a%20b%3F%22");
        assert_eq!(decode(encode(path).as_bytes()).as_deref(), Some(&path[..]));
    }
}
