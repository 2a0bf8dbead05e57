//! `wsgi_script_reloading` and `wsgi_reload_mechanism`, except the cases in which a process must end (REL-*).

mod destructors;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use wsgi_core::config::{Flag, LevelSettings, Mechanism, Target};
use wsgi_core::host::{Level, WorkerControl};
use wsgi_core::python::Location;
use wsgi_testkit::{App, Captured, Faults, Gate, Host, Stamps, get};

fn says(word: &str) -> String {
    format!("def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{word}']\n")
}

/// Replaces the source, with a time of modification that differs regardless of the clock's resolution.
fn edit(app: &App, source: &str) {
    static HOURS: AtomicU64 = AtomicU64::new(1);
    let path = app.path().expect("a file");
    std::fs::write(path, source).expect("write the script");
    let time = SystemTime::now() + Duration::from_secs(3600 * HOURS.fetch_add(1, Ordering::Relaxed));
    let file = std::fs::File::options().write(true).open(path).expect("the script");
    file.set_modified(time).expect("set the time");
}

fn send(app: &App) -> Captured {
    Host::shared().send(app, get("/"))
}

fn watched(source: &str) -> App {
    Host::shared().app(source).with("wsgi_script_reloading on")
}

#[test]
fn rel_1_without_it_a_change_has_no_effect() {
    let app = Host::shared().app(&says("old"));
    assert_eq!(send(&app).text(), "old");
    edit(&app, &says("new"));
    assert_eq!(send(&app).text(), "old");
}

#[test]
fn rel_2_the_next_request_gets_the_new_version() {
    let app = watched(&says("old"));
    assert_eq!(send(&app).text(), "old");
    edit(&app, &says("new"));
    assert_eq!(send(&app).text(), "new");
    assert_eq!(send(&app).text(), "new");
}

#[test]
fn rel_4_a_broken_version_is_500_logged_once_and_mended_by_the_next() {
    let app = watched(&says("old"));
    assert_eq!(send(&app).text(), "old");
    edit(&app, "def application(:\n");
    let first = send(&app);
    assert_eq!(first.status(), 500);
    assert!(first.log_text(Level::Error).contains("SyntaxError"));
    let second = send(&app);
    assert_eq!((second.status(), second.log_text(Level::Error).as_str()), (500, ""));
    edit(&app, "raise ValueError('at the end')\n");
    assert!(send(&app).log_text(Level::Error).contains("ValueError: at the end"));
    edit(&app, &says("mended"));
    assert_eq!(send(&app).text(), "mended");
}

#[test]
fn rel_4_a_version_that_fails_half_way_serves_nothing_of_itself() {
    let app = watched(&says("old"));
    assert_eq!(send(&app).text(), "old");
    edit(&app, &(says("half") + "raise ValueError\n"));
    assert_eq!(send(&app).status(), 500);
    edit(&app, &says("new"));
    assert_eq!(send(&app).text(), "new");
}

#[test]
fn rel_5_a_running_request_keeps_the_code_it_began_with() {
    let source = "
word = 'WORD'
def application(environ, start_response):
    start_response('200 OK', [])
    yield b'one '
    yield word.encode()
";
    let app = watched(&source.replace("WORD", "old"));
    let script = Faults { stalls_before: vec![1], ..Faults::default() };
    let pending = Host::shared().send_to(&app, get("/"), script);
    while !pending.client().is_stalled() {
        std::thread::yield_now();
    }
    edit(&app, &source.replace("WORD", "new"));
    assert_eq!(send(&app).text(), "one new");
    pending.client().go_on();
    assert_eq!(pending.finish().text(), "one old");
}

#[test]
fn rel_9_a_script_that_is_gone_is_500_until_it_is_back() {
    let app = watched(&says("old"));
    assert_eq!(send(&app).text(), "old");
    std::fs::remove_file(app.path().expect("a file")).expect("it is there");
    let response = send(&app);
    assert_eq!(response.status(), 500);
    assert!(response.log_text(Level::Error).contains("FileNotFoundError"));
    edit(&app, &says("back"));
    assert_eq!(send(&app).text(), "back");
}

