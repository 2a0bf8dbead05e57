//! Status and headers of a response, parsed once: values of these types can be sent.

mod accel;
mod conditions;
mod decimal;
mod ranges;
mod status;

pub use accel::{Accel, AccelHeader, AccelHeaders};
pub use conditions::is_listed;
pub use decimal::decimal;
pub use ranges::Ranges;
pub use status::StatusLine;

use std::fmt;

use crate::protocol::response::Framing;

/// The head of a response: everything that is sent before the body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseHead {
    /// The status, with the application's reason phrase.
    pub status: StatusLine,
    /// The application's headers, without those that frame the body.
    pub headers: HeaderList,
    /// The framing of the body, which determines whether the host adds Content-Length, Transfer-Encoding or neither.
    pub framing: Framing,
    /// The body is one block, so that a host may cut several ranges out of it (RFC 9110, 14.2).
    pub single_block: bool,
}

impl ResponseHead {
    /// Creates a head whose body may consist of several blocks.
    pub fn new(status: StatusLine, headers: HeaderList, framing: Framing) -> Self {
        Self { status, headers, framing, single_block: false }
    }
}

/// Response headers in the application's order, duplicates included.
///
/// Content-Length is stored separately: it frames the body, and the response state machine decides about it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeaderList {
    /// The headers one after the other, each as [`LENGTHS`] bytes with the lengths of name and value, then name and value.
    bytes: Vec<u8>,
    count: u32,
    content_length: Option<u64>,
    /// Whether there is an [`AccelHeader`]. Most responses have none, and are not searched for one.
    has_accel: bool,
}

/// Size of two lengths, in native byte order.
const LENGTHS: usize = 2 * size_of::<usize>();

/// One header of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// A token (RFC 9110, 5.1), in the application's spelling.
    pub name: &'a [u8],
    /// Latin-1 without control characters; may be empty.
    pub value: &'a [u8],
}

impl HeaderList {
    /// Creates an empty list, without an allocation.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), count: 0, content_length: None, has_accel: false }
    }

    /// Adds one header. Returns the broken rule if it cannot be sent; the list is unchanged then.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        // Nearly every response has this name.
        if name != b"Content-Type" {
            // No early exit: that is less work for valid names.
            if name.is_empty() || !name.iter().fold(true, |all, byte| all & TOKEN[usize::from(*byte)]) {
                return Err(HeadError::Name { name: quote(name) });
            }
            match role(name) {
                Role::Content => {}
                Role::Accel => self.has_accel = true,
                Role::Length => return self.set_content_length(value),
                Role::Connection => return Err(HeadError::Connection { name: quote(name) }),
                Role::Status => return Err(HeadError::StatusHeader { name: quote(name) }),
            }
        }
        if has_control(value) {
            return Err(HeadError::Value { name: quote(name), value: quote(value) });
        }
        if self.count == 0 {
            self.bytes = Vec::with_capacity(USUAL_BYTES.max(LENGTHS + name.len() + value.len()));
        }
        let mut lengths = [0; LENGTHS];
        lengths[..LENGTHS / 2].copy_from_slice(&name.len().to_ne_bytes());
        lengths[LENGTHS / 2..].copy_from_slice(&value.len().to_ne_bytes());
        self.bytes.extend_from_slice(&lengths);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.count += 1;
        Ok(())
    }

    fn set_content_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        let Some(length) = decimal(value) else {
            return Err(HeadError::ContentLength { value: quote(value) });
        };
        match self.content_length.replace(length) {
            Some(first) if first != length => {
                self.content_length = Some(first);
                Err(HeadError::ContentLengths { first, second: length })
            }
            _ => Ok(()),
        }
    }

    /// Returns the headers in order, without Content-Length.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Header<'_>> {
        let mut rest = self.bytes.as_slice();
        (0..self.count as usize).map(move |_| {
            let name_length = length(&mut rest);
            let value_length = length(&mut rest);
            let (name, after) = rest.split_at(name_length);
            let (value, after) = after.split_at(value_length);
            rest = after;
            Header { name, value }
        })
    }

    /// Returns the number of headers, without Content-Length.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are no headers, Content-Length aside.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether there is an [`AccelHeader`].
    pub fn has_accel(&self) -> bool {
        self.has_accel
    }

    /// Returns the value of Content-Length, if the application sent one.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }
}

impl fmt::Debug for HeaderList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let length = self.content_length.map(|length| ("Content-Length".to_owned(), length.to_string()));
        f.debug_list()
            .entries(self.iter().map(|header| (text(header.name), text(header.value))))
            .entries(length)
            .finish()
    }
}

