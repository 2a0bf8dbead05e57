//! Header fields: their lines, names and values; and the host.

use super::{
    BYTES, COUNTS_FIELDS, HIDDEN, HOSTS, LIMITS, LINE_ENDS, Row, STRICT, fields, refused, served, served_last,
};

/// Returns a head with these lines in place of Host.
fn hosts(lines: &str) -> String {
    format!("GET /a HTTP/1.1\r\n{lines}\r\n")
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::new("lines that end with LF alone", "GET /a HTTP/1.1\nHost: a\nX: y\n\n", served("GET /a 0 X=y"))
            .hyper(refused(400), LINE_ENDS),
        Row::new("one line that ends with LF alone", fields("X: y\nZ: z\r\n"), served("GET /a 0 X=y"))
            .hyper(refused(400), LINE_ENDS),
        Row::new("head that ends with LF alone", b"GET /a HTTP/1.1\r\nHost: a\r\n\n", served("GET /a 0"))
            .hyper(refused(400), LINE_ENDS),
        Row::refused("bare CR in a value", fields("X: y\rz\r\n")),
        Row::refused("bare CR in front of a name", fields("\rX: y\r\n")),
        Row::refused("bare CR as the end of a line", fields("X: y\rZ: z\r\n")),
        Row::new("two CR at the end of a line", fields("X: y\r\r\n"), served("GET /a 0 X=y"))
            .hyper(refused(400), BYTES),
        Row::refused("head that ends with LF, CR, CR, LF", format!("GET /a HTTP/1.1\r\nHost: a\r\n\r\r\n{HIDDEN}")),
        Row::new("line without a colon", fields("X\r\n"), served("GET /a 0 X=")).hyper(refused(400), BYTES),
        Row::refused("line without a name", fields(": y\r\n")),
        Row::refused("space before the colon", fields("X : y\r\n")),
        Row::refused("tab before the colon", fields("X\t: y\r\n")),
        Row::refused("space before the first name", "GET /a HTTP/1.1\r\n Host: a\r\n\r\n"),
        Row::refused("value continued in the next line", fields("X: y\r\n z\r\n")),
        Row::refused("value continued after a tab", fields("X: y\r\n\tz\r\n")),
        Row::refused("line of blanks", fields("X: y\r\n \r\n")),
        Row::refused("name with a space", fields("X Y: z\r\n")),
        Row::refused("name with NUL", fields("X\0Y: z\r\n")),
        Row::refused("name with a control character", fields("X\x01Y: z\r\n")),
        Row::new("name with a byte above ASCII", fields(b"X\xe4: z\r\n"), served("GET /a 0"))
            .hyper(refused(400), BYTES),
        Row::new("name in parentheses", fields("(X): z\r\n"), served("GET /a 0")).hyper(refused(400), BYTES),
        Row::new("name with a slash", fields("X/Y: z\r\n"), served("GET /a 0")).hyper(refused(400), BYTES),
        Row::new("name in quotes", fields("\"X\": z\r\n"), served("GET /a 0")).hyper(refused(400), BYTES),
        Row::new("name with an underscore", fields("X_: z\r\nX-Y: z\r\n"), served("GET /a 0")),
        Row::new("name with a dot", fields("X.: z\r\n"), served("GET /a 0")),
        Row::refused("value with NUL", fields("X: y\0z\r\n")),
        Row::new("value with a control character", fields("X: y\x01z\r\n"), served("GET /a 0 X=y\\x01z"))
            .hyper(refused(400), BYTES),
        Row::new("value with VT in front", fields("X: \x0by\r\n"), served("GET /a 0 X=\\x0by"))
            .hyper(refused(400), BYTES),
        Row::new("value with DEL", fields("X: y\x7fz\r\n"), served("GET /a 0 X=y\\x7fz")).hyper(refused(400), BYTES),
        Row::new("value with bytes above ASCII", fields(b"X: \xe4\xff\r\n"), served("GET /a 0 X=\\xe4\\xff")),
        Row::new("value without anything", fields("X:\r\n"), served("GET /a 0 X=")),
        Row::refused("value of 9,000 bytes", fields(format!("Y: {}\r\n", "y".repeat(9_000)))),
        Row::new("value of 70,000 bytes", fields(format!("Y: {}\r\n", "y".repeat(70_000))), refused(400))
            .hyper(refused(431), LIMITS),
        Row::refused("name of 9,000 bytes", fields(format!("{}: y\r\n", "y".repeat(9_000)))),
        Row::new("head of 40,000 bytes", fields(format!("Y: {}\r\n", "y".repeat(1_994)).repeat(20)), refused(400))
            .hyper(refused(431), LIMITS),
        Row::new("120 fields", fields("Y: y\r\n".repeat(120)), served("GET /a 0")).hyper(refused(431), LIMITS),
        Row::new("1,200 fields", fields("Y: y\r\n".repeat(1_200)), served("GET /a 0"))
            .nginx_since(COUNTS_FIELDS, refused(400))
            .backported()
            .hyper(refused(431), LIMITS),
        Row::new("field that is repeated", fields("X: y\r\nX: z\r\n"), served("GET /a 0 X=y, z")),
        Row::refused("no Host", hosts("")),
        Row::new("no Host in HTTP/1.0", "GET /a HTTP/1.0\r\n\r\n", served_last("GET /a 0")),
        Row::refused("two Hosts", hosts("Host: a\r\nHost: b\r\n")),
        Row::refused("the same Host twice", hosts("Host: a\r\nHost: a\r\n")),
        Row::refused("two Hosts in HTTP/1.0", "GET /a HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        Row::refused("no Host beside a target of the absolute form", "GET http://a/a HTTP/1.1\r\n\r\n"),
        Row::refused("Host without a value", hosts("Host:\r\n")),
        Row::refused("Host with a space", hosts("Host: a b\r\n")),
        Row::refused("Host with a comma", hosts("Host: a, b\r\n")),
        Row::refused("Host with a slash", hosts("Host: a/b\r\n")),
        Row::new("Host with a user", hosts("Host: me@a\r\n"), served("GET /a 0"))
            .nginx_since(STRICT, refused(400))
            .hyper(refused(400), HOSTS),
        Row::new("Host with a question mark", hosts("Host: a?b\r\n"), served("GET /a 0"))
            .nginx_since(STRICT, refused(400))
            .hyper(refused(400), HOSTS),
        Row::new("Host with an odd port", hosts("Host: a:b\r\n"), served("GET /a 0"))
            .nginx_since(STRICT, refused(400))
            .hyper(refused(400), HOSTS),
        Row::new("Host with a large port", hosts("Host: a:99999\r\n"), served("GET /a 0"))
            .nginx_since(STRICT, refused(400))
            .hyper(refused(400), HOSTS),
        Row::new("Host with two ports", hosts("Host: a:1:2\r\n"), served("GET /a 0"))
            .nginx_since(STRICT, refused(400))
            .hyper(refused(400), HOSTS),
        Row::refused("Host with two dots", hosts("Host: a..b\r\n")),
        Row::refused("Host that is a dot", hosts("Host: .\r\n")),
        Row::new("Host with an open bracket", hosts("Host: [::1\r\n"), served("GET /a 0"))
            .nginx_since(STRICT, refused(400))
            .hyper(refused(400), HOSTS),
        Row::refused("Host with NUL", hosts("Host: a\0\r\n")),
        Row::new("Host with a byte above ASCII", hosts("Host: \u{e4}\r\n"), served("GET /a 0"))
            .nginx_since(STRICT, refused(400))
            .hyper(refused(400), HOSTS),
        Row::new("Host with an escape", hosts("Host: a%00\r\n"), served("GET /a 0")).hyper(refused(400), HOSTS),
        Row::new("Connection with an unknown word", fields("Connection: x, y\r\n"), served("GET /a 0")),
        Row::new(
            "Connection that names Content-Length",
            format!(
                "POST /a HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: {}\r\n\r\n{HIDDEN}",
                HIDDEN.len()
            ),
            served("POST /a 33"),
        ),
        Row::new(
            "Upgrade to HTTP/2",
            fields(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
            ),
            served("GET /a 0"),
        ),
        Row::new("Expect with an unknown word", fields("Expect: 200-ok\r\n"), served("GET /a 0")),
    ]
}
