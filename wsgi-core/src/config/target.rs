//! The application that `wsgi_pass` names.

use std::fmt;
use std::path::{Path, PathBuf};

use super::value::{Argument, shown_path};
use super::{DirectiveError, Notice};
use crate::host::Level;

/// A callable, and where it is defined. Displayed for log lines: `script "/srv/app.py", callable "application"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A file, which need not exist until it is asked for.
    Script {
        /// Absolute path.
        path: PathBuf,
        /// A Python name, dotted for an attribute of an object.
        callable: String,
    },
    /// A module that is imported by name.
    Module {
        /// Dotted name.
        name: String,
        /// As above.
        callable: String,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Script { path, callable } => {
                write!(formatter, "script \"{}\", callable \"{callable}\"", shown_path(path))
            }
            Target::Module { name, callable } => write!(formatter, "module \"{name}\", callable \"{callable}\""),
        }
    }
}

/// The default callable (PEP 3333 leaves the name open; every server has this one).
pub(super) const DEFAULT_CALLABLE: &str = "application";

impl Target {
    /// Reads the arguments of `wsgi_pass`, and looks into the file system to tell scripts from modules.
    pub(super) fn parse(
        prefix: &Path,
        what: Argument<'_>,
        callable: Option<Argument<'_>>,
    ) -> Result<(Self, Option<Notice>), DirectiveError> {
        for argument in [Some(what), callable].into_iter().flatten() {
            if argument.bytes.contains(&b'$') {
                return Err(argument.invalid("variables are not supported"));
            }
        }
        let path = what.path(prefix)?;
        let exists = path.is_file();
        if !exists {
            refuse_colon(what)?;
        }
        let callable = match callable {
            Some(callable) => dotted_name(callable.bytes)
                .ok_or_else(|| callable.invalid("the callable must be a Python name, dotted or plain"))?,
            None => DEFAULT_CALLABLE,
        }
        .to_owned();
        let said = what.shown();
        let shown = shown_path(&path);
        let (target, level, text) = match module_name(what.bytes) {
            Some(name) if !exists => (
                Self::Module { name: name.to_owned(), callable },
                Level::Notice,
                format!("\"wsgi_pass\" \"{said}\" is taken as a module name, for there is no file \"{shown}\""),
            ),
            Some(_) => (
                Self::Script { path, callable },
                Level::Notice,
                format!("\"wsgi_pass\" \"{said}\" is taken as the script \"{shown}\", not as a module name"),
            ),
            None if exists => return Ok((Self::Script { path, callable }, None)),
            None => {
                let trouble = if path.is_dir() { "is a folder" } else { "does not exist yet" };
                let text = format!("\"wsgi_pass\" script \"{shown}\" {trouble}; until it is a file, requests get 500");
                (Self::Script { path, callable }, Level::Warn, text)
            }
        };
        Ok((target, Some(Notice { level, text })))
    }
}

/// Other servers take `module:callable`. No such file exists, so that is what is meant.
fn refuse_colon(what: Argument<'_>) -> Result<(), DirectiveError> {
    let text = what.shown();
    match text.rsplit_once(':') {
        Some((module, callable)) if !callable.contains('/') => {
            Err(what.invalid(format!("the callable is the second argument: \"wsgi_pass {module} {callable};\"")))
        }
        _ => Ok(()),
    }
}

/// `text` if it can be a module: `app.py` is meant as a file by everybody.
fn module_name(text: &[u8]) -> Option<&str> {
    dotted_name(text).filter(|name| name.rsplit('.').next() != Some("py"))
}

fn dotted_name(text: &[u8]) -> Option<&str> {
    str::from_utf8(text).ok().filter(|text| text.split('.').all(is_identifier))
}

/// Python's rule (PEP 3131) as near as the standard library's character classes come to it.
fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first == '_' || first.is_alphabetic())
        && chars.all(|char| char == '_' || char.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(files: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for file in files {
                fs::write(folder.path().join(file), "").unwrap();
            }
            Self(folder)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn parse(&self, arguments: &[&str]) -> Result<(Target, Option<Notice>), DirectiveError> {
            let argument = |text: &&'static str| Argument { directive: "wsgi_pass", bytes: text.as_bytes() };
            let arguments: Vec<_> =
                arguments.iter().map(|text| Argument { directive: "wsgi_pass", bytes: text.as_bytes() }).collect();
            let _ = argument;
            Target::parse(self.0.path(), arguments[0], arguments.get(1).copied())
        }
    }

    #[test]
    fn a_file_is_a_script_with_the_default_callable() {
        let folder = Folder::with(&["app.py"]);
        let (target, notice) = folder.parse(&["app.py"]).unwrap();
        assert_eq!(target, Target::Script { path: folder.path("app.py"), callable: "application".to_owned() });
        assert_eq!(notice, None);
    }
}
