//! Settings that exist once per process, regardless of their position in the configuration.

#[cfg(test)]
mod tests;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::value::{Argument, shown, shown_path};
use super::venv::is_venv;
use super::{Context, DirectiveError, Place};
use crate::protocol::pool::{Limits, StackSize};

/// Settings of Python: the installation, the folders of modules, and how applications are executed.
///
/// There is one Python per process, so a value may be repeated in any block, but not contradicted.
#[derive(Debug, Default)]
pub struct ProcessSettings {
    home: Option<Recorded<PathBuf>>,
    executable: Option<Recorded<PathBuf>>,
    optimize: Option<Recorded<u8>>,
    path: Vec<(Context, PathBuf)>,
    mode: Option<Mode>,
    thread_stack_size: Option<StackSize>,
    retire_delay: Option<Duration>,
    share_load: Option<bool>,
    variables: usize,
}

/// A value, and the position where it was first set.
#[derive(Debug)]
struct Recorded<T> {
    value: T,
    place: Place,
}

/// Where the code of applications runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// On the host's thread that starts the gateway, one request at a time: fastest for applications that never wait.
    Inline,
    /// On threads of a pool; the host's thread never waits for Python.
    Threads(Limits),
}

/// A pool with one permit.
impl Default for Mode {
    fn default() -> Self {
        Self::Threads(Limits::new(1))
    }
}

const DEFAULT_RETIRE_DELAY: Duration = Duration::from_secs(5);
/// More permits than this are a mistake: Python runs on few CPUs at a time.
const MOST_PERMITS: usize = 1024;
/// Half of the threads that Linux allows in the whole system by default (`kernel.pid_max`).
const MOST_THREADS: usize = 16384;

impl ProcessSettings {
    /// The folder of the standard library, as `prefix` or `prefix:exec_prefix`, or a virtual environment.
    pub fn home(&self) -> Option<&Path> {
        self.home.as_ref().map(|home| &*home.value)
    }

    /// The value of `sys.executable`.
    pub fn executable(&self) -> Option<&Path> {
        self.executable.as_ref().map(|executable| &*executable.value)
    }

    /// Python's `-O` level, if the operator chose one.
    pub fn optimize(&self) -> Option<u8> {
        self.optimize.as_ref().map(|optimize| optimize.value)
    }

    /// The folders that go in front of `sys.path`: those of outer blocks first, then in the order of the configuration, each
    /// once.
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

    /// Where the code of applications runs, and the size of the pool for it.
    pub fn mode(&self) -> Mode {
        match (self.mode.unwrap_or_default(), self.thread_stack_size) {
            (Mode::Threads(limits), Some(stack)) => Mode::Threads(limits.stack(stack)),
            (mode, _) => mode,
        }
    }

    /// How long a worker that is to be replaced waits for a moment without requests.
    pub fn retire_delay(&self) -> Duration {
        self.retire_delay.unwrap_or(DEFAULT_RETIRE_DELAY)
    }

    /// Whether a worker leaves new connections to workers with less load.
    pub fn shares_load(&self) -> bool {
        self.share_load.unwrap_or(true)
    }

    /// Checks the rules that concern several directives. Called once, at the end of the configuration.
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
        record(&mut self.home, argument, home.into(), place, |home| shown_path(home))
    }

    pub(super) fn set_optimize(&mut self, argument: Argument<'_>, place: &Place) -> Result<(), DirectiveError> {
        let level = argument.number(0..=2).ok_or_else(|| argument.invalid("it must be 0, 1 or 2"))?;
        record(&mut self.optimize, argument, level as u8, place, u8::to_string)
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
            // The master checks this, mostly as root. Whether the worker's user may execute it shows when Python starts.
            Ok(file) if file.permissions().mode() & 0o111 == 0 => {
                return Err(unusable(argument, &path, "is not executable"));
            }
            Ok(_) => {}
        }
        record(&mut self.executable, argument, path, place, |path| shown_path(path))
    }

    /// Adds the folders of `dir[:dir...]`. Returns those that do not exist.
    pub(super) fn add_path(
        &mut self,
        argument: Argument<'_>,
        prefix: &Path,
        context: Context,
    ) -> Result<Vec<PathBuf>, DirectiveError> {
        let mut missing = Vec::new();
        for part in argument.bytes.split(|byte| *byte == b':') {
            if part.is_empty() {
                // Python's PYTHONPATH would take it for the current folder.
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
        if self.mode.is_some() {
            return Err(DirectiveError::Duplicate { directive: number.directive });
        }
        let permits = number
            .number(0..=MOST_PERMITS)
            .ok_or_else(|| number.invalid(format!("it must be a number from 0 to {MOST_PERMITS}")))?;
        let max = parameter.map(|parameter| most_threads(parameter, permits)).transpose()?;
        let limits = Limits::new(permits);
        self.mode = Some(match permits {
            0 => Mode::Inline,
            _ => Mode::Threads(limits.max_threads(max.unwrap_or(limits.max_threads))),
        });
        Ok(())
    }

    pub(super) fn set_thread_stack_size(&mut self, size: Argument<'_>) -> Result<(), DirectiveError> {
        if self.thread_stack_size.is_some() {
            return Err(DirectiveError::Duplicate { directive: size.directive });
        }
        let given = size.size().and_then(StackSize::new);
        self.thread_stack_size = Some(given.ok_or_else(|| size.invalid("it must be a size from 512k to 1024m"))?);
        Ok(())
    }

    pub(super) fn set_retire_delay(&mut self, delay: Argument<'_>) -> Result<(), DirectiveError> {
        if self.retire_delay.is_some() {
            return Err(DirectiveError::Duplicate { directive: delay.directive });
        }
        self.retire_delay = Some(delay.time().ok_or_else(|| delay.invalid("it must be a time such as 5s or 500ms"))?);
        Ok(())
    }

    pub(super) fn set_share_load(&mut self, on: Argument<'_>) -> Result<(), DirectiveError> {
        if self.share_load.is_some() {
            return Err(DirectiveError::Duplicate { directive: on.directive });
        }
        self.share_load = Some(on.flag()?);
        Ok(())
    }

    /// Returns the number of the next variable.
    pub(super) fn number_variable(&mut self) -> usize {
        self.variables += 1;
        self.variables - 1
    }
}

/// Parses the value of `max=`.
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

/// Stores the first value; a later one must be equal.
fn record<T: PartialEq>(
    slot: &mut Option<Recorded<T>>,
    argument: Argument<'_>,
    value: T,
    place: &Place,
    shown: impl Fn(&T) -> String,
) -> Result<(), DirectiveError> {
    match slot {
        Some(first) if first.value != value => Err(DirectiveError::Conflict {
            directive: argument.directive,
            value: shown(&value),
            first: shown(&first.value),
            place: first.place.clone(),
        }),
        Some(_) => Ok(()),
        None => {
            *slot = Some(Recorded { value, place: place.clone() });
            Ok(())
        }
    }
}

/// Whether a file is below a folder. A link at its last component is not followed: the python of a virtual environment is a
/// link.
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
