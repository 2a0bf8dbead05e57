//! The server of wsgi-hyper: however the bytes of a connection are cut into pieces, it receives the same requests, and each
//! is the request that a strict parser of HTTP/1.1 finds. So no part of a body becomes a request.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;
use wsgi_core::host::HeaderField;
use wsgi_core::http1::Terms;
use wsgi_hyper::internal::{Received, requests};

use crate::framing::chunks;
use crate::{Numbers, fields};

/// The input: numbers for the sizes of pieces, then the bytes that the client sends.
pub fn run(data: &[u8]) {
    let mut texts = fields(data);
    let mut numbers = Numbers::new(texts.next().unwrap_or_default());
    let wire = &lengthened(texts.next().unwrap_or_default());
    let mut sizes: Vec<usize> = (0..4).map(|_| numbers.size().max(1)).collect();
    if numbers.flag() && wire.len() < 300 {
        sizes = vec![1];
    }
    let whole = received(wire, vec![usize::MAX]);
    let cut = received(wire, sizes);
    let told = |requests: &[Received]| -> Vec<_> { requests.iter().map(told).collect() };
    assert_eq!(told(&whole), told(&cut), "it matters how the bytes are cut");
    check(&whole, wire);
}

/// Replaces up to four bytes 1 by 9,000 letters each: the limits of a line and of a head are larger than an input.
fn lengthened(wire: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = wire.splitn(5, |byte| *byte == 1).collect();
    parts.join(&[b'x'; 9000][..])
}

fn received(wire: &[u8], sizes: Vec<usize>) -> Vec<Received> {
    thread_local! {
        static RUNTIME: RefCell<Runtime> = RefCell::new(
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"),
        );
    }
    let client = Client { rest: wire.to_vec(), sizes, reads: 0 };
    RUNTIME.with_borrow(|runtime| runtime.block_on(requests(client)))
}

/// The parts of a request that must not depend on how the bytes were cut. Of an incomplete body, the length received before
/// the error may differ.
fn told(request: &Received) -> String {
    let Parts { method, uri, version, headers, .. } = &request.head;
    let body = request.whole.then_some(&request.body);
    format!("{method} {uri} {version:?} {headers:?} {} {body:?}", request.in_order)
}

/// Checks that each request is the next one on the wire.
fn check(requests: &[Received], wire: &[u8]) {
    let mut rest = wire;
    for request in requests {
        while let Some(behind) = rest.strip_prefix(b"\r\n") {
            rest = behind;
        }
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut parsed = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(length)) = parsed.parse(rest) else {
            panic!("{} is no request: {request:?}", rest.escape_ascii())
        };
        let head = &rest[..length];
        assert!(head.split(|byte| *byte == b'\n').rev().skip(1).all(|line| line.ends_with(b"\r")), "a bare LF");
        assert_eq!(Some(request.head.method.as_str()), parsed.method);
        let minor_version = parsed.version.expect("a version");
        let fields: Vec<_> =
            parsed.headers.iter().map(|header| HeaderField::new(header.name.as_bytes(), header.value)).collect();
        assert_eq!(request.head.headers.len(), fields.len());
        assert!(!request.in_order || Terms::new(minor_version, &fields).is_some(), "nobody knows whose it is");
        let one = |name: &str| {
            let mut named = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
            let first = named.next().map(|field| field.value);
            assert!(named.next().is_none(), "{name} twice");
            first
        };
        let behind = &rest[length..];
        let (body, end) = match (one("content-length"), one("transfer-encoding")) {
            (None, None) => (Vec::new(), Some(0)),
            (Some(digits), None) => {
                let text = std::str::from_utf8(digits).expect("a number");
                assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");
                let length: usize = text.parse().expect("a number");
                let end = Some(length).filter(|length| *length <= behind.len());
                (behind[..end.unwrap_or(behind.len())].to_vec(), end)
            }
            (None, Some(coding)) => {
                assert!(minor_version == 1 && coding.eq_ignore_ascii_case(b"chunked"), "{}", coding.escape_ascii());
                chunks(behind)
            }
            (Some(_), Some(_)) => panic!("a body of two lengths"),
        };
        assert!(body.starts_with(&request.body));
        if !request.whole {
            // No request follows an incomplete body.
            assert_eq!(told(request), told(requests.last().expect("there is one")));
            return;
        }
        assert_eq!(request.body, body);
        rest = &behind[end.expect("a body that is whole has an end")..];
    }
}

/// A client that sends its bytes in pieces, accepts any response, and closes.
struct Client {
    rest: Vec<u8>,
    sizes: Vec<usize>,
    reads: usize,
}

impl AsyncRead for Client {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let size = self.sizes[self.reads % self.sizes.len()].min(self.rest.len()).min(buf.remaining());
        self.reads += 1;
        let piece: Vec<u8> = self.rest.drain(..size).collect();
        buf.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
