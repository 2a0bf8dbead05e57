//! Releases of nginx, for tables whose answers differ between them.

use std::fmt;

/// A release: `NginxVersion(1, 29, 4)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NginxVersion(pub u32, pub u32, pub u32);

impl NginxVersion {
    /// Older than all supported releases.
    pub(crate) const ANY: Self = Self(0, 0, 0);

    /// Parses the release from the output of `nginx -v`, or from a `Server` header: `nginx version: nginx/1.22.1 (Debian)`.
    /// `None` if there is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (_, version) = text.split_once("nginx/")?;
        let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let mut number = || numbers.next()?.ok();
        Some(Self(number()?, number()?, number()?))
    }
}

impl fmt::Display for NginxVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_parsed_from_the_output_of_nginx() {
        assert_eq!(NginxVersion::parse("nginx version: nginx/1.22.1\n"), Some(NginxVersion(1, 22, 1)));
        assert_eq!(NginxVersion::parse("nginx version: nginx/1.26.3 (Debian)"), Some(NginxVersion(1, 26, 3)));
        assert_eq!(NginxVersion::parse("nginx/1.31.9"), Some(NginxVersion(1, 31, 9)));
        assert_eq!(NginxVersion::parse("nginx"), None);
        assert_eq!(NginxVersion::parse("nginx version: nginx/1.29"), None);
        assert!(NginxVersion(1, 29, 10) > NginxVersion(1, 29, 9));
    }
}
