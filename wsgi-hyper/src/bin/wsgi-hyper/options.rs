//! The command line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use lexopt::prelude::*;
use wsgi_core::config::{self, Context, Flag, LevelSettings, Mode, Place, ProcessSettings, Scope, Target};
use wsgi_core::host::{Level, Pace, decode_prefix};

pub(crate) const HELP: &str = "\
Serves a WSGI application, for development.

Usage: wsgi-hyper [OPTION]... SCRIPT [CALLABLE]

SCRIPT is a Python file, which finds modules beside it, or a module by its dotted name, which is also looked for
in the current folder. CALLABLE is \"application\" by default. When SCRIPT has changed, it is loaded again, but not
the modules that it imports: restart the server after a change in these.
breakpoint() and input() work on the terminal that this is started from.

Options:
      --bind ADDRESS:PORT  where to listen, 127.0.0.1:8000 by default; port 0 is any free one
      --threads N          requests that may run Python at the same time, 1 by default
      --prefix /PATH       where the application is mounted (SCRIPT_NAME), decoded and cleaned as paths of requests are
      --body-rate N        minimum bytes per second of a request body, on average after 20 seconds of waiting; a slower
                           client gets 408. 500 by default, 0 for no limit
      --set NAME=VALUE     a directive, as in nginx.conf: --set wsgi_output_buffering=on. Several arguments are
                           separated by spaces, and quoted if they contain some: --set 'wsgi_var=TITLE \"My site\"'.
                           May be given several times. A virtual environment: --set wsgi_python_home=venv
  -h, --help               show this
  -V, --version            show the version

Ctrl-C stops when the requests under way are answered, a second one at once. Where standard output or standard error is not
read, lines are dropped and counted.
";

/// The action that the command line asks for.
pub(crate) enum Command {
    Help,
    Version,
    Serve(Box<Options>),
}

/// An application, and its settings.
pub(crate) struct Options {
    /// The script as given on the command line.
    pub(crate) script: String,
    pub(crate) target: Target,
    pub(crate) bind: String,
    pub(crate) prefix: String,
    /// Bytes per second; see [`wsgi_hyper::ServiceBuilder::body_rate`].
    pub(crate) body_rate: u64,
    pub(crate) level: LevelSettings,
    pub(crate) process: ProcessSettings,
}

/// Parses the command line; relative paths are relative to `folder`. An error is one line.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>, folder: &Path) -> Result<Command, String> {
    let mut bind = "127.0.0.1:8000".to_owned();
    let mut prefix = String::new();
    let mut body_rate = Pace::RATE;
    let mut names: Vec<OsString> = Vec::new();
    let mut settings =
        Settings { level: LevelSettings::default(), process: ProcessSettings::default(), folder, line: 0 };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(said)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            Long("bind") => bind = parser.value().and_then(|value| value.string()).map_err(said)?,
            Long("prefix") => prefix = parser.value().and_then(|value| value.string()).map_err(said)?,
            Long("body-rate") => body_rate = rate(&parser.value().map_err(said)?)?,
            Long("threads") => settings.threads(&parser.value().map_err(said)?)?,
            Long("set") => settings.set(&parser.value().map_err(said)?)?,
            Value(name) if names.len() < 2 => names.push(name),
            argument => return Err(said(argument.unexpected())),
        }
    }
    let Some(script) = names.first() else {
        return Err("no application is named: wsgi-hyper [OPTION]... SCRIPT [CALLABLE], see --help".to_owned());
    };
    if !prefix.is_empty() && !prefix.starts_with('/') {
        return Err(format!("--prefix {prefix}: it must begin with \"/\""));
    }
    if decode_prefix(&prefix).is_none() {
        return Err(format!("--prefix {prefix}: no path of a request can begin with it (a \"%\" is written \"%25\")"));
    }
    let script = script.to_string_lossy().into_owned();
    let arguments: Vec<_> = names.iter().map(|name| name.as_bytes()).collect();
    settings.apply("wsgi_pass", Context::Location, &arguments)?;
    settings.complete();
    let Settings { level, process, .. } = settings;
    process.check().map_err(said)?;
    let Some(target) = level.target.clone() else { return Err("no application is named".to_owned()) };
    if let Target::Script { path, .. } = &target
        && !path.is_file()
    {
        let is_folder = path.is_dir();
        let path = path.display();
        return Err(match is_folder {
            true => format!("\"{path}\" is a folder, not a script"),
            false => format!("there is no file \"{path}\""),
        });
    }
    if let Some(variable) = level.variables.iter().find(|variable| variable.value.contains(&b'$')) {
        return Err(format!("wsgi_var {}: wsgi-hyper does not support variables of nginx", variable.name));
    }
    if process.mode() == Mode::Inline {
        return Err(INLINE.to_owned());
    }
    Ok(Command::Serve(Box::new(Options { script, target, bind, prefix, body_rate, level, process })))
}

