//! Virtual environments, as their `pyvenv.cfg` describes them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The entries of a `pyvenv.cfg` that identify the Python that made the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VenvConfig {
    /// `home`: the folder of the program that made the environment.
    pub(crate) home: Option<PathBuf>,
    /// `version` (the venv module) or `version_info` (virtualenv, uv): the version of Python, as written there.
    pub(crate) version: Option<String>,
    /// `executable` (the venv module) or `base-executable` (virtualenv): the program that made the environment.
    pub(crate) executable: Option<PathBuf>,
}

impl VenvConfig {
    /// Reads the file of the virtual environment at `folder`. `None` if there is none or it cannot be read.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        Some(Self::parse(&fs::read(folder.join("pyvenv.cfg")).ok()?))
    }

    /// Parses the file. The first entry of each kind counts, as in CPython; case and spaces around keys are ignored.
    fn parse(text: &[u8]) -> Self {
        let mut config = Self::default();
        for line in text.split(|byte| *byte == b'\n') {
            let Some(equals) = line.iter().position(|byte| *byte == b'=') else { continue };
            let (key, value) = (line[..equals].trim_ascii(), line[equals + 1..].trim_ascii());
            let path = || Some(PathBuf::from(OsStr::from_bytes(value))).filter(|path| !path.as_os_str().is_empty());
            match &*key.to_ascii_lowercase() {
                b"home" if config.home.is_none() => config.home = path(),
                b"executable" | b"base-executable" if config.executable.is_none() => config.executable = path(),
                b"version" | b"version_info" if config.minor().is_none() => {
                    config.version = Some(String::from_utf8_lossy(value).into_owned());
                }
                _ => {}
            }
        }
        config.version = config.version.take().filter(|version| minor(version).is_some());
        config
    }

    /// Major and minor version of the Python that made the environment.
    pub(crate) fn minor(&self) -> Option<(u32, u32)> {
        minor(self.version.as_deref()?)
    }
}

fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Whether `folder` is a virtual environment.
pub(super) fn is_venv(folder: &Path) -> bool {
    folder.join("pyvenv.cfg").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &[u8]) -> VenvConfig {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pyvenv.cfg"), text).unwrap();
        VenvConfig::read(folder.path()).unwrap()
    }

    fn entries(home: &str, version: &str, executable: Option<&str>) -> VenvConfig {
        VenvConfig {
            home: Some(home.into()),
            version: Some(version.to_owned()),
            executable: executable.map(PathBuf::from),
        }
    }

    #[test]
    fn every_maker_of_virtual_environments_is_understood() {
        let venv =
            b"home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\nexecutable = /usr/bin/python3.11\n\
              command = /usr/bin/python3 -m venv /srv/venv\n";
        assert_eq!(config(venv), entries("/usr/bin", "3.11.2", Some("/usr/bin/python3.11")));
        assert_eq!(config(venv).minor(), Some((3, 11)));
        let virtualenv = b"home = /opt/py/bin\r\nimplementation = CPython\r\nversion_info = 3.9.18.final.0\r\n\
                           virtualenv = 20.24.1\r\nbase-prefix = /opt/py\r\nbase-executable = /opt/py/bin/python3.9\r\n";
        assert_eq!(config(virtualenv), entries("/opt/py/bin", "3.9.18.final.0", Some("/opt/py/bin/python3.9")));
        assert_eq!(config(virtualenv).minor(), Some((3, 9)));
        let uv = b"home = /home/a b/python/bin\nimplementation = CPython\nuv = 0.5.1\nversion_info = 3.13\n";
        assert_eq!(config(uv), entries("/home/a b/python/bin", "3.13", None));
        assert_eq!(config(b" HOME=/a=b\nhome = /other\nVersion_Info=3.13\n"), entries("/a=b", "3.13", None));
    }

    #[test]
    fn an_unknown_version_is_none() {
        assert_eq!(config(b"home = /usr/bin\nversion\n\xff = \xff\n").minor(), None);
        assert_eq!(config(b"version = three.nine\nversion = 3\n"), VenvConfig::default());
        assert_eq!(config(b"version = 20\nversion_info = 3.9.2\n").minor(), Some((3, 9)));
        assert_eq!(config(b"home =\nexecutable = \n"), VenvConfig::default());
        assert_eq!(VenvConfig::read(Path::new("/nonexistent")), None);
    }
}
