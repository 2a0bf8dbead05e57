//! A copy of a request as bytes, for another process that runs the same program.

use super::{Name, Pair, RequestSnapshot};
use crate::host::Scheme;
use crate::lock::Leaf;
use crate::protocol::transfer::fields::{Fields, put, put_bytes};

impl RequestSnapshot {
    /// Appends the request to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.bytes);
        self.line.iter().for_each(|end| put(out, *end as u64));
        for number in [self.extra_start, self.variables_start, self.headers, self.extra, self.pairs.len()] {
            put(out, number as u64);
        }
        put(out, u64::from(self.scheme == Scheme::Https));
        for port in [self.server_port, self.peer_port] {
            put(out, port.map_or(0, |port| u64::from(port) + 1));
        }
        put(out, u64::from(self.content_length.is_some()));
        put(out, self.content_length.unwrap_or_default());
        for Pair { name, value, hash } in &self.pairs {
            match name {
                Name::Copied(length) => {
                    put(out, *length as u64 + 1);
                }
                Name::Static(name) => {
                    put(out, 0);
                    put_bytes(out, name.as_bytes());
                }
            }
            put(out, *value as u64);
            put(out, u64::from(*hash));
        }
    }

    /// Reads a request. Returns `None` if it is inconsistent.
    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let bytes = fields.bytes()?.to_vec();
        let mut line = [0; 7];
        for end in &mut line {
            *end = fields.size()?;
        }
        let [extra_start, variables_start, headers, extra, count] =
            [fields.size()?, fields.size()?, fields.size()?, fields.size()?, fields.size()?];
        let scheme = if fields.number()? != 0 { Scheme::Https } else { Scheme::Http };
        let mut port = || match fields.number()? {
            0 => Some(None),
            port => Some(Some(u16::try_from(port - 1).ok()?)),
        };
        let (server_port, peer_port) = (port()?, port()?);
        let (has_length, length) = (fields.number()? != 0, fields.number()?);
        let mut pairs = Vec::new();
        for _ in 0..count {
            let name = match fields.size()? {
                0 => Name::Static(interned(std::str::from_utf8(fields.bytes()?).ok()?)?),
                length => Name::Copied(length - 1),
            };
            pairs.push(Pair { name, value: fields.size()?, hash: u32::try_from(fields.number()?).ok()? });
        }
        let content_length = has_length.then_some(length);
        let request = Self {
            bytes,
            line,
            extra_start,
            variables_start,
            pairs,
            headers,
            extra,
            scheme,
            server_port,
            peer_port,
            content_length,
        };
        request.is_consistent().then_some(request)
    }

    /// Whether all texts lie in the buffer, and names of variables are text.
    fn is_consistent(&self) -> bool {
        let size = |pairs: &[Pair]| {
            pairs.iter().try_fold(0usize, |sum, pair| {
                let name = if let Name::Copied(length) = pair.name { length } else { 0 };
                sum.checked_add(name)?.checked_add(pair.value)
            })
        };
        let Some((headers, rest)) = self.pairs.split_at_checked(self.headers) else { return false };
        let Some((extra, variables)) = rest.split_at_checked(self.extra) else { return false };
        let ends = |start: usize, pairs: &[Pair], end: usize| {
            size(pairs).and_then(|size| start.checked_add(size)) == Some(end)
        };
        self.line.is_sorted()
            && ends(self.line[6], headers, self.extra_start)
            && ends(self.extra_start, extra, self.variables_start)
            && ends(self.variables_start, variables, self.bytes.len())
            && self
                .pairs(self.headers + self.extra..self.pairs.len(), self.variables_start)
                .all(|(_, name, _)| std::str::from_utf8(name).is_ok())
    }
}

/// Most names that the host adds to requests (`RequestView::extra`).
const MOST_NAMES: usize = 256;

/// Returns a name of the host that lives as long as the process. `None` if there are too many of them.
fn interned(name: &str) -> Option<&'static str> {
    static NAMES: Leaf<Vec<&'static str>> = Leaf::new(Vec::new());
    NAMES.with(|names| match names.iter().find(|known| **known == name) {
        Some(known) => Some(*known),
        None if names.len() < MOST_NAMES => {
            names.push(Box::leak(Box::from(name)));
            names.last().copied()
        }
        None => None,
    })
}
