//! Tests of the table and its setters with arguments of operators.

use std::path::Path;

use proptest::prelude::*;

use super::super::{Context, Layer, LevelSettings, Mode, Notice, Place, ProcessSettings};
use super::*;
use crate::error_log::Level;

/// One block of a configuration while it is read.
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
        let mut scope = Scope::new(
            &mut self.level,
            &mut self.process,
            context,
            Place { file: file.to_owned(), line: self.line },
            Path::new("/nonexistent"),
        );
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
        // nginx supports up to seven arguments.
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
        assert_eq!(block.process.mode(), ProcessSettings::default().mode());
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
    assert_eq!(block.process.mode(), Mode::Inline);
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
