//! The application that `wsgi_pass` names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::value::{Argument, shown, shown_path};
use super::{DirectiveError, Notice};
use crate::error_log::Level;

/// A callable and the file or module that defines it. Displayed for log lines: `script "/srv/app.py", callable
/// "application"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A file, which need not exist until a request needs it.
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
        /// A Python name, dotted for an attribute of an object.
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

/// For programs without directives: `mysite.wsgi:application`, `/srv/app.py:app`, either without its callable (`application`
/// then). A name that is not a dotted Python name is a file; a relative one starts from the current folder.
impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (what, callable) = match text.rsplit_once(':') {
            Some((what, callable)) if !callable.contains('/') => (what, callable),
            _ => (text, DEFAULT_CALLABLE),
        };
        let invalid = |trouble: &str| TargetError { target: shown(text.as_bytes()), trouble: trouble.to_owned() };
        let callable = dotted_name(callable.as_bytes())
            .ok_or_else(|| invalid("the part after \":\" must be a Python name, dotted or plain"))?
            .to_owned();
        if let Some(name) = module_name(what.as_bytes()) {
            return Ok(Self::Module { name: name.to_owned(), callable });
        }
        if what.contains('\0') {
            return Err(invalid("a path must not contain NUL"));
        }
        match std::path::absolute(what) {
            Ok(path) => Ok(Self::Script { path, callable }),
            Err(error) => Err(invalid(&error.to_string())),
        }
    }
}

/// A text that names no application.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{target}\" names no application: {trouble}")]
pub struct TargetError {
    target: String,
    trouble: String,
}

/// The default callable (PEP 3333 does not define a name; every server uses this one).
pub(super) const DEFAULT_CALLABLE: &str = "application";

