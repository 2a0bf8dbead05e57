//! Directives with any arguments: nothing panics, a message is one line and names its directive, and an accepted value is the
//! value that was written.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;
use wsgi_core::config::{
    Context, DirectiveError, Flag, LevelSettings, Limits, Lines, Mechanism, Mode, Place, ProcessSettings, Scope,
    Target, apply_line, directive,
};
use wsgi_core::host::AccelHeader;

use crate::fields;

/// Separates the words of a directive.
const WORDS: u8 = 0x1f;

/// Applies directives one after the other in one block; the first byte selects the context.
pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let context = match kind {
        b'h' => Context::Http,
        b's' => Context::Server,
        b'i' => Context::IfInLocation,
        b'e' => Context::LimitExcept,
        _ => Context::Location,
    };
    block(data, context);
    lines(data);
    if let Ok(text) = std::str::from_utf8(data) {
        match text.parse::<Target>() {
            Ok(target) => self::target(&target),
            Err(error) => one_line(&error.to_string()),
        }
    }
}

fn block(data: &[u8], context: Context) {
    let (mut level, mut process) = (LevelSettings::default(), ProcessSettings::default());
    for (index, line) in fields(data).enumerate() {
        let words: Vec<&[u8]> = line.split(|byte| *byte == WORDS).collect();
        let (name, arguments) = words.split_first().expect("a split gives one part at least");
        let known = std::str::from_utf8(name).ok().and_then(directive);
        let mut scope = Scope::new(
            &mut level,
            &mut process,
            context,
            Place { file: "nginx.conf".to_owned(), line: index + 1 },
            folder(),
        );
        let result = match known {
            Some(known) => known.apply(&mut scope, arguments),
            None => match apply_line(&String::from_utf8_lossy(name), &mut scope) {
                // A name with white space around it is accepted.
                Ok(()) => return,
                error => error,
            },
        };
        for notice in scope.notices {
            one_line(&notice.text);
        }
        match (result, known) {
            (Ok(()), Some(known)) => {
                assert!(known.contexts.contains(context) && known.arguments.contains(&arguments.len()));
                accepted(known.name, arguments, &level, &process);
            }
            (Err(error), known) => {
                if let Some(known) = known {
                    refused(&error, known.name, arguments);
                }
                one_line(&error.to_string());
                return;
            }
            (Ok(()), None) => unreachable!("an unknown directive is an error"),
        }
    }
    if let Err(error) = process.check() {
        one_line(&error.to_string());
    }
    inherited(&level);
}

/// Checks that a message names its directive, and that no valid value was refused.
fn refused(error: &DirectiveError, name: &str, arguments: &[&[u8]]) {
    assert!(error.to_string().contains(&format!("\"{name}\"")), "{error}");
    let right = match (name, arguments) {
        ("wsgi_retire_delay", [argument]) => time(argument).is_some(),
        ("wsgi_write_buffer_size" | "wsgi_body_buffer_size", [argument]) => size(argument).is_some(),
        ("wsgi_threads", [number]) => number_of(number, 0, 1024).is_some(),
        ("wsgi_thread_stack_size", [argument]) => {
            size(argument).is_some_and(|size| (512 << 10..=1 << 30).contains(&size))
        }
        ("wsgi_share_load", [argument]) => switch(argument).is_some(),
        ("wsgi_python_optimize", [number]) => number_of(number, 0, 2).is_some(),
        ("wsgi_reload_mechanism", [argument]) => matches!(*argument, b"module" | b"process"),
        _ => return,
    };
    assert!(!right || !matches!(error, DirectiveError::InvalidValue { .. }), "{error}");
}

