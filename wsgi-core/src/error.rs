//! Errors, with one enum for each party that can act on them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::error_log::Level;
use crate::protocol::record::escape;

/// An error on the side of the client or the network. The application gets it as an `OSError`; it is logged at a low level.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The client closed the connection.
    #[error("client closed the connection")]
    ClientGone,
    /// The client took no data for as long as the host allows.
    #[error("client timed out")]
    TimedOut,
    /// The host cannot complete the operation, e.g. read a file that holds the request body.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Returns an equal error, as `io::Error` cannot be cloned.
pub(crate) fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// The application broke a rule of PEP 3333. It is raised inside the application and names the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// `start_response` was called twice without `exc_info`.
    #[error(
        "start_response() was already called; a second call needs exc_info (PEP 3333, The start_response() Callable)"
    )]
    AlreadyStarted,
    /// `start_response(exc_info)` was called after the head had been sent; the gateway re-raises `exc_info` instead.
    #[error("the response head has already been sent (PEP 3333, The start_response() Callable)")]
    HeadSent,
    /// A block was produced, or the iterable ended, before `start_response` was called.
    #[error(
        "start_response() was not called before the first block or the end of the iterable (PEP 3333, The start_response() Callable)"
    )]
    NotStarted,
    /// More bytes were written than `Content-Length` declares.
    #[error(
        "{excess} bytes written beyond the declared Content-Length of {declared} (PEP 3333, Handling the Content-Length Header)"
    )]
    TooLong {
        /// The value of `Content-Length`.
        declared: u64,
        /// Bytes of this write that do not fit.
        excess: u64,
    },
    /// The iterable ended before `Content-Length` bytes were produced; the connection is cut.
    #[error(
        "response body ended {missing} bytes before the declared Content-Length of {declared} (PEP 3333, Handling the Content-Length Header)"
    )]
    TooShort {
        /// The value of `Content-Length`.
        declared: u64,
        /// Bytes that are missing.
        missing: u64,
    },
    /// The response was already complete.
    #[error("the response is already complete")]
    Ended,
}

/// How an exchange failed. The gateway has written the log line already; the host only has to answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The application raised, broke the protocol or could not be loaded.
    #[error("application failed")]
    Application,
    /// Python never started in this process.
    #[error("python is not running")]
    NoPython,
    /// The client left or timed out.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The host cancelled the exchange.
    #[error("exchange was cancelled")]
    Cancelled,
}

impl Fault {
    /// Returns the status to answer with if no head has been sent; `None` if the client no longer reads.
    pub fn status_hint(&self) -> Option<http::StatusCode> {
        match self {
            Fault::Application | Fault::NoPython => Some(http::StatusCode::INTERNAL_SERVER_ERROR),
            Fault::Host(HostError::Io(_)) => Some(http::StatusCode::INTERNAL_SERVER_ERROR),
            Fault::Host(_) | Fault::Cancelled => None,
        }
    }

    /// Returns the level for a host that logs this.
    pub fn level(&self) -> Level {
        match self {
            Fault::Application | Fault::NoPython | Fault::Host(HostError::Io(_)) => Level::Error,
            Fault::Host(_) | Fault::Cancelled => Level::Info,
        }
    }
}

/// Why Python did not start, in one sentence with a remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// CPython refused its configuration.
    #[error("cannot start Python{}: {message}; see wsgi_python_home, wsgi_python_executable", home_hint(.home))]
    Python {
        /// The message of CPython.
        message: String,
        /// The home it was given.
        home: Option<PathBuf>,
    },
    /// A virtual environment of another version.
    #[error(
        "cannot start Python: virtual environment \"{}\" was made by Python {}.{}, but the gateway is built for Python {}.{}; \
         recreate the environment with that version", shown(.venv), .found.0, .found.1, .linked.0, .linked.1
    )]
    VenvVersion {
        /// The environment.
        venv: PathBuf,
        /// Its version.
        found: (u32, u32),
        /// The version of libpython.
        linked: (u32, u32),
    },
    /// A virtual environment, a program or a home of another installation.
    #[error(transparent)]
    OtherInstallation(Box<OtherInstallation>),
    /// A virtual environment without a place for packages.
    #[error(
        "cannot start Python: virtual environment \"{}\" has no folder \"{}\"; recreate the environment",
        shown(.venv), shown(.missing)
    )]
    VenvIncomplete {
        /// The environment.
        venv: PathBuf,
        /// The missing folder.
        missing: PathBuf,
    },
    /// A home without a standard library.
    #[error(
        "cannot start Python: no standard library in \"{}\" (\"{}\" is missing); see wsgi_python_home",
        shown(.home), shown(.missing)
    )]
    NoStandardLibrary {
        /// The home.
        home: PathBuf,
        /// The missing file.
        missing: PathBuf,
    },
    /// The worker's user may not read Python.
    #[error(
        "cannot start Python: user {user} cannot read \"{}\" ({reason}); give that user access or use a Python that \
         every user can read", shown(.path)
    )]
    Unreadable {
        /// The user this process runs as.
        user: String,
        /// The file or folder.
        path: PathBuf,
        /// The system's error message.
        reason: String,
    },
    /// A libpython without the GIL.
    #[error(
        "cannot start Python: Python {version} from \"{}\" is free-threaded and the gateway needs the GIL; build for a \
         Python that has it with PYTHON= (make) or PYO3_PYTHON= (cargo)", shown(.library)
    )]
    FreeThreaded {
        /// The full version of libpython.
        version: String,
        /// The file that it was loaded from.
        library: PathBuf,
    },
    /// Python runs in this process already; it can be started once.
    #[error("cannot start Python: it is already running in this process")]
    AlreadyRunning,
    /// The gateway's set-up of Python failed.
    #[error("cannot start Python: {0}")]
    Setup(String),
}

