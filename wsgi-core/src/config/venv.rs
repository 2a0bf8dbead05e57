//! Virtual environments, as far as their `pyvenv.cfg` tells about them.

use std::fs;
use std::path::Path;

/// Major and minor version of the Python that made the virtual environment at `folder`, from its `pyvenv.cfg`: `version`
/// (the venv module) or `version_info` (virtualenv). `None` if it is not told or cannot be read.
pub fn venv_version(folder: &Path) -> Option<(u32, u32)> {
    let text = fs::read(folder.join("pyvenv.cfg")).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let key = key.trim();
        if !key.eq_ignore_ascii_case("version") && !key.eq_ignore_ascii_case("version_info") {
            return None;
        }
        let mut parts = value.trim().split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

/// Whether a virtual environment lies at `folder`.
pub(super) fn is_venv(folder: &Path) -> bool {
    folder.join("pyvenv.cfg").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &[u8]) -> Option<(u32, u32)> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pyvenv.cfg"), text).unwrap();
        venv_version(folder.path())
    }

    #[test]
    fn every_maker_of_virtual_environments_is_understood() {
        let venv =
            b"home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\nexecutable = /usr/bin/x\n";
        assert_eq!(version(venv), Some((3, 11)));
        assert_eq!(version(b"implementation = CPython\r\nversion_info = 3.9.18.final.0\r\n"), Some((3, 9)));
        assert_eq!(version(b"uv = 0.5.1\nVERSION_INFO=3.13\n"), Some((3, 13)));
    }

    #[test]
    fn an_unknown_version_is_none() {
        assert_eq!(version(b"home = /usr/bin\nversion\n\xff = \xff\n"), None);
        assert_eq!(version(b"version = three.nine\nversion = 3\n"), None);
        assert_eq!(venv_version(Path::new("/nonexistent")), None);
    }
}