/// Checks that a directive was stored with the value that this file's parser reads.
fn accepted(name: &str, arguments: &[&[u8]], level: &LevelSettings, process: &ProcessSettings) {
    let first = arguments[0];
    match name {
        "wsgi_pass" => {
            let Some(found) = &level.target else { panic!("an application is named") };
            target(found);
            let (Target::Script { callable, .. } | Target::Module { callable, .. }) = found;
            assert_eq!(callable.as_bytes(), arguments.get(1).copied().unwrap_or(b"application"));
        }
        "wsgi_var" => {
            let variable = level.variables.last().expect("a variable is set");
            assert_eq!((variable.name.as_bytes(), &*variable.value), (first, arguments[1]));
            let same = level.variables.iter().filter(|other| other.name == variable.name);
            assert_eq!(same.count(), 1, "each name once");
            assert!(!variable.name.starts_with("wsgi.") && !variable.name.contains(['=', '\0', '\n']));
        }
        "wsgi_middleware" if *arguments == [b"off"] => assert!(level.middleware.as_ref().is_some_and(Vec::is_empty)),
        "wsgi_middleware" => {
            let layer = level.middleware.as_ref().and_then(|stack| stack.last()).expect("a layer is added");
            assert_eq!(layer.module.as_bytes(), first);
            assert_eq!(layer.callable.as_bytes(), arguments.get(1).copied().unwrap_or(b"middleware"));
            one_line(&layer.to_string());
        }
        "wsgi_reload_mechanism" => {
            let expected = if first == b"module" { Mechanism::Module } else { Mechanism::Process };
            assert!(level.reload_mechanism == Some(expected) && matches!(first, b"module" | b"process"));
        }
        "wsgi_ignore_headers" => {
            let ignored = level.ignored_headers.expect("a header is named");
            for argument in arguments {
                assert!(AccelHeader::named(argument).is_some_and(|header| ignored.contains(header)));
            }
        }
        "wsgi_share_load" => assert_eq!(Some(process.shares_load()), switch(first)),
        "wsgi_retire_delay" => assert_eq!(Some(process.retire_delay()), time(first)),
        "wsgi_write_buffer_size" => assert_eq!(Some(level.write_buffer_size()), size(first)),
        "wsgi_body_buffer_size" => assert_eq!(Some(level.body_buffer_size()), size(first)),
        "wsgi_temp_path" => {
            let folder = level.temp_path.as_ref().expect("a folder is set");
            absolute(&folder.path);
            let levels: Vec<_> = arguments[1..].iter().map(|level| number_of(level, 1, 3)).collect();
            assert_eq!(folder.levels.iter().map(|level| Some(*level)).collect::<Vec<_>>(), levels);
        }
        "wsgi_threads" => {
            let permits = number_of(first, 0, 1024).expect("a number of threads");
            let max = arguments.get(1).map(|argument| {
                let digits = argument.strip_prefix(b"max=").expect("a limit");
                number_of(digits, permits, 16384).expect("a number of threads")
            });
            assert_eq!(
                process.mode(),
                match permits {
                    0 => Mode::Inline,
                    _ => Mode::Threads(Limits::new(permits).max_threads(max.unwrap_or(permits.max(256)))),
                }
            );
        }
        "wsgi_thread_stack_size" => {
            // An earlier line may have chosen inline execution.
            if let Mode::Threads(limits) = process.mode() {
                assert_eq!(Some(limits.stack.bytes()), size(first));
            }
        }
        "wsgi_python_optimize" => {
            assert_eq!(process.optimize().map(usize::from), number_of(first, 0, 2));
        }
        "wsgi_python_home" => assert!(process.home().is_some_and(Path::is_absolute)),
        "wsgi_python_executable" => assert!(process.executable().is_some_and(|path| path.is_file())),
        "wsgi_python_path" => {
            let folders = process.path();
            folders.iter().for_each(|folder| absolute(folder));
            assert!(folders.iter().enumerate().all(|(index, folder)| !folders[..index].contains(folder)));
        }
        _ => {
            let (_, flag) = FLAGS.iter().find(|(flag, _)| *flag == name).expect("whatever is left is a switch");
            assert_eq!(Some(level.is_on(*flag)), switch(first));
        }
    }
}

const FLAGS: [(&str, Flag); Flag::ALL.len()] = [
    ("wsgi_preload", Flag::Preload),
    ("wsgi_pass_authorization", Flag::PassAuthorization),
    ("wsgi_enable_subinterpreters", Flag::Subinterpreters),
    ("wsgi_use_main_interpreter", Flag::MainInterpreter),
    ("wsgi_allow_ranges", Flag::AllowRanges),
    ("wsgi_optimize_send_headers", Flag::OptimizeSendHeaders),
    ("wsgi_output_buffering", Flag::OutputBuffering),
    ("wsgi_write_buffering", Flag::WriteBuffering),
    ("wsgi_script_reloading", Flag::ScriptReloading),
    ("wsgi_strict", Flag::Strict),
];

