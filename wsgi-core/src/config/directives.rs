//! The table of directives: what nginx's commands, the options of other hosts and the documentation are made from.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::target::dotted_name;
use super::value::{Argument, shown_path};
use super::{Contexts, DirectiveError, Flag, Layer, Scope, Target, TempPath, Variable};
use crate::host::Level;
use crate::reload::Mechanism;

/// A directive: what an operator may write where, and what it does.
#[derive(Debug)]
pub struct Directive {
    /// Its name.
    pub name: &'static str,
    /// Its form, as on nginx.org, with the semicolon.
    pub syntax: &'static str,
    /// The directive that is in force when none is given, in full.
    pub default: Option<&'static str>,
    /// The blocks it may stand in.
    pub contexts: Contexts,
    /// How many arguments it takes.
    pub arguments: RangeInclusive<usize>,
    /// One paragraph that says what it does.
    pub summary: &'static str,
    set: fn(&mut Scope<'_>, &[Argument<'_>]) -> Result<(), DirectiveError>,
}

impl Directive {
    /// Carries out the directive with `arguments`, those after its name, unquoted. After an error the configuration is
    /// to be given up.
    pub fn apply(&self, scope: &mut Scope<'_>, arguments: &[&[u8]]) -> Result<(), DirectiveError> {
        let directive = self.name;
        // nginx has checked both; other hosts have not.
        if !self.contexts.contains(scope.context) {
            return Err(DirectiveError::NotAllowedHere { directive });
        }
        if !self.arguments.contains(&arguments.len()) {
            return Err(DirectiveError::ArgumentCount { directive });
        }
        let arguments: Vec<_> = arguments.iter().map(|bytes| Argument { directive, bytes }).collect();
        (self.set)(scope, &arguments)
    }
}

/// The directive of that name.
pub fn directive(name: &str) -> Option<&'static Directive> {
    DIRECTIVES.iter().find(|directive| directive.name == name)
}

const EVERY_LEVEL: Contexts = Contexts::HTTP.or(Contexts::SERVER).or(Contexts::LOCATION);

