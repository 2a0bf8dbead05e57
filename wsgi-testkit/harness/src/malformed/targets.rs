//! Request targets: their forms, escapes, and invalid bytes.

use super::{BYTES, HOSTS, LIMITS, Row, STRICT, line, refused, served};

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::new("target of the absolute form", line("GET http://a/a HTTP/1.1"), served("GET /a 0")),
        Row::new("target of the absolute form with another host", line("GET http://b/a HTTP/1.1"), served("GET /a 0")),
        Row::refused("target of the absolute form with a user", line("GET http://me@a/a HTTP/1.1")),
        Row::new("target of the absolute form without a path", line("GET http://a?b HTTP/1.1"), served("GET / 0")),
        Row::refused("target of the absolute form without a host", line("GET http:///a HTTP/1.1")),
        Row::refused("target of the absolute form with an odd port", line("GET http://a:b/a HTTP/1.1")),
        Row::new(
            "target of the absolute form with a large port",
            line("GET http://a:99999/a HTTP/1.1"),
            served("GET /a 0"),
        )
        .nginx_since(STRICT, refused(400))
        .hyper(refused(400), HOSTS),
        Row::new("target of the absolute form with another scheme", line("GET ftp://a/a HTTP/1.1"), served("GET /a 0")),
        Row::refused("target of the authority form", line("GET a:80 HTTP/1.1")),
        Row::refused("target * of GET", line("GET * HTTP/1.1")),
        Row::refused("target * of OPTIONS", line("OPTIONS * HTTP/1.1")),
        Row::refused("target without a slash", line("GET a HTTP/1.1")),
        Row::refused("target ?a", line("GET ?a HTTP/1.1")),
        Row::new("target with a fragment", line("GET /a#b HTTP/1.1"), served("GET /a 0")),
        Row::new("target with a backslash", line("GET /a\\..\\b HTTP/1.1"), served("GET /a\\\\..\\\\b 0")),
        Row::new(
            "target with quotes and angle brackets",
            line("GET /a\"<>^`{|} HTTP/1.1"),
            served("GET /a\"<>^`{|} 0"),
        )
        .hyper(refused(400), BYTES),
        Row::new("target with two slashes", line("GET //b/a HTTP/1.1"), served("GET /b/a 0")),
        Row::new("dots within the root", line("GET /b/../a HTTP/1.1"), served("GET /a 0")),
        Row::refused("dots above the root", line("GET /../a HTTP/1.1")),
        Row::refused("dots above the root, escaped", line("GET /%2e%2e/a HTTP/1.1")),
        Row::refused("dots above the root, behind an escaped slash", line("GET /b%2f..%2f..%2fa HTTP/1.1")),
        Row::refused("escape of NUL", line("GET /a%00b HTTP/1.1")),
        Row::new("escape of CR and LF", line("GET /a%0d%0aX:%20y HTTP/1.1"), served("GET /a\\r\\nX: y 0")),
        Row::refused("escape that is no number", line("GET /a%zz HTTP/1.1")),
        Row::refused("escape that is cut", line("GET /a%4 HTTP/1.1")),
        Row::refused("escape that is cut before the query", line("GET /a%?b HTTP/1.1")),
        Row::new("escape of an escape", line("GET /%252e%252e/a HTTP/1.1"), served("GET /%2e%2e/a 0")),
        Row::new("escape of a long form of a slash", line("GET /..%c0%af HTTP/1.1"), served("GET /..\\xc0\\xaf 0")),
        Row::new("escape in the query that is no number", line("GET /a?%zz HTTP/1.1"), served("GET /a 0")),
        Row::refused("NUL in the target", line("GET /a\0b HTTP/1.1")),
        Row::refused("control character in the target", line("GET /a\x01b HTTP/1.1")),
        Row::refused("DEL in the target", line("GET /a\x7fb HTTP/1.1")),
        Row::new("bytes above ASCII in the target", line(b"GET /a\xff\x80 HTTP/1.1"), served("GET /a\\xff\\x80 0"))
            .hyper(refused(400), BYTES),
        Row::new("UTF-8 in the target", line("GET /\u{e4} HTTP/1.1"), served("GET /\\xc3\\xa4 0")),
        Row::new("UTF-8 in the query", line("GET /a?\u{e4} HTTP/1.1"), served("GET /a 0")),
        Row::refused("NUL in the query", line("GET /a?\0 HTTP/1.1")),
        Row::refused("control character in the query", line("GET /a?\x01 HTTP/1.1")),
        Row::new("target of 9,000 bytes", line(format!("GET /a?{} HTTP/1.1", "b".repeat(9_000))), refused(414))
            .hyper(refused(400), LIMITS),
        Row::new("target of 70,000 bytes", line(format!("GET /a?{} HTTP/1.1", "b".repeat(70_000))), refused(414))
            .hyper(refused(431), LIMITS),
    ]
}
