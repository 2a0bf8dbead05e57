//! Floor 3: applications and how they are loaded.
//!
//! A host serves a [`Location`](location::Location). The `loader` loads the callable of its `source`, applies the
//! middleware, and does so again after a reload; locations with the same source share the result.

pub(crate) mod freeze;
pub(crate) mod loader;
pub(crate) mod loading;
pub(crate) mod location;
pub(crate) mod middleware;
pub(crate) mod source;
