//! Whether a host may answer with a part of a response.

use http::StatusCode;

use super::ResponseHead;
use crate::protocol::response::Framing;

/// The parts of a body that a host may send when a client requests a range (RFC 9110, 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// The whole body only.
    None,
    /// One range.
    One,
    /// Several ranges in one response too (`multipart/byteranges`): the body is a single block.
    Several,
}

impl ResponseHead {
    /// Returns the ranges that may be cut out of this response if the operator allows it (`wsgi_allow_ranges`): ranges of a
    /// 200 of known length, unless the application handles ranges itself.
    pub fn ranges(&self) -> Ranges {
        let own =
            |name: &[u8]| name.eq_ignore_ascii_case(b"accept-ranges") || name.eq_ignore_ascii_case(b"content-range");
        match self.framing {
            Framing::Length(_) if self.status.code() == StatusCode::OK => {}
            _ => return Ranges::None,
        }
        if self.headers.iter().any(|header| own(header.name)) {
            return Ranges::None;
        }
        if self.single_block { Ranges::Several } else { Ranges::One }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::head::{HeaderList, StatusLine};

    proptest! {
        #[test]
        fn ranges_apply_only_to_whole_responses_of_known_length(
            status in prop::sample::select(vec!["200 OK", "200", "206 Partial Content", "404 Not Found"]),
            framing in prop::sample::select(vec![Framing::Length(0), Framing::Length(9), Framing::Unknown, Framing::NoBody]),
            names in prop::collection::vec(
                prop::sample::select(vec!["Accept-Ranges", "content-range", "Range", "Content-Type", "ETag"]), 0..4),
            single_block: bool,
        ) {
            let mut headers = HeaderList::new();
            for name in &names {
                headers.push(name.as_bytes(), b"x").expect("valid");
            }
            let status = StatusLine::parse(status.as_bytes()).expect("valid");
            let cut = status.code() == 200
                && matches!(framing, Framing::Length(_))
                && !names.iter().any(|name| ["Accept-Ranges", "content-range"].contains(name));
            let expected = match (cut, single_block) {
                (false, _) => Ranges::None,
                (true, false) => Ranges::One,
                (true, true) => Ranges::Several,
            };
            prop_assert_eq!(ResponseHead { status, headers, framing, single_block }.ranges(), expected);
        }
    }
}
