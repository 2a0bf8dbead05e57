//! Header names: the variable of a request header, and a table that finds its slot.

use super::equal::equal;
use crate::host::name_hash;

/// Whether applications see the credentials that a client sends: `Authorization` and `Proxy-Authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// The headers are left out: they are not for scripts (RFC 3875, 9.2).
    Withheld,
    /// The headers are passed unchanged.
    Passed,
}

/// The variables of credentials.
const CREDENTIALS: [&str; 2] = ["HTTP_AUTHORIZATION", "HTTP_PROXY_AUTHORIZATION"];

/// Variables that a client cannot set with a header in any spelling.
const WITHHELD: [&str; 5] = [
    // Libraries would use its value as the address of a proxy ("httpoxy").
    "HTTP_PROXY",
    // The host de-chunks the body and manages the connection.
    "HTTP_TRANSFER_ENCODING",
    "HTTP_KEEP_ALIVE",
    // These headers become CONTENT_TYPE and CONTENT_LENGTH.
    "HTTP_CONTENT_TYPE",
    "HTTP_CONTENT_LENGTH",
];

/// Variables that get a slot even if a client has used up the slots with unusual header names.
const COMMON: [&str; 43] = [
    "CONTENT_TYPE",
    "HTTP_HOST",
    "HTTP_CONNECTION",
    "HTTP_CACHE_CONTROL",
    "HTTP_PRAGMA",
    "HTTP_USER_AGENT",
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_CHARSET",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_COOKIE",
    "HTTP_REFERER",
    "HTTP_ORIGIN",
    "HTTP_RANGE",
    "HTTP_IF_RANGE",
    "HTTP_IF_MATCH",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_EXPECT",
    "HTTP_TE",
    "HTTP_UPGRADE",
    "HTTP_UPGRADE_INSECURE_REQUESTS",
    "HTTP_VIA",
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
    "HTTP_X_REQUEST_ID",
    "HTTP_X_REQUESTED_WITH",
    "HTTP_X_CSRFTOKEN",
    "HTTP_DNT",
    "HTTP_PRIORITY",
    "HTTP_SEC_FETCH_DEST",
    "HTTP_SEC_FETCH_MODE",
    "HTTP_SEC_FETCH_SITE",
    "HTTP_SEC_FETCH_USER",
    "HTTP_SEC_CH_UA",
    "HTTP_SEC_CH_UA_MOBILE",
    "HTTP_SEC_CH_UA_PLATFORM",
    "HTTP_TRACEPARENT",
];

/// Returns the variable for a header. `None` if the header is withheld, or its name is not a token (RFC 9110, 5.1), which a
/// host should have refused.
pub(super) fn variable(name: &[u8], credentials: Credentials) -> Option<String> {
    if name.eq_ignore_ascii_case(b"content-type") {
        return Some("CONTENT_TYPE".to_owned());
    }
    if name.is_empty() {
        return None;
    }
    let mut key = String::with_capacity(PREFIX.len() + name.len());
    key.push_str(PREFIX);
    for byte in name {
        key.push(match byte {
            b'-' => '_',
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(byte.to_ascii_uppercase()),
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'.' | b'^'..=b'`' | b'|' | b'~' => char::from(*byte),
            _ => return None,
        });
    }
    (!withheld(credentials).any(|withheld| *withheld == key)).then_some(key)
}

fn withheld(credentials: Credentials) -> impl Iterator<Item = &'static &'static str> {
    let credentials = match credentials {
        Credentials::Withheld => &CREDENTIALS[..],
        Credentials::Passed => &[],
    };
    WITHHELD.iter().chain(credentials)
}

/// Whether a name may be another spelling of a dashed name.
pub(super) fn has_underscore(name: &[u8]) -> bool {
    name.contains(&b'_')
}

/// Whether a header with this variable is so common that it always gets a slot.
pub(super) fn is_common(key: &str) -> bool {
    COMMON.contains(&key)
}

/// Returns the separator between the values of a repeated header: RFC 9110, 5.3; for cookies RFC 6265, 4.2.
pub(super) fn separator(name: &[u8]) -> &'static [u8] {
    if name.eq_ignore_ascii_case(b"cookie") { b"; " } else { b", " }
}

const PREFIX: &str = "HTTP_";

/// Header names seen so far, found by their hash. None has an underscore: such a name is another spelling of a dashed name.
pub(super) struct NameTable {
    /// Index + 1 into `names`, 0 if free; a name is in the first free bucket at or after that of its hash.
    buckets: [u8; 256],
    names: Vec<Name>,
}

struct Name {
    hash: u32,
    destination: Destination,
    /// The name as last received. Clients of a kind use the same spelling, so this is compared first.
    spelling: Box<[u8]>,
}

/// The handling of a header name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// The value belongs in this slot.
    Slot(usize),
    /// The application does not see the header.
    Withheld,
}

impl NameTable {
    /// Maximum number of names. Some buckets always stay free, to end a search.
    const CAPACITY: usize = 224;

    /// Creates a table of the withheld names.
    pub(super) fn new(credentials: Credentials) -> Self {
        let mut table = Self { buckets: [0; 256], names: Vec::new() };
        for key in withheld(credentials).filter(|key| **key != "HTTP_CONTENT_TYPE") {
            let name = key[PREFIX.len()..].replace('_', "-");
            table.learn(name.as_bytes(), name_hash(name.as_bytes()), Destination::Withheld);
        }
        table
    }

    /// Returns the handling of `name`, if the table has it.
    #[inline(always)]
    pub(super) fn find(&mut self, name: &[u8], hash: u32) -> Option<Destination> {
        let mut bucket = hash as u8;
        loop {
            let index = usize::from(self.buckets[usize::from(bucket)]);
            if index == 0 {
                return None;
            }
            let known = &mut self.names[index - 1];
            if known.hash == hash && known.is(name) {
                return Some(known.destination);
            }
            bucket = bucket.wrapping_add(1);
        }
    }

    /// Adds a name that [`find`](Self::find) did not find, unless the table is full.
    pub(super) fn learn(&mut self, name: &[u8], hash: u32, destination: Destination) {
        if self.names.len() == Self::CAPACITY {
            return;
        }
        self.names.push(Name { hash, destination, spelling: name.into() });
        let mut bucket = hash as u8;
        while self.buckets[usize::from(bucket)] != 0 {
            bucket = bucket.wrapping_add(1);
        }
        self.buckets[usize::from(bucket)] = self.names.len() as u8;
    }
}

impl Name {
    #[inline(always)]
    fn is(&mut self, name: &[u8]) -> bool {
        equal(&self.spelling, name) || self.respell(name)
    }

    #[cold]
    fn respell(&mut self, name: &[u8]) -> bool {
        let same = self.spelling.eq_ignore_ascii_case(name);
        if same {
            self.spelling.copy_from_slice(name);
        }
        same
    }
}
