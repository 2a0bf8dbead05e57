//! Content-Length and Transfer-Encoding: the end of the body.

use super::{
    BODIES, CODINGS, HIDDEN, KNOWS_CONNECT, LINE_ENDS, OLD, Row, TUNNELS, answered, post, refused, served, waits,
};

/// A chunked body with the data `abc`.
const CHUNKS: &str = "3\r\nabc\r\n0\r\n\r\n";

/// Returns a body that ends before the hidden request if it is chunked, and after it if it has the length that replaces `{}`.
fn chunks_or_hidden(fields: &str) -> String {
    let body = format!("0\r\n\r\n{HIDDEN}");
    post(&fields.replace("{}", &body.len().to_string()), &body)
}

/// Returns a body that is the hidden request if it has the length that replaces `{}`.
fn with_hidden(fields: &str) -> String {
    post(&fields.replace("{}", &HIDDEN.len().to_string()), HIDDEN)
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::refused(
            "Content-Length and Transfer-Encoding",
            chunks_or_hidden("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n"),
        ),
        Row::refused(
            "Transfer-Encoding and Content-Length",
            chunks_or_hidden("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n"),
        ),
        Row::refused(
            "Content-Length 0 and Transfer-Encoding",
            post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
        ),
        Row::refused(
            "Content-Length that is no number, and Transfer-Encoding",
            post("Transfer-Encoding: chunked\r\nContent-Length: x\r\n", CHUNKS),
        ),
        Row::refused("two different Content-Lengths", with_hidden("Content-Length: {}\r\nContent-Length: 0\r\n")),
        Row::refused(
            "two different Content-Lengths, 0 first",
            with_hidden("Content-Length: 0\r\nContent-Length: {}\r\n"),
        ),
        Row::refused("the same Content-Length twice", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc")),
        Row::refused("Content-Length that is a list", post("Content-Length: 3, 3\r\n", "abc")),
        Row::refused("Content-Length that is a list of two", with_hidden("Content-Length: {}, 0\r\n")),
        Row::refused("Content-Length with +", post("Content-Length: +3\r\n", "abc")),
        Row::refused("Content-Length with -", post("Content-Length: -3\r\n", "abc")),
        Row::refused("Content-Length with blanks within", post("Content-Length: 0 3\r\n", "abc")),
        Row::refused("Content-Length with blanks around", post("Content-Length: \t 3 \t\r\n", "abc")),
        Row::refused("Content-Length with VT", post("Content-Length: \x0b3\r\n", "abc")),
        Row::new("Content-Length with zeros in front", post("Content-Length: 0003\r\n", "abc"), served("POST /a 3")),
        Row::refused("Content-Length in hexadecimal", post("Content-Length: 0x3\r\n", "abc")),
        Row::refused("Content-Length with a fraction", post("Content-Length: 3.0\r\n", "abc")),
        Row::refused("Content-Length with an exponent", post("Content-Length: 3e0\r\n", "abc")),
        Row::refused("Content-Length with an underscore", post("Content-Length: 0_3\r\n", "abc")),
        Row::refused("Content-Length with digits above ASCII", post("Content-Length: \u{663}\r\n", "abc")),
        Row::refused("Content-Length with words behind", post("Content-Length: 3 bytes\r\n", "abc")),
        Row::refused("Content-Length with a semicolon", post("Content-Length: 3;a=b\r\n", "abc")),
        Row::refused("Content-Length without a value", with_hidden("Content-Length:\r\n")),
        Row::new("Content-Length of 2^63 - 1", post("Content-Length: 9223372036854775807\r\n", "abc"), refused(413))
            .hyper(waits(), BODIES),
        Row::refused("Content-Length of 2^63", post("Content-Length: 9223372036854775808\r\n", "abc")),
        Row::refused("Content-Length of 2^64 + 3", post("Content-Length: 18446744073709551619\r\n", "abc")),
        Row::refused("Content-Length of 40 digits", post(&format!("Content-Length: {}\r\n", "9".repeat(40)), "abc")),
        Row::new("Content-Length of 2 MB", post("Content-Length: 2000000\r\n", "abc"), refused(413))
            .hyper(waits(), BODIES),
        Row::refused("Content-Length with a space before the colon", with_hidden("Content-Length : {}\r\n")),
        Row::new("Content_Length", with_hidden("Content_Length: 0\r\nContent-Length: {}\r\n"), served("POST /a 33")),
        Row::refused("Content-Length behind a bare CR", with_hidden("X: y\rContent-Length: {}\r\n")),
        Row::new(
            "Content-Length in a line that ends with LF alone",
            with_hidden("X: y\nContent-Length: {}\r\n"),
            served("POST /a 33 X=y"),
        )
        .hyper(refused(400), LINE_ENDS),
        Row::new(
            "Content-Length in HTTP/0.9",
            format!("POST /a\r\nContent-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()),
            answered(&[0], &[]),
        )
        .hyper(refused(400), OLD),
        Row::new("no length at all", post("", "abc\r\n\r\n"), answered(&[200, 400], &["POST /a 0"])),
        Row::new("body of GET", with_hidden("Content-Length: {}\r\n").replacen("POST", "GET", 1), served("GET /a 33")),
        Row::new(
            "body of HEAD",
            with_hidden("Content-Length: {}\r\n").replacen("POST", "HEAD", 1),
            served("HEAD /a 33"),
        ),
        Row::new(
            "body of OPTIONS",
            with_hidden("Content-Length: {}\r\n").replacen("POST", "OPTIONS", 1),
            served("OPTIONS /a 33"),
        ),
        Row::new(
            "chunked body of GET",
            post("Transfer-Encoding: chunked\r\n", CHUNKS).replacen("POST", "GET", 1),
            served("GET /a 3"),
        ),
        Row::new(
            "chunked body of TRACE",
            post("Transfer-Encoding: chunked\r\n", CHUNKS).replacen("POST", "TRACE", 1),
            refused(405),
        ),
        Row::new("body of TRACE", with_hidden("Content-Length: {}\r\n").replacen("POST", "TRACE", 1), refused(405)),
        Row::new(
            "body of CONNECT",
            with_hidden("Content-Length: {}\r\n").replacen("POST /a", "CONNECT a:80", 1),
            refused(400),
        )
        .nginx_since(KNOWS_CONNECT, refused(405))
        .hyper(refused(405), TUNNELS),
        Row::refused(
            "body of a target that cannot be decoded",
            with_hidden("Content-Length: {}\r\n").replacen("/a", "/%zz", 1),
        ),
        Row::refused(
            "body of a request without Host",
            with_hidden("Content-Length: {}\r\n").replacen("Host: a\r\n", "", 1),
        ),
        Row::refused(
            "Transfer-Encoding in HTTP/1.0",
            chunks_or_hidden("Transfer-Encoding: chunked\r\n").replacen("1.1", "1.0", 1),
        ),
        Row::refused(
            "Transfer-Encoding in HTTP/1.0 that keeps the connection",
            chunks_or_hidden("Connection: keep-alive\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n")
                .replacen("1.1", "1.0", 1),
        ),
        Row::new("Transfer-Encoding: Chunked", post("Transfer-Encoding: ChUnKeD\r\n", CHUNKS), served("POST /a 3")),
        Row::new("Transfer-Encoding with VT", chunks_or_hidden("Transfer-Encoding: \x0bchunked\r\n"), refused(501))
            .hyper(refused(400), CODINGS),
        Row::new(
            "Transfer-Encoding with blanks around",
            post("Transfer-Encoding: \t chunked \t\r\n", CHUNKS),
            refused(501),
        )
        .hyper(refused(400), CODINGS),
        Row::refused("Transfer-Encoding with a bare CR", chunks_or_hidden("Transfer-Encoding: chunked\r \r\n")),
        Row::refused("Transfer-Encoding with NUL", chunks_or_hidden("Transfer-Encoding: chunked\0\r\n")),
        Row::refused("Transfer-Encoding in the next line", chunks_or_hidden("Transfer-Encoding:\r\n chunked\r\n")),
        Row::refused(
            "Transfer-Encoding with a space before the colon",
            chunks_or_hidden("Transfer-Encoding : chunked\r\nContent-Length: {}\r\n"),
        ),
        Row::new(
            "Transfer_Encoding",
            chunks_or_hidden("Transfer_Encoding: chunked\r\nContent-Length: {}\r\n"),
            served("POST /a 38"),
        ),
        Row::new(
            "Transfer-Encoding of two codings",
            post("Transfer-Encoding: gzip, chunked\r\n", CHUNKS),
            refused(501),
        )
        .hyper(refused(400), CODINGS),
        Row::refused(
            "Transfer-Encoding of two codings in two fields",
            post("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
        ),
        Row::new(
            "Transfer-Encoding with chunked first",
            chunks_or_hidden("Transfer-Encoding: chunked, gzip\r\n"),
            refused(501),
        )
        .hyper(refused(400), CODINGS),
        Row::refused(
            "Transfer-Encoding with chunked first, in two fields",
            chunks_or_hidden("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"),
        ),
        Row::new(
            "Transfer-Encoding of chunked, chunked",
            post("Transfer-Encoding: chunked, chunked\r\n", CHUNKS),
            refused(501),
        )
        .hyper(refused(400), CODINGS),
        Row::refused(
            "the same Transfer-Encoding twice",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
        ),
        Row::new(
            "Transfer-Encoding with an empty coding",
            post("Transfer-Encoding: , chunked\r\n", CHUNKS),
            refused(501),
        )
        .hyper(refused(400), CODINGS),
        Row::new(
            "Transfer-Encoding: identity",
            chunks_or_hidden("Transfer-Encoding: identity\r\nContent-Length: {}\r\n"),
            refused(501),
        )
        .hyper(refused(400), CODINGS),
        Row::new(
            "Transfer-Encoding of identity, chunked",
            post("Transfer-Encoding: identity, chunked\r\n", CHUNKS),
            refused(501),
        )
        .hyper(refused(400), CODINGS),
        Row::new("Transfer-Encoding: xchunked", chunks_or_hidden("Transfer-Encoding: xchunked\r\n"), refused(501))
            .hyper(refused(400), CODINGS),
        Row::new("Transfer-Encoding in quotes", chunks_or_hidden("Transfer-Encoding: \"chunked\"\r\n"), refused(501))
            .hyper(refused(400), CODINGS),
        Row::new(
            "Transfer-Encoding with a parameter",
            chunks_or_hidden("Transfer-Encoding: chunked;a=b\r\n"),
            refused(501),
        )
        .hyper(refused(400), CODINGS),
        Row::new(
            "Transfer-Encoding without a value",
            chunks_or_hidden("Transfer-Encoding:\r\nContent-Length: {}\r\n"),
            refused(501),
        )
        .hyper(refused(400), CODINGS),
        Row::refused(
            "Transfer-Encoding and an unfinished Upgrade",
            chunks_or_hidden(
                "Connection: Upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\nContent-Length: {}\r\n",
            ),
        ),
    ]
}