/// All directives there are.
pub static DIRECTIVES: &[Directive] = &[
    Directive {
        name: "wsgi_pass",
        syntax: "wsgi_pass path-or-dotted-name [callable];",
        default: None,
        contexts: Contexts::LOCATION.or(Contexts::IF_IN_LOCATION).or(Contexts::LIMIT_EXCEPT),
        arguments: 1..=2,
        summary: "Answers requests with a WSGI application: the callable, \"application\" unless named, of a Python \
                  file or of a module. A relative path is taken from the prefix of nginx. A name of dotted Python \
                  identifiers, such as Django's \"mysite.wsgi\", is a module to import, unless a file of that name \
                  exists or it ends in \".py\". The application is loaded at its first request; a file that is \
                  missing by then is answered with 500, and tried again. Variables are not supported. A nested \
                  location does not inherit it, \"if\" and \"limit_except\" blocks do.",
        set: set_pass,
    },
    Directive {
        name: "wsgi_var",
        syntax: "wsgi_var name value;",
        default: None,
        contexts: EVERY_LEVEL,
        arguments: 2..=2,
        summary: "Adds a str to environ, after everything that comes from the request, which it overrides. The value \
                  may hold variables of nginx; one that is empty in the end removes the key, unless it must exist. \
                  Inner levels inherit name by name. Names that begin with \"wsgi.\", \"wsgi_gateway.\" or \
                  \"x-wsgiorg.\" are reserved. SCRIPT_NAME alone also moves the rest of the path to PATH_INFO, and \
                  HTTPS \"on\" or REQUEST_SCHEME \"https\" makes wsgi.url_scheme \"https\", for TLS that ends at a \
                  proxy in front.",
        set: set_var,
    },
    Directive {
        name: "wsgi_middleware",
        syntax: "wsgi_middleware module [callable] | off;",
        default: Some("wsgi_middleware off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=2,
        summary: "Puts a middleware around the application: a callable, \"middleware\" unless named, of a module that \
                  Python imports; it is called with the application and returns another one. Several are applied in \
                  their order, so that the last one sees requests first. A level with directives of its own does not \
                  inherit those of outer levels, and \"off\", alone, clears them.",
        set: push_middleware,
    },
    Directive {
        name: "wsgi_script_reloading",
        syntax: "wsgi_script_reloading on | off;",
        default: Some("wsgi_script_reloading off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Looks at the file of the application before each request, and reloads it when it has changed in time \
                  of modification, size or inode. Modules that it imports are not watched.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::ScriptReloading),
    },
    Directive {
        name: "wsgi_reload_mechanism",
        syntax: "wsgi_reload_mechanism module | process;",
        default: Some("wsgi_reload_mechanism module;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "What wsgi_script_reloading does: \"module\" loads the file again in the same worker, which keeps the \
                  modules it has imported; \"process\" has the worker end after the requests it has, and nginx start \
                  another one. Until then answers come from the old code and tell the client to ask again (Refresh: 0).",
        set: set_reload_mechanism,
    },
    Directive {
        name: "wsgi_retire_delay",
        syntax: "wsgi_retire_delay time;",
        default: Some("wsgi_retire_delay 5s;"),
        contexts: Contexts::HTTP,
        arguments: 1..=1,
        summary: "How long a worker that wsgi_reload_mechanism process replaces waits for a moment without requests. \
                  Then it stops accepting connections, finishes what it has, and ends.",
        set: |scope, arguments| scope.process.set_retire_delay(arguments[0]),
    },
    Directive {
        name: "wsgi_pass_authorization",
        syntax: "wsgi_pass_authorization on | off;",
        default: Some("wsgi_pass_authorization off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Whether applications see the credentials that a client sends: HTTP_AUTHORIZATION, and \
                  HTTP_PROXY_AUTHORIZATION. Without it they are left out. A variable of that name that the operator \
                  sets with wsgi_var is there in any case.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::PassAuthorization),
    },
    Directive {
        name: "wsgi_allow_ranges",
        syntax: "wsgi_allow_ranges on | off;",
        default: Some("wsgi_allow_ranges off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Lets nginx answer requests for a part of the body (Range, If-Range) with 206 or 416, if the answer of \
                  the application is a 200 of known length that does not deal with ranges itself. Several ranges at \
                  once are answered where the body is one block, else with the whole body. The application produces \
                  all of it in any case.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::AllowRanges),
    },
    Directive {
        name: "wsgi_optimize_send_headers",
        syntax: "wsgi_optimize_send_headers on | off;",
        default: Some("wsgi_optimize_send_headers off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Sends status and headers at the first item that the application yields, even an empty one. If they \
                  are all that is needed (HEAD, 304, 412), nothing more is asked of the application: it can yield an \
                  empty item before it does what is expensive. PEP 3333 wants them held back until the first item \
                  that is not empty; what fails in between can then not be answered with 500 any more.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::OptimizeSendHeaders),
    },
    Directive {
        name: "wsgi_output_buffering",
        syntax: "wsgi_output_buffering on | off;",
        default: Some("wsgi_output_buffering off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Joins small items of an iterable on their way to the client, up to wsgi_write_buffer_size, where the \
                  application yields them faster than they can be sent. PEP 3333 wants each one sent by itself.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::OutputBuffering),
    },
    Directive {
        name: "wsgi_write_buffering",
        syntax: "wsgi_write_buffering on | off;",
        default: Some("wsgi_write_buffering off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Collects what an application passes to the write callable until it returns, in memory and beyond \
                  wsgi_write_buffer_size in a temporary file. Until then start_response with exc_info replaces all of \
                  it. Without it each call sends its block and waits for the client.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::WriteBuffering),
    },
    Directive {
        name: "wsgi_write_buffer_size",
        syntax: "wsgi_write_buffer_size size;",
        default: Some("wsgi_write_buffer_size 4k;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "How much of what is written or joined memory holds for a request, at least 1k. The default is the \
                  size of a memory page, 4k or more.",
        set: set_write_buffer_size,
    },
    Directive {
        name: "wsgi_temp_path",
        syntax: "wsgi_temp_path path [level1 [level2 [level3]]];",
        default: Some("wsgi_temp_path wsgi_temp;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=4,
        summary: "The folder for what is written beyond wsgi_write_buffer_size, with up to three levels of folders in \
                  it, named by so many digits each, as client_body_temp_path has them. Its files have no names. The \
                  default is wsgi_temp beside the folder that nginx was built to keep request bodies in.",
        set: set_temp_path,
    },
    Directive {
        name: "wsgi_threads",
        syntax: "wsgi_threads number [max=number];",
        default: Some("wsgi_threads 1;"),
        contexts: Contexts::HTTP,
        arguments: 1..=2,
        summary: "How many requests of a worker may run Python at a time, each on a thread of its own; with more than \
                  one, applications must be thread-safe (wsgi.multithread). A request that waits for its client keeps \
                  its thread but lets another one run; \"max\" limits the threads, 256 by default. With 0 applications \
                  run in the event loop of nginx: fastest for those that never wait, but a slow one stops its worker.",
        set: set_threads,
    },
    Directive {
        name: "wsgi_python_home",
        syntax: "wsgi_python_home path;",
        default: None,
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Where Python finds its standard library, as PYTHONHOME does (also \"prefix:exec_prefix\"), or a \
                  virtual environment, whose packages applications can then import. There is one Python a worker, so \
                  all values in a configuration must be equal.",
        set: set_home,
    },
    Directive {
        name: "wsgi_python_executable",
        syntax: "wsgi_python_executable path;",
        default: None,
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "The interpreter that sys.executable names and whose prefix is searched for the standard library; \
                  that of a virtual environment makes its packages available. Needed beside wsgi_python_home only if \
                  applications start Python themselves. All values in a configuration must be equal.",
        set: set_executable,
    },
    Directive {
        name: "wsgi_python_optimize",
        syntax: "wsgi_python_optimize number;",
        default: Some("wsgi_python_optimize 0;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "The level of Python's option -O: 1 leaves out assertions and makes __debug__ false, 2 leaves out \
                  documentation strings as well. All values in a configuration must be equal.",
        set: |scope, arguments| scope.process.set_optimize(arguments[0], &scope.place),
    },
    Directive {
        name: "wsgi_python_path",
        syntax: "wsgi_python_path folder[:folder...];",
        default: None,
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Puts folders in front of sys.path. It is the same in all interpreters: the folders of all levels are \
                  joined, those of outer levels first.",
        set: add_path,
    },
    Directive {
        name: "wsgi_enable_subinterpreters",
        syntax: "wsgi_enable_subinterpreters on | off;",
        default: Some("wsgi_enable_subinterpreters off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Runs the applications of each Python file (or module, where that is what wsgi_pass names) in an \
                  interpreter of their own, with modules of their own. It is made in each worker at the first request, \
                  and has its own threads: wsgi_threads counts for each. All share the GIL. Some extension modules \
                  refuse a second interpreter.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::Subinterpreters),
    },
    Directive {
        name: "wsgi_use_main_interpreter",
        syntax: "wsgi_use_main_interpreter on | off;",
        default: Some("wsgi_use_main_interpreter off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Keeps applications in the main interpreter where wsgi_enable_subinterpreters is on: for those with \
                  extension modules that refuse any other, or that set signal handlers. Alone it changes nothing.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::MainInterpreter),
    },
    Directive {
        name: "wsgi_preload",
        syntax: "wsgi_preload on | off;",
        default: Some("wsgi_preload off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Loads applications when a worker starts, not at their first request. One that fails to load is \
                  logged and tried again at its first request.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::Preload),
    },
];

fn set_pass(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    if scope.level.target.is_some() {
        return Err(DirectiveError::Duplicate { directive: arguments[0].directive });
    }
    let (target, notice) = Target::parse(scope.prefix, arguments[0], arguments.get(1).copied())?;
    scope.level.target = Some(target);
    scope.notices.extend(notice);
    Ok(())
}

fn set_var(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    let variable = Variable {
        name: variable_name(arguments[0])?.into(),
        value: Arc::from(arguments[1].bytes),
        number: scope.process.number_variable(),
        place: scope.place.clone(),
    };
    // An include that is overridden is the use of it; twice in one file is a slip.
    if let Some(replaced) = scope.level.set_variable(variable)
        && replaced.place.file == scope.place.file
    {
        let name = arguments[0].shown();
        scope.notice(Level::Warn, format!("\"wsgi_var\" \"{name}\" replaces its value of {}", replaced.place));
    }
    Ok(())
}

/// Prefixes of keys that belong to the gateway or to extensions of WSGI.
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

fn set_threads(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    scope.process.set_threads(arguments[0], arguments.get(1).copied())
}

fn set_home(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    scope.process.set_home(arguments[0], scope.prefix, &scope.place)
}

fn set_executable(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    scope.process.set_executable(arguments[0], scope.prefix, &scope.place)
}

fn add_path(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    for missing in scope.process.add_path(arguments[0], scope.prefix, scope.context)? {
        scope.notice(Level::Warn, format!("\"wsgi_python_path\" \"{}\" does not exist yet", shown_path(&missing)));
    }
    Ok(())
}

/// The default callable of a middleware; that of `paste.lint`, for one.
const DEFAULT_MIDDLEWARE: &str = "middleware";

fn push_middleware(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
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

fn set_reload_mechanism(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    set_once(&mut scope.level.reload_mechanism, arguments[0], |argument| match argument.bytes {
        b"module" => Ok(Mechanism::Module),
        b"process" => Ok(Mechanism::Process),
        _ => Err(argument.invalid("it must be \"module\" or \"process\"")),
    })
}

fn set_flag(scope: &mut Scope<'_>, arguments: &[Argument<'_>], flag: Flag) -> Result<(), DirectiveError> {
    set_once(&mut scope.level.flags[flag as usize], arguments[0], Argument::flag)
}

/// The least that is worth collecting: a limit of 0 would mean a file for every byte.
const LEAST_WRITE_BUFFER: usize = 1024;

fn set_write_buffer_size(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    set_once(&mut scope.level.write_buffer_size, arguments[0], |argument| {
        let size = argument.size().filter(|size| *size >= LEAST_WRITE_BUFFER);
        size.ok_or_else(|| argument.invalid("it must be a size of at least 1k"))
    })
}

fn set_temp_path(scope: &mut Scope<'_>, arguments: &[Argument<'_>]) -> Result<(), DirectiveError> {
    let prefix = scope.prefix;
    set_once(&mut scope.level.temp_path, arguments[0], |path| {
        let level = |argument: &Argument<'_>| {
            argument.number(1..=3).ok_or_else(|| argument.invalid("a level must be a number from 1 to 3"))
        };
        Ok(TempPath { path: path.path(prefix)?, levels: arguments[1..].iter().map(level).collect::<Result<_, _>>()? })
    })
}

/// Sets what may stand once in a block.
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::{Context, LevelSettings, Notice, Place, ProcessSettings, Threads};
    use super::*;

    /// One block of a configuration that is being read.
    #[derive(Default)]
    struct Block {
        level: LevelSettings,
        process: ProcessSettings,
        notices: Vec<Notice>,
        line: usize,
    }

    impl Block {
        fn apply_in(
            &mut self,
            context: Context,
            file: &str,
            name: &str,
            arguments: &[&[u8]],
        ) -> Result<(), DirectiveError> {
            self.line += 1;
            let mut scope = Scope {
                level: &mut self.level,
                process: &mut self.process,
                context,
                place: Place { file: file.to_owned(), line: self.line },
                prefix: Path::new("/nonexistent"),
                notices: Vec::new(),
            };
            let result = directive(name).unwrap().apply(&mut scope, arguments);
            self.notices.append(&mut scope.notices);
            result
        }

        fn apply(&mut self, name: &str, arguments: &[&[u8]]) -> Result<(), String> {
            self.apply_in(Context::Location, "nginx.conf", name, arguments).map_err(|error| error.to_string())
        }
    }

    #[test]
    fn the_table_is_complete_and_well_formed() {
        for (index, entry) in DIRECTIVES.iter().enumerate() {
            assert!(std::ptr::eq(directive(entry.name).unwrap(), &DIRECTIVES[index]), "{} stands twice", entry.name);
            assert!(entry.syntax.starts_with(entry.name) && entry.syntax.ends_with(';'), "{}", entry.syntax);
            assert!(entry.default.is_none_or(|text| text.starts_with(entry.name) && text.ends_with(';')));
            assert!(entry.summary.ends_with('.') && !entry.summary.contains('\n'));
            // nginx counts up to seven arguments.
            assert!(entry.arguments.start() <= entry.arguments.end() && *entry.arguments.end() <= 7);
        }
        assert!(directive("wsgi_nonsense").is_none());
    }

    #[test]
    fn defaults_are_what_the_table_says() {
        for entry in DIRECTIVES {
            let Some(default) = entry.default else { continue };
            let words: Vec<_> = default.trim_end_matches(';').split(' ').map(str::as_bytes).collect();
            let mut block = Block::default();
            block.apply_in(Context::Http, "nginx.conf", entry.name, &words[1..]).unwrap();
            assert_eq!(block.process.threads(), ProcessSettings::default().threads());
            assert!(Flag::ALL.iter().all(|flag| !block.level.is_on(*flag)));
        }
    }

    #[test]
    fn a_directive_is_refused_outside_its_contexts() {
        let mut block = Block::default();
        let refused = block.apply_in(Context::Server, "nginx.conf", "wsgi_pass", &[b"app.py"]).unwrap_err();
        assert_eq!(refused.to_string(), "\"wsgi_pass\" directive is not allowed here");
        for context in [Context::Location, Context::IfInLocation, Context::LimitExcept] {
            assert!(Block::default().apply_in(context, "nginx.conf", "wsgi_pass", &[b"app.py"]).is_ok());
        }
        assert!(block.apply("wsgi_threads", &[b"1"]).is_err());
        for context in [Context::IfInLocation, Context::LimitExcept] {
            assert!(block.apply_in(context, "nginx.conf", "wsgi_var", &[b"A", b"1"]).is_err());
        }
    }

    #[test]
    fn a_wrong_number_of_arguments_is_refused() {
        let expected = Err("invalid number of arguments in \"wsgi_pass\" directive".to_owned());
        assert_eq!(Block::default().apply("wsgi_pass", &[]), expected);
        assert_eq!(Block::default().apply("wsgi_pass", &[b"a.py", b"b", b"c"]), expected);
        assert!(Block::default().apply("wsgi_var", &[b"A"]).is_err());
    }

    #[test]
    fn a_second_application_or_flag_in_a_block_is_duplicate() {
        let mut block = Block::default();
        block.apply("wsgi_pass", &[b"a.py"]).unwrap();
        assert_eq!(block.apply("wsgi_pass", &[b"a.py"]), Err("\"wsgi_pass\" directive is duplicate".to_owned()));
        block.apply("wsgi_preload", &[b"on"]).unwrap();
        assert_eq!(block.apply("wsgi_preload", &[b"off"]), Err("\"wsgi_preload\" directive is duplicate".to_owned()));
        assert!(block.level.is_on(Flag::Preload));
        let http = |block: &mut Block| block.apply_in(Context::Http, "nginx.conf", "wsgi_threads", &[b"0"]);
        http(&mut block).unwrap();
        assert_eq!(block.process.threads(), Threads::Inline);
        assert_eq!(http(&mut block).unwrap_err().to_string(), "\"wsgi_threads\" directive is duplicate");
    }

    #[test]
    fn reserved_and_impossible_names_of_variables_are_refused() {
        let mut block = Block::default();
        assert_eq!(
            block.apply("wsgi_var", &[b"wsgi.version", b"x"]),
            Err("invalid value \"wsgi.version\" in \"wsgi_var\" directive, names that begin with \"wsgi.\" are reserved"
                .to_owned())
        );
        for bad in [&b"wsgi_gateway.callable"[..], b"x-wsgiorg.suspend", b"", b"A=B", b"A\nB", b"\xff"] {
            assert!(block.apply("wsgi_var", &[bad, b"x"]).is_err(), "{bad:?}");
        }
        for good in [&b"myapp.config"[..], b"SCRIPT_NAME", b"HTTP_PROXY", b"wsgi", b"wsgiorg.x", "größe".as_bytes()] {
            assert_eq!(block.apply("wsgi_var", &[good, b""]), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn an_override_of_an_include_is_silent_and_a_repetition_in_one_file_is_not() {
        let mut block = Block::default();
        let mut set = |file, value: &[u8]| {
            block.apply_in(Context::Location, file, "wsgi_var", &[b"A", value]).unwrap();
            std::mem::take(&mut block.notices)
        };
        assert_eq!(set("wsgi_vars", b"1"), []);
        assert_eq!(set("nginx.conf", b"2"), []);
        let text = "\"wsgi_var\" \"A\" replaces its value of nginx.conf:2".to_owned();
        assert_eq!(set("nginx.conf", b"3"), [Notice { level: Level::Warn, text }]);
        let [variable] = &block.level.variables[..] else { panic!("{:?}", block.level) };
        assert_eq!((&*variable.value, variable.number, variable.place.line), (&b"3"[..], 2, 3));
    }

    #[test]
    fn middleware_stacks_up_and_off_stands_alone() {
        let mut block = Block::default();
        block.apply("wsgi_middleware", &[b"a.b"]).unwrap();
        block.apply("wsgi_middleware", &[b"wsgiref.validate", b"validator"]).unwrap();
        let stack: Vec<_> = block.level.middleware.iter().flatten().map(Layer::to_string).collect();
        assert_eq!(
            stack,
            [
                "\"wsgi_middleware a.b middleware\" in nginx.conf:1",
                "\"wsgi_middleware wsgiref.validate validator\" in nginx.conf:2"
            ]
        );
        assert!(block.apply("wsgi_middleware", &[b"off"]).unwrap_err().contains("the only"));
        let mut block = Block::default();
        block.apply("wsgi_middleware", &[b"off"]).unwrap();
        assert!(block.level.middleware.as_ref().is_some_and(Vec::is_empty));
        for again in [&b"off"[..], b"a"] {
            assert!(block.apply("wsgi_middleware", &[again]).unwrap_err().contains("invalid value"));
        }
        for bad in [&b"a/b.py"[..], b"a:b", b"", b"9"] {
            assert!(Block::default().apply("wsgi_middleware", &[bad]).is_err());
            assert!(Block::default().apply("wsgi_middleware", &[b"a", bad]).is_err());
        }
    }

    #[test]
    fn variables_are_counted_across_blocks() {
        let mut block = Block::default();
        block.apply("wsgi_var", &[b"A", b"1"]).unwrap();
        block.level = LevelSettings::default();
        block.apply("wsgi_var", &[b"wsgi.input", b"1"]).unwrap_err();
        block.apply("wsgi_var", &[b"A", b"1"]).unwrap();
        assert_eq!(block.level.variables[0].number, 1);
    }

    #[test]
    fn a_missing_folder_of_modules_is_worth_a_warning() {
        let mut block = Block::default();
        block.apply("wsgi_python_path", &[b"/:lib"]).unwrap();
        let text = "\"wsgi_python_path\" \"/nonexistent/lib\" does not exist yet".to_owned();
        assert_eq!(block.notices, [Notice { level: Level::Warn, text }]);
        assert_eq!(block.process.path(), [Path::new("/"), Path::new("/nonexistent/lib")]);
    }

    proptest! {
        #[test]
        fn any_configuration_is_accepted_or_refused_in_one_line(
            lines in prop::collection::vec(
                (0..DIRECTIVES.len(), prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 0..4)),
                1..8,
            )
        ) {
            let mut block = Block::default();
            for (index, arguments) in lines {
                let entry = &DIRECTIVES[index];
                let arguments: Vec<_> = arguments.iter().map(Vec::as_slice).collect();
                let context = Context::ALL.into_iter().find(|context| entry.contexts.contains(*context)).unwrap();
                if let Err(error) = block.apply_in(context, "nginx.conf", entry.name, &arguments) {
                    let error = error.to_string();
                    prop_assert!(error.contains(entry.name) && !error.contains(char::is_control), "{:?}", error);
                }
            }
            prop_assert!(block.notices.iter().all(|notice| !notice.text.contains(char::is_control)));
        }
    }
}