/// A standard library that does not fit libpython, because it belongs to another installation of the same minor version.
#[derive(Debug)]
#[non_exhaustive]
pub struct OtherInstallation {
    /// The setting that leads to it.
    pub named_by: NamedBy,
    /// The folder of `os.py`.
    pub standard_library: PathBuf,
    /// The program of that installation, if it was found.
    pub other_executable: Option<PathBuf>,
    /// The full version of libpython.
    pub version: String,
    /// The file from which libpython was loaded.
    pub library: PathBuf,
    /// The program that belongs to libpython, if it is known.
    pub executable: Option<PathBuf>,
}

/// The setting that leads to an installation of Python.
#[derive(Debug)]
#[non_exhaustive]
pub enum NamedBy {
    /// A virtual environment.
    Venv {
        /// Its folder.
        folder: PathBuf,
        /// The `home` in its `pyvenv.cfg`.
        home: Option<PathBuf>,
        /// The version in its `pyvenv.cfg`.
        version: Option<String>,
    },
    /// `wsgi_python_executable`.
    Executable(PathBuf),
    /// The build: no setting names another installation.
    Build,
    /// A prefix.
    Home {
        /// The folder.
        prefix: PathBuf,
        /// `wsgi_python_home`, or the variable `PYTHONHOME`.
        setting: &'static str,
    },
}

impl std::error::Error for OtherInstallation {}

impl fmt::Display for OtherInstallation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("cannot start Python: ")?;
        let stdlib = shown(&self.standard_library);
        match &self.named_by {
            NamedBy::Venv { folder, home, version } => {
                write!(out, "virtual environment \"{}\" was made by another installation of Python (", shown(folder))?;
                if let Some(version) = version {
                    write!(out, "version {}, ", escape(version))?;
                }
                if let Some(home) = home {
                    write!(out, "home \"{}\", ", shown(home))?;
                }
                write!(out, "standard library \"{stdlib}\")")?;
            }
            NamedBy::Executable(program) => {
                write!(
                    out,
                    "\"{}\" belongs to another installation of Python (standard library \"{stdlib}\")",
                    shown(program)
                )?;
            }
            NamedBy::Build => {
                write!(
                    out,
                    "the gateway was built for another installation of Python (standard library \"{stdlib}\")"
                )?;
            }
            NamedBy::Home { prefix, setting } => {
                write!(
                    out,
                    "{setting} \"{}\" is another installation of Python (standard library \"{stdlib}\")",
                    shown(prefix)
                )?;
            }
        }
        write!(out, " than the running one (version {}, library \"{}\"); ", self.version, shown(&self.library))?;
        if matches!(self.named_by, NamedBy::Build) {
            return out.write_str(
                "let the dynamic linker find the library that it was built for (LD_LIBRARY_PATH, ldconfig), or build for \
                 the running one",
            );
        }
        let own = self.executable.as_ref().map(|program| shown(program));
        match (&self.named_by, own) {
            (NamedBy::Venv { folder, .. }, Some(own)) => {
                // Without --clear, the links to the other Python would stay.
                write!(out, "recreate the environment with \"{own} -m venv --clear {}\"", shown(folder))?;
            }
            (NamedBy::Venv { .. }, None) => {
                out.write_str("recreate the environment with the Python of that library")?
            }
            (_, Some(own)) => write!(out, "remove the setting, or name a virtual environment made with \"{own}\"")?,
            (_, None) => {
                out.write_str("remove the setting, or name a virtual environment made with the Python of that library")?
            }
        }
        match &self.other_executable {
            Some(other) => {
                let other = shown(other);
                write!(
                    out,
                    ", or build for the other installation with PYTHON={other} (make) or PYO3_PYTHON={other} (cargo)"
                )
            }
            None => out.write_str(", or build for the other installation with PYTHON= (make) or PYO3_PYTHON= (cargo)"),
        }
    }
}

fn home_hint(home: &Option<PathBuf>) -> String {
    home.as_ref().map(|home| format!(" with home \"{}\"", shown(home))).unwrap_or_default()
}

/// Returns a path for a message of one line.
fn shown(path: &Path) -> String {
    escape(&path.display().to_string()).into_owned()
}
