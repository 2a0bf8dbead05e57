//! A connection that hides ambiguously framed requests and superfluous chunks from hyper.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::Framing;
use super::merging::merge;

/// Ends reading at the position that [`Framing`] refuses, and merges chunks that arrive together.
pub(super) struct Guarded<S> {
    stream: S,
    framing: Framing,
    /// Set after a refusal: bytes that are still to be read before the error.
    refused: Option<&'static [u8]>,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, framing: Framing::default(), refused: None }
    }

    /// Whether all bytes that were read belong to complete requests.
    pub(super) fn is_between_requests(&self) -> bool {
        self.refused.is_none() && self.framing.is_between_requests()
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// Truncates the bytes read after `before` at the first malformed byte, or merges their chunks.
    fn judge(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let Err(position) = self.framing.advance(&buf.filled()[before..]) else {
            let length = merge(&mut buf.filled_mut()[before..], self.framing.chunks());
            buf.set_filled(before + length);
            return Ok(());
        };
        let position = before + position;
        if self.framing.is_in_head() {
            // The only way to make hyper answer with 400 is an invalid head: NUL is not allowed anywhere in one. hyper may
            // detect it only at the end of the head.
            buf.filled_mut()[position] = 0;
            buf.set_filled(position + 1);
            self.refused = Some(b"\r\n\r\n");
            return Ok(());
        }
        buf.set_filled(position);
        self.refused = Some(b"");
        if position > before { Ok(()) } else { Err(malformed()) }
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed request")
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(rest) = &mut self.refused {
            if rest.is_empty() {
                return Poll::Ready(Err(malformed()));
            }
            let (now, later) = rest.split_at(rest.len().min(buf.remaining()));
            buf.put_slice(now);
            *rest = later;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(self.judge(buf, before))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Returns the bytes that can be read of this input, and whether an error follows.
    async fn read(bytes: &[u8]) -> (Vec<u8>, bool) {
        let (mut near, far) = duplex(1024);
        near.write_all(bytes).await.unwrap();
        drop(near);
        let mut read = Vec::new();
        let result = Guarded::new(far).read_to_end(&mut read).await;
        (read, result.is_err())
    }

    #[tokio::test]
    async fn valid_requests_pass_unchanged() {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(read(request).await, (request.to_vec(), false));
    }

    #[tokio::test]
    async fn refused_head_is_passed_to_hyper_as_malformed() {
        let refused = read(b"GET / HTTP/1.1\nHost: a\r\n\r\nGET / HTTP/1.1\r\n").await;
        assert_eq!(refused, (b"GET / HTTP/1.1\0\r\n\r\n".to_vec(), true));
    }

    #[tokio::test]
    async fn a_body_that_is_refused_ends_in_an_error() {
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(read(format!("{head}3\nabc").as_bytes()).await, (format!("{head}3").into_bytes(), true));
    }
}
