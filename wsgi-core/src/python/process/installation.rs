//! Finds the installation of Python that the standard library will come from.
//!
//! CPython uses the standard library that an executable, a virtual environment or a home leads to, even if the process
//! has loaded the libpython of another installation. Two installations of one minor version do not fit together:
//! extension modules such as `math` are built into the libpython of one and are files of the other. CPython does not
//! compare them. The search below is that of CPython's getpath, so that the result is known before Python starts.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::libpython::{BUILD_EXECUTABLE, BUILD_LIBRARY, BUILD_STDLIB, build_minor, library, version};
use crate::config::VenvConfig;
use crate::error::{NamedBy, OtherInstallation, StartError};

/// The setting that leads CPython to a standard library.
pub(crate) enum Lead<'a> {
    /// `prefix` or `prefix:exec_prefix`, and the name of the setting.
    Home(&'a Path, &'static str),
    /// A program, which need not exist, and the virtual environment around it.
    Executable(&'a Path, Option<&'a Path>),
    /// The program of the build, if nothing else is set.
    Build,
}

/// Refuses a setting that leads to the standard library of another installation than that of the libpython in this process.
/// Succeeds if either standard library is unknown.
pub(crate) fn check(lead: &Lead<'_>) -> Result<(), StartError> {
    let Some(library) = library() else { return Ok(()) };
    let (Some(own), Some(layout)) = (own_landmark(&library), Layout::of_build()) else { return Ok(()) };
    let Some(found) = layout.landmark(lead) else { return Ok(()) };
    if is_same(&found, &own) {
        return Ok(());
    }
    let executable = is_same_file(&library, Path::new(BUILD_LIBRARY)).then(|| PathBuf::from(BUILD_EXECUTABLE));
    Err(StartError::OtherInstallation(Box::new(OtherInstallation {
        named_by: named_by(lead),
        standard_library: folder_of(&found).to_path_buf(),
        other_executable: program_of(lead),
        version: version(),
        library,
        executable,
    })))
}

/// Returns `os.py` of the installation that a libpython belongs to: the path from the build or, for another libpython,
/// the file in the folders where installations have it.
fn own_landmark(library: &Path) -> Option<PathBuf> {
    let built_for = Path::new(BUILD_STDLIB);
    if is_same_file(library, Path::new(BUILD_LIBRARY)) && built_for.is_file() {
        return Some(built_for.to_path_buf());
    }
    let library = library.canonicalize().ok()?;
    let name = folder_of(built_for).file_name()?;
    // Beside the library, or one level up: Debian's library is in lib/x86_64-linux-gnu.
    let beside = library.ancestors().skip(1).take(2).map(|folder| folder.join(name).join("os.py"));
    beside.into_iter().find(|landmark| landmark.is_file())
}

/// Parameters of getpath's search.
struct Layout {
    /// Path of the standard library below the prefix of an installation: `lib/python3.11`.
    stdlib: PathBuf,
    /// Path of a standard library in one file, below the prefix: `lib/python311.zip`.
    zip: PathBuf,
    /// Whether links of the executable are followed before the search for `pyvenv.cfg`, as up to 3.10.
    links_first: bool,
}

impl Layout {
    fn of_build() -> Option<Self> {
        let folder = folder_of(Path::new(BUILD_STDLIB));
        // `lib64` on some systems.
        let lib = Path::new(folder.parent()?.file_name()?);
        let (major, minor) = build_minor();
        Some(Self {
            stdlib: lib.join(folder.file_name()?),
            zip: lib.join(format!("python{major}{minor}.zip")),
            links_first: cfg!(not(Py_3_11)),
        })
    }

    /// Returns the `os.py` that CPython will find. `None` if it finds none, and takes the prefix that libpython was
    /// configured with, and if the standard library is a zip file or part of a source tree.
    fn landmark(&self, lead: &Lead<'_>) -> Option<PathBuf> {
        match lead {
            Lead::Home(home, _) => self.landmark_in(prefix_of(home)),
            Lead::Executable(executable, _) => self.search(&self.first_folder(executable)?),
            Lead::Build => self.search(&self.first_folder(Path::new(BUILD_EXECUTABLE))?),
        }
    }

    /// Returns the folder in which the search begins.
    fn first_folder(&self, executable: &Path) -> Option<PathBuf> {
        let real = follow_links(executable);
        // The two versions also search the two folders in different order.
        let config = if self.links_first {
            let folder = real.parent()?;
            VenvConfig::read(folder).or_else(|| VenvConfig::read(folder.parent()?))
        } else {
            let folder = executable.parent()?;
            folder.parent().and_then(VenvConfig::read).or_else(|| VenvConfig::read(folder))
        };
        config.and_then(|config| config.home).or_else(|| Some(real.parent()?.to_path_buf()))
    }

