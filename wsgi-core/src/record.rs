//! Log records: text in pieces becomes whole lines without control characters.

/// Longest record; a line that goes on without an end is cut there.
const LONGEST: usize = 64 * 1024;

/// Collects what an application logs until a line is complete.
#[derive(Debug, Default)]
pub struct LineBuffer {
    /// The beginning of a line, escaped.
    begun: String,
}

impl LineBuffer {
    /// A buffer without text.
    pub const fn new() -> Self {
        Self { begun: String::new() }
    }

    /// Takes a piece of text and passes each line that it completes to `log`, without its line break. Control characters
    /// other than tab arrive as `\x1b`, so that text from outside cannot forge records or drive a terminal.
    pub fn write(&mut self, text: &str, mut log: impl FnMut(&str)) {
        let mut rest = text;
        while let Some((line, after)) = rest.split_once('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if self.begun.is_empty() && line.len() <= LONGEST && !line.contains(is_control) {
                log(line);
            } else {
                self.add(line, &mut log);
                log(&self.begun);
                self.begun.clear();
            }
            rest = after;
        }
        self.add(rest, &mut log);
    }

    /// Logs what is there of an incomplete line.
    pub fn finish(&mut self, mut log: impl FnMut(&str)) {
        if !self.begun.is_empty() {
            log(&self.begun);
            // An endless line must not leave its memory behind.
            self.begun = String::new();
        }
    }

    fn add(&mut self, text: &str, log: &mut impl FnMut(&str)) {
        for character in text.chars() {
            if self.begun.len() >= LONGEST {
                log(&self.begun);
                self.begun.clear();
            }
            if is_control(character) {
                self.begun.push_str(&format!("\\x{:02x}", u32::from(character)));
            } else {
                self.begun.push(character);
            }
        }
    }
}

/// C0 without tab, DEL, and C1.
fn is_control(character: char) -> bool {
    character.is_control() && character != '\t'
}

/// Cuts a record into pieces of at most `longest` bytes (at least 4), between characters.
pub fn split_record(text: &str, longest: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(rest.floor_char_boundary(longest.max(4)));
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(pieces: &[&str]) -> Vec<String> {
        let mut buffer = LineBuffer::new();
        let mut lines = Vec::new();
        for piece in pieces {
            buffer.write(piece, |line| lines.push(line.to_owned()));
        }
        buffer.finish(|line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn a_line_is_logged_when_it_is_complete() {
        assert_eq!(lines(&["a", "b\nc", "\n", "\nd"]), ["ab", "c", "", "d"]);
        assert_eq!(lines(&["a\r\nb\r\n"]), ["a", "b"]);
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(lines(&["a\x1b[0m\0\tb\x7f\u{9b}\n"]), ["a\\x1b[0m\\x00\tb\\x7f\\x9b"]);
        assert_eq!(lines(&["a\rb\n"]), ["a\\x0db"]);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let text = "é".repeat(LONGEST);
        let lines = lines(&[&text]);
        assert!(lines.iter().all(|line| line.len() <= LONGEST + 4));
        assert_eq!(lines.concat(), text);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "[a-c\n\r\u{1}é]{0,40}", cuts in proptest::collection::vec(0usize..40, 0..5)) {
            let characters: Vec<char> = text.chars().collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(characters.len())).collect();
            cuts.sort_unstable();
            cuts.push(characters.len());
            let mut start = 0;
            let pieces: Vec<String> = cuts
                .into_iter()
                .map(|cut| characters[std::mem::replace(&mut start, cut)..cut].iter().collect())
                .collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let joined = |lines: Vec<String>| lines.concat().replace("\\x0d", "");
            prop_assert_eq!(joined(lines(&pieces)), joined(lines(&[&text])));
        }

        #[test]
        fn a_split_record_loses_nothing(text in "[a-zé€𝄞]{0,200}", longest in 4usize..30) {
            let pieces: Vec<&str> = split_record(&text, longest).collect();
            prop_assert!(pieces.iter().all(|piece| piece.len() <= longest && !piece.is_empty()));
            prop_assert_eq!(pieces.concat(), text);
        }
    }
}
