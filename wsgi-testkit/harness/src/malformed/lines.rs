//! Request lines: methods, versions, and separators.

use super::{
    BLANKS, HIDDEN, KNOWS_CONNECT, LINE_ENDS, NEXT, OLD, PREFACE, Row, TUNNELS, VERSIONS, answered, closed, line,
    refused, served,
};

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::new("empty lines before the request", line("\r\n\r\nGET /a HTTP/1.1"), served("GET /a 0")),
        Row::new("bare LF before the request", line("\nGET /a HTTP/1.1"), served("GET /a 0"))
            .hyper(refused(400), LINE_ENDS),
        Row::refused("NUL before the request", line("\0GET /a HTTP/1.1")),
        Row::refused("space before the request", line(" GET /a HTTP/1.1")),
        Row::refused("a line of another protocol before the request", format!("HELO a\r\n{HIDDEN}")),
        Row::refused("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        Row::new("a greeting of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", refused(400)).hyper(closed(), PREFACE),
        Row::refused("empty line in place of the method", line(" /a HTTP/1.1")),
        Row::refused("method in lower case", line("get /a HTTP/1.1")),
        Row::new("unknown method", line("FETCH /a HTTP/1.1"), served("FETCH /a 0")),
        Row::new("method with a dash and an underscore", line("M-SEARCH_X /a HTTP/1.1"), served("M-SEARCH_X /a 0")),
        Row::refused("method with other characters of a token", line("G!T /a HTTP/1.1")),
        Row::refused("method with a parenthesis", line("G(T /a HTTP/1.1")),
        Row::refused("method with NUL", line("GE\0T /a HTTP/1.1")),
        Row::refused("method with a byte above ASCII", line(b"G\xc9T /a HTTP/1.1")),
        Row::new(
            "method of 70 bytes",
            line(format!("{} /a HTTP/1.1", "A".repeat(70))),
            served("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA /a 0"),
        ),
        Row::new("TRACE", line("TRACE /a HTTP/1.1"), refused(405)),
        Row::new("CONNECT", line("CONNECT a:80 HTTP/1.1"), refused(400))
            .nginx_since(KNOWS_CONNECT, refused(405))
            .hyper(refused(405), TUNNELS),
        Row::new("two spaces before the target", line("GET  /a HTTP/1.1"), served("GET /a 0"))
            .hyper(refused(400), BLANKS),
        Row::new("two spaces before the version", line("GET /a  HTTP/1.1"), served("GET /a 0"))
            .hyper(refused(400), BLANKS),
        Row::refused("tab before the target", line("GET\t/a HTTP/1.1")),
        Row::refused("tab before the version", line("GET /a\tHTTP/1.1")),
        Row::refused("form feed before the version", line("GET /a\x0cHTTP/1.1")),
        Row::new("space after the version", line("GET /a HTTP/1.1 "), served("GET /a 0")).hyper(refused(400), BLANKS),
        Row::refused("words after the version", line("GET /a HTTP/1.1 b")),
        Row::refused("bare CR in the first line", line("GET /a\r HTTP/1.1")),
        Row::refused("bare CR after the version", line("GET /a HTTP/1.1\rX: y")),
        Row::refused("two CR after the version", line("GET /a HTTP/1.1\r")),
        Row::new("bare LF in the first line", line("GET /a\n HTTP/1.1"), answered(&[0], &["GET /a 0"]))
            .hyper(refused(400), LINE_ENDS),
        Row::new("no version", line("GET /a"), answered(&[0], &["GET /a 0"])).hyper(refused(400), OLD),
        Row::new("no version, no fields", format!("GET /a\r\n{HIDDEN}"), answered(&[0], &["GET /a 0"]))
            .hyper(refused(400), OLD),
        Row::new("no version, with a body", format!("POST /a\r\n\r\n{HIDDEN}"), answered(&[0], &[]))
            .hyper(refused(400), OLD),
        Row::refused("no target", line("GET HTTP/1.1")),
        Row::refused("HTTP/0.9", line("GET /a HTTP/0.9")),
        Row::new("HTTP/1.2", line("GET /a HTTP/1.2"), served("GET /a 0")).hyper(refused(400), VERSIONS),
        Row::new("HTTP/1.10", line("GET /a HTTP/1.10"), served("GET /a 0")).hyper(refused(400), VERSIONS),
        Row::refused("HTTP/01.1", line("GET /a HTTP/01.1")),
        Row::new("HTTP/2.0", line("GET /a HTTP/2.0"), refused(505)).hyper(refused(400), VERSIONS),
        Row::refused("HTTP/1", line("GET /a HTTP/1")),
        Row::refused("HTTP/1.", line("GET /a HTTP/1.")),
        Row::refused("HTTP/1,1", line("GET /a HTTP/1,1")),
        Row::refused("HTTP/-1.1", line("GET /a HTTP/-1.1")),
        Row::refused("version in lower case", line("GET /a http/1.1")),
        Row::refused("version of another protocol", line("GET /a RTSP/1.0")),
        Row::refused("version with a space", line("GET /a HTTP/ 1.1")),
        Row::new(
            "garbage behind a request",
            [line("GET /a HTTP/1.1"), b"\x01\r\n\r\n".to_vec(), NEXT.into()].concat(),
            answered(&[200, 400], &["GET /a 0"]),
        ),
    ]
}
