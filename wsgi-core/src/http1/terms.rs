//! The connection parameters that a client requests.

use super::Extent;
use crate::host::HeaderField;
use crate::protocol::environ::host_and_port;

/// The parts of a request's head that concern the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// The framing of the body.
    pub body: Extent,
    /// Whether another request may follow (RFC 9112, 9.3).
    pub persistent: bool,
    /// Whether the client may wait for `100 Continue` before it sends the body (RFC 9110, 10.1.1).
    pub expects_continue: bool,
}

impl Terms {
    /// Reads the headers of a request of HTTP/1.`minor_version`. `None` if the request must be refused with 400, and the
    /// connection closed: the end of its body, or its host, is not certain (RFC 9112, 3.2).
    pub fn new(minor_version: u8, headers: &[HeaderField<'_>]) -> Option<Self> {
        let all = |name: &'static str| {
            let named = headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes()));
            named.map(|field| field.value)
        };
        let says = |name, word: &str| {
            let mut words = all(name).flat_map(|value| value.split(|byte| *byte == b','));
            words.any(|found| found.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
        };
        let modern = minor_version > 0;
        let mut hosts = all("host");
        let is_clear = match (hosts.next(), hosts.next()) {
            (None, _) => !modern,
            (Some(host), None) => host_and_port(host).is_some(),
            _ => false,
        };
        if !is_clear {
            return None;
        }
        let body = Extent::new(minor_version, headers)?;
        let persistent = if modern { !says("connection", "close") } else { says("connection", "keep-alive") };
        let expects_continue = modern && !body.is_at_end() && says("expect", "100-continue");
        Some(Self { body, persistent, expects_continue })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(minor_version: u8, headers: &[(&str, &str)]) -> Option<Terms> {
        let fields = headers.iter().map(|(name, value)| HeaderField::new(name.as_bytes(), value.as_bytes()));
        Terms::new(minor_version, &fields.collect::<Vec<_>>())
    }

    const HOST: (&str, &str) = ("host", "localhost");

    #[test]
    fn keep_alive_follows_the_version_and_the_connection_header() {
        let stays = |minor_version, headers: &[_]| terms(minor_version, headers).expect("valid").persistent;
        assert!(stays(1, &[HOST]));
        assert!(!stays(1, &[HOST, ("Connection", "te, Close")]));
        assert!(!stays(1, &[HOST, ("Connection", "te"), ("Connection", "close")]));
        assert!(stays(1, &[HOST, ("Connection", "closed")]));
        assert!(!stays(0, &[]));
        assert!(stays(0, &[("Connection", "Keep-Alive")]));
    }

    #[test]
    fn missing_or_repeated_host_is_refused() {
        assert_eq!(terms(1, &[]), None);
        assert_eq!(terms(1, &[HOST, HOST]), None);
        assert_eq!(terms(0, &[HOST, HOST]), None);
        assert!(terms(0, &[]).is_some() && terms(1, &[("Host", "")]).is_none());
    }

    #[test]
    fn only_a_client_of_http_1_1_that_has_a_body_waits_for_100_continue() {
        const EXPECT: (&str, &str) = ("Expect", "100-Continue");
        let waits = |minor_version, headers: &[_]| terms(minor_version, headers).expect("valid").expects_continue;
        assert!(waits(1, &[HOST, EXPECT, ("Content-Length", "4")]));
        assert!(waits(1, &[HOST, EXPECT, ("Transfer-Encoding", "chunked")]));
        assert!(!waits(1, &[HOST, EXPECT]));
        assert!(!waits(1, &[HOST, EXPECT, ("Content-Length", "0")]));
        assert!(!waits(0, &[HOST, EXPECT, ("Content-Length", "4")]));
        assert!(!waits(1, &[HOST, ("Content-Length", "4")]));
    }

    #[test]
    fn content_length_beside_transfer_encoding_is_refused() {
        assert_eq!(terms(1, &[HOST, ("Content-Length", "4"), ("Transfer-Encoding", "chunked")]), None);
    }
}