/// Why a status or header cannot be sent. Raised inside the application; names the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// Not a status.
    #[error(
        "status \"{status}\" is not a code from 200 to 999, a space and a reason (PEP 3333, The start_response() Callable)"
    )]
    Status {
        /// The status, escaped.
        status: String,
    },
    /// A code from 100 to 199.
    #[error("status \"{status}\" is informational, an application sends final responses only (RFC 9110, 15.2)")]
    Informational {
        /// The status, escaped.
        status: String,
    },
    /// CR, LF, NUL or another control character in the reason.
    #[error("status \"{status}\" contains a control character (PEP 3333, The start_response() Callable)")]
    StatusControl {
        /// The status, escaped.
        status: String,
    },
    /// A header name with anything but token characters.
    #[error("header name \"{name}\" is not a token (RFC 9110, 5.1)")]
    Name {
        /// The name, escaped.
        name: String,
    },
    /// CR, LF, NUL or another control character in a header value.
    #[error(
        "value \"{value}\" of header \"{name}\" contains a control character (PEP 3333, The start_response() Callable)"
    )]
    Value {
        /// The name.
        name: String,
        /// The value, escaped.
        value: String,
    },
    /// A header about the connection, which only the server may send.
    #[error(
        "header \"{name}\" is hop-by-hop, only the server may send it (PEP 3333, Other HTTP Features; RFC 9110, 7.6.1)"
    )]
    Connection {
        /// The name.
        name: String,
    },
    /// `Status`, which CGI programs send.
    #[error("header \"{name}\" belongs to CGI, the status is the first argument of start_response() (RFC 3875, 6.3.3)")]
    StatusHeader {
        /// The name.
        name: String,
    },
    /// A Content-Length that is not a number.
    #[error("Content-Length \"{value}\" is not a decimal number below 2^64 (RFC 9110, 8.6)")]
    ContentLength {
        /// The value, escaped.
        value: String,
    },
    /// Content-Length twice, with different values.
    #[error("Content-Length is given twice, as {first} and as {second} (RFC 9110, 8.6)")]
    ContentLengths {
        /// The first value.
        first: u64,
        /// The second value.
        second: u64,
    },
}

impl HeadError {
    /// Returns the name of a header that only the server may send. The response can be sent without it.
    pub fn reserved_header(&self) -> Option<&str> {
        match self {
            Self::Connection { name } | Self::StatusHeader { name } => Some(name),
            _ => None,
        }
    }
}

/// Classes of header names.
enum Role {
    /// Sent to the client.
    Content,
    /// A host may obey it.
    Accel,
    Length,
    Connection,
    Status,
}

/// Classifies a header name. The length alone is enough for most names.
fn role(name: &[u8]) -> Role {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.len() {
        14 if name == b"Content-Length" || is("content-length") => Role::Length,
        6 if is("status") => Role::Status,
        2 if is("te") => Role::Connection,
        7 if is("trailer") || is("upgrade") => Role::Connection,
        8 if is("trailers") => Role::Connection,
        10 if is("connection") || is("keep-alive") => Role::Connection,
        16 if is("proxy-connection") => Role::Connection,
        17 if is("transfer-encoding") => Role::Connection,
        18 if is("proxy-authenticate") => Role::Connection,
        15..=18 if AccelHeader::named(name).is_some() => Role::Accel,
        19 if is("proxy-authorization") => Role::Connection,
        _ => Role::Content,
    }
}

/// Whether there is a control character. PEP 3333 allows none, not even the tab that HTTP allows.
fn has_control(text: &[u8]) -> bool {
    // No early exit, so that the compiler vectorizes the loop.
    text.iter().fold(false, |found, byte| found | (*byte < 0x20) | (*byte == 0x7f))
}

/// Takes a length from the front, where `push` has written it.
fn length(rest: &mut &[u8]) -> usize {
    let (number, after) = rest.split_first_chunk().expect("a length stands in front of each header");
    *rest = after;
    usize::from_ne_bytes(*number)
}

/// Returns text for a message: escaped, and truncated if it is long.
fn quote(text: &[u8]) -> String {
    match text.get(..QUOTED) {
        Some(beginning) if text.len() > QUOTED => format!("{}...", beginning.escape_ascii()),
        _ => text.escape_ascii().to_string(),
    }
}

/// Whether a byte may occur in a token (RFC 9110, 5.6.2).
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128u8 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut index = 0;
    while index < marks.len() {
        table[marks[index] as usize] = true;
        index += 1;
    }
    table
};

/// Capacity in bytes for the head of a framework's usual page, so that it takes one allocation.
const USUAL_BYTES: usize = 768;

