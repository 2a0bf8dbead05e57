//! The table of directives, from which nginx's commands, the options of other hosts and the documentation are made.

mod setters;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use super::value::Argument;
use super::{Contexts, DirectiveError, Flag, Scope};
use setters::*;

/// A directive: its form, the blocks that allow it, and its effect.
#[derive(Debug)]
#[non_exhaustive]
pub struct Directive {
    /// The directive's name.
    pub name: &'static str,
    /// Its form, as on nginx.org, with the semicolon.
    pub syntax: &'static str,
    /// The full directive that corresponds to the default.
    pub default: Option<&'static str>,
    /// The blocks that allow it.
    pub contexts: Contexts,
    /// The number of arguments.
    pub arguments: RangeInclusive<usize>,
    /// One paragraph that describes its effect.
    pub summary: &'static str,
    set: fn(&mut Scope<'_>, &[Argument<'_>]) -> Result<(), DirectiveError>,
}

impl Directive {
    /// Applies the directive with `arguments`: those after its name, unquoted. After an error the host must discard the
    /// configuration.
    pub fn apply(&self, scope: &mut Scope<'_>, arguments: &[&[u8]]) -> Result<(), DirectiveError> {
        let directive = self.name;
        // nginx has checked both already; other hosts have not.
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

/// Returns the directive of that name.
pub fn directive(name: &str) -> Option<&'static Directive> {
    DIRECTIVES.iter().find(|directive| directive.name == name)
}

const EVERY_LEVEL: Contexts = Contexts::HTTP.or(Contexts::SERVER).or(Contexts::LOCATION);

/// All directives.
pub static DIRECTIVES: &[Directive] = &[
    Directive {
        name: "wsgi_pass",
        syntax: "wsgi_pass path-or-dotted-name [callable];",
        default: None,
        contexts: Contexts::LOCATION.or(Contexts::IF_IN_LOCATION).or(Contexts::LIMIT_EXCEPT),
        arguments: 1..=2,
        summary: "Answers requests with a WSGI application: the callable of a Python file or of a module; its name is \
                  \"application\" by default. A relative path starts from the prefix of nginx. A dotted Python name, \
                  such as \"mysite.wsgi\" of Django, is a module to import, unless a file of that name exists or it \
                  ends in \".py\". The application is loaded at its first request; if the file is missing then, the \
                  answer is 500, and the next request tries again. Variables are not supported. A nested location does \
                  not inherit the directive, \"if\" and \"limit_except\" blocks do.",
        set: set_pass,
    },
    Directive {
        name: "wsgi_var",
        syntax: "wsgi_var name value;",
        default: None,
        contexts: EVERY_LEVEL,
        arguments: 2..=2,
        summary: "Sets a variable of environ, a str. It overrides variables of the request. The value may contain \
                  variables of nginx; if it is empty in the end, the variable is removed, unless it is required. Inner \
                  levels inherit name by name. Names that begin with \"wsgi.\", \"wsgi_gateway.\" or \"x-wsgiorg.\" \
                  are reserved. SCRIPT_NAME alone also moves the rest of the path to PATH_INFO, and HTTPS \"on\" or \
                  REQUEST_SCHEME \"https\" makes wsgi.url_scheme \"https\", for a proxy in front that ends TLS.",
        set: set_var,
    },
    Directive {
        name: "wsgi_middleware",
        syntax: "wsgi_middleware module [callable] | off;",
        default: Some("wsgi_middleware off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=2,
        summary: "Applies a middleware to the application: a callable of an importable module; its name is \
                  \"middleware\" by default. It is called with the application, and returns an application. Several \
                  are applied in their order, so that the last one sees requests first. A level with such directives \
                  does not inherit those of outer levels, and \"off\", alone, clears them.",
        set: push_middleware,
    },
    Directive {
        name: "wsgi_script_reloading",
        syntax: "wsgi_script_reloading on | off;",
        default: Some("wsgi_script_reloading off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Checks the file of the application before each request, and reloads it if its modification \
                  time, change time, size or inode has changed. Imported modules are not checked.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::ScriptReloading),
    },
    Directive {
        name: "wsgi_reload_mechanism",
        syntax: "wsgi_reload_mechanism module | process;",
        default: Some("wsgi_reload_mechanism module;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "The action of wsgi_script_reloading for a changed file: \"module\" loads the file again in the same \
                  worker, which keeps the imported modules; with \"process\" the worker exits after its current \
                  requests, and nginx starts a new one. Until then the old code answers, and tells clients to repeat \
                  the request (Refresh: 0).",
        set: set_reload_mechanism,
    },
    Directive {
        name: "wsgi_retire_delay",
        syntax: "wsgi_retire_delay time;",
        default: Some("wsgi_retire_delay 5s;"),
        contexts: Contexts::HTTP,
        arguments: 1..=1,
        summary: "Time limit for a worker that wsgi_reload_mechanism process replaces: it accepts connections until it \
                  has no request, at most for this time. Then it finishes its requests and exits.",
        set: |scope, arguments| scope.process.set_retire_delay(arguments[0]),
    },
    Directive {
        name: "wsgi_pass_authorization",
        syntax: "wsgi_pass_authorization on | off;",
        default: Some("wsgi_pass_authorization off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Passes the credentials of a client to applications, as HTTP_AUTHORIZATION and \
                  HTTP_PROXY_AUTHORIZATION. Otherwise environ has neither. Variables of these names from wsgi_var are \
                  always passed.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::PassAuthorization),
    },
    Directive {
        name: "wsgi_strict",
        syntax: "wsgi_strict on | off;",
        default: Some("wsgi_strict off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Makes start_response raise ValueError for response headers that belong to the server: the hop-by-hop \
                  headers of RFC 9110, 7.6.1 (Connection, Keep-Alive, Transfer-Encoding, Upgrade...), which PEP 3333 \
                  forbids, and Status. Otherwise they are left out of the response, and the error log has a warning \
                  for each application and name.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::Strict),
    },
    Directive {
        name: "wsgi_ignore_headers",
        syntax: "wsgi_ignore_headers field ...;",
        default: None,
        contexts: EVERY_LEVEL,
        arguments: 1..=7,
        summary: "Response headers of the application that nginx does not obey: X-Accel-Redirect, X-Accel-Expires, \
                  X-Accel-Limit-Rate, X-Accel-Charset or X-Accel-Buffering. They are never passed to the client. A \
                  level with such directives does not inherit those of outer levels.",
        set: ignore_headers,
    },
    Directive {
        name: "wsgi_allow_ranges",
        syntax: "wsgi_allow_ranges on | off;",
        default: Some("wsgi_allow_ranges off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Lets nginx answer requests for a part of the body (Range, If-Range) with 206 or 416, if the \
                  application answers with a 200 of known length and without headers for ranges. Several ranges in one \
                  request are answered if the body is one block, else with the whole body. The application always \
                  produces the whole body.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::AllowRanges),
    },
    Directive {
        name: "wsgi_optimize_send_headers",
        syntax: "wsgi_optimize_send_headers on | off;",
        default: Some("wsgi_optimize_send_headers off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Sends status and headers at the first item of the iterable, even an empty one. If no body is needed \
                  (HEAD, 304, 412), no further item is asked for: the application can yield an empty item before \
                  expensive work. PEP 3333 holds them back until the first item that is not empty; after the early \
                  head a failure cannot be answered with 500.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::OptimizeSendHeaders),
    },
    Directive {
        name: "wsgi_output_buffering",
        syntax: "wsgi_output_buffering on | off;",
        default: Some("wsgi_output_buffering off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Joins small items of an iterable before they are sent, up to wsgi_write_buffer_size, if the \
                  application yields them faster than the client takes them. It has no effect with threads, where items that \
                  wait for the event loop are sent together in any case.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::OutputBuffering),
    },
    Directive {
        name: "wsgi_write_buffering",
        syntax: "wsgi_write_buffering on | off;",
        default: Some("wsgi_write_buffering off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Collects the data of the write callable until the application returns, in memory and beyond \
                  wsgi_write_buffer_size in a temporary file. Until then start_response with exc_info replaces all of \
                  it. Otherwise each call sends its block and waits for the client.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::WriteBuffering),
    },
    Directive {
        name: "wsgi_write_buffer_size",
        syntax: "wsgi_write_buffer_size size;",
        default: Some("wsgi_write_buffer_size 4k;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Memory for the written or joined data of a request, at least 1k. The default is the size of a memory \
                  page, 4k or more.",
        set: set_write_buffer_size,
    },
    Directive {
        name: "wsgi_temp_path",
        syntax: "wsgi_temp_path path [level1 [level2 [level3]]];",
        default: Some("wsgi_temp_path wsgi_temp;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=4,
        summary: "Folder for written data beyond wsgi_write_buffer_size, with up to three levels of subfolders; each \
                  level is a number of digits, as in client_body_temp_path. The files have no names. The default is \
                  wsgi_temp beside the folder of request bodies of this nginx.",
        set: set_temp_path,
    },
    Directive {
        name: "wsgi_body_buffer_size",
        syntax: "wsgi_body_buffer_size size;",
        default: Some("wsgi_body_buffer_size 128k;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Memory for the body of a request, at least 1k. A larger body goes to a temporary file below \
                  client_body_temp_path. nginx allocates no more than the Content-Length. If \
                  client_body_buffer_size is larger, it applies.",
        set: set_body_buffer_size,
    },
    Directive {
        name: "wsgi_threads",
        syntax: "wsgi_threads number [max=number];",
        default: Some("wsgi_threads 1;"),
        contexts: Contexts::HTTP,
        arguments: 1..=2,
        summary: "Number of requests of a worker that may run Python at the same time, each on a separate thread; with \
                  more than 1, applications must be thread-safe (wsgi.multithread). A request that waits for its \
                  client keeps its thread but lets another one run; \"max\" limits the threads, 256 by default. With \
                  0, applications run in the event loop of nginx: fastest if they never wait, but a slow one stops its \
                  worker.",
        set: set_threads,
    },
    Directive {
        name: "wsgi_share_load",
        syntax: "wsgi_share_load on | off;",
        default: Some("wsgi_share_load on;"),
        contexts: Contexts::HTTP,
        arguments: 1..=1,
        summary: "Leaves new connections to the worker with the least load: a worker in which wsgi_threads requests run \
                  does not accept a connection while another one has less to do. Not for sockets with \"listen ... \
                  reuseport\", nor with accept_mutex.",
        set: |scope, arguments| scope.process.set_share_load(arguments[0]),
    },
    Directive {
        name: "wsgi_thread_stack_size",
        syntax: "wsgi_thread_stack_size size;",
        default: Some("wsgi_thread_stack_size 8m;"),
        contexts: Contexts::HTTP,
        arguments: 1..=1,
        summary: "Size of the stack of each thread of wsgi_threads, from 512k to 1024m. The default is RLIMIT_STACK of \
                  the worker (\"ulimit -s\"), but at least 8m and at most 64m, and 8m if that is unlimited. A stack \
                  takes address space, and memory only for pages that have been used. With a small stack, deep \
                  recursion and numerical libraries crash the worker.",
        set: |scope, arguments| scope.process.set_thread_stack_size(arguments[0]),
    },
    Directive {
        name: "wsgi_python_home",
        syntax: "wsgi_python_home path;",
        default: None,
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Home of the standard library of Python, as in PYTHONHOME (also \"prefix:exec_prefix\"), or a virtual \
                  environment, whose packages applications can then import. A worker runs one Python, so all values in \
                  a configuration must be equal.",
        set: set_home,
    },
    Directive {
        name: "wsgi_python_executable",
        syntax: "wsgi_python_executable path;",
        default: None,
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Value of sys.executable; Python searches its standard library from there. The program of a virtual \
                  environment makes its packages available. Needed in addition to wsgi_python_home only if \
                  applications start Python as a program. All values in a configuration must be equal.",
        set: set_executable,
    },
    Directive {
        name: "wsgi_python_optimize",
        syntax: "wsgi_python_optimize number;",
        default: Some("wsgi_python_optimize 0;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Level of Python's option -O: 1 removes assertions and makes __debug__ false, 2 also removes \
                  documentation strings. All values in a configuration must be equal.",
        set: |scope, arguments| scope.process.set_optimize(arguments[0], &scope.place),
    },
    Directive {
        name: "wsgi_python_path",
        syntax: "wsgi_python_path folder[:folder...];",
        default: None,
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Puts folders in front of sys.path, in all interpreters. The folders of all levels are joined, those \
                  of outer levels first.",
        set: add_path,
    },
    Directive {
        name: "wsgi_enable_subinterpreters",
        syntax: "wsgi_enable_subinterpreters on | off;",
        default: Some("wsgi_enable_subinterpreters off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Runs the applications of each Python file or module of wsgi_pass in a separate interpreter, with \
                  separate modules. The interpreter is created in each worker at the first request, and has separate \
                  threads: wsgi_threads counts for each interpreter. All share the GIL. Some extension modules refuse \
                  a second interpreter.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::Subinterpreters),
    },
    Directive {
        name: "wsgi_use_main_interpreter",
        syntax: "wsgi_use_main_interpreter on | off;",
        default: Some("wsgi_use_main_interpreter off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Keeps applications in the main interpreter in spite of wsgi_enable_subinterpreters: for extension \
                  modules that refuse other interpreters, and for signal handlers. Alone it changes nothing.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::MainInterpreter),
    },
    Directive {
        name: "wsgi_preload",
        syntax: "wsgi_preload on | off;",
        default: Some("wsgi_preload off;"),
        contexts: EVERY_LEVEL,
        arguments: 1..=1,
        summary: "Loads applications when a worker starts, not at their first request. A failure is logged, and the \
                  first request tries again.",
        set: |scope, arguments| set_flag(scope, arguments, Flag::Preload),
    },
];
