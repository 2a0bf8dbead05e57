//! The framing of a response body, and the number of bytes it may have.

use http::StatusCode;

/// How a response declares the length of its body (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length` with this value. The response to a HEAD request has it without the body.
    Length(u64),
    /// No length: chunked or delimited by the end of the connection, depending on the host and the client.
    Unknown,
    /// The status forbids a body, and no length is sent.
    NoBody,
}

/// The body that may follow the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Any block is discarded, and none is required.
    Unwanted,
    /// Exactly `declared` bytes, of which `left` are missing.
    Sized { declared: u64, left: u64 },
    /// Any number of bytes.
    Open,
}

/// Determines the length by the first rule that applies:
///
/// 1. 204 and 304 have no body (RFC 9110, 6.4.1), and a Content-Length is dropped: 204 must not have one (RFC 9110, 8.6).
/// 2. 205 has an empty body (RFC 9110, 15.3.6), declared by a Content-Length of 0: without one a client would wait.
/// 3. HEAD gets the application's Content-Length or none. None is computed: applications answer HEAD with an empty iterable,
///    and its length is not that of the body of a GET (RFC 9110, 8.6).
/// 4. The application's Content-Length, which takes precedence over `total`.
/// 5. `total`, the length known to the gateway (PEP 3333, "Handling the Content-Length Header").
/// 6. The length is unknown.
pub(super) fn frame(
    status: StatusCode,
    head_request: bool,
    declared: Option<u64>,
    total: Option<u64>,
) -> (Framing, Body) {
    match status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => return (Framing::NoBody, Body::Unwanted),
        StatusCode::RESET_CONTENT => return (Framing::Length(0), Body::Unwanted),
        _ => {}
    }
    let length = if head_request { declared } else { declared.or(total) };
    let framing = length.map_or(Framing::Unknown, Framing::Length);
    let body = match length {
        _ if head_request => Body::Unwanted,
        Some(declared) => Body::Sized { declared, left: declared },
        None => Body::Open,
    };
    (framing, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: StatusCode = StatusCode::OK;
    const SIZED_5: Body = Body::Sized { declared: 5, left: 5 };

    #[test]
    fn declared_content_length_overrides_the_known_total() {
        assert_eq!(frame(OK, false, Some(5), None), (Framing::Length(5), SIZED_5));
        assert_eq!(frame(OK, false, Some(5), Some(7)), (Framing::Length(5), SIZED_5));
        assert_eq!(frame(OK, false, None, Some(5)), (Framing::Length(5), SIZED_5));
        assert_eq!(frame(OK, false, None, None), (Framing::Unknown, Body::Open));
    }

    #[test]
    fn head_gets_no_invented_length() {
        assert_eq!(frame(OK, true, None, Some(5)), (Framing::Unknown, Body::Unwanted));
        assert_eq!(frame(OK, true, Some(5), Some(0)), (Framing::Length(5), Body::Unwanted));
    }

    #[test]
    fn a_status_without_a_body_has_no_length() {
        for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
            for head_request in [false, true] {
                assert_eq!(frame(status, head_request, Some(5), Some(5)), (Framing::NoBody, Body::Unwanted));
            }
        }
    }

    #[test]
    fn reset_content_says_that_it_is_empty() {
        assert_eq!(frame(StatusCode::RESET_CONTENT, false, Some(5), Some(5)), (Framing::Length(0), Body::Unwanted));
    }
}
