//! environ as plain data: the variables of a request, and how they differ from those of the request before.
//!
//! Most of what two requests in a row say is the same, so a host's dictionary is not filled anew: an [`EnvironCache`]
//! stands beside a dictionary that holds the previous request's variables and reports only what has changed
//! ([`Changes`]). The dictionary is then copied for the application.
//!
//! Where a variable comes from, the first that has it wins: the operator's variables, what CGI requires
//! (PEP 3333, "environ Variables"), the host's own, the request's headers.

mod authority;
mod cache;
mod collected;
mod decode;
mod equal;
mod fixed;
#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
pub mod model;
mod name;
mod path;
mod slots;
#[cfg(test)]
pub(crate) mod tests;

pub use authority::host_and_port;
pub use cache::EnvironCache;
pub use decode::{decode_path, decode_prefix};
pub use name::Credentials;
pub use path::{Mount, split_path};

/// Takes what [`EnvironCache::update`] reports. Keys are ASCII unless the operator's are not; values are raw bytes,
/// to be decoded as latin-1.
pub trait Changes {
    /// The dictionary gets this value. Reported again only when the value changes.
    fn set(&mut self, slot: SlotId, key: &str, value: &[u8]);

    /// The dictionary has this key, and loses it.
    fn remove(&mut self, slot: SlotId, key: &str);

    /// This request has this value, whatever the dictionary holds under the key: it belongs into the copy only. At
    /// most one for each key and request.
    fn once(&mut self, key: &str, value: &[u8]);
}

/// Place of a key in a cache. A slot keeps its key as long as its cache lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId(u16);

impl SlotId {
    /// A small number, from 0 without large gaps; there are never more than 500.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
