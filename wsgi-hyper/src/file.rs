//! Files of an application, read while the client takes them: on the thread of the task if they are in memory, otherwise
//! on a thread that may block.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use wsgi_core::host::ApplicationFile;

/// Bytes that are read at a time.
const BLOCK: usize = 64 * 1024;

/// A file that is being sent.
pub(crate) enum Reading {
    /// The rest of the file.
    Idle(ApplicationFile),
    /// A thread reads a block, and returns the rest with it.
    Blocked(JoinHandle<(io::Result<Bytes>, ApplicationFile)>),
}

impl Reading {
    /// Returns the next block; `None` at the end of the file.
    pub(crate) fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match self {
                Self::Idle(rest) if rest.len == 0 => return Poll::Ready(None),
                Self::Idle(rest) => {
                    if let Some(block) = rest.try_read(BLOCK) {
                        return Poll::Ready(Some(Ok(block)));
                    }
                    let Ok(runtime) = Handle::try_current() else { return Poll::Ready(Some(rest.read(BLOCK))) };
                    *self = Self::on_a_thread(rest.clone(), &runtime);
                }
                Self::Blocked(thread) => {
                    let (block, rest) = ready!(Pin::new(thread).poll(cx)).map_err(io::Error::other)?;
                    *self = Self::Idle(rest);
                    return Poll::Ready(Some(block));
                }
            }
        }
    }

    /// Reads the next block on a thread that may block.
    fn on_a_thread(mut rest: ApplicationFile, runtime: &Handle) -> Self {
        Self::Blocked(runtime.spawn_blocking(move || (rest.read(BLOCK), rest)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;

    use super::*;

    async fn all(mut reading: Reading) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        while let Some(block) = std::future::poll_fn(|cx| reading.poll_block(cx)).await {
            content.extend_from_slice(&block?);
        }
        Ok(content)
    }

    #[tokio::test]
    async fn a_file_is_read_whole_whether_it_is_in_memory_or_not() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
        file.write_all(&content).unwrap();
        let part = ApplicationFile { file: Arc::new(file), start: 4096, len: content.len() as u64 - 4096 };
        let on_a_thread = || Reading::on_a_thread(part.clone(), &Handle::current());
        assert!(all(Reading::Idle(part.clone())).await.unwrap() == content[4096..]);
        assert!(all(on_a_thread()).await.unwrap() == content[4096..]);
        part.file.set_len(500_000).unwrap();
        for reading in [Reading::Idle(part.clone()), on_a_thread()] {
            assert_eq!(all(reading).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
