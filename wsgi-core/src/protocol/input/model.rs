//! Compares a body with a file of the same data: all reads return the same, in whatever pieces the body arrives.

use std::io::{BufRead as _, Cursor, Read as _};

use super::Input;
use crate::error::HostError;
use crate::host::BodySource;

/// A body that arrives in pieces.
#[derive(Default)]
pub struct Pieces {
    pub(super) data: Vec<u8>,
    pub(super) position: usize,
    /// Limits of the reads, used in turn; no limits if empty.
    pub(super) sizes: Vec<usize>,
    pub(super) reads: usize,
    pub(super) known: bool,
    /// Error after the data, instead of the end.
    pub(super) error: Option<HostError>,
    pub(super) over: bool,
    pub(super) complete: bool,
}

impl Pieces {
    /// `sizes` limits the reads, in turn; without sizes there is no limit. `error` follows the data.
    pub fn new(data: Vec<u8>, sizes: Vec<usize>, known: bool, error: Option<HostError>) -> Self {
        Self { data, sizes, known, error, ..Self::default() }
    }

    /// Marks the body as complete, so that it can be read again.
    #[must_use]
    pub fn complete(self) -> Self {
        Self { complete: true, ..self }
    }
}

impl BodySource for Pieces {
    fn remaining(&self) -> Option<u64> {
        self.known.then_some((self.data.len() - self.position) as u64)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, HostError> {
        assert!(!buf.is_empty(), "a read that asks for nothing");
        assert!(!self.over, "a read after the end");
        let size = self.sizes.get(self.reads % self.sizes.len().max(1)).copied().unwrap_or(usize::MAX);
        self.reads += 1;
        let rest = &self.data[self.position..];
        let count = size.min(rest.len()).min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        self.position += count;
        self.over = count == 0;
        match self.error.take() {
            Some(error) if count == 0 => Err(error),
            error => {
                self.error = error;
                Ok(count)
            }
        }
    }

    fn is_ready(&self) -> bool {
        self.known
    }

    fn length(&self) -> Option<u64> {
        self.complete.then_some(self.data.len() as u64)
    }

    fn seek(&mut self, position: u64) {
        assert!(position <= self.data.len() as u64, "a position behind the end");
        self.position = position as usize;
        self.over = false;
    }
}

/// A read, by the method's name.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the methods have them")]
pub enum Step {
    Into(usize),
    UpTo(usize),
    ToEnd,
    Line(Option<usize>),
    Seek(u64),
}

/// Panics if reads of the body differ from those of a file with its data (Python's `io.BytesIO`): in the bytes, the end of a
/// line, or the count of bytes left.
pub fn compare(source: Pieces, steps: &[Step]) {
    let (data, known, fails) = (source.data.clone(), source.known, source.error.is_some());
    let complete = source.complete;
    let mut input = Input::new(Box::new(source));
    let mut file = Cursor::new(&data[..]);
    for step in steps {
        let (mut expected, mut read) = (b"old\n".to_vec(), b"old\n".to_vec());
        let result = match *step {
            Step::Into(size) => {
                (&mut file).take(size as u64).read_to_end(&mut expected).expect("in memory");
                let mut buf = vec![0; size];
                let result = input.read_into(&mut buf);
                read.extend_from_slice(&buf[..result.as_ref().copied().unwrap_or(0)]);
                result
            }
            Step::UpTo(size) => {
                (&mut file).take(size as u64).read_to_end(&mut expected).expect("in memory");
                input.read_up_to(size, &mut read)
            }
            Step::ToEnd => {
                file.read_to_end(&mut expected).expect("in memory");
                input.read_to_end(&mut read)
            }
            Step::Seek(position) => {
                file.set_position(position);
                input.seek(position);
                Ok(0)
            }
            Step::Line(limit) => {
                let most = limit.map_or(u64::MAX, |limit| limit as u64);
                (&mut file).take(most).read_until(b'\n', &mut expected).expect("in memory");
                input.read_line(limit, &mut read)
            }
        };
        match result {
            Ok(count) => {
                assert_eq!(count, read.len() - 4);
                assert_eq!(read, expected);
            }
            Err(error) => {
                assert!(fails, "{error}");
                // The position is at the end of the data, and stays there.
                assert_eq!(file.position(), data.len() as u64);
                assert!(input.read_into(&mut [0]).is_err());
                return;
            }
        }
        assert_eq!(input.position(), complete.then_some(file.position()));
        let left = (data.len() as u64).saturating_sub(file.position());
        assert!(input.remaining().is_none_or(|remaining| remaining == left));
        assert!(!known || input.remaining().is_some());
    }
}
