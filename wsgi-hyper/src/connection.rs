//! Facts about a connection that a request does not contain.

use std::net::SocketAddr;

use wsgi_core::host::Scheme;

/// The connection of a request, as a request extension.
///
/// The server of this crate inserts it. If you use another server, insert it yourself. Without it, applications have no
/// REMOTE_ADDR, and SERVER_PORT comes from the client's request. In axum the client's address is in `ConnectInfo`, if
/// the program serves with `into_make_service_with_connect_info::<SocketAddr>()`; this layer around the routes passes
/// it on:
///
/// ```
/// # use std::net::SocketAddr;
/// # use wsgi_hyper::Connection;
/// use axum::{Router, extract::{ConnectInfo, Request}, middleware::map_request};
///
/// async fn note_peer(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
///     request.extensions_mut().insert(Connection::default().peer(peer));
///     request
/// }
///
/// fn with_peers(routes: Router) -> Router {
///     routes.layer(map_request(note_peer))
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Connection {
    /// The address that the client has connected to.
    pub local: Option<SocketAddr>,
    /// The client's address.
    pub peer: Option<SocketAddr>,
    /// `Https` if the connection is encrypted.
    pub scheme: Scheme,
}

impl Connection {
    /// Sets the address that the client has connected to.
    pub fn local(mut self, address: impl Into<Option<SocketAddr>>) -> Self {
        self.local = address.into();
        self
    }

    /// Sets the client's address.
    pub fn peer(mut self, address: impl Into<Option<SocketAddr>>) -> Self {
        self.peer = address.into();
        self
    }

    /// Sets the scheme.
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }
}

/// A connection without TLS and with unknown addresses.
impl Default for Connection {
    fn default() -> Self {
        Self { local: None, peer: None, scheme: Scheme::Http }
    }
}

/// A connection with its addresses as text for environ. A server makes the text once for each connection.
#[derive(Clone)]
pub(crate) struct Addresses {
    pub(crate) local: Option<Address>,
    pub(crate) peer: Option<Address>,
    pub(crate) scheme: Scheme,
}

impl From<Connection> for Addresses {
    fn from(Connection { local, peer, scheme }: Connection) -> Self {
        Self { local: local.map(Address::from), peer: peer.map(Address::from), scheme }
    }
}

/// The address of one end of a connection.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) port: u16,
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        // An IPv4 client of an IPv6 socket has an IPv4 address.
        Self { name: address.ip().to_canonical().to_string(), port: address.port() }
    }
}
