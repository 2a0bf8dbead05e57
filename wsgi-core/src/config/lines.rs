//! Directives as lines of text, for hosts without configuration files like nginx's: a command line, a test.

use std::path::Path;

use super::value::shown;
use super::{Context, DirectiveError, LevelSettings, Notice, Place, ProcessSettings, Scope, directive};

/// Applies one directive, its words separated by white space: `wsgi_var NAME value`. There are no quotes.
pub fn apply_line(line: &str, scope: &mut Scope<'_>) -> Result<(), DirectiveError> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next().unwrap_or_default();
    let directive = directive(name).ok_or_else(|| DirectiveError::Unknown { name: shown(name.as_bytes()) })?;
    directive.apply(scope, &words.map(str::as_bytes).collect::<Vec<_>>())
}

/// The settings of a program that serves one application and has no blocks.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Lines {
    /// The settings of the application.
    pub level: LevelSettings,
    /// The settings of the process, checked.
    pub process: ProcessSettings,
    /// Remarks for the operator on accepted directives.
    pub notices: Vec<Notice>,
}

impl Lines {
    /// Applies directives, each where it is allowed: to the application, or to the process. Relative paths start from
    /// `folder`.
    ///
    /// ```
    /// use wsgi_core::config::{Flag, Lines};
    ///
    /// let lines = Lines::new(["wsgi_threads 4", "wsgi_output_buffering on"], "/srv".as_ref())?;
    /// assert!(lines.level.is_on(Flag::OutputBuffering));
    /// # Ok::<(), wsgi_core::config::DirectiveError>(())
    /// ```
    pub fn new<L: AsRef<str>>(lines: impl IntoIterator<Item = L>, folder: &Path) -> Result<Self, DirectiveError> {
        let mut applied = Self::default();
        for (index, line) in lines.into_iter().enumerate() {
            let line = line.as_ref();
            let name = line.split_ascii_whitespace().next().unwrap_or_default();
            let in_location = directive(name).is_some_and(|directive| directive.contexts.contains(Context::Location));
            let mut scope = Scope::new(
                &mut applied.level,
                &mut applied.process,
                if in_location { Context::Location } else { Context::Http },
                Place { file: "arguments".to_owned(), line: index + 1 },
                folder,
            );
            apply_line(line, &mut scope)?;
            applied.notices.append(&mut scope.notices);
        }
        applied.process.check()?;
        Ok(applied)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, Mode, Target};
    use super::*;

    #[test]
    fn lines_set_location_and_process_settings() {
        let lines = ["wsgi_pass app.py handler", "wsgi_threads  2 max=8", " wsgi_var A b ", "wsgi_python_path lib"];
        let Lines { level, process, notices } = Lines::new(lines, Path::new("/srv")).expect("valid");
        let target = Target::Script { path: "/srv/app.py".into(), callable: "handler".to_owned() };
        assert_eq!(level.target, Some(target));
        assert_eq!((&*level.variables[0].name, &*level.variables[0].value), ("A", &b"b"[..]));
        assert_eq!(process.mode(), Mode::Threads(Limits::new(2).max_threads(8)));
        assert_eq!(process.path(), [Path::new("/srv/lib")]);
        let missing = |notice: &Notice| notice.text == "\"wsgi_python_path\" \"/srv/lib\" does not exist yet";
        assert!(notices.iter().any(missing), "{notices:?}");
    }

    #[test]
    fn invalid_line_is_refused_with_the_directive() {
        let error = |line: &str| Lines::new([line], Path::new("/srv")).expect_err("refused").to_string();
        assert_eq!(error("wsgi_trheads 2"), "unknown directive \"wsgi_trheads\"");
        assert_eq!(error(""), "unknown directive \"\"");
        assert_eq!(error("wsgi_threads"), "invalid number of arguments in \"wsgi_threads\" directive");
    }
}
