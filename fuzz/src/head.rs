//! Status and headers of an application: an accepted one can be sent as it is, and no other is accepted.

use wsgi_core::host::{HeadError, HeaderList, StatusLine};

use crate::fields;

/// The input: a status, then names and values of headers.
pub fn run(data: &[u8]) {
    let mut texts = fields(data);
    status(texts.next().unwrap_or_default());
    headers(&mut texts);
}

fn status(line: &[u8]) {
    let rest = line.get(3..).unwrap_or_default();
    let digits = line.len() >= 3 && line[..3].iter().all(u8::is_ascii_digit) && line[0] > b'1';
    let valid = digits && (rest.is_empty() || rest[0] == b' ') && !line.iter().any(u8::is_ascii_control);
    match StatusLine::parse(line) {
        Ok(status) => {
            assert!(valid, "{status:?} is accepted");
            assert_eq!(status.as_bytes(), line);
            assert_eq!(status.code().as_str().as_bytes(), &line[..3]);
            assert_eq!(status.reason(), rest.get(1..).unwrap_or_default());
        }
        Err(error) => {
            assert!(!valid, "{:?} is refused: {error}", line.escape_ascii().to_string());
            one_line(&error);
        }
    }
}

/// The expected content of a list after some pushes.
#[derive(Default)]
struct Model {
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    content_length: Option<u64>,
}

/// Header fields that only the server may send (RFC 9110, 7.6.1; RFC 2616, 13.5.1), and `Status` of CGI.
const REFUSED: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "status",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

impl Model {
    /// Adds a header, and returns whether it is accepted.
    fn push(&mut self, name: &[u8], value: &[u8]) -> bool {
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if name.is_empty() || !name.iter().all(token) {
            return false;
        }
        let name = String::from_utf8(name.to_vec()).expect("tokens are ASCII");
        let lower = name.to_lowercase();
        if lower == "content-length" {
            // u128 holds twenty digits; leading zeros are cut before.
            let digits = value.iter().all(u8::is_ascii_digit) && !value.is_empty();
            let text = String::from_utf8_lossy(value).trim_start_matches('0').to_owned();
            let number = if text.len() > 20 { u128::MAX } else { format!("0{text}").parse().unwrap_or(u128::MAX) };
            let Some(length) = u64::try_from(number).ok().filter(|_| digits) else { return false };
            return *self.content_length.get_or_insert(length) == length;
        }
        let valid = !REFUSED.contains(&lower.as_str()) && !value.iter().any(u8::is_ascii_control);
        if valid {
            self.headers.push((name.into_bytes(), value.to_vec()));
        }
        valid
    }
}

fn headers<'a>(texts: &mut impl Iterator<Item = &'a [u8]>) {
    let (mut list, mut model) = (HeaderList::new(), Model::default());
    while let Some(name) = texts.next() {
        let value = texts.next().unwrap_or_default();
        let result = list.push(name, value);
        assert_eq!(result.is_ok(), model.push(name, value), "{:?}: {result:?}", name.escape_ascii().to_string());
        if let Err(error) = result {
            one_line(&error);
        }
    }
    assert_eq!(list.len(), model.headers.len());
    assert_eq!(list.is_empty(), model.headers.is_empty());
    assert_eq!(list.content_length(), model.content_length);
    let held = list.iter().map(|header| (header.name.to_vec(), header.value.to_vec()));
    assert_eq!(held.collect::<Vec<_>>(), model.headers);
    assert!(!format!("{list:?}").contains(char::is_control));
}

/// Checks that a message is one short line: it goes into tracebacks and into the log.
fn one_line(error: &HeadError) {
    let message = error.to_string();
    assert!(message.len() < 1000 && !message.contains(char::is_control), "{message:?}");
}
