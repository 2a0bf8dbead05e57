//! Blocks that wait, first in first out. A single one, which is all there is of most responses, takes no allocation.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

#[derive(Default)]
pub(super) struct Blocks {
    /// None only if there are none at all.
    first: Option<Block>,
    others: VecDeque<Block>,
}

enum Block {
    Whole(Bytes),
    /// Small ones that came faster than they are taken.
    Joined(BytesMut),
}

impl Blocks {
    pub(super) fn push(&mut self, block: Bytes) {
        self.add(Block::Whole(block));
    }

    /// Adds a block to the one before it, if that came in the same way.
    pub(super) fn join(&mut self, block: &[u8]) {
        match self.others.back_mut().or(self.first.as_mut()) {
            Some(Block::Joined(joined)) => joined.extend_from_slice(block),
            _ => self.add(Block::Joined(BytesMut::from(block))),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let next = self.others.pop_front();
        Some(match std::mem::replace(&mut self.first, next)? {
            Block::Whole(block) => block,
            Block::Joined(block) => block.freeze(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn add(&mut self, block: Block) {
        match self.first {
            None => self.first = Some(block),
            Some(_) => self.others.push_back(block),
        }
    }
}
