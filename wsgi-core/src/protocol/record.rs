//! Turns pieces of text, as applications print them, into log records of one line each, without control characters.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::iter;
use std::sync::Arc;

use crate::error_log::{ErrorLog, Level};

/// The log of a host, made safe for arbitrary text.
///
/// Everything that the gateway logs goes through here: names of types and modules, messages of exceptions and paths come from
/// applications, and so from the data that clients send them. None of them can forge a record.
#[derive(Clone)]
pub struct Log(Arc<dyn ErrorLog>);

#[cfg_attr(not(feature = "python"), allow(dead_code, reason = "only the gateway logs the output of applications"))]
impl Log {
    /// Creates a log that writes to `log`.
    pub fn new(log: Arc<dyn ErrorLog>) -> Self {
        Self(log)
    }

    /// Logs `text` as one record, or as several if it is longer than [`MAX_RECORD`]; control characters are
    /// [escaped](escape).
    pub fn log(&self, level: Level, text: &str) {
        split_record(&escape(text), MAX_RECORD).for_each(|record| self.0.log(level, record));
    }

    /// Logs a record that another [`Log`] has made.
    pub(crate) fn forward(&self, level: Level, record: &str) {
        self.0.log(level, record);
    }

    /// Adds `text` to `lines`, and logs each line that it completes. While the host's log is [full](ErrorLog::is_full),
    /// `wait` is called with it after each record.
    pub(crate) fn write(&self, level: Level, lines: &mut LineBuffer, text: &str, mut wait: impl FnMut(&dyn ErrorLog)) {
        lines.write(text, |record| self.record(level, record, &mut wait));
    }

    /// As [`write`](Self::write), for bytes: see [`LineBuffer::write_bytes`].
    pub(crate) fn write_bytes(
        &self,
        level: Level,
        lines: &mut LineBuffer,
        bytes: &[u8],
        mut wait: impl FnMut(&dyn ErrorLog),
    ) {
        lines.write_bytes(bytes, |record| self.record(level, record, &mut wait));
    }

    fn record(&self, level: Level, record: &str, wait: &mut impl FnMut(&dyn ErrorLog)) {
        self.0.log(level, record);
        if self.0.is_full() {
            wait(&*self.0);
        }
    }

    /// Logs the incomplete line, if there is one.
    pub(crate) fn finish(&self, level: Level, lines: &mut LineBuffer) {
        lines.finish(|record| self.0.log(level, record));
    }

    /// Blocks until all records are written, if the host's log writes later. The thread must not be attached to Python.
    pub fn flush(&self) {
        if self.0.is_full() {
            self.0.wait_for_room();
        }
    }

    /// Logs text of several lines, one record each; `wait` is as for [`write`](Self::write).
    pub(crate) fn lines(&self, level: Level, text: &str, wait: impl FnMut(&dyn ErrorLog)) {
        let mut lines = LineBuffer::new();
        self.write(level, &mut lines, text, wait);
        self.finish(level, &mut lines);
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Log").finish_non_exhaustive()
    }
}

/// Returns `text` as one line: every control character becomes `\\x` and two digits.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if character.is_control() {
            push_escape(&mut escaped, character);
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// Collects text until its lines are complete.
///
/// Threads that share one buffer would mix their lines; keep one for each.
#[derive(Debug, Default)]
pub struct LineBuffer {
    /// The beginning of a line, escaped.
    pending: String,
    /// Whether a carriage return follows it: the first half of "\r\n", or to be escaped.
    carriage_return: bool,
    /// The first bytes of an incomplete character after that.
    split: SplitCharacter,
}

/// The first bytes of a character, at most three: the longest character has four.
#[derive(Debug, Default)]
struct SplitCharacter {
    bytes: [u8; 3],
    len: u8,
}

