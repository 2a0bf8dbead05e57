//! HTTP/1 on a connection, for hosts that have only a socket and no HTTP server.
//!
//! The head of a request gives its [`Terms`], with the [`Extent`] that reads the body to its end; a [`Writer`] writes the
//! response. This code uses no sockets, threads or clocks. Feature `http1`.

mod chunk;
mod extent;
mod terms;
mod writer;

pub use chunk::chunk_size;
pub use extent::{Extent, MAX_EXTENSIONS, extension_size};
pub use terms::Terms;
pub use writer::Writer;