/// Parses `on` or `off`.
fn switch(text: &[u8]) -> Option<bool> {
    let is = |word: &[u8]| text.eq_ignore_ascii_case(word);
    (is(b"on") || is(b"off")).then(|| is(b"on"))
}

/// Parses digits only, as a number between `least` and `most`.
fn number_of(digits: &[u8], least: usize, most: usize) -> Option<usize> {
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = digits
        .iter()
        .try_fold(0usize, |number, digit| number.checked_mul(10)?.checked_add(usize::from(digit.wrapping_sub(b'0'))))?;
    (valid && (least..=most).contains(&number)).then_some(number)
}

fn size(text: &[u8]) -> Option<usize> {
    let unit = match text.last()?.to_ascii_lowercase() {
        b'k' => 1024,
        b'm' => 1024 * 1024,
        _ => return number_of(text, 1024, usize::MAX),
    };
    number_of(&text[..text.len() - 1], 0, usize::MAX)?.checked_mul(unit).filter(|size| *size >= 1024)
}

fn time(text: &[u8]) -> Option<Duration> {
    let units: [(&[u8], u64); 6] =
        [(b"ms", 1), (b"s", 1000), (b"m", 60_000), (b"h", 3_600_000), (b"d", 86_400_000), (b"", 1000)];
    let (digits, unit) = units.iter().find_map(|(unit, long)| Some((text.strip_suffix(*unit)?, long)))?;
    Some(Duration::from_millis((number_of(digits, 0, usize::MAX)? as u64).checked_mul(*unit)?))
}

/// Checks that an empty block inherits all settings of the block around it.
fn inherited(outer: &LevelSettings) {
    for nameless in [false, true] {
        let mut inner = LevelSettings::default();
        inner.inherit(outer, nameless);
        assert!(Flag::ALL.iter().all(|flag| inner.is_on(*flag) == outer.is_on(*flag)));
        assert_eq!(inner.write_buffer_size(), outer.write_buffer_size());
        assert_eq!(inner.body_buffer_size(), outer.body_buffer_size());
        assert_eq!(inner.temp_path, outer.temp_path);
        assert_eq!(inner.target.as_ref(), outer.target.as_ref().filter(|_| nameless));
        let names = |level: &LevelSettings| -> Vec<_> {
            level.variables.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect()
        };
        assert_eq!(names(&inner), names(outer));
    }
}

/// Applies the same directives as lines of text, for programs without blocks.
fn lines(data: &[u8]) {
    let text: Vec<String> =
        fields(data).map(|line| String::from_utf8_lossy(line).replace(char::from(WORDS), " ")).collect();
    match Lines::new(&text, folder()) {
        Ok(lines) => lines.notices.iter().for_each(|notice| one_line(&notice.text)),
        Err(error) => one_line(&error.to_string()),
    }
}

fn target(target: &Target) {
    one_line(&target.to_string());
    let callable = match target {
        Target::Script { path, callable } => {
            absolute(path);
            callable
        }
        Target::Module { name, callable } => {
            assert!(name.split('.').all(identifier), "{name}");
            callable
        }
    };
    assert!(callable.split('.').all(identifier), "{callable}");
}

fn identifier(name: &str) -> bool {
    let plain = |character: char| character == '_' || character.is_alphanumeric();
    !name.is_empty() && name.chars().all(plain) && !name.starts_with(char::is_numeric)
}

fn absolute(path: &Path) {
    assert!(path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0));
}

/// Checks that a message is one line: nginx appends file name and line number.
fn one_line(text: &str) {
    assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
}

/// The folder that relative paths start from: it has a home, a virtual environment and applications.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let make = || {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["home/bin", "venv/bin"] {
            fs::create_dir_all(at(name)).expect("a folder");
        }
        for name in ["home/bin/python", "venv/bin/python", "venv/pyvenv.cfg", "plain", "app.py", "site.wsgi", "a:b"] {
            fs::write(at(name), "").expect("a file");
            let mode = if name.ends_with("python") { 0o755 } else { 0o644 };
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).expect("a file of our own");
        }
        folder
    };
    FOLDER.get_or_init(make).path()
}