impl SplitCharacter {
    const NONE: Self = Self { bytes: [0; 3], len: 0 };

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Stores `bytes` if they are exactly the beginning of a character.
    fn keep(&mut self, bytes: &[u8]) -> bool {
        let is_beginning = std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none());
        if is_beginning && let Some(kept) = self.bytes.get_mut(..bytes.len()) {
            kept.copy_from_slice(bytes);
            // The length of the array at most, so it fits.
            self.len = bytes.len() as u8;
            return true;
        }
        false
    }
}

impl LineBuffer {
    /// Creates an empty buffer. Allocates only when a line arrives in pieces.
    pub const fn new() -> Self {
        Self { pending: String::new(), carriage_return: false, split: SplitCharacter::NONE }
    }

    /// Adds `text` and calls `log` for each completed line, without the "\n" or "\r\n". Empty lines count.
    ///
    /// Control characters other than the tab are escaped (`\x1b`), so that no text can forge a record or control a terminal.
    /// A line longer than [`MAX_RECORD`] bytes becomes several records; the first are logged before the line ends.
    pub fn write(&mut self, text: &str, mut log: impl FnMut(&str)) {
        self.end_split(&mut log);
        self.write_text(text, &mut log);
    }

    /// As [`write`](Self::write), for UTF-8 that may be cut anywhere. Invalid bytes are escaped (`\xff`).
    pub fn write_bytes(&mut self, bytes: &[u8], mut log: impl FnMut(&str)) {
        let joined;
        let bytes = if self.split.is_empty() {
            bytes
        } else {
            joined = [self.split.bytes(), bytes].concat();
            self.split = SplitCharacter::NONE;
            &joined
        };
        let mut left = bytes.len();
        for chunk in bytes.utf8_chunks() {
            let (text, rest) = (chunk.valid(), chunk.invalid());
            self.write_text(text, &mut log);
            left -= text.len() + rest.len();
            if left > 0 || !self.split.keep(rest) {
                self.push_bytes(rest, &mut log);
            }
        }
    }

    fn write_text(&mut self, text: &str, log: &mut impl FnMut(&str)) {
        for piece in text.split_inclusive('\n') {
            if piece != "\n" {
                self.end_carriage_return(log);
            }
            self.carriage_return = false;
            let (line, complete) = piece.strip_suffix('\n').map_or((piece, false), |line| (line, true));
            let (line, carriage_return) = line.strip_suffix('\r').map_or((line, false), |line| (line, true));
            if !complete {
                self.push(line, log);
                self.carriage_return = carriage_return;
            } else if self.pending.is_empty() && !line.contains(is_escaped) {
                split_record(line, MAX_RECORD).for_each(&mut *log);
            } else {
                self.push(line, log);
                self.emit(log);
            }
        }
    }

    /// Adds bytes that are not UTF-8.
    fn push_bytes(&mut self, bytes: &[u8], log: &mut impl FnMut(&str)) {
        if bytes.is_empty() {
            return;
        }
        self.end_carriage_return(log);
        bytes.iter().for_each(|byte| self.push_escaped(char::from(*byte), log));
    }

    /// Handles an incomplete character that other text follows: its bytes are escaped.
    fn end_split(&mut self, log: &mut impl FnMut(&str)) {
        if !self.split.is_empty() {
            let split = std::mem::take(&mut self.split);
            self.push_bytes(split.bytes(), log);
        }
    }

    /// Handles a carriage return that no line feed follows: it is escaped.
    fn end_carriage_return(&mut self, log: &mut impl FnMut(&str)) {
        if std::mem::take(&mut self.carriage_return) {
            self.push_escaped('\r', log);
        }
    }

    /// Logs the incomplete line, if there is one. The next text begins a new one.
    pub fn finish(&mut self, mut log: impl FnMut(&str)) {
        self.end_split(&mut log);
        self.carriage_return = false;
        if !self.pending.is_empty() {
            self.emit(&mut log);
        }
    }

