//! Errors of directives, as the operator sees them.

use super::Place;

/// A directive that cannot be accepted: the host refuses the configuration. The message is one line in nginx's style; nginx
/// appends ` in FILE:LINE`. Values are shown with control characters escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectiveError {
    /// No directive has this name. nginx reports that itself when it reads the configuration.
    #[error("unknown directive \"{name}\"")]
    Unknown {
        /// The unknown name.
        name: String,
    },
    /// The directive is not allowed in this kind of block.
    #[error("\"{directive}\" directive is not allowed here")]
    NotAllowedHere {
        /// The directive's name.
        directive: &'static str,
    },
    /// Too few or too many arguments.
    #[error("invalid number of arguments in \"{directive}\" directive")]
    ArgumentCount {
        /// The directive's name.
        directive: &'static str,
    },
    /// The directive is set in the same block already.
    #[error("\"{directive}\" directive is duplicate")]
    Duplicate {
        /// The directive's name.
        directive: &'static str,
    },
    /// An argument breaks a rule.
    #[error("invalid value \"{value}\" in \"{directive}\" directive, {rule}")]
    InvalidValue {
        /// The directive's name.
        directive: &'static str,
        /// The argument.
        value: String,
        /// The allowed values.
        rule: String,
    },
    /// A parameter that the directive does not have.
    #[error("invalid parameter \"{parameter}\" in \"{directive}\" directive, {rule}")]
    InvalidParameter {
        /// The directive's name.
        directive: &'static str,
        /// The argument.
        parameter: String,
        /// The allowed parameters.
        rule: String,
    },
    /// A path whose file or folder cannot be used.
    #[error("\"{path}\" in \"{directive}\" directive {trouble}")]
    UnusablePath {
        /// The directive's name.
        directive: &'static str,
        /// The path, absolute.
        path: String,
        /// The problem, e.g. `is not a folder`.
        trouble: String,
    },
    /// Two values for a setting that exists once per process.
    #[error(
        "\"{directive}\" directive has the value \"{value}\" here but \"{first}\" in {place}; there is one Python for \
         the whole configuration"
    )]
    Conflict {
        /// The directive's name.
        directive: &'static str,
        /// The later value.
        value: String,
        /// The earlier value.
        first: String,
        /// Position of the earlier value.
        place: Place,
    },
    /// An interpreter outside of the virtual environment that is configured.
    #[error(
        "\"wsgi_python_executable\" \"{executable}\" ({executable_place}) is not inside the virtual environment \
         \"{venv}\" of \"wsgi_python_home\" ({venv_place}); one of the two is enough"
    )]
    OutsideVenv {
        /// The interpreter.
        executable: String,
        /// Position of its directive.
        executable_place: Place,
        /// The virtual environment.
        venv: String,
        /// Position of its directive.
        venv_place: Place,
    },
}
