//! docs/directives.md agrees with the table of directives, in both directions.

use std::path::Path;

use wsgi_core::config::{Context, DIRECTIVES, Directive};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/directives.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the text below the heading `## name`.
fn section<'a>(document: &'a str, name: &str) -> &'a str {
    let start = document.find(&format!("\n## {name}\n")).unwrap_or_else(|| panic!("no section \"{name}\""));
    let rest = &document[start + 1..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// Returns the text after `label` in the section's box.
fn field<'a>(section: &'a str, label: &str) -> &'a str {
    let line = section.lines().find(|line| line.starts_with(label));
    line.unwrap_or_else(|| panic!("no {label:?} in {section}"))[label.len()..].trim()
}

fn contexts(directive: &Directive) -> String {
    let names = [
        (Context::Http, "http"),
        (Context::Server, "server"),
        (Context::Location, "location"),
        (Context::IfInLocation, "if in location"),
        (Context::LimitExcept, "limit_except"),
    ];
    let named = names.iter().filter(|(context, _)| directive.contexts.contains(*context)).map(|(_, name)| *name);
    named.collect::<Vec<_>>().join(", ")
}

#[test]
fn every_directive_is_documented_as_it_is() {
    let document = document();
    for directive in DIRECTIVES {
        let section = section(&document, directive.name);
        assert_eq!(field(section, "Syntax:"), directive.syntax);
        assert_eq!(field(section, "Default:"), directive.default.unwrap_or("—"), "{}", directive.name);
        assert_eq!(field(section, "Context:"), contexts(directive), "{}", directive.name);
    }
}

/// The directives of the 2008 module.
const OF_2008: [&str; 17] = [
    "wsgi_python_optimize",
    "wsgi_python_executable",
    "wsgi_python_home",
    "wsgi_enable_subinterpreters",
    "wsgi_use_main_interpreter",
    "wsgi_pass_authorization",
    "wsgi_allow_ranges",
    "wsgi_script_reloading",
    "wsgi_reload_mechanism",
    "wsgi_optimize_send_headers",
    "wsgi_output_buffering",
    "wsgi_write_buffering",
    "wsgi_write_buffer_size",
    "wsgi_temp_path",
    "wsgi_var",
    "wsgi_middleware",
    "wsgi_pass",
];

#[test]
fn every_directive_has_an_example_says_when_not_to_use_it_and_how_it_differs() {
    let document = document();
    for directive in DIRECTIVES {
        let section = section(&document, directive.name);
        let example = section.split("```nginx").nth(1).unwrap_or_else(|| panic!("{} has no example", directive.name));
        assert!(example.contains(directive.name), "the example of {} is another one's", directive.name);
        assert!(section.contains("**When not to use "), "{}", directive.name);
        let differs = section.contains("**Differs from the 2008 module:**");
        assert!(differs || !OF_2008.contains(&directive.name), "{}", directive.name);
    }
    assert!(OF_2008.iter().all(|name| DIRECTIVES.iter().any(|directive| directive.name == *name)));
}

#[test]
fn no_directive_is_documented_that_does_not_exist() {
    let document = document();
    let documented: Vec<_> = document.lines().filter_map(|line| line.strip_prefix("## wsgi_")).collect();
    let existing: Vec<_> = DIRECTIVES.iter().filter_map(|directive| directive.name.strip_prefix("wsgi_")).collect();
    assert_eq!(documented, existing, "headings of docs/directives.md, in the order of the table");
}
