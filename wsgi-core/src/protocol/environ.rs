//! environ as plain data: the variables of a request, and the differences from those of the request before.
//!
//! Most variables have the same value in consecutive requests, so a host's dictionary is not filled anew: an [`EnvironCache`]
//! accompanies a dictionary that holds the previous request's variables, and reports only the changes ([`Changes`]). The
//! dictionary is then copied for the application.
//!
//! If several sources set a variable, the first of these wins: the operator's variables, the variables that CGI requires (PEP
//! 3333, "environ Variables"), the host's own, the request's headers.

mod authority;
mod cache;
mod collected;
mod decode;
mod equal;
mod fixed;
pub(crate) mod model;
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

/// Receives the reports of [`EnvironCache::update`]. Keys are ASCII unless an operator chose others; values are raw bytes, to
/// be decoded as latin-1.
pub trait Changes {
    /// Sets the value of a key in the dictionary. Reported again only when the value changes.
    fn set(&mut self, slot: SlotId, key: &str, value: &[u8]);

    /// Removes a key that the dictionary has.
    fn remove(&mut self, slot: SlotId, key: &str);

    /// Sets the value of a key for this request only: it belongs in the copy, in place of any value in the dictionary. At
    /// most once for each key and request.
    fn once(&mut self, key: &str, value: &[u8]);
}

/// Index of a key in a cache. A slot keeps its key as long as its cache lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId(u16);

impl SlotId {
    /// Returns a small number: indices start at 0 without large gaps, and there are never more than 500.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