/// Maximum length of quoted text in a message, in bytes before escaping.
const QUOTED: usize = 100;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn message(result: Result<(), HeadError>) -> String {
        result.expect_err("refused").to_string()
    }

    #[test]
    fn content_length_is_kept_apart() {
        let mut headers = HeaderList::new();
        headers.push(b"CONTENT-length", b"0012").expect("valid");
        headers.push(b"Content-Length", b"12").expect("the same again");
        assert_eq!(headers.content_length(), Some(12));
        assert!(headers.is_empty());
        assert_eq!(
            message(headers.push(b"Content-Length", b"13")),
            "Content-Length is given twice, as 12 and as 13 (RFC 9110, 8.6)"
        );
        assert_eq!(headers.content_length(), Some(12));
        for value in [&b""[..], b"-1", b"+1", b" 1", b"1 ", b"0x1", b"1,1", b"18446744073709551616", b"\xb2"] {
            assert!(message(headers.push(b"Content-Length", value)).contains("is not a decimal number"), "{value:?}");
        }
        headers = HeaderList::new();
        headers.push(b"Content-Length", b"18446744073709551615").expect("valid");
        assert_eq!(headers.content_length(), Some(u64::MAX));
    }

    #[test]
    fn headers_about_the_connection_are_refused() {
        let mut headers = HeaderList::new();
        for name in [
            "Connection",
            "Keep-Alive",
            "Proxy-Authenticate",
            "proxy-authorization",
            "Proxy-Connection",
            "TE",
            "Trailer",
            "Trailers",
            "TRANSFER-ENCODING",
            "Upgrade",
        ] {
            let expected = format!("header \"{name}\" is hop-by-hop");
            assert!(message(headers.push(name.as_bytes(), b"x")).starts_with(&expected), "{name}");
        }
        assert!(message(headers.push(b"status", b"200")).contains("belongs to CGI"));
        assert_eq!(headers, HeaderList::new());
    }

    #[test]
    fn a_bad_header_names_itself_and_the_rule() {
        let mut headers = HeaderList::new();
        assert_eq!(message(headers.push(b"X Y", b"")), "header name \"X Y\" is not a token (RFC 9110, 5.1)");
        assert_eq!(
            message(headers.push(b"X-A", b"1\r\nSet-Cookie: b")),
            "value \"1\\r\\nSet-Cookie: b\" of header \"X-A\" contains a control character \
             (PEP 3333, The start_response() Callable)"
        );
        for name in [&b""[..], b"X:", b"X-\xe9", b"X\0", b"\"X\"", b"X/Y"] {
            assert!(message(headers.push(name, b"")).contains("is not a token"), "{name:?}");
        }
        for value in [&b"\t"[..], b"\0", b"a\nb", b"\x7f", b"\x1b"] {
            assert!(message(headers.push(b"X", value)).contains("contains a control character"), "{value:?}");
        }
        assert_eq!(headers, HeaderList::new());
    }

    #[test]
    fn a_usual_head_is_stored_in_one_allocation() {
        let mut headers = HeaderList::new();
        assert_eq!(headers.bytes.capacity(), 0);
        headers.push(b"Content-Type", b"text/html; charset=utf-8").expect("valid");
        let capacity = headers.bytes.capacity();
        for _ in 0..12 {
            headers.push(b"Set-Cookie", b"session=0123456789abcdef").expect("valid");
        }
        assert_eq!(headers.bytes.capacity(), capacity);
    }

    proptest! {
        #[test]
        fn a_list_holds_what_was_accepted_in_order(pushed in vec((
            prop_oneof![vec(any::<u8>(), 0..4), "[!#-'*+.^_`|~A-Za-z0-9-]{1,20}".prop_map(String::into_bytes)],
            prop_oneof![vec(any::<u8>(), 0..4), "[ -~]{0,60}".prop_map(String::into_bytes)],
        ), 0..20)) {
            let mut headers = HeaderList::new();
            let mut model = Vec::new();
            for (name, value) in &pushed {
                let valid = !name.is_empty()
                    && name.iter().all(|byte| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte))
                    && !value.iter().any(u8::is_ascii_control);
                // Of the few names that are refused, only the shortest is likely.
                prop_assume!(!name.eq_ignore_ascii_case(b"te"));
                prop_assert_eq!(headers.push(name, value).is_ok(), valid);
                if valid {
                    model.push(Header { name, value });
                }
            }
            prop_assert_eq!(headers.len(), model.len());
            prop_assert_eq!(headers.iter().collect::<Vec<_>>(), model);
        }
    }
}
