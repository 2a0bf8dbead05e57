//! Mistakes of beginners, and the hints in the error log. Also scripts that are imported by their name.

use std::path::Path;

use wsgi_core::config::Target;
use wsgi_core::host::Level;
use wsgi_testkit::{App, Captured, Host, get};

fn send(app: &App) -> Captured {
    Host::shared().send(app, get("/"))
}

/// Serves the script in a file.
fn at(path: &Path) -> App {
    Host::shared().serve(Target::Script { path: path.to_owned(), callable: "application".to_owned() })
}

/// Returns the error log of a request to a script that is refused.
fn refused(source: &str) -> String {
    let captured = send(&Host::shared().app(source));
    assert_eq!(captured.status(), 500, "{source}");
    captured.log_text(Level::Debug)
}

const ANSWERS: &str = "(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hello']\n";

#[test]
fn a_callable_of_another_name_is_pointed_out() {
    for (source, hint) in [
        (format!("def app{ANSWERS}"), "it has a callable \"app\": name it after the script"),
        (
            "class Site:\n    def __call__(self, environ, start_response): pass\nblog = Site()\n".to_owned(),
            "it has a callable \"blog\": name it after the script",
        ),
        ("def main(e, s): pass\n".to_owned(), "it has a callable \"main\": name it after the script"),
        (
            "class Site:\n    def __call__(self, environ, start_response): pass\n".to_owned(),
            "it has a class \"Site\", whose instances may be applications: add the line \"application = Site()\"",
        ),
        ("def create_app(): pass\n".to_owned(), "add the line \"application = create_app()\""),
        // Proxies of frameworks raise on access outside of a request.
        (
            format!(
                "class Proxy:\n    def __getattribute__(self, name): raise RuntimeError(name)\nfirst = Proxy()\ndef app{ANSWERS}"
            ),
            "it has a callable \"app\"",
        ),
    ] {
        let log = refused(&source);
        assert!(log.contains("has no callable \"application\"") && log.contains(hint), "{source}: {log}");
    }
    let log = refused("def helper(): pass\nclass Model: pass\n");
    assert!(log.contains("has no callable") && !log.contains("it has a"), "{log}");
}

#[test]
fn asgi_application_is_reported_as_such() {
    for source in [
        "class Asgi:\n    async def __call__(self, scope, receive, send): pass\napplication = Asgi()\n",
        "async def application(scope, receive, send): pass\n",
        "class Asgi:\n    def __call__(self, scope, receive, send): pass\napplication = Asgi()\n",
        "def application(scope): pass\n",
        "class Asgi:\n    async def handle(self, scope, receive, send): pass\napplication = Asgi().handle\n",
    ] {
        let log = refused(source);
        assert!(log.contains("is an ASGI application, not a WSGI application"), "{source}: {log}");
        assert!(!log.contains("Traceback"), "{log}");
    }
    let log = refused("async def application(environ, start_response): pass\n");
    assert!(log.contains("is a coroutine function (async def), but WSGI needs a plain function"), "{log}");
}

#[test]
fn callable_that_does_not_take_two_arguments_is_called_with_a_warning() {
    for (source, taken) in [
        ("def application(): pass\n", "takes ()"),
        ("def application(config=None): pass\n", "takes (config)"),
        ("def application(environ): pass\n", "takes (environ)"),
        (
            "class Site:\n    def __call__(self, environ, start_response, more): pass\napplication = Site()\n",
            "takes (environ, start_response, more)",
        ),
        ("def application(environ, start_response, *, more): pass\n", "takes (environ, start_response)"),
    ] {
        let log = refused(source);
        assert!(log.contains(taken) && log.contains("if it returns an application"), "{source}: {log}");
        assert!(log.contains("TypeError"), "{log}");
    }
}

