//! Text that applications print: one record for each line, however the text is cut, and no control characters that a log
//! would interpret.

use wsgi_core::protocol::{LineBuffer, MAX_RECORD, split_record};

use crate::fields;

/// The input: pieces of text. A long line is one piece, repeated.
pub fn run(data: &[u8]) {
    // One is enough: more would only take time.
    let mut long = 1;
    let texts: Vec<String> = fields(data).map(|piece| text(piece, &mut long)).collect();
    let mut expected = Vec::new();
    let mut line = String::new();
    for character in texts.concat().chars() {
        if character == '\n' {
            expected.push(escaped(line.strip_suffix('\r').unwrap_or(&line)));
            line.clear();
        } else {
            line.push(character);
        }
    }
    // A carriage return at the very end counts as half of a line end.
    let line = escaped(line.strip_suffix('\r').unwrap_or(&line));
    if !line.is_empty() {
        expected.push(line);
    }

    let pieces = records(&texts);
    assert!(pieces.iter().all(|record| record.len() <= MAX_RECORD));
    if expected.iter().any(|line| line.len() > MAX_RECORD) {
        assert_eq!(pieces.concat(), expected.concat());
    } else {
        // Short lines are not cut.
        assert_eq!(pieces, expected);
        assert_eq!(records(&[texts.concat()]), expected);
    }
    for (piece, max) in texts.iter().filter(|piece| piece.len() < 1000).zip(0..) {
        let parts: Vec<&str> = split_record(piece, max).collect();
        assert_eq!(parts.concat(), *piece);
        assert!(parts.iter().all(|part| part.len() <= max.max(4)));
        assert!(parts.len() == 1 || parts.iter().all(|part| !part.is_empty()));
    }
}

/// Decodes a piece. If it begins with `*` and a digit, it is repeated until it is close to the limit of a record.
fn text(piece: &[u8], long: &mut usize) -> String {
    let text = String::from_utf8_lossy(piece);
    let mut characters = text.chars();
    match (characters.next(), characters.next().and_then(|digit| digit.to_digit(10))) {
        (Some('*'), Some(digit)) if *long > 0 && (1..=64).contains(&characters.as_str().len()) => {
            *long -= 1;
            let part = characters.as_str();
            part.repeat(MAX_RECORD / part.len() + digit as usize)
        }
        _ => text.into_owned(),
    }
}

fn escaped(line: &str) -> String {
    let mut out = String::new();
    for character in line.chars() {
        match character {
            '\t' => out.push('\t'),
            '\0'..='\x1f' | '\x7f'..='\u{9f}' => {
                let digit = |value: u32| char::from_digit(value, 16).expect("one digit");
                out.extend(['\\', 'x', digit(character as u32 / 16), digit(character as u32 % 16)]);
            }
            plain => out.push(plain),
        }
    }
    out
}

fn records(pieces: &[String]) -> Vec<String> {
    let mut buffer = LineBuffer::new();
    let mut records = Vec::new();
    for piece in pieces {
        buffer.write(piece, |record| records.push(record.to_owned()));
    }
    buffer.finish(|record| records.push(record.to_owned()));
    buffer.finish(|record| panic!("{record:?} is logged twice"));
    records
}