    /// Adds text to the line, and escapes its control characters.
    fn push(&mut self, mut text: &str, log: &mut impl FnMut(&str)) {
        while let Some((at, control)) = text.char_indices().find(|(_, character)| is_escaped(*character)) {
            self.push_clean(&text[..at], log);
            self.push_escaped(control, log);
            text = &text[at + control.len_utf8()..];
        }
        self.push_clean(text, log);
    }

    fn push_clean(&mut self, mut text: &str, log: &mut impl FnMut(&str)) {
        while self.pending.len() + text.len() > MAX_RECORD {
            let (fits, rest) = text.split_at(floor_char_boundary(text, MAX_RECORD - self.pending.len()));
            self.pending.push_str(fits);
            self.emit(log);
            text = rest;
        }
        self.pending.push_str(text);
    }

    fn push_escaped(&mut self, control: char, log: &mut impl FnMut(&str)) {
        // The last control character is U+009F, so two digits are enough.
        const LENGTH: usize = r"\x00".len();
        if self.pending.len() + LENGTH > MAX_RECORD {
            self.emit(log);
        }
        push_escape(&mut self.pending, control);
    }

    fn emit(&mut self, log: &mut impl FnMut(&str)) {
        log(&self.pending);
        self.pending.clear();
        // One long line must not make its thread keep the memory for good.
        self.pending.shrink_to(KEPT);
    }
}

/// Splits `text` into pieces of at most `max` bytes, between characters; `max` is at least 4, so that every character fits.
/// An empty text gives one empty piece: an empty line is a record too.
pub fn split_record(text: &str, max: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    iter::from_fn(move || {
        let text = rest?;
        let (piece, left) = text.split_at(floor_char_boundary(text, max.max(4)));
        rest = (!left.is_empty()).then_some(left);
        Some(piece)
    })
}

/// Returns the last character boundary at or before `index`.
fn floor_char_boundary(text: &str, index: usize) -> usize {
    if index >= text.len() {
        return text.len();
    }
    // Position 0 is a boundary.
    (0..=index).rev().find(|&index| text.is_char_boundary(index)).unwrap_or(0)
}

fn push_escape(text: &mut String, control: char) {
    // Writing to a String cannot fail.
    let _ = write!(text, "\\x{:02x}", u32::from(control));
}

fn is_escaped(character: char) -> bool {
    character.is_control() && character != '\t'
}

/// Maximum length of a record in bytes, including escapes. A host may split further.
pub const MAX_RECORD: usize = 64 * 1024;

