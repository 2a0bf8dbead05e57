//! Reading a request body as `wsgi.input` does: in amounts and in lines, from one position.

use crate::error::HostError;
use crate::host::BodySource;

/// Look-ahead for lines. Reads in amounts go around it.
const LOOK_AHEAD: usize = 8 * 1024;

/// Most memory that is taken on the word of a length alone.
const TRUSTED: u64 = 1024 * 1024;

/// A body under way to the application. At its end it stays at its end; after an error it repeats the error.
pub struct Input {
    source: Box<dyn BodySource>,
    /// Bytes read ahead, of which those from `start` on are still to be given out. Allocated for the first line.
    ahead: Vec<u8>,
    start: usize,
    state: State,
}

enum State {
    Open,
    AtEnd,
    Failed(HostError),
}

impl Input {
    /// A body from its first byte on.
    pub fn new(source: Box<dyn BodySource>) -> Self {
        Self { source, ahead: Vec::new(), start: 0, state: State::Open }
    }

    /// Bytes still to be read, if known.
    pub fn remaining(&self) -> Option<u64> {
        let ahead = (self.ahead.len() - self.start) as u64;
        match self.state {
            State::Open => self.source.remaining().map(|rest| rest + ahead),
            State::AtEnd | State::Failed(_) => Some(ahead),
        }
    }

    /// Whether the next bytes are there without waiting.
    pub fn is_ready(&self) -> bool {
        !matches!(self.state, State::Open) || self.source.is_ready()
    }