fn rate(value: &OsString) -> Result<u64, String> {
    let rate = value.to_str().and_then(|value| value.parse().ok());
    rate.ok_or_else(|| format!("--body-rate {}: it must be a number of bytes", value.to_string_lossy()))
}

const INLINE: &str = "--threads 0: it must be a number from 1 to 1024, since applications run on threads";

/// The settings of all directives so far.
struct Settings<'a> {
    level: LevelSettings,
    process: ProcessSettings,
    folder: &'a Path,
    /// Number of options with directives so far.
    line: usize,
}

impl Settings<'_> {
    fn threads(&mut self, number: &OsString) -> Result<(), String> {
        self.apply("wsgi_threads", Context::Http, &[number.as_bytes()])
            .map_err(|_| format!("--threads {}: it must be a number from 1 to 1024", number.to_string_lossy()))
    }

    /// Applies `name=value`.
    fn set(&mut self, setting: &OsString) -> Result<(), String> {
        let shown = setting.to_string_lossy();
        let failed = |error: String| format!("--set {shown}: {error}");
        let equals = setting.as_bytes().iter().position(|byte| *byte == b'=');
        let Some(equals) = equals else { return Err(failed("it must be NAME=VALUE".to_owned())) };
        let (name, value) = (String::from_utf8_lossy(&setting.as_bytes()[..equals]), &setting.as_bytes()[equals + 1..]);
        let arguments = words(value).ok_or_else(|| failed("a quote is not closed".to_owned()))?;
        let arguments: Vec<_> = arguments.iter().map(Vec::as_slice).collect();
        match &*name {
            "wsgi_threads" => Err(failed("use the option --threads".to_owned())),
            "wsgi_pass" => Err(failed("name the application as SCRIPT [CALLABLE], without --set".to_owned())),
            // The only directive for all applications that has an effect here.
            "wsgi_thread_stack_size" => self.apply(&name, Context::Http, &arguments).map_err(failed),
            name => self.apply(name, Context::Location, &arguments).map_err(failed),
        }
    }

    fn apply(&mut self, name: &str, context: Context, arguments: &[&[u8]]) -> Result<(), String> {
        self.line += 1;
        let directive = config::directive(name).ok_or_else(|| format!("unknown directive \"{name}\""))?;
        let mut scope = Scope::new(
            &mut self.level,
            &mut self.process,
            context,
            Place { file: "command line".to_owned(), line: self.line },
            self.folder,
        );
        directive.apply(&mut scope, arguments).map_err(said)?;
        // Prints warnings, except those of `wsgi_pass`: a missing script is an error here (see `parse`).
        for notice in scope.notices.iter().filter(|notice| notice.level >= Level::Warn && name != "wsgi_pass") {
            eprintln!("[warn] {}", notice.text);
        }
        Ok(())
    }

    /// Sets the defaults that differ from nginx's, unless options have set them.
    fn complete(&mut self) {
        let mut defaults = LevelSettings::default();
        defaults.set(Flag::ScriptReloading, true);
        self.level.inherit(&defaults, false);
    }
}

