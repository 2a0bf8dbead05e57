//! `nginx -t` with every directive of the table in every kind of block, with wrong numbers of arguments, wrong values,
//! and repeated: nginx's own messages.

use wsgi_core::config::{Context, DIRECTIVES, Directive};

use crate::harness::{HELLO, Site};

/// Valid and invalid uses of a directive of the table.
struct Example {
    name: &'static str,
    good: &'static str,
    /// First arguments that are refused, with a part of the message.
    bad: &'static [(&'static str, &'static str)],
    /// The effect of a second directive with another value on the same level.
    twice: Twice,
}

enum Twice {
    Duplicate,
    Allowed(&'static str),
    Refused(&'static str, &'static str),
}

const FLAG: &[(&str, &str)] = &[("yes", "it must be \"on\" or \"off\""), ("1", "it must be \"on\" or \"off\"")];

const fn flag(name: &'static str) -> Example {
    Example { name, good: "on", bad: FLAG, twice: Twice::Duplicate }
}

const EXAMPLES: &[Example] = &[
    Example {
        name: "wsgi_pass",
        good: "app.py",
        bad: &[
            ("$host", "variables are not supported"),
            ("mysite.wsgi:app", "the callable is a separate word"),
            ("http://a", "use proxy_pass"),
        ],
        twice: Twice::Duplicate,
    },
    Example {
        name: "wsgi_var",
        good: "NAME value",
        bad: &[
            ("wsgi.version x", "are reserved"),
            ("A=B x", "must not"),
            ("A $nonsense", "unknown \"nonsense\" variable"),
        ],
        twice: Twice::Allowed("OTHER value"),
    },
    Example {
        name: "wsgi_middleware",
        good: "wsgiref.validate validator",
        bad: &[("a/b.py", "it must be a dotted Python name"), ("b.py", "not of a file: leave out \".py\"")],
        twice: Twice::Allowed("other.module"),
    },
    flag("wsgi_script_reloading"),
    Example {
        name: "wsgi_reload_mechanism",
        good: "process",
        bad: &[("interpreter", "it must be \"module\" or \"process\"")],
        twice: Twice::Duplicate,
    },
    Example {
        name: "wsgi_retire_delay",
        good: "1s",
        bad: &[("soon", "it must be a time"), ("-1s", "it must be a time")],
        twice: Twice::Duplicate,
    },
    flag("wsgi_pass_authorization"),
    flag("wsgi_strict"),
    Example {
        name: "wsgi_ignore_headers",
        good: "X-Accel-Redirect x-accel-limit-rate",
        bad: &[("Set-Cookie", "it must be one of \"X-Accel-Redirect\""), ("X-Accel", "it must be one of")],
        twice: Twice::Allowed("X-Accel-Charset"),
    },
    flag("wsgi_allow_ranges"),
    flag("wsgi_optimize_send_headers"),
    flag("wsgi_output_buffering"),
    flag("wsgi_write_buffering"),
    Example {
        name: "wsgi_write_buffer_size",
        good: "64k",
        bad: &[("abc", "it must be a size"), ("0", "it must be a size"), ("-1", "it must be a size")],
        twice: Twice::Duplicate,
    },
    Example {
        name: "wsgi_temp_path",
        good: "here 1 2",
        bad: &[("here 0", "a level must be"), ("here 1 x", "a level must be")],
        twice: Twice::Duplicate,
    },
    Example {
        name: "wsgi_body_buffer_size",
        good: "1m",
        bad: &[("abc", "it must be a size"), ("1023", "it must be a size"), ("-1", "it must be a size")],
        twice: Twice::Duplicate,
    },
    Example {
        name: "wsgi_threads",
        good: "2 max=8",
        bad: &[("-1", "it must be a number"), ("2 max=1", "invalid parameter"), ("2 least=1", "invalid parameter")],
        twice: Twice::Duplicate,
    },
    flag("wsgi_share_load"),
    Example {
        name: "wsgi_thread_stack_size",
        good: "2m",
        bad: &[("64k", "it must be a size from 512k"), ("2g", "it must be a size"), ("-1", "it must be a size")],
        twice: Twice::Duplicate,
    },
    Example {
        name: "wsgi_python_home",
        good: "/usr",
        bad: &[("missing", "is not a folder")],
        twice: Twice::Refused("/tmp", "there is one Python for the whole configuration"),
    },
    Example {
        name: "wsgi_python_executable",
        good: "/bin/sh",
        bad: &[("missing", "cannot be used")],
        twice: Twice::Refused("/bin/cat", "there is one Python for the whole configuration"),
    },
    Example {
        name: "wsgi_python_optimize",
        good: "1",
        bad: &[("3", "it must be 0, 1 or 2"), ("x", "it must be 0, 1 or 2")],
        twice: Twice::Refused("2", "there is one Python for the whole configuration"),
    },
    Example { name: "wsgi_python_path", good: "lib", bad: &[("a::b", "may be empty")], twice: Twice::Allowed("other") },
    flag("wsgi_enable_subinterpreters"),
    flag("wsgi_use_main_interpreter"),
    flag("wsgi_preload"),
];

fn example(directive: &Directive) -> &'static Example {
    let found = EXAMPLES.iter().find(|example| example.name == directive.name);
    found.unwrap_or_else(|| panic!("no example of {}", directive.name))
}

