//! Splits the bytes of an input into the values that a target works with.

/// Separates the texts of an input. It is not UTF-8, and no client sends it by chance.
pub const SEPARATOR: &[u8] = b"\xff\xfe";

/// Returns the texts of an input, at least one.
pub fn fields(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let text = rest?;
        match text.windows(SEPARATOR.len()).position(|window| window == SEPARATOR) {
            Some(end) => {
                rest = Some(&text[end + SEPARATOR.len()..]);
                Some(&text[..end])
            }
            None => rest.take(),
        }
    })
}

/// The numbers of an input. After its end they are zeros.
#[derive(Clone, Debug)]
pub struct Numbers<'a> {
    rest: &'a [u8],
}

impl<'a> Numbers<'a> {
    /// Reads one number from each byte.
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// Whether all numbers have been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns the next number.
    pub fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *byte
    }

    /// Returns one of `0..count`.
    pub fn below(&mut self, count: u8) -> u8 {
        self.byte() % count
    }

    /// Returns the lowest bit of the next number.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Returns a size: mostly a small one, sometimes one larger than the buffers of a target.
    pub fn size(&mut self) -> usize {
        match self.byte() {
            small @ 0..224 => usize::from(small),
            large => usize::from(large - 223) * 1021,
        }
    }

    /// Returns the next `count` bytes, or all that are left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }
}
