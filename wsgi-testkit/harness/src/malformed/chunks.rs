//! Chunked bodies: sizes, extensions, line ends, trailers.

use super::{BODIES, CHUNKS, HIDDEN, LIMITS, LINE_ENDS, Row, STRICT, answered, post, refused, served, waits};

/// Returns a request whose body begins with these chunks. Only a lax parser takes the rest for a separate request.
fn chunks(chunks: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", chunks)
}

/// Returns a body that is ambiguous: a parser that ends the first line at its LF reads a chunk of filling, and then a
/// request. A parser that does not reads a chunk that contains the request.
fn hidden_by_lf() -> String {
    let chunk = format!("0\r\n\r\n{HIDDEN}");
    format!("{:x};a\n{}\r\n{chunk}\r\n0\r\n\r\n", chunk.len(), "a".repeat(chunk.len()))
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::refused("chunk size that overflows to 0", chunks(&format!("10000000000000000\r\n\r\n{HIDDEN}"))),
        Row::refused("chunk size that overflows to 3", chunks("10000000000000003\r\nabc\r\n0\r\n\r\n")),
        Row::new("chunk size of 2^32", chunks(&format!("100000000\r\n\r\n{HIDDEN}")), refused(413))
            .hyper(waits(), BODIES),
        Row::refused("chunk size of 2^63", chunks(&format!("8000000000000000\r\n\r\n{HIDDEN}"))),
        Row::refused("chunk size of 2^64 - 1", chunks(&format!("ffffffffffffffff\r\n{HIDDEN}"))),
        Row::new(
            "chunk size of 40 digits",
            chunks(&format!("{}3\r\nabc\r\n0\r\n\r\n", "0".repeat(39))),
            served("POST /a 3"),
        ),
        Row::refused("chunk size with +", chunks("+3\r\nabc\r\n0\r\n\r\n")),
        Row::refused("chunk size with -", chunks(&format!("-3\r\nabc\r\n0\r\n\r\n{HIDDEN}"))),
        Row::refused("chunk size with 0x", chunks("0x3\r\nabc\r\n0\r\n\r\n")),
        Row::new("chunk size in capitals", chunks("A\r\nabcdefghij\r\n0\r\n\r\n"), served("POST /a 10")),
        Row::refused("chunk size that is no number", chunks(&format!("x\r\nabc\r\n0\r\n\r\n{HIDDEN}"))),
        Row::refused("chunk size with words behind", chunks(&format!("3x\r\nabc\r\n0\r\n\r\n{HIDDEN}"))),
        Row::refused("chunk size with NUL", chunks(&format!("3\0\r\nabc\r\n0\r\n\r\n{HIDDEN}"))),
        Row::refused("chunk without a size", chunks(&format!("\r\nabc\r\n0\r\n\r\n{HIDDEN}"))),
        Row::refused("chunk extension without a size", chunks(&format!(";a\r\nabc\r\n0\r\n\r\n{HIDDEN}"))),
        Row::refused("space before a chunk size", chunks(" 3\r\nabc\r\n0\r\n\r\n")),
        Row::new("space after a chunk size", chunks("3 \r\nabc\r\n0\r\n\r\n"), served("POST /a 3")),
        Row::new("space within a chunk size", chunks("0 3\r\nabc\r\n0\r\n\r\n"), served("POST /a 0"))
            .hyper(refused(400), CHUNKS),
        Row::new("tab after a chunk size", chunks("3\t\r\nabc\r\n0\r\n\r\n"), served("POST /a 3")),
        Row::refused("VT after a chunk size", chunks("3\x0b\r\nabc\r\n0\r\n\r\n")),
        Row::new("chunk extension", chunks("3;a=b\r\nabc\r\n0;c\r\n\r\n"), served("POST /a 3")),
        Row::new("chunk extension in quotes", chunks("3;a=\";\"\r\nabc\r\n0\r\n\r\n"), served("POST /a 3")),
        Row::new(
            "chunk extension with a control character",
            chunks("3;a=\x01\r\nabc\r\n0\r\n\r\n"),
            served("POST /a 3"),
        ),
        Row::refused("chunk extension with a bare CR", chunks(&format!("3;a\rb\r\nabc\r\n0\r\n\r\n{HIDDEN}"))),
        Row::new("chunk extension with a bare LF", chunks("3;a\nabc\r\n0\r\n\r\n"), served("POST /a 3"))
            .nginx_since(STRICT, refused(400))
            .hyper(refused(400), LINE_ENDS),
        Row::new(
            "chunk extension with a bare LF that hides a request",
            chunks(&hidden_by_lf()),
            answered(&[200, 200, 400], &["POST /a 38", "GET /hidden 0"]),
        )
        .nginx_since(STRICT, refused(400))
        .hyper(refused(400), LINE_ENDS),
        Row::new(
            "chunk extension of 20,000 bytes",
            chunks(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(20_000))),
            served("POST /a 3"),
        )
        .hyper(refused(400), LIMITS),
        Row::new("chunk size that ends with LF alone", chunks("3\nabc\r\n0\r\n\r\n"), served("POST /a 3"))
            .nginx_since(STRICT, refused(400))
            .hyper(refused(400), LINE_ENDS),
        Row::refused("chunk size that ends with CR alone", chunks(&format!("3\rabc\r\n0\r\n\r\n{HIDDEN}"))),
        Row::new("chunk that ends with LF alone", chunks("3\r\nabc\n0\r\n\r\n"), served("POST /a 3"))
            .nginx_since(STRICT, refused(400))
            .hyper(refused(400), LINE_ENDS),
        Row::refused("chunk that ends with CR alone", chunks(&format!("3\r\nabc\r0\r\n\r\n{HIDDEN}"))),
        Row::refused("chunk that ends with other bytes", chunks(&format!("3\r\nabcxx0\r\n\r\n{HIDDEN}"))),
        Row::refused("chunk that ends with nothing", chunks(&format!("3\r\nabc0\r\n\r\n{HIDDEN}"))),
        Row::refused("chunk that is longer than its size", chunks(&format!("3\r\nabcd\r\n0\r\n\r\n{HIDDEN}"))),
        Row::new("chunk that is shorter than its size by one", chunks("4\r\nabc\r\n0\r\n\r\n"), served("POST /a 4"))
            .nginx_since(STRICT, refused(400))
            .hyper(refused(400), LINE_ENDS),
        Row::refused("chunk that is shorter than its size by two", chunks(&format!("5\r\nabc\r\n0\r\n\r\n{HIDDEN}"))),
        Row::new("last chunk that ends with LF alone", chunks("3\r\nabc\r\n0\n\r\n"), served("POST /a 3"))
            .nginx_since(STRICT, refused(400))
            .hyper(refused(400), LINE_ENDS),
        Row::new("body that ends with LF alone", chunks("3\r\nabc\r\n0\r\n\n"), served("POST /a 3"))
            .nginx_since(STRICT, refused(400))
            .hyper(refused(400), LINE_ENDS),
        Row::new("last chunk of many zeros", chunks("3\r\nabc\r\n0000\r\n\r\n"), served("POST /a 3")),
        Row::new("trailer", chunks("3\r\nabc\r\n0\r\nX: y\r\n\r\n"), served("POST /a 3")),
        Row::new("trailer that is a length", chunks("3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n"), served("POST /a 3")),
        Row::new("trailer that is a host", chunks("3\r\nabc\r\n0\r\nHost: b\r\n\r\n"), served("POST /a 3")),
        Row::new("trailer without a colon", chunks("3\r\nabc\r\n0\r\nX\r\n\r\n"), served("POST /a 3"))
            .hyper(refused(400), CHUNKS),
        Row::new("trailer with NUL", chunks("3\r\nabc\r\n0\r\nX: \0\r\n\r\n"), served("POST /a 3"))
            .hyper(refused(400), CHUNKS),
        Row::refused("trailer with a bare CR", chunks("3\r\nabc\r\n0\r\nX: y\rz\r\n\r\n")),
        Row::new(
            "trailer continued in the next line",
            chunks("3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n"),
            served("POST /a 3"),
        )
        .hyper(refused(400), CHUNKS),
        Row::new("trailer that ends with LF alone", chunks("3\r\nabc\r\n0\r\nX: y\n\r\n"), served("POST /a 3"))
            .nginx_since(STRICT, refused(400))
            .hyper(refused(400), LINE_ENDS),
        Row::new("trailer that is a request", chunks(&format!("3\r\nabc\r\n0\r\n{HIDDEN}")), served("POST /a 3"))
            .hyper(refused(400), CHUNKS),
        Row::new(
            "trailer of 20,000 bytes",
            chunks(&format!("3\r\nabc\r\n0\r\nX: {}\r\n\r\n", "y".repeat(20_000))),
            served("POST /a 3"),
        )
        .hyper(refused(400), LIMITS),
        Row::new(
            "120 trailers",
            chunks(&format!("3\r\nabc\r\n0\r\n{}\r\n", "X: y\r\n".repeat(120))),
            served("POST /a 3"),
        )
        .hyper(refused(400), LIMITS),
        Row::refused("no last chunk", chunks("3\r\nabc\r\n")),
    ]
}
