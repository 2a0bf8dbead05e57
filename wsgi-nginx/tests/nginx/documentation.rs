//! Runs every snippet of README.md, and checks that nginx accepts those of docs/.
//!
//! A snippet is a fenced block below a line `<!-- test: NAME -->`. This file must know each name of README.md.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Site, example_venv, in_both_modes, workspace};

struct Snippet {
    name: String,
    language: String,
    text: String,
}

/// Returns the marked snippets of a text. A block without a mark is an error, since no test would check it.
fn snippets(path: &str) -> Vec<Snippet> {
    let text = std::fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut snippets = Vec::new();
    let (mut name, mut open) = (None, None::<Snippet>);
    for line in text.lines() {
        if let Some(mut snippet) = open.take() {
            if line.trim() == "```" {
                snippets.push(snippet);
            } else {
                snippet.text += &format!("{line}\n");
                open = Some(snippet);
            }
        } else if let Some(language) = line.strip_prefix("```") {
            let name = name.take().unwrap_or_default();
            open = Some(Snippet { name, language: language.to_owned(), text: String::new() });
        } else if let Some(mark) = line.strip_prefix("<!-- test: ") {
            name = Some(mark.trim_end_matches("-->").trim().to_owned());
        }
    }
    snippets
}

fn readme(name: &str) -> String {
    let found = snippets("README.md").into_iter().find(|snippet| snippet.name == name);
    found.unwrap_or_else(|| panic!("README.md has no snippet {name:?}")).text
}

#[test]
fn readme_has_no_snippet_that_is_not_run() {
    let tested = ["two-commands", "first-app", "first-conf", "django-conf", "django-logging", "flask-conf"];
    for snippet in snippets("README.md") {
        assert!(tested.contains(&snippet.name.as_str()), "not run: {:?}\n{}", snippet.name, snippet.text);
    }
}