/// Splits a value at spaces, as nginx does. Words that begin with a quote end at the next one.
fn words(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = value.trim_ascii_start();
    while let Some(first) = rest.first() {
        let (word, behind) = match first {
            b'"' | b'\'' => {
                let end = rest[1..].iter().position(|byte| byte == first)? + 1;
                (&rest[1..end], &rest[end + 1..])
            }
            _ => rest.split_at(rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len())),
        };
        words.push(word.to_vec());
        rest = behind.trim_ascii_start();
    }
    Some(words)
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use wsgi_core::config::Limits;

    use super::*;

    fn serve(arguments: &[&str]) -> Result<Box<Options>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("app.py"), "").unwrap();
        match parse(arguments.iter().map(OsString::from), folder.path())? {
            Command::Serve(options) => Ok(options),
            Command::Help | Command::Version => Err("nothing is served".to_owned()),
        }
    }

    fn error(arguments: &[&str]) -> String {
        serve(arguments).err().unwrap_or_else(|| panic!("{arguments:?} is accepted"))
    }

    #[test]
    fn values_are_split_as_in_a_configuration() {
        let split = |text: &str| {
            words(text.as_bytes())
                .map(|words| words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect::<Vec<_>>())
        };
        assert_eq!(split(" a  b=c "), Some(vec!["a".to_owned(), "b=c".to_owned()]));
        assert_eq!(split("T \"a 'b'\" ''"), Some(vec!["T".to_owned(), "a 'b'".to_owned(), String::new()]));
        assert_eq!(split(""), Some(vec![]));
        assert_eq!(split("a 'b"), None);
    }

    #[test]
    fn an_application_is_served_with_reloading_unless_that_is_switched_off() {
        let options = serve(&["app.py"]).unwrap();
        assert!(options.level.is_on(Flag::ScriptReloading));
        assert_eq!(options.bind, "127.0.0.1:8000");
        assert_eq!(options.process.mode(), Mode::Threads(Limits::new(1)));
        assert!(matches!(&options.target, Target::Script { callable, .. } if callable == "application"));
        let options = serve(&["--set", "wsgi_script_reloading=off", "mysite.wsgi", "app", "--threads=3"]).unwrap();
        assert!(!options.level.is_on(Flag::ScriptReloading));
        assert_eq!(options.process.mode(), Mode::Threads(Limits::new(3)));
        let target = Target::Module { name: "mysite.wsgi".to_owned(), callable: "app".to_owned() };
        assert_eq!(options.target, target);
    }

    #[test]
    fn invalid_arguments_are_reported_in_one_line() {
        let missing = error(&["nothing.py"]);
        assert!(missing.starts_with("there is no file \"/") && missing.ends_with("/nothing.py\""), "{missing}");
        for (arguments, expected) in [
            (&[][..], "no application is named: wsgi-hyper [OPTION]... SCRIPT [CALLABLE], see --help"),
            (&["app.py", "app", "more"], "unexpected argument \"more\""),
            (&["--fast", "app.py"], "invalid option '--fast'"),
            (&["app.py", "--bind"], "missing argument for option '--bind'"),
            (&["app.py", "--prefix", "x"], "--prefix x: it must begin with \"/\""),
            (
                &["app.py", "--prefix", "/a/../.."],
                "--prefix /a/../..: no path of a request can begin with it (a \"%\" is written \"%25\")",
            ),
            (&["app.py", "--body-rate", "-1"], "--body-rate -1: it must be a number of bytes"),
            (&["app.py", "--threads", "0"], INLINE),
            (&["app.py", "--threads", "x"], "--threads x: it must be a number from 1 to 1024"),
            (&["app.py", "--set", "wsgi_fast=on"], "--set wsgi_fast=on: unknown directive \"wsgi_fast\""),
            (&["app.py", "--set", "on"], "--set on: it must be NAME=VALUE"),
            (&["app.py", "--set", "wsgi_var=A 'b"], "--set wsgi_var=A 'b: a quote is not closed"),
            (&["app.py", "--set", "wsgi_threads=2"], "--set wsgi_threads=2: use the option --threads"),
            (&["app.py", "--set", "wsgi_var=A $host"], "wsgi_var A: wsgi-hyper does not support variables of nginx"),
            (
                &["app.py", "--set", "wsgi_thread_stack_size=1"],
                "--set wsgi_thread_stack_size=1: invalid value \"1\" in \"wsgi_thread_stack_size\" directive, it must be a \
                 size from 512k to 1024m",
            ),
            (
                &["app.py", "--set", "wsgi_retire_delay=1s"],
                "--set wsgi_retire_delay=1s: \"wsgi_retire_delay\" directive is not allowed here",
            ),
            (
                &["app.py", "--set", "wsgi_preload="],
                "--set wsgi_preload=: invalid number of arguments in \"wsgi_preload\" directive",
            ),
        ] {
            assert_eq!(error(arguments), expected);
        }
    }
}