#[test]
fn rel_9_a_script_that_becomes_a_pipe_is_500_until_it_is_a_file_and_is_not_waited_for() {
    let app = watched(&says("old"));
    assert_eq!(send(&app).text(), "old");
    let path = app.path().expect("a file").to_owned();
    std::fs::remove_file(&path).expect("remove the script");
    let _pipe = Gate::new(&path);
    for _ in 0..2 {
        let answer = send(&app);
        assert_eq!(answer.status(), 500);
    }
    std::fs::remove_file(&path).expect("remove the pipe");
    edit(&app, &says("new"));
    assert_eq!(send(&app).text(), "new");
}

#[test]
fn rel_10_another_content_of_the_same_size_with_the_old_time_is_a_change() {
    let app = watched(&says("old"));
    assert_eq!(send(&app).text(), "old");
    let path = app.path().expect("a file");
    let time = path.metadata().and_then(|found| found.modified()).expect("the script");
    std::fs::write(path, says("new")).expect("write the script");
    let file = std::fs::File::options().write(true).open(path).expect("the script");
    file.set_modified(time).expect("set the time");
    assert_eq!(send(&app).text(), "new");
}

#[test]
fn rel_10_an_older_file_is_a_change() {
    let app = watched(&says("old"));
    assert_eq!(send(&app).text(), "old");
    let path = app.path().expect("a file");
    std::fs::write(path, says("restored")).expect("write the script");
    let file = std::fs::File::options().write(true).open(path).expect("the script");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).expect("set the time");
    assert_eq!(send(&app).text(), "restored");
}

#[test]
fn rel_13_of_many_quick_edits_the_last_one_counts() {
    let app = watched(&says("000"));
    assert_eq!(send(&app).text(), "000");
    for number in 1..100 {
        let word = format!("{number:03}");
        // Puts another file in the place of the script, as most editors do.
        let path = app.path().expect("a file");
        let beside = path.with_extension("new");
        std::fs::write(&beside, says(&word)).expect("write the script");
        std::fs::rename(&beside, path).expect("put it in place");
        assert_eq!(send(&app).text(), word);
    }
}

#[test]
fn mw_8_the_stack_is_built_anew_around_the_new_version() {
    let app = watched(&says("old")).with("wsgi_middleware wsgiref.validate validator");
    let valid = |word: &str| says(word).replace("[])", "[('Content-Type', 'text/plain')])");
    edit(&app, &valid("old"));
    assert_eq!(send(&app).text(), "old");
    edit(&app, &valid("new"));
    assert_eq!(send(&app).text(), "new");
    edit(&app, &says("wrong"));
    assert!(send(&app).log_text(Level::Error).contains("AssertionError"), "the validator is still there");
}

#[test]
fn two_locations_of_one_script_load_each_version_once() {
    let count = "
import builtins
builtins.loads = getattr(builtins, 'loads', 0) + 1
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(builtins.loads).encode()]
";
    let first = watched(count);
    let target = Target::Script { path: first.path().expect("a file").into(), callable: "application".to_owned() };
    let second = Host::shared().serve(target).with("wsgi_script_reloading on");
    for app in [&first, &second] {
        assert_eq!(send(app).text(), "1");
    }
    edit(&first, count);
    for app in [&second, &first] {
        assert_eq!(send(app).text(), "2");
    }
}

/// A host that can retire, or refuses with an error.
#[derive(Default)]
struct Control {
    refuses: bool,
    calls: AtomicUsize,
    retiring: AtomicBool,
}

impl WorkerControl for Control {
    fn retire(&self) -> io::Result<()> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.refuses {
            return Err(io::Error::other("nobody would follow"));
        }
        self.retiring.store(true, Ordering::Relaxed);
        Ok(())
    }
    fn is_retiring(&self) -> bool {
        self.retiring.load(Ordering::Relaxed)
    }
}

/// Serves the application in a location with this mechanism, these stamps and this control.
fn location(app: &App, mechanism: Mechanism, stamps: Arc<Stamps>, control: Option<Arc<Control>>) -> App {
    let target = Target::Script { path: app.path().expect("a file").into(), callable: "application".to_owned() };
    let mut settings = LevelSettings::default();
    settings.set(Flag::ScriptReloading, true);
    settings.reload_mechanism = Some(mechanism);
    let builder = Location::builder(target).settings(settings).stamps(stamps);
    let builder = match control {
        Some(control) => builder.control(control),
        None => builder,
    };
    App::from(builder.build())
}

