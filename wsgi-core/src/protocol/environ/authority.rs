//! The host that a client requests.

use std::borrow::Cow;

use http::uri::Authority;

/// Parses host and port from a Host header, or from the authority of a target (RFC 9110, 7.2). The host is returned in lower
/// case and without a trailing dot. The port may be missing or empty, and is at most 65535.
///
/// `None` for anything else: a user in front, an empty host, an empty label, an escape, a byte above ASCII. nginx refuses
/// these with 400, since 1.29.4 (`ngx_http_validate_host`).
pub fn host_and_port(authority: &[u8]) -> Option<(Cow<'_, str>, Option<u16>)> {
    let (host, port) = match simple(authority) {
        Some((host, port)) => (Cow::Borrowed(host), port),
        None => any(authority)?,
    };
    let has_empty_label = authority.windows(2).any(|pair| pair == b"..");
    (!host.is_empty() && !has_empty_label).then_some((host, port))
}

/// Parses the host in the form that nearly all clients send: a name in lower case or an address of version 4, and perhaps a
/// port. The result is that of [`any`], without a copy.
fn simple(authority: &[u8]) -> Option<(&str, Option<u16>)> {
    let is_simple = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let end = authority.iter().position(|byte| !is_simple(byte)).unwrap_or(authority.len());
    let (host, port) = authority.split_at(end);
    let port = match port {
        [] => None,
        [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
            Some(std::str::from_utf8(digits).ok()?.parse().ok()?)
        }
        _ => return None,
    };
    let host = std::str::from_utf8(host).ok().filter(|host| !host.is_empty() && !host.ends_with('.'))?;
    Some((host, port))
}

fn any(authority: &[u8]) -> Option<(Cow<'_, str>, Option<u16>)> {
    let authority = Authority::try_from(authority).ok()?;
    let (host, port) = (authority.host(), authority.port_u16());
    match authority.as_str().strip_prefix(host)? {
        "" | ":" => {}
        text if text.bytes().skip(1).all(|byte| byte.is_ascii_digit()) && port.is_some() => {}
        _ => return None,
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    Some((Cow::Owned(host.to_ascii_lowercase()), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses() {
        for (authority, host, port) in [
            ("a", "a", None),
            ("a:", "a", None),
            ("a:80", "a", Some(80)),
            ("a:65535", "a", Some(65535)),
            ("A.b:00080", "a.b", Some(80)),
            ("Example.ORG.:81", "example.org", Some(81)),
            ("127.0.0.1:8000", "127.0.0.1", Some(8000)),
            ("[::1]", "[::1]", None),
            ("[::1]:80", "[::1]", Some(80)),
            ("a_b", "a_b", None),
        ] {
            let (found, number) = host_and_port(authority.as_bytes()).expect(authority);
            assert_eq!((&*found, number), (host, port), "{authority}");
        }
        for odd in [
            "", ".", "..", "a..", "a..b", ":80", "a:b", "a:65536", "a:+1", "a:1:2", "me@a", "a:b@c", "a b", "a/b",
            "a?b", "a#b", "a%41", "[::1", "[::1]a", "a\0", "a\x7f", "\t", "\u{e9}",
        ] {
            assert_eq!(host_and_port(odd.as_bytes()), None, "{odd:?}");
        }
    }

    #[test]
    fn fast_path_for_simple_hosts_agrees_with_the_full_parser() {
        for authority in [
            "localhost",
            "localhost:80",
            "127.0.0.1:8000",
            "a.b-c.example",
            "a.",
            ".",
            "a:",
            "a:0",
            "a:65536",
            ":80",
            "-",
        ] {
            let Some((host, port)) = simple(authority.as_bytes()) else { continue };
            assert_eq!(any(authority.as_bytes()), Some((Cow::Owned(host.to_owned()), port)), "{authority}");
        }
        assert_eq!(simple(b"a.example:80"), Some(("a.example", Some(80))));
        for odd in ["", ":80", "a:", "a.", "A", "a:65536", "[::1]:80"] {
            assert_eq!(simple(odd.as_bytes()), None, "{odd}");
        }
    }
}
