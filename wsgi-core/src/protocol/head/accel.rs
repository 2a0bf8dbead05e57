//! The response headers `X-Accel-Redirect`, `X-Accel-Limit-Rate` and so on, which are instructions for nginx.

use super::HeaderList;

/// A response header that nginx obeys and does not pass on, as with those of a proxied server
/// (`ngx_http_upstream_headers_in`). Other hosts send it to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccelHeader {
    /// `X-Accel-Redirect`: the location that answers instead.
    Redirect,
    /// `X-Accel-Expires`: how long nginx may cache the response. It has no cache for applications.
    Expires,
    /// `X-Accel-Limit-Rate`: bytes per second, 0 for no limit.
    LimitRate,
    /// `X-Accel-Charset`: the charset of the body.
    Charset,
    /// `X-Accel-Buffering`: `yes` or `no`.
    Buffering,
}

impl AccelHeader {
    /// All of these headers.
    pub const ALL: &'static [Self] = &[Self::Redirect, Self::Expires, Self::LimitRate, Self::Charset, Self::Buffering];

    /// Returns the usual spelling.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redirect => "X-Accel-Redirect",
            Self::Expires => "X-Accel-Expires",
            Self::LimitRate => "X-Accel-Limit-Rate",
            Self::Charset => "X-Accel-Charset",
            Self::Buffering => "X-Accel-Buffering",
        }
    }

    /// Returns the header of that name, in any case.
    #[inline]
    pub fn named(name: &[u8]) -> Option<Self> {
        // The first letter rules out most names.
        if matches!(name, [b'x' | b'X', ..]) { Self::find(name) } else { None }
    }

    #[cold]
    fn find(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|header| name.eq_ignore_ascii_case(header.name().as_bytes()))
    }
}

/// A set of [`AccelHeader`]s (`wsgi_ignore_headers`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccelHeaders(u8);

impl AccelHeaders {
    /// Whether `header` is in the set.
    pub const fn contains(self, header: AccelHeader) -> bool {
        self.0 & (1 << header as u8) != 0
    }

    /// Adds a header. Returns false if it was in the set already.
    pub fn insert(&mut self, header: AccelHeader) -> bool {
        let before = self.0;
        self.0 |= 1 << header as u8;
        self.0 != before
    }
}

/// Instructions of a response that nginx needs before the body is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accel<'a> {
    /// The value of the first `X-Accel-Redirect`.
    pub redirect: Option<&'a [u8]>,
    /// `X-Accel-Buffering`: whether small blocks may be joined.
    pub buffering: Option<bool>,
}

impl<'a> Accel<'a> {
    /// Reads the headers of a response, except those that are `ignored`.
    #[inline]
    pub fn of(headers: &'a HeaderList, ignored: AccelHeaders) -> Self {
        if headers.has_accel() { Self::find(headers, ignored) } else { Self::default() }
    }

    #[cold]
    fn find(headers: &'a HeaderList, ignored: AccelHeaders) -> Self {
        let mut accel = Self::default();
        for header in headers.iter() {
            let Some(name) = AccelHeader::named(header.name).filter(|name| !ignored.contains(*name)) else { continue };
            // White space around a value is not part of it (RFC 9110, 5.5).
            let value = header.value.trim_ascii();
            match name {
                AccelHeader::Redirect if accel.redirect.is_none() => accel.redirect = Some(value),
                AccelHeader::Buffering if value.eq_ignore_ascii_case(b"yes") => accel.buffering = Some(true),
                AccelHeader::Buffering if value.eq_ignore_ascii_case(b"no") => accel.buffering = Some(false),
                _ => {}
            }
        }
        accel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(headers: &[(&str, &str)]) -> HeaderList {
        let mut list = HeaderList::new();
        for (name, value) in headers {
            list.push(name.as_bytes(), value.as_bytes()).expect("valid");
        }
        list
    }

    #[test]
    fn first_x_accel_redirect_and_last_x_accel_buffering_apply() {
        let headers = list(&[
            ("X-Accel-Buffering", "no"),
            ("x-accel-redirect", " /a "),
            ("X-Accel-Redirect", "/b"),
            ("X-ACCEL-BUFFERING", " Yes"),
            ("X-Accel-Buffering", "perhaps"),
        ]);
        let expected = Accel { redirect: Some(b"/a"), buffering: Some(true) };
        assert_eq!(Accel::of(&headers, AccelHeaders::default()), expected);
    }

    #[test]
    fn ignored_x_accel_headers_have_no_effect() {
        let headers = list(&[("X-Accel-Redirect", "/a"), ("X-Accel-Buffering", "no")]);
        let mut ignored = AccelHeaders::default();
        ignored.insert(AccelHeader::Redirect);
        assert_eq!(Accel::of(&headers, ignored), Accel { redirect: None, buffering: Some(false) });
    }

    #[test]
    fn a_header_is_found_in_any_spelling_and_no_other_is() {
        for &header in AccelHeader::ALL {
            let name = header.name();
            for name in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
                assert_eq!(AccelHeader::named(name.as_bytes()), Some(header), "{name}");
            }
        }
        for name in ["", "X-Accel-", "X-Accel-Redirects", "Y-Accel-Redirect", "X-Accel-Redirec", "X-Forwarded-For"] {
            assert_eq!(AccelHeader::named(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn a_set_holds_what_was_added() {
        let mut set = AccelHeaders::default();
        assert!(set.insert(AccelHeader::Buffering) && !set.insert(AccelHeader::Buffering));
        let held = AccelHeader::ALL.iter().copied().filter(|header| set.contains(*header));
        assert_eq!(held.collect::<Vec<_>>(), [AccelHeader::Buffering]);
    }
}
