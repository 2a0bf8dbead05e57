//! Timeouts for clients.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long a client may neither send nor receive anything.
pub(crate) const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads from a connection until a deadline, even if the client sends only few bytes at a time.
pub(crate) struct Timed {
    stream: TcpStream,
    pub(crate) deadline: Option<Instant>,
}

impl Timed {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, deadline: None }
    }
}

impl Read for Timed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.map_or(CLIENT_TIMEOUT, |deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left.min(CLIENT_TIMEOUT)))?;
        self.stream.read(buf)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_client_that_sends_a_byte_at_a_time_is_read_until_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut server = Timed::new(listener.accept().unwrap().0);
        server.deadline = Some(Instant::now() + Duration::from_millis(100));
        let error = loop {
            client.write_all(b"x").unwrap();
            if let Err(error) = server.read(&mut [0]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        server.deadline = Some(Instant::now() + Duration::from_millis(1));
        while server.read(&mut [0; 1024]).is_ok() {}
        server.deadline = None;
        client.write_all(b"x").unwrap();
        assert_eq!(server.read(&mut [0]).unwrap(), 1);
    }
}
