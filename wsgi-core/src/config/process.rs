//! Settings that exist once a process, from wherever in the configuration they come.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::value::{Argument, shown, shown_path};
use super::venv::is_venv;
use super::{Context, DirectiveError, Place};

/// Which Python runs, where it finds modules, and how applications are executed.
///
/// There is one Python a process, so a value may be repeated anywhere, but not contradicted.
#[derive(Debug, Default)]
pub struct ProcessSettings {
    home: Option<Recorded>,
    executable: Option<Recorded>,
    path: Vec<(Context, PathBuf)>,
    threads: Option<Threads>,
    variables: usize,
}

/// A value, and where it was first given.
#[derive(Debug)]
struct Recorded {
    value: PathBuf,
    place: Place,
}

/// How applications are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// In the host's event loop, one request at a time.
    Inline,
    /// On threads of the gateway.
    Pool {
        /// Requests that may run Python at a time.
        permits: usize,
        /// Threads there may be, those included whose request waits for its client. At least `permits`.
        max: usize,
    },
}

impl Default for Threads {
    fn default() -> Self {
        Self::Pool { permits: 1, max: DEFAULT_MAX_THREADS }
    }
}

/// `max` unless it is given, or more permits are.
const DEFAULT_MAX_THREADS: usize = 256;
/// More permits than this are a slip: Python runs on few CPUs at a time.
const MOST_PERMITS: usize = 1024;
/// Half of Linux's customary limit for a whole system (`kernel.threads-max` apart).
const MOST_THREADS: usize = 16384;

impl ProcessSettings {
    /// Where the standard library is, `prefix` or `prefix:exec_prefix`, or a virtual environment.
    pub fn home(&self) -> Option<&Path> {
        self.home.as_ref().map(|home| &*home.value)
    }

    /// What `sys.executable` is to be.
    pub fn executable(&self) -> Option<&Path> {
        self.executable.as_ref().map(|executable| &*executable.value)
    }

    /// What goes in front of `sys.path`: outer blocks first, then as the configuration has it, each folder once.
    pub fn path(&self) -> Vec<PathBuf> {
        let mut entries: Vec<_> = self.path.iter().collect();
        entries.sort_by_key(|(context, _)| *context);
        let mut folders: Vec<PathBuf> = Vec::with_capacity(entries.len());
        for (_, folder) in entries {
            if !folders.contains(folder) {
                folders.push(folder.clone());
            }
        }
        folders
    }

    /// How applications are executed.
    pub fn threads(&self) -> Threads {
        self.threads.unwrap_or_default()
    }

    /// Checks what only the whole configuration tells. Called once, at its end.
    pub fn check(&self) -> Result<(), DirectiveError> {
        let (Some(home), Some(executable)) = (&self.home, &self.executable) else { return Ok(()) };
        if is_venv(&home.value) && !lies_in(&executable.value, &home.value) {
            return Err(DirectiveError::OutsideVenv {
                executable: shown_path(&executable.value),
                executable_place: executable.place.clone(),
                venv: shown_path(&home.value),
                venv_place: home.place.clone(),
            });
        }
        Ok(())
    }

    pub(super) fn set_home(
        &mut self,
        argument: Argument<'_>,
        prefix: &Path,
        place: &Place,
    ) -> Result<(), DirectiveError> {
        let parts: Vec<_> = argument.bytes.split(|byte| *byte == b':').collect();
        if parts.len() > 2 {
            return Err(argument.invalid("it must be \"path\" or \"prefix:exec_prefix\""));
        }
        let mut home = std::ffi::OsString::new();
        for part in parts {
            let folder = Argument { bytes: part, ..argument }.path(prefix)?;
            if !folder.is_dir() {
                return Err(unusable(argument, &folder, "is not a folder"));
            }
            if !home.is_empty() {
                home.push(":");
            }
            home.push(folder);
        }
        record(&mut self.home, argument, home.into(), place)
    }