#[test]
fn callables_that_take_two_arguments_get_no_warning() {
    let body = "    start_response('200 OK', [])\n    return [b'hello']\n";
    for source in [
        format!("def application(environ, start_response, more=1, *, other=2):\n{body}"),
        format!("def application(*arguments):\n    environ, start_response = arguments\n{body}"),
        format!(
            "def inner{ANSWERS}\nclass Application:\n    def __init__(self, environ, start_response):\n        self.body = inner(environ, start_response)\n    def __iter__(self): return iter(self.body)\napplication = Application\n"
        ),
        format!("def inner{ANSWERS}\nimport functools\napplication = functools.partial(inner)\n"),
        format!(
            "def inner{ANSWERS}\nimport functools\n@functools.wraps(print)\ndef application(environ, start_response): return inner(environ, start_response)\n"
        ),
        str::to_owned(
            "class Site:\n    @staticmethod\n    def __call__(environ, start_response):\n        start_response('200 OK', [])\n        return [b'hello']\napplication = Site()\n",
        ),
        str::to_owned(
            "class Site:\n    @classmethod\n    def serve(cls, environ, start_response):\n        start_response('200 OK', [])\n        return [b'hello']\napplication = Site.serve\n",
        ),
    ] {
        let captured = send(&Host::shared().app(&source));
        let log = captured.log_text(Level::Warn);
        assert_eq!((captured.text(), log), ("hello".to_owned(), String::new()), "{source}");
    }
}

/// A script in a folder on `sys.path`, with modules beside it. `STEM` stands for the name of the script.
struct Site {
    app: App,
    stem: String,
}

impl Site {
    fn new(source: &str, others: &[(&str, &str)]) -> Self {
        let header = "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\n";
        let app = Host::shared().app(&format!("{header}{source}"));
        let path = app.path().expect("a file").to_owned();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        for (name, source) in others {
            let file = path.with_file_name(name);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("make a folder");
            std::fs::write(file, source.replace("STEM", &stem)).expect("write a module");
        }
        std::fs::write(&path, format!("{header}{source}").replace("STEM", &stem)).expect("write the script");
        Self { app, stem }
    }

    fn text(&self) -> String {
        let captured = send(&self.app);
        assert_eq!(captured.status(), 200, "{}", captured.log_text(Level::Debug));
        captured.text()
    }
}

const TELLS: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(tell()).encode()]
";

#[test]
fn a_script_that_is_imported_by_its_own_name_runs_once() {
    let source = format!(
        "runs = globals().get('runs', 0) + 1\nclass Database: pass\ndb = Database()\nimport models_once\ndef tell():\n    import STEM\n    return models_once.db is db, STEM.db is db, runs, __name__.startswith('_wsgi_'), STEM.__name__ == __name__\n{TELLS}"
    );
    let site = Site::new(&source, &[("models_once.py", "from STEM import db\n")]);
    assert_eq!(site.text(), "(True, True, 1, True, True)");
}

#[test]
fn circular_import_is_reported_as_such() {
    let site = Site::new("import models_circular\ndb = 1\n", &[("models_circular.py", "from STEM import db\n")]);
    let captured = send(&site.app);
    let log = captured.log_text(Level::Debug);
    assert_eq!(captured.status(), 500, "{log}");
    assert!(log.contains("partially initialized module") && log.contains("circular import"), "{log}");
}

#[test]
fn a_class_whose_objects_are_applications_is_pointed_out() {
    let log = refused("class Site:\n    def __call__(self, environ, start_response): pass\napplication = Site\n");
    assert!(log.contains("is a class whose instances are called with environ and start_response"), "{log}");
    assert!(log.contains("\"application = Site()\""), "{log}");
}