#[test]
fn each_request_stats_the_file_once() {
    let stamps = Arc::new(Stamps::default());
    let app = location(&Host::shared().app(&says("x")), Mechanism::Module, stamps.clone(), None);
    for number in 1..=10 {
        assert_eq!(send(&app).text(), "x");
        assert_eq!(stamps.asked(), number);
    }
}

#[test]
fn rel_6_by_process_the_old_version_answers_with_a_refresh_header() {
    let (stamps, control) = (Arc::new(Stamps::default()), Arc::new(Control::default()));
    let file = Host::shared().app(&says("old"));
    let app = location(&file, Mechanism::Process, stamps.clone(), Some(control.clone()));
    let before = send(&app);
    assert_eq!((before.text().as_str(), before.header("Refresh").len()), ("old", 0));
    edit(&file, &says("new"));
    stamps.change();
    for _ in 0..2 {
        let response = send(&app);
        assert_eq!((response.text().as_str(), response.header("Refresh")), ("old", vec!["0".to_owned()]));
    }
    assert!(control.calls.load(Ordering::Relaxed) > 0);
}

#[test]
fn rel_6_a_refresh_of_the_application_stays() {
    let (stamps, control) = (Arc::new(Stamps::default()), Arc::new(Control::default()));
    control.retiring.store(true, Ordering::Relaxed);
    let file = Host::shared().app(&says("x").replace("[])", "[('refresh', '30; url=/')])"));
    let app = location(&file, Mechanism::Process, stamps, Some(control));
    assert_eq!(send(&app).header("Refresh"), ["30; url=/"]);
}

#[test]
fn rel_8_a_host_that_cannot_retire_reloads_the_module_and_warns_once() {
    for (control, reason) in [
        (None, "the server does not support it"),
        (Some(Arc::new(Control { refuses: true, ..Control::default() })), "nobody would follow"),
    ] {
        let stamps = Arc::new(Stamps::default());
        let file = Host::shared().app(&says("old"));
        let app = location(&file, Mechanism::Process, stamps.clone(), control);
        assert_eq!(send(&app).text(), "old");
        let lines = Mutex::new(String::new());
        for number in 1..4 {
            edit(&file, &says(&format!("new{number}")));
            stamps.change();
            let response = send(&app);
            assert_eq!(response.text(), format!("new{number}"));
            assert!(response.header("Refresh").is_empty());
            lines.lock().expect("no panic").push_str(&response.log_text(Level::Warn));
        }
        let lines = lines.into_inner().expect("no panic");
        assert_eq!(lines.lines().count(), 1, "{lines}");
        assert!(lines.contains(reason), "{lines}");
    }
}

#[test]
fn a_module_by_its_name_is_reloaded_from_its_file() {
    let folder = std::env::temp_dir().join(format!("wsgi-testkit-reload-{}", std::process::id()));
    let package = folder.join("wsgi_test_package");
    std::fs::create_dir_all(&package).expect("a folder");
    std::fs::write(package.join("__init__.py"), "").expect("write a package");
    let file = package.join("site.py");
    std::fs::write(&file, says("old")).expect("write a module");
    let path = format!("import sys\nsys.path.insert(0, {folder:?})\n{}", says("ready"));
    assert_eq!(send(&Host::shared().app(&path)).text(), "ready");

    let target = Target::Module { name: "wsgi_test_package.site".to_owned(), callable: "application".to_owned() };
    let app = Host::shared().serve(target).with("wsgi_script_reloading on");
    assert_eq!(send(&app).text(), "old");
    std::fs::write(&file, says("changed")).expect("write a module");
    assert_eq!(send(&app).text(), "changed");
    std::fs::remove_dir_all(folder).expect("a folder");
}

#[test]
fn rel_2_versions_with_destructors_are_replaced_under_load() {
    destructors::versions_are_replaced_under_load(Host::shared());
}
