//! Queue of the blocks in a relay, first in first out. A single block, as in most responses, needs no allocation.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::protocol::output::{ApplicationFile, FilePart};

#[derive(Default)]
pub(super) struct Blocks {
    /// `None` only if the queue is empty.
    first: Option<Queued>,
    /// `None` until there is a second block: most responses have none, and dropping `None` is cheap.
    others: Option<VecDeque<Queued>>,
    /// Bytes of the blocks in memory.
    bytes: usize,
}

struct Queued {
    block: Block,
    flush: bool,
}

enum Block {
    Whole(Bytes),
    /// Small blocks that came faster than they were taken.
    Joined(BytesMut),
    File(FilePart),
    ApplicationFile(ApplicationFile),
}

/// A block that has left the queue.
pub(super) enum Data {
    Memory(Bytes),
    File(FilePart),
    ApplicationFile(ApplicationFile),
}

impl Blocks {
    #[inline]
    pub(super) fn push(&mut self, block: Bytes, flush: bool) {
        self.bytes += block.len();
        self.add(Queued { block: Block::Whole(block), flush });
    }

    /// Appends to the last block if `join` made it, otherwise adds a block.
    pub(super) fn join(&mut self, block: &[u8]) {
        self.bytes += block.len();
        match self.last_mut() {
            Some(Queued { block: Block::Joined(joined), .. }) => joined.extend_from_slice(block),
            _ => self.add(Queued { block: Block::Joined(BytesMut::from(block)), flush: true }),
        }
    }

    /// Adds a part of a file, or extends the last block if that ends where the part begins in the same file.
    pub(super) fn push_file(&mut self, part: FilePart, flush: bool) {
        match self.last_mut() {
            Some(Queued { block: Block::File(before), flush: flushed })
                if Arc::ptr_eq(&before.file, &part.file) && before.start + before.len == part.start =>
            {
                before.len += part.len;
                *flushed |= flush;
            }
            _ => self.add(Queued { block: Block::File(part), flush }),
        }
    }

    /// Adds a part of a file of the application.
    pub(super) fn push_application_file(&mut self, part: ApplicationFile, flush: bool) {
        self.add(Queued { block: Block::ApplicationFile(part), flush });
    }

    /// Marks the last block to be flushed. Returns whether there is one.
    #[inline]
    pub(super) fn flush(&mut self) -> bool {
        self.last_mut().map(|last| last.flush = true).is_some()
    }

    /// Takes the next block, and whether to flush it.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<(Data, bool)> {
        let next = self.others.as_mut().and_then(VecDeque::pop_front);
        let Queued { block, flush } = std::mem::replace(&mut self.first, next)?;
        let data = match block {
            Block::Whole(block) => Data::Memory(block),
            Block::Joined(block) => Data::Memory(block.freeze()),
            Block::File(part) => Data::File(part),
            Block::ApplicationFile(part) => Data::ApplicationFile(part),
        };
        if let Data::Memory(block) = &data {
            self.bytes -= block.len();
        }
        Some((data, flush))
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.as_ref().map_or(0, VecDeque::len)
    }

    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn ends_with_file(&self) -> bool {
        let others = self.others.as_ref().and_then(VecDeque::back);
        matches!(others.or(self.first.as_ref()), Some(Queued { block: Block::File(_), .. }))
    }

    fn last_mut(&mut self) -> Option<&mut Queued> {
        self.others.as_mut().and_then(VecDeque::back_mut).or(self.first.as_mut())
    }

    #[inline]
    fn add(&mut self, block: Queued) {
        match self.first {
            None => self.first = Some(block),
            Some(_) => self.others.get_or_insert_default().push_back(block),
        }
    }
}