    /// Fills `buf` unless the body ends before; returns the count.
    pub fn read_into(&mut self, buf: &mut [u8]) -> Result<usize, HostError> {
        let mut filled = self.give_out(buf);
        while filled < buf.len() {
            match self.pull(&mut buf[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    /// Appends up to `size` bytes, fewer only at the end of the body; returns the count.
    pub fn read_up_to(&mut self, size: usize, to: &mut Vec<u8>) -> Result<usize, HostError> {
        let begin = to.len();
        // In steps: neither the caller's size nor the client's length is worth memory before the bytes are there.
        loop {
            let done = to.len() - begin;
            let expected = self.remaining().unwrap_or(LOOK_AHEAD as u64).clamp(1, TRUSTED);
            let step =
                (size - done).min(usize::try_from(expected).unwrap_or(usize::MAX)).min(done.max(TRUSTED as usize));
            if step == 0 {
                return Ok(done);
            }
            let at = to.len();
            to.resize(at + step, 0);
            let result = self.read_into(&mut to[at..]);
            to.truncate(at + result.as_ref().map_or(0, |count| *count));
            if result? < step {
                return Ok(to.len() - begin);
            }
        }
    }

    /// Appends all that is left; returns the count.
    pub fn read_to_end(&mut self, to: &mut Vec<u8>) -> Result<usize, HostError> {
        self.read_up_to(usize::MAX, to)
    }

    /// Appends one line with its line feed, or what there is of it at the end of the body, at most `limit` bytes; returns
    /// the count.
    pub fn read_line(&mut self, limit: Option<usize>, to: &mut Vec<u8>) -> Result<usize, HostError> {
        let begin = to.len();
        let limit = limit.unwrap_or(usize::MAX);
        while to.len() - begin < limit && (self.start < self.ahead.len() || self.look_ahead()?) {
            let room = limit - (to.len() - begin);
            let ahead = &self.ahead[self.start..];
            let ahead = &ahead[..ahead.len().min(room)];
            let feed = ahead.iter().position(|byte| *byte == b'\n');
            let line = &ahead[..feed.map_or(ahead.len(), |feed| feed + 1)];
            to.extend_from_slice(line);
            self.start += line.len();
            if feed.is_some() {
                break;
            }
        }
        Ok(to.len() - begin)
    }

    /// Takes from what was read ahead.
    fn give_out(&mut self, buf: &mut [u8]) -> usize {
        let ahead = &self.ahead[self.start..];
        let count = ahead.len().min(buf.len());
        buf[..count].copy_from_slice(&ahead[..count]);
        self.start += count;
        count
    }

    /// Refills the look-ahead, which is used up; false at the end.
    fn look_ahead(&mut self) -> Result<bool, HostError> {
        let mut ahead = std::mem::take(&mut self.ahead);
        ahead.resize(LOOK_AHEAD, 0);
        let result = self.pull(&mut ahead);
        ahead.truncate(result.as_ref().map_or(0, |count| *count));
        self.ahead = ahead;
        self.start = 0;
        result.map(|count| count > 0)
    }

    /// Reads from the source, which is not asked again after its end or an error. `buf` is not empty.
    fn pull(&mut self, buf: &mut [u8]) -> Result<usize, HostError> {
        match &self.state {
            State::Open => {}
            State::AtEnd => return Ok(0),
            State::Failed(error) => return Err(again(error)),
        }
        match self.source.read(buf) {
            Ok(0) => {
                self.state = State::AtEnd;
                Ok(0)
            }
            Ok(count) => Ok(count),
            Err(error) => {
                self.state = State::Failed(again(&error));
                Err(error)
            }
        }
    }
}

/// The same trouble once more; an I/O error keeps its number or its kind and words.
fn again(error: &HostError) -> HostError {
    match error {
        HostError::ClientGone => HostError::ClientGone,
        HostError::TimedOut => HostError::TimedOut,
        HostError::Io(error) => HostError::Io(match error.raw_os_error() {
            Some(number) => std::io::Error::from_raw_os_error(number),
            None => std::io::Error::new(error.kind(), error.to_string()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, Cursor, Read};

    use proptest::prelude::*;

    use super::*;

    /// Gives out at most `piece` bytes at a time, and fails after `fails_after` bytes.
    struct Pieces {
        rest: Vec<u8>,
        piece: usize,
        known: bool,
        fails_after: Option<usize>,
    }

    impl BodySource for Pieces {
        fn remaining(&self) -> Option<u64> {
            self.known.then_some(self.rest.len() as u64)
        }

        fn read(&mut self, buf: &mut [u8]) -> Result<usize, HostError> {
            assert!(!buf.is_empty(), "a source is not asked for nothing");
            let mut count = buf.len().min(self.piece).min(self.rest.len());
            if let Some(left) = &mut self.fails_after {
                if *left == 0 {
                    return Err(HostError::ClientGone);
                }
                count = count.min(*left);
                *left -= count;
            }
            buf[..count].copy_from_slice(&self.rest[..count]);
            self.rest.drain(..count);
            Ok(count)
        }
    }

    fn input(body: &[u8], piece: usize, known: bool) -> Input {
        Input::new(Box::new(Pieces { rest: body.to_vec(), piece, known, fails_after: None }))
    }

    #[derive(Clone, Debug)]
    enum Operation {
        Into(usize),
        UpTo(usize),
        Line(Option<usize>),
        End,
    }

    fn operations() -> impl Strategy<Value = Vec<Operation>> {
        let operation = prop_oneof![
            4 => (0usize..30).prop_map(Operation::Into),
            4 => (0usize..30).prop_map(Operation::UpTo),
            6 => proptest::option::of(0usize..20).prop_map(Operation::Line),
            1 => Just(Operation::End),
        ];
        proptest::collection::vec(operation, 0..20)
    }

    /// What a cursor over the whole body says.
    fn model(cursor: &mut Cursor<Vec<u8>>, operation: &Operation) -> Vec<u8> {
        let mut expected = Vec::new();
        match operation {
            Operation::Into(size) | Operation::UpTo(size) => cursor.take(*size as u64).read_to_end(&mut expected),
            Operation::Line(limit) => {
                cursor.take(limit.map_or(u64::MAX, |limit| limit as u64)).read_until(b'\n', &mut expected)
            }
            Operation::End => cursor.read_to_end(&mut expected),
        }
        .expect("memory is readable");
        expected
    }

    fn run(input: &mut Input, operation: &Operation) -> Result<Vec<u8>, HostError> {
        let mut found = Vec::new();
        let count = match operation {
            Operation::Into(size) => {
                found.resize(*size, 0);
                let count = input.read_into(&mut found)?;
                found.truncate(count);
                count
            }
            Operation::UpTo(size) => input.read_up_to(*size, &mut found)?,
            Operation::Line(limit) => input.read_line(*limit, &mut found)?,
            Operation::End => input.read_to_end(&mut found)?,
        };
        assert_eq!(count, found.len());
        Ok(found)
    }

    proptest! {
        #[test]
        fn reads_give_what_a_file_would_give(
            body in "[a\n]{0,80}", piece in 1usize..20, known: bool, operations in operations(),
        ) {
            let mut input = input(body.as_bytes(), piece, known);
            let mut cursor = Cursor::new(body.into_bytes());
            for operation in operations {
                prop_assert_eq!(run(&mut input, &operation).unwrap(), model(&mut cursor, &operation));
                let left = cursor.get_ref().len() as u64 - cursor.position();
                if let Some(remaining) = input.remaining() {
                    prop_assert_eq!(remaining, left);
                }
            }
        }
    }

    #[test]
    fn the_end_stays_the_end() {
        let mut input = input(b"ab", 10, false);
        assert_eq!(run(&mut input, &Operation::End).unwrap(), b"ab");
        for operation in [Operation::End, Operation::Line(None), Operation::Into(3)] {
            assert_eq!(run(&mut input, &operation).unwrap(), b"");
        }
        assert_eq!(input.remaining(), Some(0));
    }

    #[test]
    fn an_error_is_repeated() {
        let mut input =
            Input::new(Box::new(Pieces { rest: vec![b'a'; 9], piece: 4, known: true, fails_after: Some(5) }));
        assert_eq!(run(&mut input, &Operation::Into(5)).unwrap(), b"aaaaa");
        for operation in [Operation::Into(1), Operation::Line(None), Operation::End] {
            assert!(matches!(run(&mut input, &operation), Err(HostError::ClientGone)));
        }
    }

    #[test]
    fn a_large_body_of_known_length_arrives_whole() {
        let body: Vec<u8> = (0..3 * TRUSTED as u32).map(|number| number as u8).collect();
        for known in [true, false] {
            let mut found = Vec::new();
            input(&body, 100_000, known).read_to_end(&mut found).unwrap();
            assert_eq!(found, body);
        }
    }
}
