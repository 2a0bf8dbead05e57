//! One argument of a directive, and parsers for its kinds of values.

use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::DirectiveError;

/// An argument with the name of its directive, for error messages.
#[derive(Clone, Copy)]
pub(super) struct Argument<'a> {
    pub(super) directive: &'static str,
    pub(super) bytes: &'a [u8],
}

impl Argument<'_> {
    /// Parses `on` or `off`, in any case, as nginx does.
    pub(super) fn flag(self) -> Result<bool, DirectiveError> {
        match self.bytes {
            on if on.eq_ignore_ascii_case(b"on") => Ok(true),
            off if off.eq_ignore_ascii_case(b"off") => Ok(false),
            _ => Err(self.invalid("it must be \"on\" or \"off\"")),
        }
    }

    /// Parses decimal digits; `None` if there are other characters, or the number is not `allowed`.
    pub(super) fn number(self, allowed: RangeInclusive<usize>) -> Option<usize> {
        if !self.bytes.iter().all(u8::is_ascii_digit) {
            return None;
        }
        str::from_utf8(self.bytes).ok()?.parse().ok().filter(|number| allowed.contains(number))
    }

    /// Parses a number of bytes; `k` or `m` after it multiplies by 2^10 or 2^20 (`ngx_parse_size`).
    pub(super) fn size(self) -> Option<usize> {
        let (digits, unit) = match self.bytes.split_last()? {
            (b'k' | b'K', digits) => (digits, 1 << 10),
            (b'm' | b'M', digits) => (digits, 1 << 20),
            _ => (self.bytes, 1),
        };
        Argument { bytes: digits, ..self }.number(0..=usize::MAX)?.checked_mul(unit).filter(|_| !digits.is_empty())
    }

    /// Parses a time: a number of seconds, or a number followed by `ms`, `s`, `m`, `h` or `d` (`ngx_parse_time`, one unit).
    pub(super) fn time(self) -> Option<Duration> {
        let digits = self.bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, unit) = self.bytes.split_at(digits);
        let milliseconds = match unit {
            b"ms" => 1,
            b"" | b"s" => 1000,
            b"m" => 60 * 1000,
            b"h" => 3600 * 1000,
            b"d" => 24 * 3600 * 1000,
            _ => return None,
        };
        let number = Argument { bytes: number, ..self }.number(0..=usize::MAX)?;
        Some(Duration::from_millis((number as u64).checked_mul(milliseconds)?))
    }

    /// Parses a path, and makes it absolute, without trailing or doubled `/`. Links and `..` are kept: a virtual environment
    /// is identified by the name of its link.
    pub(super) fn path(self, prefix: &Path) -> Result<PathBuf, DirectiveError> {
        if self.bytes.is_empty() || self.bytes.contains(&0) {
            return Err(self.invalid("it must be a path"));
        }
        let joined = prefix.join(OsStr::from_bytes(self.bytes));
        // The prefix is relative after `nginx -p here`.
        let absolute = std::path::absolute(&joined).unwrap_or(joined);
        Ok(absolute.components().collect())
    }

    pub(super) fn invalid(self, rule: impl Into<String>) -> DirectiveError {
        DirectiveError::InvalidValue { directive: self.directive, value: self.shown(), rule: rule.into() }
    }

    pub(super) fn shown(self) -> String {
        shown(self.bytes)
    }
}

/// Returns text for messages, in one line: control characters are escaped, invalid UTF-8 is replaced.
pub(super) fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for char in String::from_utf8_lossy(bytes).chars() {
        if char.is_control() { text.extend(char.escape_unicode()) } else { text.push(char) }
    }
    text
}

/// Returns a path for messages; see [`shown`].
pub(super) fn shown_path(path: &Path) -> String {
    shown(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(bytes: &[u8]) -> Argument<'_> {
        Argument { directive: "wsgi_test", bytes }
    }

    #[test]
    fn a_flag_is_on_or_off() {
        assert_eq!(argument(b"on").flag(), Ok(true));
        assert_eq!(argument(b"OFF").flag(), Ok(false));
        assert_eq!(
            argument(b"yes").flag().unwrap_err().to_string(),
            "invalid value \"yes\" in \"wsgi_test\" directive, it must be \"on\" or \"off\""
        );
    }

    #[test]
    fn a_number_is_digits_only() {
        assert_eq!(argument(b"0017").number(0..=20), Some(17));
        for bad in [&b""[..], b"-1", b"+1", b" 1", b"1k", b"0x1", b"21", b"99999999999999999999999", b"\xff"] {
            assert_eq!(argument(bad).number(0..=20), None, "{bad:?}");
        }
    }

    #[test]
    fn a_size_has_a_unit_or_none() {
        let size = |bytes| argument(bytes).size();
        assert_eq!([size(b"17"), size(b"4k"), size(b"2M")], [Some(17), Some(4096), Some(2 << 20)]);
        for bad in [&b""[..], b"k", b"abc", b"-1k", b"1g", b"1kk", b"1 k", b"99999999999999999m"] {
            assert_eq!(size(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_time_has_a_unit_or_is_in_seconds() {
        let time = |bytes| argument(bytes).time().map(|time| time.as_millis());
        assert_eq!([time(b"5"), time(b"5s"), time(b"500ms")], [Some(5000), Some(5000), Some(500)]);
        assert_eq!([time(b"2m"), time(b"1h"), time(b"1d")], [Some(120_000), Some(3_600_000), Some(86_400_000)]);
        for bad in [&b""[..], b"s", b"-1s", b"1x", b"1 s", b"99999999999999999999s", b"9999999999999999999d"] {
            assert_eq!(time(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_relative_path_is_below_the_prefix() {
        let path = |bytes| argument(bytes).path(Path::new("/srv/nginx/")).unwrap();
        assert_eq!(path(b"a//b/./c/"), Path::new("/srv/nginx/a/b/c"));
        assert_eq!(path(b"/opt/venv//"), Path::new("/opt/venv"));
        assert_eq!(path(b"../venv"), Path::new("/srv/nginx/../venv"));
        assert_eq!(path(b"\xff").as_os_str().as_bytes(), b"/srv/nginx/\xff");
    }

    #[test]
    fn a_relative_prefix_is_below_the_current_folder() {
        let path = argument(b"a").path(Path::new("here/")).unwrap();
        assert_eq!(path, std::env::current_dir().unwrap().join("here/a"));
    }

    #[test]
    fn an_empty_path_and_nul_are_refused() {
        assert!(argument(b"").path(Path::new("/")).is_err());
        let error = argument(b"a\0b").path(Path::new("/")).unwrap_err();
        assert_eq!(error.to_string(), "invalid value \"a\\u{0}b\" in \"wsgi_test\" directive, it must be a path");
    }
}
