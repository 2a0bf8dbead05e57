//! An owned copy of a request, which can be read on another thread.

#[cfg_attr(not(feature = "python"), allow(dead_code, reason = "only the gateway transfers requests"))]
mod wire;

use std::ops::Range;

use crate::host::{Endpoint, HeaderField, RequestView, Scheme};

/// A copy of all data of a [`RequestView`].
///
/// The texts are stored one after the other in one buffer:
///
/// ```text
/// method protocol script_name path_info query server peer | name value name value ... | value ... | name value ...
///                                                           headers                     extra       variables
/// ```
#[derive(Clone, Debug)]
pub struct RequestSnapshot {
    bytes: Vec<u8>,
    /// End of each of the first texts.
    line: [usize; 7],
    /// Start of the first text of extra, and below, of the variables.
    extra_start: usize,
    variables_start: usize,
    /// Headers, then extra, then variables.
    pairs: Vec<Pair>,
    headers: usize,
    extra: usize,
    scheme: Scheme,
    server_port: Option<u16>,
    peer_port: Option<u16>,
    content_length: Option<u64>,
}

#[derive(Clone, Debug)]
struct Pair {
    name: Name,
    /// Length of the value.
    value: usize,
    /// Hash of a header's name.
    hash: u32,
}

#[derive(Clone, Debug)]
enum Name {
    /// Length of the name, which is in the buffer before the value.
    Copied(usize),
    Static(&'static str),
}

const METHOD: usize = 0;
const PROTOCOL: usize = 1;
const SCRIPT_NAME: usize = 2;
const PATH_INFO: usize = 3;
const QUERY: usize = 4;
const SERVER: usize = 5;
const PEER: usize = 6;

/// Capacity in bytes for the parts whose size is not known beforehand, because they are read only once: headers, and the
/// variables of host and operator. The headers of a browser fit, and glibc caches allocations of up to 1032 bytes. The buffer
/// grows if more is needed.
const ROOM: usize = 896;

/// Capacity in pairs of a name and a value.
const PAIRS: usize = 24;

impl RequestSnapshot {
    /// Copies a request. Each part of it is read once.
    pub fn new(request: &impl RequestView) -> Self {
        let (server, peer) = (request.server(), request.peer());
        let texts = [
            request.method(),
            request.protocol(),
            request.script_name(),
            request.path_info(),
            request.query(),
            server.name,
            peer.name,
        ];
        let mut bytes = Vec::with_capacity(texts.iter().map(|text| text.len()).sum::<usize>() + ROOM);
        let mut pairs = Vec::with_capacity(PAIRS);
        let line = texts.map(|text| {
            bytes.extend_from_slice(text);
            bytes.len()
        });
        for HeaderField { name, value, hash } in request.headers() {
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(value);
            pairs.push(Pair { name: Name::Copied(name.len()), value: value.len(), hash });
        }
        let (headers, extra_start) = (pairs.len(), bytes.len());
        for (name, value) in request.extra() {
            bytes.extend_from_slice(value);
            pairs.push(Pair { name: Name::Static(name), value: value.len(), hash: 0 });
        }
        let (extra, variables_start) = (pairs.len() - headers, bytes.len());
        for (name, value) in request.variables() {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(value);
            pairs.push(Pair { name: Name::Copied(name.len()), value: value.len(), hash: 0 });
        }
        Self {
            bytes,
            line,
            extra_start,
            variables_start,
            pairs,
            headers,
            extra,
            scheme: request.scheme(),
            server_port: server.port,
            peer_port: peer.port,
            content_length: request.content_length(),
        }
    }

    /// Sets the length of the body, for hosts that know it only after they have read all of it.
    pub fn set_content_length(&mut self, length: Option<u64>) {
        self.content_length = length;
    }

    fn text(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.line[index - 1] };
        &self.bytes[start..self.line[index]]
    }

    /// Returns the pairs in `range`, whose texts begin at `start`: the pair, its name if that is in the buffer, its value.
    fn pairs(&self, range: Range<usize>, start: usize) -> impl Iterator<Item = (&Pair, &[u8], &[u8])> {
        let mut rest = &self.bytes[start..];
        self.pairs[range].iter().map(move |pair| {
            let length = match pair.name {
                Name::Copied(length) => length,
                Name::Static(_) => 0,
            };
            let (name, behind) = rest.split_at(length);
            let (value, behind) = behind.split_at(pair.value);
            rest = behind;
            (pair, name, value)
        })
    }
}

impl<R: RequestView> From<&R> for RequestSnapshot {
    fn from(request: &R) -> Self {
        Self::new(request)
    }
}

impl RequestView for RequestSnapshot {
    fn method(&self) -> &[u8] {
        self.text(METHOD)
    }

    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn protocol(&self) -> &[u8] {
        self.text(PROTOCOL)
    }

    fn script_name(&self) -> &[u8] {
        self.text(SCRIPT_NAME)
    }

    fn path_info(&self) -> &[u8] {
        self.text(PATH_INFO)
    }

    fn query(&self) -> &[u8] {
        self.text(QUERY)
    }

    fn server(&self) -> Endpoint<'_> {
        Endpoint { name: self.text(SERVER), port: self.server_port }
    }

    fn peer(&self) -> Endpoint<'_> {
        Endpoint { name: self.text(PEER), port: self.peer_port }
    }

    fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    fn headers(&self) -> impl Iterator<Item = HeaderField<'_>> {
        self.pairs(0..self.headers, self.line[PEER]).map(|(pair, name, value)| HeaderField {
            name,
            value,
            hash: pair.hash,
        })
    }

    fn extra(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.pairs(self.headers..self.headers + self.extra, self.extra_start).filter_map(|(pair, _, value)| match pair
            .name
        {
            Name::Static(name) => Some((name, value)),
            Name::Copied(_) => None,
        })
    }

    fn variables(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.pairs(self.headers + self.extra..self.pairs.len(), self.variables_start).map(|(_, name, value)| {
            // The bytes were copied from a str.
            (std::str::from_utf8(name).expect("the name of a variable is text"), value)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::environ::model::Request;
    use crate::protocol::environ::tests::requests;

    /// Returns all data of a view as one comparable text.
    fn told(request: &impl RequestView) -> String {
        let headers: Vec<_> = request.headers().map(|field| (field.name, field.value, field.hash)).collect();
        let extra: Vec<_> = request.extra().collect();
        let variables: Vec<_> = request.variables().collect();
        format!(
            "{:?}",
            (
                (request.method(), request.scheme(), request.protocol(), request.script_name(), request.path_info()),
                (request.query(), request.server(), request.peer(), request.content_length()),
                (headers, extra, variables),
            )
        )
    }

    #[test]
    fn snapshot_can_be_sent_to_another_thread() {
        let request = Request::default().header("Host", "example.org");
        let snapshot = RequestSnapshot::new(&request);
        let told_there = std::thread::spawn(move || told(&snapshot)).join().unwrap();
        assert_eq!(told_there, told(&request));
    }

    proptest! {
        #[test]
        fn snapshot_has_the_values_of_the_request(requests in requests(1..3)) {
            for request in &requests {
                prop_assert_eq!(told(&RequestSnapshot::new(request)), told(request));
            }
        }
    }
}
