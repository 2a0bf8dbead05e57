//! The status of a response.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

use super::{HeadError, has_control, quote};

/// A final status with its reason phrase, as `200 OK`.
#[derive(Clone, PartialEq, Eq)]
pub struct StatusLine {
    code: StatusCode,
    /// The whole text; common ones are not copied.
    line: Cow<'static, [u8]>,
}

impl StatusLine {
    /// Checks the first argument of `start_response`: a code from 200 to 999, a space, and a reason without control
    /// characters. The reason may be missing, and the space with it.
    pub fn parse(line: &[u8]) -> Result<Self, HeadError> {
        // The most common status.
        if line == b"200 OK" {
            return Ok(Self { code: StatusCode::OK, line: Cow::Borrowed(b"200 OK") });
        }
        let Some((Ok(code), rest)) =
            line.split_at_checked(3).map(|(digits, rest)| (StatusCode::from_bytes(digits), rest))
        else {
            return Err(HeadError::Status { status: quote(line) });
        };
        if code.is_informational() {
            return Err(HeadError::Informational { status: quote(line) });
        }
        if let Some(common) = common_line(code).filter(|common| common.as_bytes() == line) {
            return Ok(Self { code, line: Cow::Borrowed(common.as_bytes()) });
        }
        match rest {
            [] => {}
            [b' ', reason @ ..] if has_control(reason) => {
                return Err(HeadError::StatusControl { status: quote(line) });
            }
            [b' ', ..] => {}
            _ => return Err(HeadError::Status { status: quote(line) }),
        }
        Ok(Self { code, line: Cow::Owned(line.to_vec()) })
    }

    /// Returns the code, which is never below 200.
    pub fn code(&self) -> StatusCode {
        self.code
    }

    /// Returns the reason phrase in latin-1, as the application sent it; may be empty.
    pub fn reason(&self) -> &[u8] {
        self.line.get(4..).unwrap_or_default()
    }

    /// Returns the whole text as the application sent it: the code, and usually a space and the reason.
    pub fn as_bytes(&self) -> &[u8] {
        &self.line
    }
}

impl fmt::Debug for StatusLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.line.escape_ascii())
    }
}

/// Returns the status line of a code if it is a common one, which needs no copy.
fn common_line(code: StatusCode) -> Option<&'static str> {
    Some(match code.as_u16() {
        200 => "200 OK",
        201 => "201 Created",
        202 => "202 Accepted",
        204 => "204 No Content",
        206 => "206 Partial Content",
        301 => "301 Moved Permanently",
        302 => "302 Found",
        303 => "303 See Other",
        304 => "304 Not Modified",
        307 => "307 Temporary Redirect",
        308 => "308 Permanent Redirect",
        400 => "400 Bad Request",
        401 => "401 Unauthorized",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        405 => "405 Method Not Allowed",
        409 => "409 Conflict",
        410 => "410 Gone",
        412 => "412 Precondition Failed",
        416 => "416 Range Not Satisfiable",
        422 => "422 Unprocessable Entity",
        429 => "429 Too Many Requests",
        500 => "500 Internal Server Error",
        502 => "502 Bad Gateway",
        503 => "503 Service Unavailable",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_status_keeps_code_and_reason() {
        let status = StatusLine::parse(b"404 Nicht gefunden \xfc").expect("valid");
        assert_eq!(status.code(), StatusCode::NOT_FOUND);
        assert_eq!(status.reason(), b"Nicht gefunden \xfc");
        assert_eq!(status.as_bytes(), b"404 Nicht gefunden \xfc");
    }

    #[test]
    fn a_reason_may_be_missing() {
        for line in [&b"204"[..], b"204 "] {
            let status = StatusLine::parse(line).expect("valid");
            assert_eq!((status.code(), status.reason()), (StatusCode::NO_CONTENT, &b""[..]));
        }
    }

    #[test]
    fn common_statuses_are_not_copied_and_are_their_own() {
        assert!(matches!(StatusLine::parse(b"200 OK").expect("valid").line, Cow::Borrowed(_)));
        for code in 200..1000u16 {
            let code = StatusCode::from_u16(code).expect("a code");
            let Some(line) = common_line(code) else { continue };
            let status = StatusLine::parse(line.as_bytes()).expect("valid");
            assert_eq!((status.code(), status.as_bytes()), (code, line.as_bytes()));
            assert!(line.starts_with(code.as_str()));
        }
    }

    #[test]
    fn a_bad_status_names_the_rule() {
        let parse = |line: &[u8]| StatusLine::parse(line).expect_err("refused").to_string();
        assert_eq!(
            parse(b"100 Continue"),
            "status \"100 Continue\" is informational, an application sends final responses only (RFC 9110, 15.2)"
        );
        assert!(parse(b"200 OK\r\n").starts_with("status \"200 OK\\r\\n\" contains a control character (PEP 3333"));
        for line in [&b""[..], b"20", b"OK", b"2000 OK", b"200OK", b"099 Low", b" 200 OK", b"+20 OK"] {
            assert!(parse(line).contains("is not a code from 200 to 999"), "{line:?}");
        }
        assert!(parse(&[b'x'; 10_000]).len() < 300);
    }

    proptest! {
        #[test]
        fn a_status_is_valid_as_the_rule_says(line in prop_oneof![
            vec(any::<u8>(), 0..12),
            "[0-9]{3}( [ -~]{0,9})?".prop_map(String::into_bytes),
        ]) {
            let digits = line.len() >= 3 && line[..3].iter().all(u8::is_ascii_digit) && line[0] >= b'2';
            let rest = line.get(3..).unwrap_or_default();
            let valid = digits && (rest.is_empty() || rest[0] == b' ') && !rest.iter().any(u8::is_ascii_control);
            match StatusLine::parse(&line) {
                Ok(status) => {
                    prop_assert!(valid);
                    prop_assert_eq!(status.as_bytes(), &line[..]);
                    prop_assert!(line.starts_with(status.code().as_str().as_bytes()));
                    prop_assert_eq!(status.reason(), rest.get(1..).unwrap_or_default());
                }
                Err(error) => {
                    prop_assert!(!valid);
                    prop_assert!(!error.to_string().chars().any(char::is_control));
                }
            }
        }
    }
}
