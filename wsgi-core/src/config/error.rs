//! What an operator is told.

use super::Place;

/// A directive that cannot be accepted: the host refuses the configuration. One line in nginx's manner; nginx appends
/// ` in FILE:LINE`. Values are shown with control characters escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectiveError {
    /// There is no directive of this name. Where nginx reads the configuration, it says so itself.
    #[error("unknown directive \"{name}\"")]
    Unknown {
        /// What stands in its place.
        name: String,
    },
    /// It does not belong into this kind of block.
    #[error("\"{directive}\" directive is not allowed here")]
    NotAllowedHere {
        /// Its name.
        directive: &'static str,
    },
    /// Too few or too many arguments.
    #[error("invalid number of arguments in \"{directive}\" directive")]
    ArgumentCount {
        /// Its name.
        directive: &'static str,
    },
    /// It stands in the same block already.
    #[error("\"{directive}\" directive is duplicate")]
    Duplicate {
        /// Its name.
        directive: &'static str,
    },
    /// An argument breaks a rule.
    #[error("invalid value \"{value}\" in \"{directive}\" directive, {rule}")]
    InvalidValue {
        /// Its name.
        directive: &'static str,
        /// The argument.
        value: String,
        /// What is allowed instead.
        rule: String,
    },
    /// A parameter that the directive has not.
    #[error("invalid parameter \"{parameter}\" in \"{directive}\" directive, {rule}")]
    InvalidParameter {
        /// Its name.
        directive: &'static str,
        /// The argument.
        parameter: String,
        /// What is allowed instead.
        rule: String,
    },
    /// A path at which there is not what is needed.
    #[error("\"{path}\" in \"{directive}\" directive {trouble}")]
    UnusablePath {
        /// Its name.
        directive: &'static str,
        /// The path, absolute.
        path: String,
        /// What is wrong with it, e.g. `is not a folder`.
        trouble: String,
    },
    /// Two values for something that exists once a process.
    #[error(
        "\"{directive}\" directive has the value \"{value}\" here but \"{first}\" in {place}; there is one Python for \
         the whole configuration"
    )]
    Conflict {
        /// Its name.
        directive: &'static str,
        /// The later value.
        value: String,
        /// The earlier value.
        first: String,
        /// Where the earlier value stands.
        place: Place,
    },
    /// An interpreter beside the virtual environment that is asked for.
    #[error(
        "\"wsgi_python_executable\" \"{executable}\" ({executable_place}) is not inside the virtual environment \
         \"{venv}\" of \"wsgi_python_home\" ({venv_place}); one of the two is enough"
    )]
    OutsideVenv {
        /// The interpreter.
        executable: String,
        /// Where it is configured.
        executable_place: Place,
        /// The virtual environment.
        venv: String,
        /// Where that is configured.
        venv_place: Place,
    },
}
