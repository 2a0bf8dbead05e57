//! The request body as a file-like stream, with one position for all kinds of reads.

pub(crate) mod model;
mod pace;

use std::io::{self, BufRead as _};

pub use pace::Pace;

use crate::error::{HostError, same};
use crate::host::BodySource;
use crate::protocol::pool::{stream_ended, without_permit};

/// A request body as a stream. After its end, reads return nothing and do not touch the connection.
///
/// Methods that read may block, as [`BodySource::read`] does. After an error, every later read of at least one byte returns
/// the same error; data that the failing read had received is lost.
pub struct Input {
    state: State,
    look_ahead: LookAhead,
    /// Bytes from the end of the body to a position behind it, as with files.
    beyond: u64,
}

enum State {
    Open(Box<dyn BodySource>),
    Ended,
    Failed(HostError),
}

impl Input {
    /// Creates a stream at the beginning of a body.
    pub fn new(source: Box<dyn BodySource>) -> Self {
        Self { state: State::Open(source), look_ahead: LookAhead::default(), beyond: 0 }
    }

    /// Returns all bytes of a body that has a [`length`](Self::length) and of which nothing has been read. Reads begin at its
    /// start again afterwards.
    #[cfg_attr(not(feature = "python"), allow(dead_code, reason = "only the gateway transfers requests"))]
    pub(crate) fn copy(&mut self) -> Result<Vec<u8>, HostError> {
        let mut bytes = Vec::new();
        self.read_up_to(usize::MAX, &mut bytes)?;
        self.seek(0);
        Ok(bytes)
    }

    /// Returns the length of the body, if it can be read from any position ([`BodySource::length`]).
    pub fn length(&self) -> Option<u64> {
        match &self.state {
            State::Open(source) => source.length(),
            State::Ended | State::Failed(_) => None,
        }
    }

    /// Returns the position of the next read, if the body has a [`length`](Self::length).
    pub fn position(&self) -> Option<u64> {
        let read = self.length()?.saturating_sub(self.remaining()?);
        Some(read.saturating_add(self.beyond))
    }

    /// Moves the next read to `position`. Behind the end, reads return nothing. Needs a [`length`](Self::length).
    pub fn seek(&mut self, position: u64) {
        if let Some(length) = self.length()
            && let State::Open(source) = &mut self.state
        {
            source.seek(position.min(length));
            self.look_ahead.clear();
            self.beyond = position.saturating_sub(length);
        }
    }

    /// Returns the bytes still to be read, if known. Unknown after an error.
    pub fn remaining(&self) -> Option<u64> {
        let buffered = self.look_ahead.len() as u64;
        match &self.state {
            State::Open(source) => source.remaining()?.checked_add(buffered),
            State::Ended => Some(buffered),
            State::Failed(_) => None,
        }
    }

    /// Whether reading cannot block: the source is ready, or no longer needed.
    pub fn is_ready(&self) -> bool {
        match &self.state {
            State::Open(source) => source.is_ready() || source.remaining() == Some(0),
            State::Ended | State::Failed(_) => true,
        }
    }