#[test]
fn a_script_within_a_package_is_found_there() {
    let source = format!(
        "import os\nparent = os.path.dirname(os.path.dirname(__file__))\nvalue = object()\n{TELLS}\ndef tell():\n    return 'unused'\n"
    );
    let outer = Site::new(
        &source,
        &[
            ("package_of_script/__init__.py", ""),
            (
                "package_of_script/wsgi.py",
                "import sys\nvalue = object()\ndef application(environ, start_response):\n    import package_of_script, package_of_script.wsgi\n    from package_of_script import wsgi\n    start_response('200 OK', [])\n    return [str((package_of_script.wsgi.value is value, wsgi.value is value)).encode()]\n",
            ),
        ],
    );
    assert_eq!(outer.text(), "unused");
    let path = outer.app.path().expect("a file").with_file_name("package_of_script").join("wsgi.py");
    let inner = at(&path);
    assert_eq!(send(&inner).text(), "(True, True)");
}

#[test]
fn scripts_of_one_name_in_two_folders_do_not_mix() {
    let folder = |word: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let source = format!(
            "word = '{word}'\ndef application(environ, start_response):\n    import twin_script\n    start_response('200 OK', [])\n    return [(word + ' ' + twin_script.word).encode()]\n"
        );
        std::fs::write(folder.path().join("twin_script.py"), source).expect("write");
        folder
    };
    let (first, second) = (folder("first"), folder("second"));
    let app = |folder: &tempfile::TempDir| at(&folder.path().join("twin_script.py"));
    let (one, two) = (app(&first), app(&second));
    // Only the second script's folder is on `sys.path`.
    let path = format!("import sys\nsys.path.insert(0, {:?})\ndef application{ANSWERS}", second.path());
    assert_eq!(send(&Host::shared().app(&path)).text(), "hello");
    assert_eq!(send(&two).text(), "second second");
    assert_eq!(send(&one).text(), "first second");
}

#[test]
fn a_script_that_was_imported_before_it_is_loaded_is_warned_about() {
    let source = format!("def tell():\n    import late_script\n    return 'imported'\n{TELLS}");
    let site = Site::new(&source, &[("late_script.py", &format!("def application{ANSWERS}"))]);
    assert_eq!(site.text(), "imported");
    let late = at(&site.app.path().expect("a file").with_file_name("late_script.py"));
    let captured = send(&late);
    assert_eq!(captured.text(), "hello");
    let log = captured.log_text(Level::Warn);
    assert!(log.contains("runs a second time: it was imported before, as module \"late_script\""), "{log}");
    assert!(log.contains("\"wsgi_pass late_script\" serves"), "{log}");
}

#[test]
fn import_does_not_find_a_script_that_failed() {
    let source = "import failing_helper\nraise ValueError('expected')\n";
    let site = Site::new(source, &[("failing_helper.py", "import STEM\n")]);
    assert_eq!(send(&site.app).status(), 500);
    let check = format!("import sys\ndef tell(): return '{}' in sys.modules\n{TELLS}", site.stem);
    assert_eq!(send(&Host::shared().app(&check)).text(), "False");
}

#[test]
fn import_finds_the_reloaded_script() {
    let source = format!(
        "version = 1\nimport follower\ndef tell():\n    import STEM\n    return version, STEM.version, follower.late()\n{TELLS}"
    );
    let site = Site::new(
        &source,
        &[(
            "follower.py",
            "import STEM\ndef late():\n    return sys_version()\ndef sys_version():\n    import STEM\n    return STEM.version\n",
        )],
    );
    let app = site.app.with("wsgi_script_reloading on");
    assert_eq!(send(&app).text(), "(1, 1, 1)");
    let path = app.path().expect("a file");
    let text = std::fs::read_to_string(path).expect("the script");
    for (version, expected) in [
        ("version = 22", "(22, 22, 22)"),
        ("version = 333; raise ValueError", "500"),
        ("version = 4444", "(4444, 4444, 4444)"),
    ] {
        std::fs::write(path, text.replace("version = 1", version)).expect("write the script");
        let captured = send(&app);
        let found = if captured.status() == 200 { captured.text() } else { captured.status().to_string() };
        assert_eq!(found, expected);
    }
}