    pub(super) fn set_executable(
        &mut self,
        argument: Argument<'_>,
        prefix: &Path,
        place: &Place,
    ) -> Result<(), DirectiveError> {
        let path = argument.path(prefix)?;
        match path.metadata() {
            Err(error) => return Err(unusable(argument, &path, &format!("cannot be used: {error}"))),
            Ok(file) if !file.is_file() => return Err(unusable(argument, &path, "is not a file")),
            // The master looks, mostly as root; whether the worker's user may run it is seen when Python starts.
            Ok(file) if file.permissions().mode() & 0o111 == 0 => {
                return Err(unusable(argument, &path, "is not executable"));
            }
            Ok(_) => {}
        }
        record(&mut self.executable, argument, path, place)
    }

    /// Adds the folders of `dir[:dir...]`. Returns those that are not there.
    pub(super) fn add_path(
        &mut self,
        argument: Argument<'_>,
        prefix: &Path,
        context: Context,
    ) -> Result<Vec<PathBuf>, DirectiveError> {
        let mut missing = Vec::new();
        for part in argument.bytes.split(|byte| *byte == b':') {
            if part.is_empty() {
                // Python's own PYTHONPATH takes it for the current folder.
                return Err(argument.invalid("no folder between \":\" may be empty"));
            }
            let folder = Argument { bytes: part, ..argument }.path(prefix)?;
            if !folder.exists() {
                missing.push(folder.clone());
            }
            self.path.push((context, folder));
        }
        Ok(missing)
    }

    pub(super) fn set_threads(
        &mut self,
        number: Argument<'_>,
        parameter: Option<Argument<'_>>,
    ) -> Result<(), DirectiveError> {
        if self.threads.is_some() {
            return Err(DirectiveError::Duplicate { directive: number.directive });
        }
        let permits = number
            .number(0..=MOST_PERMITS)
            .ok_or_else(|| number.invalid(format!("it must be a number from 0 to {MOST_PERMITS}")))?;
        let max = parameter.map(|parameter| most_threads(parameter, permits)).transpose()?;
        self.threads = Some(match permits {
            0 => Threads::Inline,
            _ => Threads::Pool { permits, max: max.unwrap_or(permits.max(DEFAULT_MAX_THREADS)) },
        });
        Ok(())
    }

    /// The number of the next variable.
    pub(super) fn number_variable(&mut self) -> usize {
        self.variables += 1;
        self.variables - 1
    }
}

/// The value of `max=`.
fn most_threads(parameter: Argument<'_>, permits: usize) -> Result<usize, DirectiveError> {
    let invalid = |rule: String| DirectiveError::InvalidParameter {
        directive: parameter.directive,
        parameter: parameter.shown(),
        rule,
    };
    let bytes = parameter.bytes.strip_prefix(b"max=").ok_or_else(|| invalid("it must be \"max=number\"".to_owned()))?;
    if permits == 0 {
        return Err(invalid("there are no threads to limit with 0".to_owned()));
    }
    Argument { bytes, ..parameter }
        .number(permits..=MOST_THREADS)
        .ok_or_else(|| invalid(format!("the number must be from {permits} to {MOST_THREADS}")))
}

/// Keeps the first value; a later one must be equal.
fn record(
    slot: &mut Option<Recorded>,
    argument: Argument<'_>,
    value: PathBuf,
    place: &Place,
) -> Result<(), DirectiveError> {
    match slot {
        Some(first) if first.value != value => Err(DirectiveError::Conflict {
            directive: argument.directive,
            value: shown_path(&value),
            first: shown_path(&first.value),
            place: first.place.clone(),
        }),
        Some(_) => Ok(()),
        None => {
            *slot = Some(Recorded { value, place: place.clone() });
            Ok(())
        }
    }
}

/// Whether a file is below a folder, links in its own name apart: a virtual environment's python is one.
fn lies_in(file: &Path, folder: &Path) -> bool {
    match (file.parent().map(Path::canonicalize), folder.canonicalize()) {
        (Some(Ok(parent)), Ok(folder)) => parent.starts_with(folder),
        _ => file.starts_with(folder),
    }
}

fn unusable(argument: Argument<'_>, path: &Path, trouble: &str) -> DirectiveError {
    DirectiveError::UnusablePath {
        directive: argument.directive,
        path: shown_path(path),
        trouble: shown(trouble.as_bytes()),
    }
}
