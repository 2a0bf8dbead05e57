//! Policies for reloading a script that has changed.

use std::io;
use std::path::Path;
use std::sync::Arc;

/// Identifies a version of a file. Equal stamps mean the same content; an older time is a change like any other, as after a
/// restored backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileStamp {
    /// Time of the last modification, in seconds and nanoseconds.
    pub modified: (i64, i64),
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change of the file or of its attributes, in seconds and nanoseconds. Programs cannot set it, so it
    /// reveals a new content of the same size whose time of modification was set back (`rsync --inplace --times`).
    pub changed: (i64, i64),
    /// Device and inode: an editor may replace the file by another one.
    pub file: (u64, u64),
}

/// The stamp of a script; `None` if the file could not be examined.
pub type Version = Option<FileStamp>;

/// Reads the stamps of files.
pub trait StampSource: Send + Sync {
    /// Returns the stamp of `file` now. Called for each request, so it should be one system call.
    fn stamp(&self, file: &Path) -> io::Result<FileStamp>;
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSystem;

impl StampSource for FileSystem {
    fn stamp(&self, file: &Path) -> io::Result<FileStamp> {
        use std::os::unix::fs::MetadataExt;
        let found = file.metadata()?;
        Ok(FileStamp {
            modified: (found.mtime(), found.mtime_nsec()),
            size: found.size(),
            changed: (found.ctime(), found.ctime_nsec()),
            file: (found.dev(), found.ino()),
        })
    }
}

/// The action for a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Serve the loaded application.
    Keep,
    /// Load the script again, in this process.
    Load,
    /// Serve the loaded application, and have a new process take over.
    Retire,
}

/// Decides about reloading, once for each request.
pub trait ReloadPolicy: Send + Sync {
    /// Whether scripts are checked for changes. If not, [`decide`](Self::decide) is not called.
    fn watches(&self) -> bool {
        true
    }

    /// Decides about a script that was loaded in version `loaded` and is now `found`.
    fn decide(&self, loaded: Version, found: Version) -> Decision;
}

/// Never reloads an application.
#[derive(Clone, Copy, Debug, Default)]
pub struct Never;

impl ReloadPolicy for Never {
    fn watches(&self) -> bool {
        false
    }

    fn decide(&self, _loaded: Version, _found: Version) -> Decision {
        Decision::Keep
    }
}

/// Loads a changed script again.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByModule;

impl ReloadPolicy for ByModule {
    fn decide(&self, loaded: Version, found: Version) -> Decision {
        if loaded == found { Decision::Keep } else { Decision::Load }
    }
}

/// Replaces the process if a script has changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByProcess;

impl ReloadPolicy for ByProcess {
    fn decide(&self, loaded: Version, found: Version) -> Decision {
        if loaded == found { Decision::Keep } else { Decision::Retire }
    }
}

/// Replaces the process, where the host can do that.
pub trait WorkerControl: Send + Sync {
    /// Makes this process finish its requests and end, and another one take its place. Does not block; further calls have no
    /// effect. Returns an error if the host cannot do it; the script is then loaded again in this process.
    fn retire(&self) -> io::Result<()>;

    /// Whether this process is being replaced.
    fn is_retiring(&self) -> bool;
}

/// The objects that reloading depends on.
#[derive(Clone)]
pub struct Watch {
    /// Decides when to reload.
    pub policy: Arc<dyn ReloadPolicy>,
    /// Source of the versions.
    pub stamps: Arc<dyn StampSource>,
    /// For [`Decision::Retire`]; without it the script is loaded again instead.
    pub control: Option<Arc<dyn WorkerControl>>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { policy: Arc::new(Never), stamps: Arc::new(FileSystem), control: None }
    }
}

/// How a change takes effect (`wsgi_reload_mechanism`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mechanism {
    /// [`ByModule`]
    #[default]
    Module,
    /// [`ByProcess`]
    Process,
}

impl Mechanism {
    /// Returns the policy.
    pub fn policy(self) -> Arc<dyn ReloadPolicy> {
        match self {
            Self::Module => Arc::new(ByModule),
            Self::Process => Arc::new(ByProcess),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn every_difference_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.py");
        assert!(FileSystem.stamp(&path).is_err());
        fs::write(&path, "1").unwrap();
        let first = FileSystem.stamp(&path).unwrap();
        assert_eq!(FileSystem.stamp(&path).unwrap(), first);

        let set = |time: SystemTime| fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        let time = path.metadata().unwrap().modified().unwrap();
        set(time - Duration::from_secs(3600));
        assert_ne!(FileSystem.stamp(&path).unwrap(), first, "an older file is another one");
        set(time + Duration::from_nanos(1));
        assert_ne!(FileSystem.stamp(&path).unwrap(), first, "within the same second");
        fs::write(&path, "2").unwrap();
        set(time);
        let second = FileSystem.stamp(&path).unwrap();
        assert_eq!((second.modified, second.size, second.file), (first.modified, first.size, first.file));
        assert_ne!(second, first, "another content with the same size and the old time");
        fs::write(&path, "12").unwrap();
        set(time);
        assert_ne!(FileSystem.stamp(&path).unwrap(), first, "another size");
        fs::write(folder.path().join("other"), "2").unwrap();
        fs::rename(folder.path().join("other"), &path).unwrap();
        set(time);
        assert_ne!(FileSystem.stamp(&path).unwrap(), first, "another file in its place");
    }

    #[test]
    fn policies_differ_in_what_follows_from_a_change() {
        let stamp = |size| Some(FileStamp { modified: (1, 2), size, changed: (1, 2), file: (3, 4) });
        for (loaded, found) in [(stamp(1), stamp(1)), (None, None)] {
            assert_eq!(ByModule.decide(loaded, found), Decision::Keep);
            assert_eq!(ByProcess.decide(loaded, found), Decision::Keep);
        }
        for (loaded, found) in [(stamp(1), stamp(2)), (stamp(2), stamp(1)), (stamp(1), None), (None, stamp(1))] {
            assert_eq!(Mechanism::Module.policy().decide(loaded, found), Decision::Load);
            assert_eq!(Mechanism::Process.policy().decide(loaded, found), Decision::Retire);
        }
        assert!(!Never.watches() && ByModule.watches() && ByProcess.watches());
    }
}