    /// Fills `buf`, unless the body ends first; returns the count.
    pub fn read_into(&mut self, buf: &mut [u8]) -> Result<usize, HostError> {
        let mut filled = self.look_ahead.take(buf);
        while filled < buf.len() {
            match read(&mut self.state, &mut buf[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    /// Appends `limit` bytes to `out`, fewer only at the end of the body; returns the count.
    pub fn read_up_to(&mut self, limit: usize, out: &mut Vec<u8>) -> Result<usize, HostError> {
        let begin = out.len();
        let mut step = FIRST_STEP;
        loop {
            let read = out.len() - begin;
            // Neither the application's limit nor the length that the client declared justifies a large allocation: the
            // buffer grows with the data received.
            let known = self.remaining().map(|remaining| usize::try_from(remaining).unwrap_or(usize::MAX));
            let want = known.unwrap_or(step).min(MAX_STEP).min(limit - read);
            if want == 0 {
                return Ok(read);
            }
            out.resize(begin + read + want, 0);
            let result = self.read_into(&mut out[begin + read..]);
            out.truncate(begin + read + result.as_ref().copied().unwrap_or(0));
            if result? < want {
                return Ok(out.len() - begin);
            }
            step = step.saturating_mul(2);
        }
    }

    /// Appends the rest of the body to `out`; returns the count.
    pub fn read_to_end(&mut self, out: &mut Vec<u8>) -> Result<usize, HostError> {
        self.read_up_to(usize::MAX, out)
    }

    /// Appends one line to `out`, including its "\n" if it has one, but at most `limit` bytes; returns the count, 0 at the
    /// end of the body.
    pub fn read_line(&mut self, limit: Option<usize>, out: &mut Vec<u8>) -> Result<usize, HostError> {
        let limit = limit.unwrap_or(usize::MAX);
        let mut count = 0;
        while count < limit {
            if self.look_ahead.len() == 0 && self.look_ahead.fill(&mut self.state)? == 0 {
                break;
            }
            count += self.look_ahead.take_line(limit - count, out);
            if out.ends_with(b"\n") {
                break;
            }
        }
        Ok(count)
    }
}

/// Reads from the source unless it is known to be at its end. `buf` is not empty.
fn read(state: &mut State, buf: &mut [u8]) -> Result<usize, HostError> {
    let result = match state {
        State::Open(source) if source.remaining() == Some(0) => Ok(0),
        State::Open(source) => match read_source(&mut **source, buf) {
            // A source is safe code and may be wrong: an impossible count is an error.
            Ok(count) if count > buf.len() => Err(too_much(count, buf.len())),
            result => result,
        },
        State::Ended => return Ok(0),
        State::Failed(error) => return Err(again(error)),
    };
    match &result {
        // A body that can be read again is kept. Any other is dropped, so that it is not read again.
        Ok(0) if matches!(state, State::Open(source) if source.length().is_some()) => {}
        Ok(0) => *state = State::Ended,
        Ok(_) => {}
        Err(error) => *state = State::Failed(again(error)),
    }
    result
}

/// Reads from a source, and lets another request run if the source has to wait for its client.
fn read_source(source: &mut dyn BodySource, buf: &mut [u8]) -> Result<usize, HostError> {
    if source.is_ready() || !source.streams() {
        return source.read(buf);
    }
    let result = if source.may_wait() { without_permit(|| source.read(buf)) } else { source.read(buf) };
    if result.is_err() || !source.streams() {
        stream_ended();
    }
    result
}

#[cold]
fn too_much(count: usize, room: usize) -> HostError {
    HostError::Io(io::Error::other(format!("the body claims {count} bytes where there is room for {room}")))
}

/// Returns an equal error.
fn again(error: &HostError) -> HostError {
    match error {
        HostError::ClientGone => HostError::ClientGone,
        HostError::TimedOut => HostError::TimedOut,
        HostError::Io(error) => HostError::Io(same(error)),
    }
}

/// Bytes that were read beyond the end of a line.
#[derive(Default)]
struct LookAhead {
    /// Empty until the first line is requested.
    buffer: Box<[u8]>,
    begin: usize,
    end: usize,
}

impl LookAhead {
    fn len(&self) -> usize {
        self.end - self.begin
    }

    fn clear(&mut self) {
        (self.begin, self.end) = (0, 0);
    }

    /// Reads more from the source, once nothing is left; returns the count.
    fn fill(&mut self, state: &mut State) -> Result<usize, HostError> {
        if self.buffer.is_empty() && matches!(state, State::Open(_)) {
            self.buffer = vec![0; LOOK_AHEAD].into_boxed_slice();
        }
        self.clear();
        self.end = read(state, &mut self.buffer)?;
        Ok(self.end)
    }

    /// Moves as many bytes as fit to the beginning of `buf`; returns the count.
    fn take(&mut self, buf: &mut [u8]) -> usize {
        let count = self.len().min(buf.len());
        buf[..count].copy_from_slice(&self.buffer[self.begin..self.begin + count]);
        self.begin += count;
        count
    }

    /// Moves bytes to the end of `out`: up to the first "\n", at most `limit`, or all; returns the count.
    fn take_line(&mut self, limit: usize, out: &mut Vec<u8>) -> usize {
        let mut bytes = &self.buffer[self.begin..self.end.min(self.begin.saturating_add(limit))];
        // Reading from a slice cannot fail, and finds the "\n" fast.
        let count = bytes.read_until(b'\n', out).unwrap_or(0);
        self.begin += count;
        count
    }
}

/// Size of the buffer for lines, in bytes.
const LOOK_AHEAD: usize = 8 * 1024;

/// First allocation for a body of unknown length, in bytes.
const FIRST_STEP: usize = 8 * 1024;

/// Limit of one allocation, in bytes.
const MAX_STEP: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::model::{Pieces, Step, compare};
    use super::*;

    fn input(data: &[u8]) -> Input {
        Input::new(Box::new(Pieces { data: data.to_vec(), ..Pieces::default() }))
    }

    fn line(input: &mut Input, limit: Option<usize>) -> Vec<u8> {
        let mut line = Vec::new();
        let count = input.read_line(limit, &mut line).expect("readable");
        assert_eq!(count, line.len());
        line
    }

    #[test]
    fn reads_after_the_end_return_no_bytes() {
        let mut input = input(b"ab");
        let mut body = Vec::new();
        assert_eq!(input.read_to_end(&mut body).expect("readable"), 2);
        for _ in 0..3 {
            assert_eq!(input.read_to_end(&mut body).expect("readable"), 0);
            assert_eq!(input.read_into(&mut [0; 4]).expect("readable"), 0);
            assert_eq!(line(&mut input, None), b"");
        }
        assert_eq!((input.remaining(), input.is_ready()), (Some(0), true));
    }

    #[test]
    fn a_body_of_known_length_is_not_read_beyond_it() {
        let sizes = vec![3];
        let source = Pieces { data: b"abcde".to_vec(), sizes, known: true, ..Pieces::default() };
        let mut input = Input::new(Box::new(source));
        let mut body = Vec::new();
        assert_eq!(input.read_to_end(&mut body).expect("readable"), 5);
        let State::Open(source) = &mut input.state else { panic!("the end was asked for") };
        assert_eq!(source.remaining(), Some(0));
        assert_eq!(input.read_into(&mut [0]).expect("readable"), 0);
    }

    #[test]
    fn a_body_that_is_used_up_is_ready() {
        struct Used;
        impl BodySource for Used {
            fn remaining(&self) -> Option<u64> {
                Some(0)
            }
            fn read(&mut self, _: &mut [u8]) -> Result<usize, HostError> {
                panic!("there is nothing to be read")
            }
        }
        let mut input = Input::new(Box::new(Used));
        assert!(input.is_ready());
        assert_eq!(line(&mut input, None), b"");
    }

    #[test]
    fn a_body_that_is_read_as_it_arrives_has_no_position() {
        let mut input = input(b"ab");
        assert_eq!((input.length(), input.position()), (None, None));
        input.seek(0);
        assert_eq!(line(&mut input, None), b"ab");
    }

    #[test]
    fn lines_keep_their_ends() {
        let mut input = input(b"one\r\n\ntwo");
        assert_eq!(line(&mut input, None), b"one\r\n");
        assert_eq!(line(&mut input, None), b"\n");
        assert_eq!(line(&mut input, None), b"two");
        assert_eq!(line(&mut input, None), b"");
    }

    #[test]
    fn a_limit_splits_a_line() {
        let mut input = input(b"abcd\ne\n");
        assert_eq!(line(&mut input, Some(0)), b"");
        assert_eq!(line(&mut input, Some(3)), b"abc");
        assert_eq!(line(&mut input, Some(2)), b"d\n");
        assert_eq!(line(&mut input, Some(9)), b"e\n");
    }

    #[test]
    fn a_line_does_not_end_at_a_newline_that_was_there_before() {
        let mut input = input(b"ab\n");
        let mut out = b"before\n".to_vec();
        assert_eq!(input.read_line(None, &mut out).expect("readable"), 3);
        assert_eq!(input.read_line(None, &mut out).expect("readable"), 0);
        assert_eq!(out, b"before\nab\n");
    }

    #[test]
    fn a_promised_length_takes_no_memory() {
        struct Liar;
        impl BodySource for Liar {
            fn remaining(&self) -> Option<u64> {
                Some(u64::MAX)
            }
            fn read(&mut self, _: &mut [u8]) -> Result<usize, HostError> {
                Ok(0)
            }
        }
        let mut body = Vec::new();
        let mut input = Input::new(Box::new(Liar));
        assert_eq!(input.remaining(), Some(u64::MAX));
        assert_eq!(input.read_to_end(&mut body).expect("readable"), 0);
        assert!(body.capacity() <= MAX_STEP);
    }

    #[test]
    fn a_body_that_claims_more_than_there_is_room_for_is_an_error() {
        struct Liar(usize);
        impl BodySource for Liar {
            fn remaining(&self) -> Option<u64> {
                None
            }
            fn read(&mut self, buf: &mut [u8]) -> Result<usize, HostError> {
                Ok(buf.len().saturating_add(self.0))
            }
        }
        for beyond in [1, 1 << 20, usize::MAX] {
            let input = || Input::new(Box::new(Liar(beyond)));
            let mut out = Vec::new();
            assert!(matches!(input().read_into(&mut [0; 4]), Err(HostError::Io(_))));
            assert!(matches!(input().read_up_to(9, &mut out), Err(HostError::Io(_))));
            assert!(matches!(input().read_to_end(&mut out), Err(HostError::Io(_))));
            assert!(matches!(input().read_line(None, &mut out), Err(HostError::Io(_))));
            assert_eq!(out, b"");
        }
    }

    #[test]
    fn an_error_is_given_again() {
        let error = || io::Error::from_raw_os_error(5);
        let source = Pieces { data: b"ab".to_vec(), error: Some(error().into()), ..Pieces::default() };
        let mut input = Input::new(Box::new(source));
        let mut out = Vec::new();
        for _ in 0..2 {
            let HostError::Io(found) = input.read_to_end(&mut out).expect_err("broken") else { panic!("another kind") };
            assert_eq!(found.raw_os_error(), error().raw_os_error());
            assert!(matches!(input.read_line(None, &mut out), Err(HostError::Io(_))));
            assert!(matches!(input.read_into(&mut [0]), Err(HostError::Io(_))));
        }
        assert_eq!(input.read_line(Some(0), &mut out).expect("nothing was asked for"), 0);
        assert_eq!((input.remaining(), input.is_ready()), (None, true));
    }

    #[test]
    fn errors_keep_their_kind() {
        assert!(matches!(again(&HostError::ClientGone), HostError::ClientGone));
        assert!(matches!(again(&HostError::TimedOut), HostError::TimedOut));
        let HostError::Io(error) = again(&io::Error::new(io::ErrorKind::NotFound, "spool is gone").into()) else {
            panic!("another kind")
        };
        assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::NotFound, "spool is gone".to_owned()));
    }

    fn step() -> impl Strategy<Value = Step> {
        let size = || prop_oneof![4 => 0usize..12, 1 => 0usize..20_000];
        prop_oneof![
            3 => size().prop_map(Step::Into),
            3 => size().prop_map(Step::UpTo),
            1 => Just(Step::ToEnd),
            6 => option::of(size()).prop_map(Step::Line),
        ]
    }

    proptest! {
        #[test]
        fn input_agrees_with_the_model_of_a_file(
            data in prop_oneof![
                vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..100),
                (vec(any::<u8>(), 1..40), 200usize..2_000).prop_map(|(some, times)| some.repeat(times)),
            ],
            sizes in vec(prop_oneof![1usize..8, 1usize..10_000], 0..4),
            known: bool,
            fails: bool,
            steps in vec(step(), 0..24),
        ) {
            let error = fails.then_some(HostError::TimedOut);
            compare(Pieces::new(data, sizes, known && !fails, error), &steps);
        }

        #[test]
        fn a_complete_body_is_read_again_as_a_file_is(
            data in vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..100),
            sizes in vec(1usize..8, 0..4),
            steps in vec(prop_oneof![3 => step(), 2 => (0u64..150).prop_map(Step::Seek)], 0..24),
        ) {
            compare(Pieces::new(data, sizes, true, None).complete(), &steps);
        }
    }
}