/// Capacity in bytes that the buffer keeps from line to line.
const KEPT: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Returns the records logged while `pieces` are written, and those that `finish` adds.
    fn records<'a>(pieces: impl IntoIterator<Item = &'a str>) -> (Vec<String>, Vec<String>) {
        let mut buffer = LineBuffer::new();
        let (mut logged, mut rest) = (Vec::new(), Vec::new());
        for piece in pieces {
            buffer.write(piece, |line| logged.push(line.to_owned()));
        }
        buffer.finish(|line| rest.push(line.to_owned()));
        buffer.finish(|line| panic!("{line:?} is logged twice"));
        (logged, rest)
    }

    fn lines<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let (mut logged, rest) = records(pieces);
        logged.extend(rest);
        logged
    }

    fn lines_of_bytes(pieces: &[&[u8]]) -> Vec<String> {
        let mut buffer = LineBuffer::new();
        let mut logged = Vec::new();
        pieces.iter().for_each(|piece| buffer.write_bytes(piece, |line| logged.push(line.to_owned())));
        buffer.finish(|line| logged.push(line.to_owned()));
        logged
    }

    #[test]
    fn a_line_is_logged_when_it_is_complete() {
        assert_eq!(records(["a", "b\nc\n", "d"]), (vec!["ab".to_owned(), "c".to_owned()], vec!["d".to_owned()]));
        assert_eq!(records(["a\n"]).1, Vec::<String>::new());
        assert_eq!(records([""]), (vec![], vec![]));
    }

    #[test]
    fn after_finish_a_new_line_begins() {
        let mut buffer = LineBuffer::new();
        let mut logged = Vec::new();
        buffer.write("50%\r", |line| logged.push(line.to_owned()));
        buffer.finish(|line| logged.push(line.to_owned()));
        buffer.write("done\n", |line| logged.push(line.to_owned()));
        assert_eq!(logged, ["50%", "done"]);
    }

    #[test]
    fn empty_lines_are_kept() {
        assert_eq!(lines(["\n", "a\n\nb", "\n"]), ["", "a", "", "b"]);
    }

    #[test]
    fn crlf_ends_a_line_also_in_two_pieces() {
        assert_eq!(lines(["a\r\nb\r", "\nc\r\n"]), ["a", "b", "c"]);
        assert_eq!(lines(["a\r\r\n", "b\r", "\r", "\n"]), ["a\\x0d", "b\\x0d"]);
        assert_eq!(lines(["10%\r20%\r", "30%\r"]), ["10%\\x0d20%\\x0d30%"]);
        assert_eq!(lines(["\r", "", "\n", "\r"]), [""]);
    }

    #[test]
    fn characters_of_bytes_may_come_in_pieces() {
        assert_eq!(lines_of_bytes(&[b"caf\xc3", b"\xa9 \xf0", b"\x9d", b"\x84", b"\x9e\n"]), ["café 𝄞"]);
        assert_eq!(lines_of_bytes(&[b"a\r", b"", b"\nb"]), ["a", "b"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped() {
        assert_eq!(lines_of_bytes(&[b"\xff\xc3(\xe4\xb8A\xed\xa0\x80\n"]), ["\\xff\\xc3(\\xe4\\xb8A\\xed\\xa0\\x80"]);
        assert_eq!(lines_of_bytes(&[b"\r", b"\xe4\xb8"]), ["\\x0d\\xe4\\xb8"]);
        assert_eq!(lines_of_bytes(&[b"\xe4", b"\n", b"\xe4", b"\xe4\xb8\xad\n"]), ["\\xe4", "\\xe4中"]);
        let mut buffer = LineBuffer::new();
        let mut logged = Vec::new();
        buffer.write_bytes(b"half \xe4", |line| logged.push(line.to_owned()));
        buffer.write("text\n", |line| logged.push(line.to_owned()));
        assert_eq!(logged, ["half \\xe4text"]);
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(lines(["\x1b[31mred\0\u{85}\x7f\t\u{a0}é\n"]), ["\\x1b[31mred\\x00\\x85\\x7f\t\u{a0}é"]);
    }

    #[test]
    fn no_text_puts_a_control_character_into_a_record() {
        assert_eq!(escape("a\n\r\t\0\x1b[31m\u{85}\u{9f}é\\"), "a\\x0a\\x0d\\x09\\x00\\x1b[31m\\x85\\x9fé\\");
        assert!(matches!(escape("plain é"), Cow::Borrowed("plain é")));
        #[derive(Default)]
        struct Kept(std::sync::Mutex<Vec<String>>);
        impl ErrorLog for Kept {
            fn log(&self, _: Level, text: &str) {
                self.0.lock().unwrap().push(text.to_owned());
            }
        }
        let kept = Arc::<Kept>::default();
        let log = Log::new(Arc::clone(&kept) as _);
        log.log(Level::Error, "one\ntwo");
        log.lines(Level::Error, "three\nfo\x1bur", |_| ());
        log.log(Level::Error, &"x".repeat(MAX_RECORD + 1));
        let kept = std::mem::take(&mut *kept.0.lock().unwrap());
        assert_eq!(kept[..3], ["one\\x0atwo", "three", "fo\\x1bur"]);
        assert_eq!(kept[3..].iter().map(String::len).collect::<Vec<_>>(), [MAX_RECORD, 1]);
    }

    #[test]
    fn formats_and_backslashes_are_literal() {
        assert_eq!(lines(["%s %V C:\\x1b\n"]), ["%s %V C:\\x1b"]);
    }

    #[test]
    fn a_whole_line_is_not_copied() {
        let text = "whole\n";
        let mut buffer = LineBuffer::new();
        buffer.write(text, |line| assert_eq!(line.as_ptr(), text.as_ptr()));
        assert_eq!(buffer.pending.capacity(), 0);
    }

    #[test]
    fn an_endless_line_is_cut_and_its_memory_given_back() {
        let mut buffer = LineBuffer::new();
        let mut logged = Vec::new();
        for _ in 0..MAX_RECORD {
            buffer.write("é\x01x", |line| logged.push(line.to_owned()));
            assert!(buffer.pending.capacity() <= 2 * MAX_RECORD);
        }
        buffer.write("\n", |line| logged.push(line.to_owned()));
        let (_, full) = logged.split_last().expect("more than one record");
        assert!(full.iter().all(|line| (MAX_RECORD - 3..=MAX_RECORD).contains(&line.len())));
        assert_eq!(logged.concat(), "é\\x01x".repeat(MAX_RECORD));
        assert!(buffer.pending.capacity() <= KEPT);
    }

    #[test]
    fn a_line_of_the_greatest_length_is_one_record() {
        let line = "x".repeat(MAX_RECORD);
        assert_eq!(lines([&*line, "\n"]), [&*line]);
        assert_eq!(lines([&*format!("{line}\n")]), [&*line]);
        assert_eq!(lines([&*format!("{line}y\n")]), [&*line, "y"]);
    }

    #[test]
    fn pieces_of_a_record_end_between_characters() {
        assert_eq!(split_record("aéé", 4).collect::<Vec<_>>(), ["aé", "é"]);
        assert_eq!(split_record("a𝄞", 0).collect::<Vec<_>>(), ["a", "𝄞"]);
        assert_eq!(split_record("", 9).collect::<Vec<_>>(), [""]);
    }

    fn text() -> impl Strategy<Value = String> {
        vec(prop_oneof![Just('\n'), Just('\r'), Just('\t'), Just('a'), any::<char>()], 0..20)
            .prop_map(|characters| characters.into_iter().collect())
    }

    proptest! {
        #[test]
        fn records_do_not_depend_on_the_pieces_of_a_text(pieces in vec(text(), 0..8)) {
            let whole = pieces.concat();
            // A simple implementation: cut the text at its line ends, then escape.
            let mut expected: Vec<String> = whole
                .split('\n')
                .map(|line| line.strip_suffix('\r').unwrap_or(line))
                .map(|line| {
                    let escape = |c| if is_escaped(c) { format!("\\x{:02x}", c as u32) } else { c.to_string() };
                    line.chars().map(escape).collect()
                })
                .collect();
            if expected.last().is_some_and(String::is_empty) {
                expected.pop();
            }
            prop_assert_eq!(lines(pieces.iter().map(String::as_str)), &expected[..]);
            prop_assert_eq!(lines([&*whole]), expected);
        }

        #[test]
        fn records_do_not_depend_on_cuts(text in text(), noise in vec(any::<u8>(), 0..6), cuts in vec(0usize..99, 0..6)) {
            let bytes = [text.as_bytes(), &noise, text.as_bytes()].concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(lines_of_bytes(&pieces), lines_of_bytes(&[&bytes]));
            prop_assert_eq!(lines_of_bytes(&[text.as_bytes()]), lines([&*text]));
        }

        #[test]
        fn pieces_of_a_record_lose_nothing(text in any::<String>(), max in 0usize..40) {
            let pieces: Vec<_> = split_record(&text, max).collect();
            prop_assert_eq!(pieces.concat(), &text[..]);
            prop_assert!(pieces.iter().all(|piece| piece.len() <= max.max(4)));
            prop_assert!(text.is_empty() || pieces.iter().all(|piece| !piece.is_empty()));
        }
    }
}
