//! What a request does not say of its connection.

use std::net::SocketAddr;

use wsgi_core::host::Scheme;

/// The connection of a request, as a request extension.
///
/// The server of this crate inserts it. Inside another one insert it yourself, from what that server knows, or
/// applications see no REMOTE_ADDR, and a SERVER_PORT that is the client's word. With axum the client's address is in
/// `ConnectInfo`, if the program serves with `into_make_service_with_connect_info::<SocketAddr>()`; this layer around
/// the routes passes it on:
///
/// ```
/// # use std::net::SocketAddr;
/// # use wsgi_hyper::Connection;
/// use axum::{Router, extract::{ConnectInfo, Request}, middleware::map_request};
///
/// async fn note_peer(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
///     request.extensions_mut().insert(Connection { peer: Some(peer), ..Connection::default() });
///     request
/// }
///
/// fn with_peers(routes: Router) -> Router {
///     routes.layer(map_request(note_peer))
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The address that the client has connected to.
    pub local: Option<SocketAddr>,
    /// The client's address.
    pub peer: Option<SocketAddr>,
    /// `Https` if the connection is encrypted.
    pub scheme: Scheme,
}

/// One without TLS of which nothing is known.
impl Default for Connection {
    fn default() -> Self {
        Self { local: None, peer: None, scheme: Scheme::Http }
    }
}
