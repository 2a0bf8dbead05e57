//! `wsgi_temp_path`: the directory for responses that do not fit into memory (TMP-*).

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::harness::{HELLO, Mode, Site, body_temp_path, in_both_modes};

const SOURCE: &str = r#"
def application(environ, start_response):
    write = start_response("200 OK", [])
    write(b"x" * 100000)
    return []
"#;

fn site(mode: Mode) -> Site {
    Site::new(mode).file("app.py", SOURCE).http("wsgi_write_buffering on;").location("/", "wsgi_pass app.py;")
}

/// Returns all paths below a directory, parents before children.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in folder.read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        found.push(path.clone());
        if path.is_dir() {
            found.extend(below(&path));
        }
    }
    found
}

#[test]
fn tmp_1_levels_are_folders() {
    in_both_modes(|mode| {
        let nginx = site(mode).without_temp_path().http("wsgi_temp_path here 1 2;").start();
        assert_eq!(nginx.get("/").ok().len(), 100_000);
        let folders = below(&nginx.path("here"));
        let names: Vec<_> = folders.iter().map(|path| path.file_name().map_or(0, |name| name.len())).collect();
        assert_eq!(names, [1, 2], "{folders:?}");
        assert!(folders.iter().all(|path| path.is_dir()));
    });
}

#[test]
fn tmp_2_the_default_is_beside_request_bodies_and_belongs_to_the_workers() {
    // SAFETY: `geteuid` only returns a number.
    let root = unsafe { libc::geteuid() } == 0;
    let site = Site::new(Mode::Threads(1)).without_temp_path().file("app.py", HELLO).location("/", "wsgi_pass app.py;");
    let folder = site.folder().join(body_temp_path()).with_file_name("wsgi_temp");
    // Workers of another user may be unable to read a developer's Python, which is not tested here.
    let site = site.expect_in_log("cannot start Python");
    let nginx = if root { site.user("daemon") } else { site }.start();
    let found = folder.metadata().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    assert!(found.is_dir());
    let worker = Path::new("/proc").join(nginx.worker().to_string()).metadata().expect("a worker");
    assert_eq!(found.uid(), worker.uid());
}

#[test]
fn the_folder_of_responses_is_closed_to_other_users() {
    in_both_modes(|mode| {
        let nginx = site(mode).without_temp_path().http("wsgi_temp_path here 1;").start();
        assert_eq!(nginx.get("/").ok().len(), 100_000);
        for folder in below(&nginx.path("here")).iter().chain([&nginx.path("here")]) {
            let mode = folder.metadata().expect("a folder").mode();
            assert_eq!(mode & 0o077, 0, "{}: {mode:o}", folder.display());
        }
    });
}

#[test]
fn tmp_3_invalid_level_is_refused() {
    for bad in ["0", "4", "x", "-1"] {
        let check = Site::with_defaults().without_temp_path().http(&format!("wsgi_temp_path here {bad};")).check();
        assert!(!check.succeeded);
        let expected = format!("invalid value \"{bad}\" in \"wsgi_temp_path\" directive");
        assert!(check.output.contains(&expected), "{}", check.output);
    }
    let site = Site::with_defaults().without_temp_path();
    let check = site.http("wsgi_temp_path here 1 2 3 1;").check();
    assert!(check.output.contains("invalid number of arguments in \"wsgi_temp_path\""), "{}", check.output);
}

#[test]
fn tmp_3_one_folder_with_two_kinds_of_levels_is_refused() {
    let site = Site::with_defaults().without_temp_path().http("wsgi_temp_path here 1 2;");
    let check = site.file("app.py", HELLO).location("/", "wsgi_pass app.py;\nwsgi_temp_path here 2;").check();
    assert!(!check.succeeded);
    assert!(check.output.contains("different levels"), "{}", check.output);
}

#[test]
fn tmp_4_a_folder_that_is_gone_is_500_and_the_worker_lives() {
    in_both_modes(|mode| {
        let nginx = site(mode).expect_in_log("cannot spool output of").start();
        let worker = nginx.worker();
        std::fs::remove_dir_all(nginx.path("wsgi_temp")).expect("it was there");
        assert_eq!(nginx.get("/").status, 500);
        let line = nginx.logged("cannot spool output of");
        assert!(line.contains("[crit]") && line.contains("No such file or directory"), "{line}");
        nginx.logged("FileNotFoundError");
        std::fs::create_dir(nginx.path("wsgi_temp")).expect("it can be made again");
        assert_eq!(nginx.get("/").ok().len(), 100_000);
        assert_eq!(nginx.worker(), worker);
    });
}

#[test]
fn tmp_5_no_file_remains() {
    in_both_modes(|mode| {
        let nginx = site(mode).start();
        for _ in 0..50 {
            assert_eq!(nginx.get("/").ok().len(), 100_000);
        }
        assert_eq!(below(&nginx.path("wsgi_temp")), [] as [PathBuf; 0]);
    });
}