    fn search(&self, first: &Path) -> Option<PathBuf> {
        // The root is not a prefix.
        let prefixes = || first.ancestors().filter(|folder| folder.parent().is_some());
        let in_sources = ["pybuilddir.txt", "Modules/Setup.local"].iter().any(|name| first.join(name).exists());
        if !first.is_absolute() || in_sources || prefixes().any(|prefix| prefix.join(&self.zip).is_file()) {
            return None;
        }
        prefixes().find_map(|prefix| self.landmark_in(prefix))
    }

    fn landmark_in(&self, prefix: &Path) -> Option<PathBuf> {
        let stdlib = prefix.join(&self.stdlib);
        ["os.py", "os.pyc"].iter().map(|name| stdlib.join(name)).find(|landmark| landmark.is_file())
    }
}

/// Returns the first part of `prefix:exec_prefix`.
pub(crate) fn prefix_of(home: &Path) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    let bytes = home.as_os_str().as_bytes();
    let end = bytes.iter().position(|byte| *byte == b':').unwrap_or(bytes.len());
    Path::new(std::ffi::OsStr::from_bytes(&bytes[..end]))
}

/// Follows links of the file itself, not those of its folders.
fn follow_links(path: &Path) -> PathBuf {
    /// Linux's limit.
    const MOST_LINKS: usize = 40;
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match (fs::read_link(&path), path.parent()) {
            (Ok(target), Some(folder)) => path = folder.join(target),
            _ => break,
        }
    }
    path
}

/// Returns whether two landmarks belong to one standard library, or to copies of one.
fn is_same(one: &Path, other: &Path) -> bool {
    let (Ok(real), Ok(other_real)) = (one.canonicalize(), other.canonicalize()) else { return true };
    let (folder, other_folder) = (folder_of(&real), folder_of(&other_real));
    folder == other_folder || is_same_file(one, other) || is_same_build(folder, other_folder)
}

/// Returns whether two paths lead to one file, by links, bind mounts or hard links.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// Returns whether two standard libraries come from one build of CPython. The build leaves a record with prefix and
/// options in its standard library, which is unchanged in a copy. Conda and uv write the new prefix into it: then the
/// version, which is in a header, must be the same, too.
fn is_same_build(one: &Path, other: &Path) -> bool {
    let (Some(records), Some(other_records)) = (build_records(one), build_records(other)) else { return false };
    if records == other_records {
        return true;
    }
    let header = |stdlib: &Path| {
        let include = prefix_above(stdlib)?.join("include").join(stdlib.file_name()?);
        fs::read(include.join("patchlevel.h")).ok()
    };
    let without_prefix = |stdlib: &Path, records: Vec<(OsString, String)>| {
        let prefix = prefix_above(stdlib)?.to_str()?.to_owned();
        Some(records.into_iter().map(|(name, text)| (name, text.replace(&prefix, "/"))).collect::<Vec<_>>())
    };
    header(one).is_some()
        && header(one) == header(other)
        && without_prefix(one, records) == without_prefix(other, other_records)
}

/// Returns the files of the build's record, by name. `None` if there are none.
fn build_records(stdlib: &Path) -> Option<Vec<(OsString, String)>> {
    let mut records = Vec::new();
    for entry in stdlib.read_dir().ok()? {
        let name = entry.ok()?.file_name();
        if name.to_string_lossy().starts_with("_sysconfigdata") {
            let text = fs::read(stdlib.join(&name)).ok()?;
            records.push((name, String::from_utf8_lossy(&text).into_owned()));
        }
    }
    records.sort();
    Some(records).filter(|records| !records.is_empty())
}

/// Returns the prefix of the installation with this standard library, which is `lib/python3.11` below the prefix.
fn prefix_above(stdlib: &Path) -> Option<&Path> {
    stdlib.parent()?.parent()
}

fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(file)
}

fn named_by(lead: &Lead<'_>) -> NamedBy {
    match *lead {
        Lead::Home(home, setting) => NamedBy::Home { prefix: prefix_of(home).to_path_buf(), setting },
        Lead::Executable(_, Some(venv)) => {
            let config = VenvConfig::read(venv).unwrap_or_default();
            NamedBy::Venv { folder: venv.to_path_buf(), home: config.home, version: config.version }
        }
        Lead::Executable(executable, None) => NamedBy::Executable(executable.to_path_buf()),
        Lead::Build => NamedBy::Build,
    }
}

/// Returns the program of the installation that a lead names.
fn program_of(lead: &Lead<'_>) -> Option<PathBuf> {
    let (major, minor) = build_minor();
    let name = format!("python{major}.{minor}");
    let candidates = match *lead {
        Lead::Home(home, _) => vec![prefix_of(home).join("bin").join(name)],
        Lead::Executable(executable, None) => vec![executable.to_path_buf()],
        Lead::Build => vec![PathBuf::from(BUILD_EXECUTABLE)],
        Lead::Executable(executable, Some(venv)) => {
            let config = VenvConfig::read(venv).unwrap_or_default();
            let in_home = config.home.map(|home| home.join(name));
            config.executable.into_iter().chain(in_home).chain([follow_links(executable)]).collect()
        }
    };
    candidates.into_iter().find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests;