#[test]
fn readme_two_commands_exist() {
    let text = readme("two-commands");
    let commands: Vec<_> = text.lines().filter_map(|line| line.split('#').next()).map(str::trim).collect();
    assert!(!commands.is_empty());
    for command in commands {
        let target = command.strip_prefix("make ").unwrap_or_else(|| panic!("not a make command: {command:?}"));
        let output = Command::new("make").args(["--dry-run", target]).current_dir(workspace()).output().expect("make");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn readme_first_configuration_serves_the_first_application() {
    let site = Site::with_defaults().file("srv/hello/app.py", readme("first-app"));
    let text = adapted(&site, &readme("first-conf"));
    let nginx = site.whole(&text).start();
    assert_eq!(nginx.get("/world").ok(), "Hello from /world\n");
}

fn new_django_project(venv: &Path, folder: &Path) {
    std::fs::create_dir_all(folder).expect("make a folder");
    let made = Command::new(venv.join("bin/python"))
        .args(["-m", "django", "startproject", "mysite"])
        .arg(folder)
        .status()
        .expect("django-admin can be run");
    assert!(made.success());
}

#[test]
fn readme_django_configuration_serves_a_new_project() {
    let venv = example_venv("django");
    let site =
        Site::with_defaults().file("mime.types", "types {\ntext/css css;\n}\n").file("srv/mysite/static/a.css", "a {}");
    let project: PathBuf = site.path("srv/mysite/project");
    new_django_project(venv, &project);
    symlink(venv, site.path("srv/mysite/venv")).expect("a link");
    let mut text = adapted(&site, &readme("django-conf"));
    text = text.replace("server_name example.com;", "server_name localhost;");
    let nginx = site.whole(&text).start();
    let page = nginx.get("/").ok();
    assert!(page.contains("The install worked successfully"), "{page}");
    let style = nginx.get("/static/a.css");
    assert_eq!((style.ok().as_str(), style.header("Content-Type")), ("a {}", Some("text/css")));
    nginx.logged("mysite.wsgi");
}

/// The project that Django generates, with production settings and a view that fails.
#[test]
fn readme_django_logging_brings_tracebacks_into_the_error_log() {
    let venv = example_venv("django");
    in_both_modes(|mode| {
        let site = Site::new(mode);
        let project = site.path("project");
        new_django_project(venv, &project);
        let settings = project.join("mysite/settings.py");
        let default = std::fs::read_to_string(&settings).expect("settings.py");
        let production =
            default.replace("DEBUG = True", "DEBUG = False").replace("ALLOWED_HOSTS = []", "ALLOWED_HOSTS = ['*']");
        let urls = "
import logging
from django.urls import path
def fails(request):
    logging.getLogger('mysite').warning('a warning')
    raise ValueError('a mistake')
urlpatterns = [path('', fails)]
";
        std::fs::write(project.join("mysite/urls.py"), urls).expect("write urls.py");
        std::fs::write(&settings, production + "\n" + &readme("django-logging")).expect("write settings.py");
        let nginx = site
            .http(&format!("wsgi_python_home {};\nwsgi_python_path {};", venv.display(), project.display()))
            .location("/", "wsgi_pass mysite.wsgi;")
            .start();
        let page = nginx.get("/");
        assert!(page.status == 500 && !page.text().contains("a mistake"), "{page:?}");
        for text in
            ["Internal Server Error: /", "Traceback (most recent call last):", "ValueError: a mistake", "a warning"]
        {
            let record = nginx.logged(text);
            assert!(record.contains("[error]") && record.contains("request: \"GET / HTTP/1.1\""), "{record}");
        }
        assert_eq!(nginx.log_lines("ValueError: a mistake").len(), 1);
    });
}

#[test]
fn readme_flask_configuration_serves_flask() {
    let source =
        "from flask import Flask\napp = Flask(__name__)\n@app.get('/')\ndef index():\n    return 'from Flask'\n";
    let venv = example_venv("flask");
    let site = Site::with_defaults().file("srv/mysite/app.py", source);
    let text = adapted(&site, &readme("flask-conf"));
    let nginx = site.http(&format!("wsgi_python_home {};", venv.display())).server(&text).start();
    assert_eq!(nginx.get("/").ok(), "from Flask");
}

#[test]
fn configurations_in_the_documentation_are_accepted() {
    let mut tested = 0;
    let folder = std::fs::read_dir(workspace().join("docs")).expect("docs");
    for entry in folder.map(|entry| entry.expect("an entry")) {
        let path = format!("docs/{}", entry.file_name().to_string_lossy());
        if !path.ends_with(".md") {
            continue;
        }
        for snippet in snippets(&path).into_iter().filter(|snippet| snippet.language == "nginx") {
            assert!(!snippet.name.is_empty(), "{path} has a configuration without a mark:\n{}", snippet.text);
            accept(&path, &snippet);
            tested += 1;
        }
    }
    assert!(tested > 0);
}

/// Checks a configuration, or a part of one, with the directories it names.
fn accept(path: &str, snippet: &Snippet) {
    let site = Site::with_defaults();
    for folder in snippet.text.split(|character: char| character.is_whitespace() || ";:".contains(character)) {
        if let Some(folder) = folder.strip_prefix("/srv/").filter(|folder| !folder.ends_with(".py")) {
            let path = site.path("srv").join(folder);
            if folder.contains("/bin/") {
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
                std::os::unix::fs::symlink("/bin/true", path).expect("make a program");
            } else {
                std::fs::create_dir_all(path).expect("make a folder");
            }
        }
    }
    let text = &snippet.text;
    let site = if text.contains("wsgi_temp_path") { site.without_temp_path() } else { site };
    let has = |block: &str| text.lines().any(|line| line.starts_with(block));
    let site = if has("http {") || has("events") {
        let text = if has("events") { text.clone() } else { format!("events {{\n}}\n{text}") };
        let text = adapted(&site, &text);
        site.whole(&text)
    } else if has("location") {
        let text = adapted(&site, text);
        site.server(&text)
    } else {
        let text = adapted(&site, text);
        site.http(&text)
    };
    let check = site.check();
    assert!(check.succeeded, "{} in {path} is refused:\n{}\n{}", snippet.name, snippet.text, check.output);
}

/// Returns the text of a complete configuration with the site's directory, port and user.
fn adapted(site: &Site, text: &str) -> String {
    let text = text.replace(" /srv/", &format!(" {}/srv/", site.folder().display()));
    let listen = format!("listen 127.0.0.1:{};", site.port());
    let text = text.replace("listen 80;", &listen).replace("listen 8000;", &listen);
    let kept = text.lines().filter(|line| !line.starts_with("user ") && !line.starts_with("load_module "));
    // `nginx -t` creates the Unix sockets of `listen`.
    let kept = kept.map(|line| if line.trim_start().starts_with("listen unix:") { &listen } else { line });
    kept.map(|line| format!("{line}\n")).collect()
}
