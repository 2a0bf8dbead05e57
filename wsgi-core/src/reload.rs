//! When a script that has changed is loaded again, and how.

use std::io;
use std::path::Path;
use std::sync::Arc;

/// What tells one version of a file from another. Equal stamps mean the same content; an older one is a change like any
/// other, as after a restored backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileStamp {
    /// Time of the last modification, in seconds and nanoseconds.
    pub modified: (i64, i64),
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change of the file or of its attributes, in seconds and nanoseconds. No program sets it, so it tells of
    /// a new content of the same size whose time of modification was set back (`rsync --inplace --times`).
    pub changed: (i64, i64),
    /// Device and inode: an editor may put another file in place.
    pub file: (u64, u64),
}

/// The stamp of a script, `None` for one that could not be looked at.
pub type Version = Option<FileStamp>;

/// Looks at files.
pub trait StampSource: Send + Sync {
    /// The stamp of `file` now. Called with each request, so it should be one system call.
    fn stamp(&self, file: &Path) -> io::Result<FileStamp>;
}

/// The files of this machine.
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

/// What to do about a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Serve what is loaded.
    Keep,
    /// Load the script again, in this process.
    Load,
    /// Serve what is loaded, and have another process take over.
    Retire,
}

/// Decides about reloading, once for each request.
pub trait ReloadPolicy: Send + Sync {
    /// Whether scripts are looked at. If not, the policy is not asked.
    fn watches(&self) -> bool {
        true
    }

    /// The script was loaded in one version and is there in another.
    fn decide(&self, loaded: Version, found: Version) -> Decision;
}

/// An application stays as it was loaded.
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

/// A script that differs is loaded again.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByModule;

impl ReloadPolicy for ByModule {
    fn decide(&self, loaded: Version, found: Version) -> Decision {
        if loaded == found { Decision::Keep } else { Decision::Load }
    }
}

/// A process whose script differs makes way for a new one.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByProcess;

impl ReloadPolicy for ByProcess {
    fn decide(&self, loaded: Version, found: Version) -> Decision {
        if loaded == found { Decision::Keep } else { Decision::Retire }
    }
}

/// A host that can replace the process.
pub trait WorkerControl: Send + Sync {
    /// Has this process finish its requests and end, and another one take its place. Does not block; further calls do
    /// nothing. An error says why this host cannot do it; the script is loaded again in this process then.
    fn retire(&self) -> io::Result<()>;

    /// Whether that is under way.
    fn is_retiring(&self) -> bool;
}

/// What reloading needs from outside.
#[derive(Clone)]
pub struct Watch {
    /// When to reload.
    pub policy: Arc<dyn ReloadPolicy>,
    /// Where versions come from.
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
pub enum Mechanism {
    /// [`ByModule`]
    #[default]
    Module,
    /// [`ByProcess`]
    Process,
}

impl Mechanism {
    /// Its policy.
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
