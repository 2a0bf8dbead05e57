//! The size line of a chunk.

/// Parses the size of a chunk from its line without CRLF: hexadecimal, any number of digits. White space after it and
/// extensions are ignored (RFC 9112, 7.1.1). `None` for any other line, for a bare CR in it (2.2), and from 2^63 on: nginx
/// accepts no larger sizes, and no file is larger.
pub fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    if !matches!(rest.get(blanks), None | Some(b';')) || rest.contains(&b'\r') {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|size| *size <= i64::MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_digits_blanks_and_extensions() {
        for (line, size) in [
            ("3", Some(3)),
            ("Ff", Some(255)),
            ("3 \t", Some(3)),
            ("3;a=\"b\"", Some(3)),
            ("3 ;a", Some(3)),
            ("00000000000000000000000000000003", Some(3)),
            ("7fffffffffffffff", Some(i64::MAX as u64)),
            ("8000000000000000", None),
            ("10000000000000003", None),
            ("", None),
            (";a", None),
            ("+3", None),
            ("-3", None),
            (" 3", None),
            ("0x3", None),
            ("3 3", None),
            ("3\x0b", None),
            ("3\x0c", None),
            ("3\r", None),
            ("3;a\rb", None),
        ] {
            assert_eq!(chunk_size(line.as_bytes()), size, "{line:?}");
        }
    }
}
