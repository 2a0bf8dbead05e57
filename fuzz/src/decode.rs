//! From the bytes of an input to what a target works with.

/// Stands between the texts of an input. Neither UTF-8 nor anything a client sends by chance.
pub const SEPARATOR: &[u8] = b"\xff\xfe";

/// The texts of an input, one at least.
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

/// The numbers of an input. When they are used up there are zeros.
#[derive(Clone, Debug)]
pub struct Numbers<'a> {
    rest: &'a [u8],
}

impl<'a> Numbers<'a> {
    /// One number for each byte.
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// Whether there are more.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next one.
    pub fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *byte
    }

    /// One of `0..count`.
    pub fn below(&mut self, count: u8) -> u8 {
        self.byte() % count
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A size: mostly a small one, sometimes one beyond the buffers that a target has.
    pub fn size(&mut self) -> usize {
        match self.byte() {
            small @ 0..224 => usize::from(small),
            large => usize::from(large - 223) * 1021,
        }
    }

    /// The next `count` of them, or what is left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }
}
