//! Paths of requests: decoded as a second implementation of the rules decodes them, and split without losing a byte.

use wsgi_core::host::{Mount, decode_path, split_path};

use crate::fields;

/// The input: a path as sent, and the prefix that an application is mounted at.
pub fn run(data: &[u8]) {
    let mut texts = fields(data);
    let path = texts.next().unwrap_or_default();
    let prefix = texts.next().unwrap_or_default();
    let decoded = decode_path(path);
    assert_eq!(decoded.as_deref(), model(path).as_deref(), "{}", path.escape_ascii());
    if let Some(decoded) = decoded {
        clean(&decoded);
        for mount in [Mount::Prefix(prefix), Mount::Exact(prefix), Mount::None] {
            split(&decoded, mount);
        }
    }
}

/// Decodes a path by nginx's rules: escapes first, then segments on a stack.
fn model(path: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut position = 0;
    while position < path.len() {
        let mut byte = path[position];
        if byte == b'%' {
            let digits = path.get(position + 1..position + 3)?;
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
            position += 2;
        }
        position += 1;
        decoded.push(byte);
    }
    if decoded.first() != Some(&b'/') || decoded.contains(&0) {
        return None;
    }
    let mut folders: Vec<&[u8]> = Vec::new();
    let segments: Vec<&[u8]> = decoded[1..].split(|byte| *byte == b'/').collect();
    let (last, inner) = segments.split_last().expect("a split gives one part at least");
    for segment in inner {
        enter(&mut folders, segment)?;
    }
    let mut name: &[u8] = last;
    if matches!(*last, b"." | b"..") {
        enter(&mut folders, last)?;
        name = b"";
    }
    let folders: Vec<u8> = folders.iter().flat_map(|folder| [b"/", *folder].concat()).collect();
    Some([&folders, &b"/"[..], name].concat())
}

/// Enters one segment; `None` above the root.
fn enter<'a>(folders: &mut Vec<&'a [u8]>, segment: &'a [u8]) -> Option<()> {
    match segment {
        b"" | b"." => {}
        b".." => drop(folders.pop()?),
        folder => folders.push(folder),
    }
    Some(())
}

/// Checks that a path cannot leave its root when it is joined to a folder later.
fn clean(path: &[u8]) {
    assert!(path.starts_with(b"/") && !path.contains(&0));
    let segments: Vec<&[u8]> = path[1..].split(|byte| *byte == b'/').collect();
    assert!(!segments.contains(&&b"."[..]) && !segments.contains(&&b".."[..]), "{}", path.escape_ascii());
    assert!(segments[..segments.len() - 1].iter().all(|segment| !segment.is_empty()), "{}", path.escape_ascii());
}

fn split(path: &[u8], mount: Mount<'_>) {
    let (script, rest) = split_path(path, mount);
    assert_eq!([script, rest].concat(), path);
    assert!(!script.ends_with(b"/"), "{mount:?}");
    assert!(rest.is_empty() || rest.starts_with(b"/"), "{mount:?}");
    let text = |bytes: &[u8]| bytes.to_ascii_lowercase();
    let wanted = match mount {
        Mount::Prefix(prefix) => text(prefix),
        Mount::Exact(_) => text(path),
        Mount::None => Vec::new(),
    };
    let wanted: Vec<u8> = {
        let end = wanted.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        wanted[..end].to_vec()
    };
    let below = text(path).strip_prefix(&wanted[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
    assert_eq!(text(script), if below { wanted } else { Vec::new() }, "{mount:?}");
}
