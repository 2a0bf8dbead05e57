//! Joins the small blocks of a complete response, so that its host handles few large ones.

use bytes::{Bytes, BytesMut};

/// Joins blocks into pieces of up to [`PIECE`] bytes.
pub(crate) struct Gather {
    piece: BytesMut,
    /// Bytes of the blocks that have not been added.
    left: u64,
}

/// Maximum size of a piece. glibc uses `mmap` for allocations from 128 KiB on; memory of smaller ones is reused.
const PIECE: usize = 64 * 1024;

impl Gather {
    /// For blocks of `total` bytes together: no more memory than that is allocated.
    pub(crate) fn new(total: u64) -> Self {
        Self { piece: BytesMut::new(), left: total }
    }

    /// Adds a block of at most [`PIECE`] bytes. Returns the piece that was complete before it.
    pub(crate) fn add(&mut self, block: &[u8]) -> Option<Bytes> {
        let complete = if self.piece.len() + block.len() > self.piece.capacity() {
            let complete = self.take();
            let left = usize::try_from(self.left).unwrap_or(usize::MAX);
            self.piece = BytesMut::with_capacity(left.clamp(block.len(), PIECE.max(block.len())));
            complete
        } else {
            None
        };
        self.piece.extend_from_slice(block);
        self.left = self.left.saturating_sub(block.len() as u64);
        complete
    }

    /// Returns the piece so far, which must be sent before `block`; the caller sends `block` itself.
    pub(crate) fn pass(&mut self, block: &[u8]) -> Option<Bytes> {
        self.left = self.left.saturating_sub(block.len() as u64);
        self.take()
    }

    /// Returns the piece so far, unless it is empty.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        (!self.piece.is_empty()).then(|| std::mem::take(&mut self.piece).freeze())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn joined_blocks_are_the_same_bytes_in_pieces_without_waste(
            lengths in vec((0..9000usize, any::<bool>()), 0..60),
        ) {
            let blocks: Vec<_> =
                (0u8..).zip(&lengths).map(|(number, (length, alone))| (vec![number; *length], *alone)).collect();
            let total = blocks.iter().map(|(block, _)| block.len()).sum::<usize>();
            let mut gather = Gather::new(total as u64);
            let mut pieces: Vec<Bytes> = Vec::new();
            for (block, alone) in &blocks {
                if *alone {
                    pieces.extend(gather.pass(block));
                    pieces.push(Bytes::copy_from_slice(block));
                } else {
                    pieces.extend(gather.add(block));
                }
                prop_assert!(gather.piece.capacity() <= total.min(PIECE));
            }
            pieces.extend(gather.take());
            prop_assert_eq!(pieces.concat(), blocks.iter().flat_map(|(block, _)| block.clone()).collect::<Vec<_>>());
            if blocks.iter().all(|(_, alone)| !alone) {
                prop_assert!(pieces.len() <= total / (PIECE - 9000) + 1);
            }
        }
    }
}