impl Target {
    /// Parses the arguments of `wsgi_pass`. Looks for the file to distinguish scripts from modules.
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
            refuse_other_syntax(what)?;
        }
        let callable = match callable {
            Some(callable) => dotted_name(callable.bytes).ok_or_else(|| callable.invalid(no_name(callable.bytes)))?,
            None => DEFAULT_CALLABLE,
        }
        .to_owned();
        let said = what.shown();
        let shown = shown_path(&path);
        let (target, level, text) = match module_name(what.bytes) {
            Some(name) if !exists => (
                Self::Module { name: name.to_owned(), callable },
                Level::Notice,
                format!("\"wsgi_pass\" \"{said}\" is taken as a module name, because there is no file \"{shown}\""),
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

fn no_name(callable: &[u8]) -> &'static str {
    match callable.ends_with(b")") {
        true => {
            "the callable must be a Python name: call a factory in the script, as in \"application = create_app()\""
        }
        false => "the callable must be a Python name, dotted or plain",
    }
}

/// Refuses addresses, the argument of `proxy_pass`, and `module:callable`, the syntax of other servers. No file of that
/// name exists.
fn refuse_other_syntax(what: Argument<'_>) -> Result<(), DirectiveError> {
    let text = what.shown();
    let has_port = |(_, port): (&str, &str)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if text.contains("://") || text.starts_with("unix:") || text.rsplit_once(':').is_some_and(has_port) {
        return Err(what.invalid(
            "it must be a Python file or a module; for the address of a server use proxy_pass or uwsgi_pass",
        ));
    }
    match text.rsplit_once(':') {
        Some((module, callable)) if !callable.contains('/') => {
            Err(what.invalid(format!("the callable is a separate word: \"{module} {callable}\"")))
        }
        _ => Ok(()),
    }
}

/// Returns `text` if it can name a module. `app.py` is always taken as a file.
fn module_name(text: &[u8]) -> Option<&str> {
    dotted_name(text).filter(|name| name.rsplit('.').next() != Some("py"))
}

pub(super) fn dotted_name(text: &[u8]) -> Option<&str> {
    str::from_utf8(text).ok().filter(|text| text.split('.').all(is_identifier))
}

/// Python's rule for identifiers (PEP 3131), as close as the character classes of the standard library allow.
fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first == '_' || first.is_alphabetic())
        && chars.all(|char| char == '_' || char.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

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

        fn parse(&self, arguments: &[&[u8]]) -> Result<(Target, Option<Notice>), DirectiveError> {
            let argument = |index: usize| arguments.get(index).map(|bytes| Argument { directive: "wsgi_pass", bytes });
            Target::parse(self.0.path(), argument(0).unwrap(), argument(1))
        }

        fn script(&self, name: &str, callable: &str) -> Target {
            Target::Script { path: self.0.path().join(name), callable: callable.to_owned() }
        }

        fn error(&self, arguments: &[&str]) -> String {
            let arguments: Vec<_> = arguments.iter().map(|text| text.as_bytes()).collect();
            self.parse(&arguments).unwrap_err().to_string()
        }
    }

    fn module(name: &str) -> Target {
        Target::Module { name: name.to_owned(), callable: "application".to_owned() }
    }

    #[test]
    fn a_file_below_the_prefix_is_a_script() {
        let folder = Folder::with(&["app.py", "odd name.cgi"]);
        assert_eq!(folder.parse(&[b"app.py"]), Ok((folder.script("app.py", "application"), None)));
        assert_eq!(folder.parse(&[b"./app.py", b"my_app"]), Ok((folder.script("app.py", "my_app"), None)));
        assert_eq!(folder.parse(&[b"odd name.cgi", b"a.b.c"]), Ok((folder.script("odd name.cgi", "a.b.c"), None)));
        let absolute = folder.0.path().join("app.py");
        let absolute = absolute.as_os_str().as_encoded_bytes();
        assert_eq!(folder.parse(&[absolute]), Ok((folder.script("app.py", "application"), None)));
    }

    #[test]
    fn a_missing_script_is_accepted_with_a_warning() {
        let folder = Folder::with(&[]);
        for name in ["app.py", "sub/app", "a-b", "app.", "9lives"] {
            let (target, notice) = folder.parse(&[name.as_bytes()]).unwrap();
            let Notice { level, text } = notice.unwrap();
            let path = folder.0.path().join(name);
            assert_eq!((target, level), (folder.script(name, "application"), Level::Warn));
            assert!(text.contains(path.to_str().unwrap()) && text.contains("does not exist"), "{text}");
        }
    }

    #[test]
    fn folder_in_place_of_a_script_is_reported_as_a_folder() {
        let folder = Folder::with(&[]);
        let (_, notice) = folder.parse(&[folder.0.path().as_os_str().as_encoded_bytes()]).unwrap();
        assert!(notice.unwrap().text.contains("is a folder"));
    }

    #[test]
    fn a_dotted_name_is_a_module() {
        let folder = Folder::with(&[]);
        fs::create_dir(folder.0.path().join("mysite")).unwrap();
        for name in ["mysite.wsgi", "mysite", "_a.b9", "straße.wsgi", "py.wsgi"] {
            let (target, notice) = folder.parse(&[name.as_bytes()]).unwrap();
            let Notice { level, text } = notice.unwrap();
            assert_eq!((target, level), (module(name), Level::Notice));
            assert!(text.starts_with(&format!("\"wsgi_pass\" \"{name}\" is taken as a module name")), "{text}");
        }
    }

    #[test]
    fn a_file_wins_over_a_module_of_its_name() {
        let folder = Folder::with(&["mysite.wsgi"]);
        let (target, notice) = folder.parse(&[b"mysite.wsgi"]).unwrap();
        let Notice { level, text } = notice.unwrap();
        assert_eq!((target, level), (folder.script("mysite.wsgi", "application"), Level::Notice));
        assert!(text.contains("is taken as the script"), "{text}");
    }

    #[test]
    fn variables_are_refused() {
        let folder = Folder::with(&["$app.py"]);
        let expected = "invalid value \"$app.py\" in \"wsgi_pass\" directive, variables are not supported";
        assert_eq!(folder.error(&["$app.py"]), expected);
        assert!(folder.error(&["app.py", "$name"]).contains("variables are not supported"));
    }

    #[test]
    fn addresses_of_servers_are_refused_with_a_hint() {
        let folder = Folder::with(&[]);
        for address in ["http://127.0.0.1:80", "uwsgi://backend", "127.0.0.1:8000", "[::1]:8000", "unix:/run/app.sock"]
        {
            let expected = format!(
                "invalid value \"{address}\" in \"wsgi_pass\" directive, it must be a Python file or a module; for the \
                 address of a server use proxy_pass or uwsgi_pass"
            );
            assert_eq!(folder.error(&[address]), expected);
        }
    }

    #[test]
    fn module_colon_callable_is_refused_with_a_hint() {
        let folder = Folder::with(&["a:b"]);
        assert_eq!(
            folder.error(&["mysite.wsgi:app"]),
            "invalid value \"mysite.wsgi:app\" in \"wsgi_pass\" directive, the callable is a separate word: \
             \"mysite.wsgi app\""
        );
        assert!(folder.error(&["/srv/app.py:app"]).ends_with("\"/srv/app.py app\""));
        assert_eq!(folder.parse(&[b"a:b"]), Ok((folder.script("a:b", "application"), None)));
        assert!(folder.parse(&[b"/srv/a:b/app.py"]).is_ok());
    }

    #[test]
    fn a_callable_is_a_python_name() {
        let folder = Folder::with(&["app.py"]);
        for bad in ["", "create_app()", "a..b", ".a", "9a", "a b", "a:b", "a/b"] {
            let error = folder.error(&["app.py", bad]);
            assert!(error.contains("the callable must be a Python name"), "{bad:?}: {error}");
        }
    }

    #[test]
    fn target_is_parsed_from_one_string() {
        let parse = |text: &str| text.parse::<Target>();
        assert_eq!(parse("mysite.wsgi"), Ok(module("mysite.wsgi")));
        assert_eq!(parse("mysite.wsgi:application"), Ok(module("mysite.wsgi")));
        let script = |path: &Path, callable: &str| Target::Script { path: path.into(), callable: callable.to_owned() };
        assert_eq!(parse("/srv/app.py:site.app"), Ok(script(Path::new("/srv/app.py"), "site.app")));
        assert_eq!(parse("/srv/a:b/app.py"), Ok(script(Path::new("/srv/a:b/app.py"), "application")));
        let here = std::env::current_dir().unwrap();
        assert_eq!(parse("app.py:app"), Ok(script(&here.join("app.py"), "app")));
    }

    #[test]
    fn invalid_target_string_is_refused_with_the_reason() {
        let error = |text: &str| text.parse::<Target>().unwrap_err().to_string();
        let expected =
            r#""app.py:create()" names no application: the part after ":" must be a Python name, dotted or plain"#;
        assert_eq!(error("app.py:create()"), expected);
        assert!(error(":app").contains("names no application: "));
        assert_eq!(error("a\0b"), r#""a\u{0}b" names no application: a path must not contain NUL"#);
    }

    #[test]
    fn targets_are_displayed_in_one_line() {
        let script = Target::Script { path: "/srv/a\nb.py".into(), callable: "application".to_owned() };
        assert_eq!(script.to_string(), r#"script "/srv/a\u{a}b.py", callable "application""#);
        assert_eq!(module("mysite.wsgi").to_string(), r#"module "mysite.wsgi", callable "application""#);
    }

    proptest! {
        #[test]
        fn any_value_becomes_a_clean_target_or_a_message_of_one_line(
            what in prop_oneof!["[a.:/$]{0,6}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..9)],
            callable in prop::option::of(prop_oneof!["[a.]{0,4}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..4)]),
        ) {
            let callable = callable.as_deref();
            let argument = |bytes| Argument { directive: "wsgi_pass", bytes };
            let said = match Target::parse(Path::new("/nonexistent"), argument(&what), callable.map(argument)) {
                Ok((target, notice)) => {
                    match &target {
                        Target::Script { path, .. } => prop_assert!(path.is_absolute()),
                        Target::Module { name, .. } => prop_assert!(name.split('.').all(is_identifier)),
                    }
                    format!("{target}{}", notice.unwrap().text)
                }
                Err(error) => error.to_string(),
            };
            prop_assert!(!said.contains(char::is_control), "{:?}", said);
        }
    }
}
