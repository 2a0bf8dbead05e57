//! The effect of each directive on the settings.

use std::sync::Arc;

use crate::config::target::dotted_name;
use crate::config::value::{Argument, shown_path};
use crate::config::{DirectiveError, Flag, Layer, Scope, Target, TempPath, Variable};
use crate::error_log::Level;
use crate::protocol::head::AccelHeader;
use crate::protocol::reload::Mechanism;

pub(super) fn set_pass(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    if scope.level.target.is_some() {
        return Err(DirectiveError::Duplicate { directive: arguments[0].directive });
    }
    let (target, notice) = Target::parse(scope.prefix, arguments[0], arguments.get(1).copied())?;
    scope.level.target = Some(target);
    scope.notices.extend(notice);
    Ok(())
}

pub(super) fn set_var(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    let variable = Variable {
        name: variable_name(arguments[0])?.into(),
        value: Arc::from(arguments[1].bytes),
        number: scope.process.number_variable(),
        place: scope.place.clone(),
    };
    // Overriding a variable of an included file is intended; setting it twice in one file is a mistake.
    if let Some(replaced) = scope.level.set_variable(variable)
        && replaced.place.file == scope.place.file
    {
        let name = arguments[0].shown();
        scope.notice(Level::Warn, format!("\"wsgi_var\" \"{name}\" replaces its value of {}", replaced.place));
    }
    Ok(())
}

/// Prefixes of keys that are reserved for the gateway and for extensions of WSGI.
const RESERVED: [&str; 3] = ["wsgi.", "wsgi_gateway.", "x-wsgiorg."];

fn variable_name<'a>(argument: Argument<'a>) -> Result<&'a str, DirectiveError> {
    let name = str::from_utf8(argument.bytes)
        .ok()
        .filter(|name| !name.is_empty() && !name.contains(|char: char| char == '=' || char.is_control()))
        .ok_or_else(|| argument.invalid("a name must not be empty or contain \"=\" or control characters"))?;
    match RESERVED.into_iter().find(|reserved| name.starts_with(reserved)) {
        Some(reserved) => Err(argument.invalid(format!("names that begin with \"{reserved}\" are reserved"))),
        None => Ok(name),
    }
}

pub(super) fn set_threads(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    scope.process.set_threads(arguments[0], arguments.get(1).copied())
}

pub(super) fn set_home(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    scope.process.set_home(arguments[0], scope.prefix, &scope.place)
}

pub(super) fn set_executable(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    scope.process.set_executable(arguments[0], scope.prefix, &scope.place)
}

pub(super) fn add_path(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    for missing in scope.process.add_path(arguments[0], scope.prefix, scope.context)? {
        scope.notice(Level::Warn, format!("\"wsgi_python_path\" \"{}\" does not exist yet", shown_path(&missing)));
    }
    Ok(())
}

/// The default callable of a middleware module; `paste.lint` uses this name, for example.
const DEFAULT_MIDDLEWARE: &str = "middleware";

pub(super) fn push_middleware(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    let stack = &mut scope.level.middleware;
    if let [off] = arguments
        && off.bytes == b"off"
    {
        return match stack {
            Some(_) => Err(off.invalid("it must be the only \"wsgi_middleware\" of its level")),
            None => {
                *stack = Some(Vec::new());
                Ok(())
            }
        };
    }
    let name = |argument: Argument<'_>| {
        dotted_name(argument.bytes)
            .map(str::to_owned)
            .ok_or_else(|| argument.invalid("it must be a dotted Python name"))
    };
    let module = name(arguments[0])?;
    if module.ends_with(".py") {
        return Err(arguments[0].invalid("it must be the name of a module, not of a file: leave out \".py\""));
    }
    let callable = arguments.get(1).map_or(Ok(DEFAULT_MIDDLEWARE.to_owned()), |argument| name(*argument))?;
    match stack {
        Some(stack) if stack.is_empty() => Err(arguments[0].invalid("there is an \"off\" on this level")),
        _ => {
            let place = scope.place.clone();
            stack.get_or_insert_default().push(Layer { module, callable, place });
            Ok(())
        }
    }
}

pub(super) fn set_reload_mechanism(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    set_once(&mut scope.level.reload_mechanism, arguments[0], |argument| match argument.bytes {
        b"module" => Ok(Mechanism::Module),
        b"process" => Ok(Mechanism::Process),
        _ => Err(argument.invalid("it must be \"module\" or \"process\"")),
    })
}

pub(super) fn set_flag(scope: &mut Scope<'_>, arguments: &[Argument<'_>], flag: Flag) -> Result<(), DirectiveError> {
    set_once(&mut scope.level.flags[flag as usize], arguments[0], Argument::flag)
}

pub(super) fn set_write_buffer_size(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    set_once(&mut scope.level.write_buffer_size, arguments[0], buffer_size)
}

pub(super) fn set_body_buffer_size(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    set_once(&mut scope.level.body_buffer_size, arguments[0], buffer_size)
}

/// The smallest buffer that is useful: with 0 every byte would go to a file.
const LEAST_BUFFER: usize = 1024;

fn buffer_size(argument: Argument<'_>) -> Result<usize, DirectiveError> {
    let size = argument.size().filter(|size| *size >= LEAST_BUFFER);
    size.ok_or_else(|| argument.invalid("it must be a size of at least 1k"))
}

pub(super) fn set_temp_path(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    let prefix = scope.prefix;
    set_once(&mut scope.level.temp_path, arguments[0], |path| {
        let level = |argument: &Argument<'_>| {
            argument.number(1..=3).ok_or_else(|| argument.invalid("a level must be a number from 1 to 3"))
        };
        Ok(TempPath { path: path.path(prefix)?, levels: arguments[1..].iter().map(level).collect::<Result<_, _>>()? })
    })
}

pub(super) fn ignore_headers(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    for argument in arguments {
        let Some(header) = AccelHeader::named(argument.bytes) else {
            let known = AccelHeader::ALL.iter().map(|header| header.name()).collect::<Vec<_>>().join("\", \"");
            return Err(argument.invalid(format!("it must be one of \"{known}\"")));
        };
        if !scope.level.ignored_headers.get_or_insert_default().insert(header) {
            scope.notice(Level::Warn, format!("\"wsgi_ignore_headers\" names \"{}\" twice", argument.shown()));
        }
    }
    Ok(())
}

/// Sets a value that may be set once in a block.
fn set_once<'a, T>(
    slot: &mut Option<T>,
    argument: Argument<'a>,
    value: impl FnOnce(Argument<'a>) -> Result<T, DirectiveError>,
) -> Result<(), DirectiveError> {
    if slot.is_some() {
        return Err(DirectiveError::Duplicate { directive: argument.directive });
    }
    *slot = Some(value(argument)?);
    Ok(())
}
