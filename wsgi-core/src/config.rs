//! Configuration: the directives, their rules and messages, and the settings they result in.
//!
//! Names and conventions are nginx's, and every host shares them: it looks up a [`directive`], has it
//! [applied](Directive::apply) to the block it is in, and completes each block from the one around it with
//! [`LevelSettings::inherit`]. Settings that exist once per process are collected in [`ProcessSettings`]. Arguments are raw
//! bytes.

mod directives;
mod error;
mod flag;
mod level;
mod lines;
mod process;
mod target;
mod value;
#[cfg_attr(not(feature = "python"), allow(dead_code, reason = "read when Python starts"))]
mod venv;

use std::fmt;
use std::path::Path;

use crate::error_log::Level;

pub use directives::{DIRECTIVES, Directive, directive};
pub use error::DirectiveError;
pub use flag::Flag;
pub use level::{Layer, LevelSettings, TempPath, Variable};
pub use lines::{Lines, apply_line};
pub use process::{Mode, ProcessSettings};
pub use target::{Target, TargetError};
#[cfg(feature = "python")]
pub(crate) use venv::VenvConfig;

pub use crate::protocol::pool::{Limits, StackSize};
pub use crate::protocol::reload::Mechanism;

/// The position of a directive, and the settings it may change there.
#[derive(Debug)]
#[non_exhaustive]
pub struct Scope<'a> {
    /// The settings of the block.
    pub level: &'a mut LevelSettings,
    /// The settings of the process.
    pub process: &'a mut ProcessSettings,
    /// The kind of the block.
    pub context: Context,
    /// The directive's position.
    pub place: Place,
    /// The folder that relative paths start from.
    pub prefix: &'a Path,
    /// Remarks for the operator on accepted directives. Only ever appended to.
    pub notices: Vec<Notice>,
}

impl<'a> Scope<'a> {
    /// Creates the scope of a directive at `place`, in a block of the kind `context`. Relative paths start from the folder `prefix`.
    pub fn new(
        level: &'a mut LevelSettings,
        process: &'a mut ProcessSettings,
        context: Context,
        place: Place,
        prefix: &'a Path,
    ) -> Self {
        Self { level, process, context, place, prefix, notices: Vec::new() }
    }

    fn notice(&mut self, level: Level, text: String) {
        self.notices.push(Notice { level, text });
    }
}

/// A remark on the configuration, in one line; nginx shows it on `nginx -t` and appends file and line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// `Warn` or `Notice`.
    pub level: Level,
    /// The remark, naming directive and value.
    pub text: String,
}

/// A line of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as the host names it.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

/// A kind of block, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Context {
    /// `http`
    Http,
    /// `server`
    Server,
    /// `location`
    Location,
    /// `if` in a `location`
    IfInLocation,
    /// `limit_except`
    LimitExcept,
}

impl Context {
    const ALL: [Self; 5] = [Self::Http, Self::Server, Self::Location, Self::IfInLocation, Self::LimitExcept];

    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Server => "server",
            Self::Location => "location",
            Self::IfInLocation => "if in location",
            Self::LimitExcept => "limit_except",
        }
    }
}

/// A set of [`Context`]s. Displayed as nginx.org lists them: `http, server, location`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contexts(u8);

impl Contexts {
    /// [`Context::Http`] alone.
    pub const HTTP: Self = Self(1 << Context::Http as u8);
    /// [`Context::Server`] alone.
    pub const SERVER: Self = Self(1 << Context::Server as u8);
    /// [`Context::Location`] alone.
    pub const LOCATION: Self = Self(1 << Context::Location as u8);
    /// [`Context::IfInLocation`] alone.
    pub const IF_IN_LOCATION: Self = Self(1 << Context::IfInLocation as u8);
    /// [`Context::LimitExcept`] alone.
    pub const LIMIT_EXCEPT: Self = Self(1 << Context::LimitExcept as u8);

    /// Both sets together.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `context` is in the set.
    pub const fn contains(self, context: Context) -> bool {
        self.0 & (1 << context as u8) != 0
    }
}

impl fmt::Display for Contexts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for context in Context::ALL.into_iter().filter(|context| self.contains(*context)) {
            write!(formatter, "{separator}{}", context.name())?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_read_as_on_nginx_org() {
        let contexts = Contexts::LOCATION.or(Contexts::IF_IN_LOCATION).or(Contexts::LIMIT_EXCEPT);
        assert_eq!(contexts.to_string(), "location, if in location, limit_except");
        assert!(contexts.contains(Context::LimitExcept) && !contexts.contains(Context::Server));
    }
}