const ALL: [Context; 5] =
    [Context::Http, Context::Server, Context::Location, Context::IfInLocation, Context::LimitExcept];

/// Checks a configuration with these lines in a block of this kind.
fn check(context: Context, lines: &str) -> Result<(), String> {
    let site = Site::with_defaults().without_temp_path().file("app.py", HELLO);
    let site = match context {
        Context::Http => site.http(lines),
        Context::Server => site.server(lines),
        Context::Location => site.location("/", lines),
        Context::IfInLocation => site.location("/", &format!("if ($host) {{\n{lines}\n}}")),
        Context::LimitExcept => site.location("/", &format!("limit_except GET {{\n{lines}\n}}")),
    };
    let check = site.check();
    if check.succeeded { Ok(()) } else { Err(check.output) }
}

/// Returns a kind of block in which the directive is allowed.
fn home(directive: &Directive) -> Context {
    ALL.into_iter().find(|context| directive.contexts.contains(*context)).expect("a context")
}

#[track_caller]
fn assert_refused(result: Result<(), String>, parts: &[&str]) {
    let output = result.expect_err("it is accepted");
    assert!(parts.iter().all(|part| output.contains(part)), "{parts:?} not in {output}");
    assert!(output.contains("[emerg]") && output.contains("nginx.conf:"), "{output}");
}

#[test]
fn each_directive_is_accepted_where_it_belongs_and_nowhere_else() {
    for directive in DIRECTIVES {
        let line = format!("{} {};", directive.name, example(directive).good);
        for context in ALL {
            let result = check(context, &line);
            if directive.contexts.contains(context) {
                assert_eq!(result, Ok(()), "{line} in {context:?}");
            } else {
                assert_refused(result, &[&format!("\"{}\" directive is not allowed here", directive.name)]);
            }
        }
        let output = Site::with_defaults().main(&line).check().output;
        assert!(output.contains(&format!("\"{}\" directive is not allowed here", directive.name)), "{output}");
    }
}

#[test]
fn each_directive_counts_its_arguments() {
    for directive in DIRECTIVES {
        let expected = format!("invalid number of arguments in \"{}\" directive", directive.name);
        let many = vec!["x"; directive.arguments.end() + 1].join(" ");
        let few = vec!["x"; directive.arguments.start() - 1].join(" ");
        for arguments in [many, few] {
            assert_refused(check(home(directive), &format!("{} {arguments};", directive.name)), &[&expected]);
        }
    }
}

#[test]
fn each_directive_refuses_what_it_does_not_understand() {
    for directive in DIRECTIVES {
        for (arguments, message) in example(directive).bad {
            let result = check(home(directive), &format!("{} {arguments};", directive.name));
            assert_refused(result, &[message]);
        }
    }
}

#[test]
fn each_repeated_directive_is_allowed_or_refused_as_specified() {
    for directive in DIRECTIVES {
        let Example { name, good, twice, .. } = example(directive);
        let both = |second: &str| check(home(directive), &format!("{name} {good};\n{name} {second};"));
        match twice {
            Twice::Duplicate => assert_refused(both(good), &[&format!("\"{name}\" directive is duplicate")]),
            Twice::Allowed(second) => assert_eq!(both(second), Ok(()), "{name}"),
            Twice::Refused(second, message) => {
                assert_eq!(both(good), Ok(()), "an equal value may be repeated");
                assert_refused(both(second), &[message, "nginx.conf:"]);
            }
        }
    }
}
