//! HTTP/1 on a connection, for hosts that have a socket and no server around it.
//!
//! Once the head of a request is parsed, its [`Terms`] say where its body ends, which [`Extent`] reads; a [`Writer`]
//! puts the response on the wire. Nothing here knows of sockets, threads or clocks. Feature `http1`.

mod chunk;
mod extent;
mod terms;
mod writer;

pub use chunk::chunk_size;
pub use extent::{Extent, MAX_EXTENSIONS, extension_size};
pub use terms::Terms;
pub use writer::Writer;
