use std::fs;
use std::os::unix::fs::symlink;

use super::*;

fn argument<'a>(directive: &'static str, bytes: &'a [u8]) -> Argument<'a> {
    Argument { directive, bytes }
}

fn place(line: usize) -> Place {
    Place { file: "nginx.conf".to_owned(), line }
}

/// Makes a folder with `base` and `other` (homes), `venv` (a virtual environment whose python is a link to
/// `base/bin/python`), and `plain`, which is not executable.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name| folder.path().join(name);
    for name in ["base/bin", "other/bin", "venv/bin"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    for name in ["base/bin/python", "other/bin/python", "plain", "venv/pyvenv.cfg"] {
        fs::write(at(name), "").unwrap();
        let mode = if name.ends_with("python") { 0o755 } else { 0o644 };
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink(at("base/bin/python"), at("venv/bin/python")).unwrap();
    symlink(at("venv"), at("current")).unwrap();
    folder
}

fn home(settings: &mut ProcessSettings, folder: &Path, value: &str, line: usize) -> Result<(), DirectiveError> {
    settings.set_home(argument("wsgi_python_home", value.as_bytes()), folder, &place(line))
}

fn executable(settings: &mut ProcessSettings, folder: &Path, value: &str) -> Result<(), DirectiveError> {
    settings.set_executable(argument("wsgi_python_executable", value.as_bytes()), folder, &place(7))
}

#[test]
fn an_equal_value_may_be_repeated_in_another_spelling() {
    let folder = folder();
    let mut settings = ProcessSettings::default();
    home(&mut settings, folder.path(), "base", 1).unwrap();
    home(&mut settings, folder.path(), "./base//", 2).unwrap();
    home(&mut settings, folder.path(), folder.path().join("base").to_str().unwrap(), 3).unwrap();
    assert_eq!(settings.home(), Some(&*folder.path().join("base")));
}

#[test]
fn a_different_value_names_both_and_the_first_place() {
    let folder = folder();
    let mut settings = ProcessSettings::default();
    home(&mut settings, folder.path(), "base", 3).unwrap();
    home(&mut settings, folder.path(), "base", 5).unwrap();
    let error = home(&mut settings, folder.path(), "other", 9).unwrap_err().to_string();
    let at = folder.path().display();
    assert_eq!(
        error,
        format!(
            "\"wsgi_python_home\" directive has the value \"{at}/other\" here but \"{at}/base\" in nginx.conf:3; \
             there is one Python for the whole configuration"
        )
    );
}

#[test]
fn a_home_must_be_a_folder() {
    let folder = folder();
    let at = folder.path().display();
    for (value, named) in [("missing", "missing"), ("plain", "plain"), ("base:missing", "missing")] {
        let error = home(&mut ProcessSettings::default(), folder.path(), value, 1).unwrap_err().to_string();
        assert_eq!(error, format!("\"{at}/{named}\" in \"wsgi_python_home\" directive is not a folder"));
    }
}

#[test]
fn a_home_may_be_prefix_and_exec_prefix() {
    let folder = folder();
    let mut settings = ProcessSettings::default();
    home(&mut settings, folder.path(), "base/:other", 1).unwrap();
    let at = folder.path().display();
    assert_eq!(settings.home(), Some(Path::new(&format!("{at}/base:{at}/other"))));
    for bad in ["base:", ":base", "base:other:base", ""] {
        assert!(home(&mut ProcessSettings::default(), folder.path(), bad, 1).is_err(), "{bad:?}");
    }
}

#[test]
fn wsgi_python_executable_must_be_an_executable_file() {
    let folder = folder();
    let at = folder.path().display();
    let error = |value| executable(&mut ProcessSettings::default(), folder.path(), value).unwrap_err().to_string();
    let directive = "in \"wsgi_python_executable\" directive";
    assert!(error("missing").starts_with(&format!("\"{at}/missing\" {directive} cannot be used: No such file")));
    assert_eq!(error("base"), format!("\"{at}/base\" {directive} is not a file"));
    assert_eq!(error("plain"), format!("\"{at}/plain\" {directive} is not executable"));
}

#[test]
fn the_executable_of_a_virtual_environment_is_not_followed_to_its_base() {
    let folder = folder();
    let mut settings = ProcessSettings::default();
    executable(&mut settings, folder.path(), "venv/bin/python").unwrap();
    assert_eq!(settings.executable(), Some(&*folder.path().join("venv/bin/python")));
}

#[test]
fn an_executable_beside_the_virtual_environment_is_refused() {
    let folder = folder();
    let check = |home_value, executable_value| {
        let mut settings = ProcessSettings::default();
        home(&mut settings, folder.path(), home_value, 2).unwrap();
        executable(&mut settings, folder.path(), executable_value).unwrap();
        settings.check()
    };
    assert_eq!(check("venv", "venv/bin/python"), Ok(()));
    assert_eq!(check("current", "venv/bin/python"), Ok(()));
    assert_eq!(check("base", "other/bin/python"), Ok(()), "a plain home needs no executable of its own");
    assert!(check("venv", "venv/../other/bin/python").is_err());
    let error = check("venv", "base/bin/python").unwrap_err().to_string();
    assert!(error.contains("nginx.conf:2") && error.contains("nginx.conf:7"), "{error}");
    assert_eq!(ProcessSettings::default().check(), Ok(()));
}

#[test]
fn optimize_is_a_level_and_the_same_everywhere() {
    let mut settings = ProcessSettings::default();
    assert_eq!(settings.optimize(), None);
    let mut set = |value: &str, line| {
        let argument = argument("wsgi_python_optimize", value.as_bytes());
        settings.set_optimize(argument, &place(line)).map_err(|error| error.to_string())
    };
    for bad in ["-1", "3", "", "x", "0x1"] {
        assert!(set(bad, 1).unwrap_err().contains("it must be 0, 1 or 2"));
    }
    assert_eq!((set("1", 2), set("01", 3)), (Ok(()), Ok(())));
    let error = set("2", 4).unwrap_err();
    assert!(error.contains("\"2\"") && error.contains("\"1\" in nginx.conf:2"), "{error}");
    assert_eq!(settings.optimize(), Some(1));
}

#[test]
fn folders_of_outer_levels_come_first_and_once() {
    let mut settings = ProcessSettings::default();
    let mut add = |context, value: &str| {
        settings.add_path(argument("wsgi_python_path", value.as_bytes()), Path::new("/srv"), context).unwrap()
    };
    assert_eq!(add(Context::Location, "/nonexistent/c:a/"), [Path::new("/nonexistent/c"), Path::new("/srv/a")]);
    add(Context::Http, "/a:/b");
    add(Context::Location, "/b:/d");
    add(Context::Server, "/c:/a");
    add(Context::Http, "/e");
    let expected = ["/a", "/b", "/e", "/c", "/nonexistent/c", "/srv/a", "/d"];
    assert_eq!(settings.path(), expected.map(PathBuf::from));
}

#[test]
fn an_empty_entry_does_not_become_the_current_folder() {
    for bad in ["", ":", "/a:", ":/a", "/a::/b"] {
        let argument = argument("wsgi_python_path", bad.as_bytes());
        assert!(ProcessSettings::default().add_path(argument, Path::new("/srv"), Context::Http).is_err(), "{bad:?}");
    }
}

fn threads(number: &str, parameter: Option<&str>) -> Result<Mode, String> {
    let mut settings = ProcessSettings::default();
    let argument = |text: &str| Argument { directive: "wsgi_threads", bytes: text.to_owned().leak().as_bytes() };
    settings.set_threads(argument(number), parameter.map(argument)).map_err(|error| error.to_string())?;
    Ok(settings.mode())
}

#[test]
fn threads_have_a_default_and_a_limit() {
    let pool = |permits, max_threads| Mode::Threads(Limits::new(permits).max_threads(max_threads));
    assert_eq!(ProcessSettings::default().mode(), pool(1, 256));
    assert_eq!(threads("0", None), Ok(Mode::Inline));
    assert_eq!(threads("4", None), Ok(pool(4, 256)));
    assert_eq!(threads("4", Some("max=4")), Ok(pool(4, 4)));
    assert_eq!(threads("1024", None), Ok(pool(1024, 1024)));
}

fn stack(settings: &ProcessSettings) -> StackSize {
    let Mode::Threads(limits) = settings.mode() else { panic!("threads are the default") };
    limits.stack
}

#[test]
fn a_stack_has_a_size_within_bounds() {
    let set = |size: &str| {
        let mut settings = ProcessSettings::default();
        assert_eq!(stack(&settings), StackSize::default());
        settings
            .set_thread_stack_size(argument("wsgi_thread_stack_size", size.as_bytes()))
            .map_err(|error| error.to_string())?;
        Ok(stack(&settings).bytes())
    };
    assert_eq!([set("512k"), set("2M"), set("1024m")], [Ok(512 << 10), Ok(2 << 20), Ok(1 << 30)]);
    for bad in ["511k", "0", "1025m", "-1", "8", "1g", "99999999999999999999m", "default", ""] {
        let expected = format!(
            "invalid value \"{bad}\" in \"wsgi_thread_stack_size\" directive, it must be a size from 512k to 1024m"
        );
        assert_eq!(set(bad), Err::<usize, _>(expected));
    }
}

#[test]
fn wrong_number_of_threads_is_refused_with_the_allowed_range() {
    for bad in ["-1", "1025", "auto", "", "1.5"] {
        let expected =
            format!("invalid value \"{bad}\" in \"wsgi_threads\" directive, it must be a number from 0 to 1024");
        assert_eq!(threads(bad, None), Err(expected));
    }
    for bad in ["max=3", "max=", "max=-1", "max=16385", "max=x"] {
        let expected =
            format!("invalid parameter \"{bad}\" in \"wsgi_threads\" directive, the number must be from 4 to 16384");
        assert_eq!(threads("4", Some(bad)), Err(expected));
    }
    assert!(threads("4", Some("min=1")).unwrap_err().ends_with("it must be \"max=number\""));
    assert!(threads("0", Some("max=1")).unwrap_err().ends_with("there are no threads to limit with 0"));
}
