//! `make module` with an nginx that it cannot build for: one error line before anything is built. nginx's own build,
//! which calls cargo. The directories of the nginx that `make nginx` builds.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use wsgi_harness::write_script;

/// A directory for a fake nginx and for sources.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Creates a program that prints this text for any arguments, as nginx does for `-v`.
    fn program(&self, says: &str) -> PathBuf {
        let path = self.0.path().join("nginx");
        write_script(&path, &format!("#!/bin/sh\necho '{says}' >&2\n"));
        path
    }

    /// Creates headers of this version.
    fn sources(&self, version: &str) -> PathBuf {
        let path = self.0.path().join("sources");
        fs::create_dir_all(path.join("src/core")).unwrap();
        fs::write(path.join("src/core/nginx.h"), format!("#define NGINX_VERSION      \"{version}\"\n")).unwrap();
        path
    }
}

/// Returns the error line of `make module`.
fn refusal(program: &Path, sources: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/build/module");
    let output = Command::new(script).env("NGINX_BIN", program).env("NGINX_SOURCE", sources).output().unwrap();
    assert!(!output.status.success(), "{program:?} was taken");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    sentence
}

#[test]
fn a_wrong_nginx_bin_is_refused_in_one_sentence() {
    let place = Place::new();
    let sources = place.sources("1.26.3");
    for missing in ["/nowhere/nginx", "/etc/passwd", "/tmp"] {
        let sentence = refusal(Path::new(missing), &sources);
        assert_eq!(
            sentence.trim_end(),
            format!("error: NGINX_BIN={missing} is not an executable file: name the nginx that is to load the module")
        );
    }
    for says in ["", "httpd 2.4", "nginx version: unknown"] {
        let sentence = refusal(&place.program(says), &sources);
        assert!(sentence.contains("is not nginx: -v prints no version of nginx"), "{sentence}");
    }
}

#[test]
fn an_nginx_that_is_too_old_is_refused_in_one_sentence() {
    let place = Place::new();
    for version in ["1.9.15", "1.20.2", "1.21.6"] {
        let sentence = refusal(&place.program(&format!("nginx version: nginx/{version}")), &place.sources(version));
        assert!(
            sentence.contains(&format!("is nginx {version}, which is too old: 1.22.0 or newer is needed")),
            "{sentence}"
        );
    }
}

#[test]
fn headers_of_another_version_than_the_binary_are_refused_in_one_sentence() {
    let place = Place::new();
    let sources = place.sources("1.26.2");
    for says in ["nginx version: nginx/1.26.3", "nginx version: nginx/1.26.3 (Ubuntu)", "nginx version: angie/1.26.3"] {
        let sentence = refusal(&place.program(says), &sources);
        assert!(sentence.contains("is nginx 1.26.3 but") && sentence.contains("holds nginx 1.26.2"), "{sentence}");
        assert!(sentence.contains("NGINX_SOURCE="), "{sentence}");
    }
}

#[test]
fn an_nginx_without_headers_is_refused_in_one_sentence() {
    let place = Place::new();
    let sentence = refusal(&place.program("nginx version: nginx/1.26.3"), &place.0.path().join("none"));
    assert!(sentence.contains("does not hold the sources of nginx 1.26.3:"), "{sentence}");
    assert!(sentence.contains("install nginx-dev"), "{sentence}");
}

/// A copy of the scripts, without those that run cargo.
fn scripts_without_cargo(folder: &Path) -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let scripts = folder.join("project/scripts");
    for name in ["build", "check", "lib"] {
        fs::create_dir_all(scripts.join(name)).unwrap();
        for entry in fs::read_dir(project.join("scripts").join(name)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, scripts.join(name).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    for name in ["build/cargo-module", "check/module", "build/install-missing"] {
        fs::write(scripts.join(name), "#!/bin/sh\n").unwrap();
    }
    std::os::unix::fs::symlink(project.join("wsgi-nginx"), folder.join("project/wsgi-nginx")).unwrap();
    scripts
}

#[test]
fn make_module_takes_changed_headers_of_one_version_and_keeps_those_that_are_the_same() {
    let place = Place::new();
    let (program, sources) = (place.program("nginx version: nginx/1.26.3"), place.sources("1.26.3"));
    fs::write(sources.join("configure"), "").unwrap();
    let script = scripts_without_cargo(place.0.path()).join("build/module");
    let copy = place.0.path().join("project/target/nginx-system/source");
    let header = |name: &str| copy.join("src/core").join(name);
    // Returns the modification time of the copy, by which cargo detects changed headers.
    let build = || {
        let output = Command::new(&script).env("NGINX_BIN", &program).env("NGINX_SOURCE", &sources).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        fs::metadata(header("nginx.h")).unwrap().modified().unwrap()
    };
    let first = build();
    fs::write(sources.join("README"), "").unwrap();
    assert_eq!(build(), first, "the same headers are copied again");

    // Like an update by a package: same path, same size, a time in the past.
    let path = sources.join("src/core/ngx_core.h");
    let change = |text: &str| {
        fs::write(&path, text).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    };
    change("typedef int  ngx_int_t;");
    let second = build();
    assert!(second > first, "an added header is not copied");
    change("typedef long ngx_int_t;");
    let third = build();
    assert!(third > second, "a changed header is not copied");
    assert_eq!(fs::read_to_string(header("ngx_core.h")).unwrap(), "typedef long ngx_int_t;");
    fs::remove_file(&path).unwrap();
    assert!(build() > third && !header("ngx_core.h").exists(), "a header that is gone is kept");
}

#[test]
fn an_interrupted_build_of_the_module_prints_nothing_of_python() {
    let folder = tempfile::tempdir().unwrap();
    let scripts = scripts_without_cargo(folder.path());
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/build/cargo-module"),
        scripts.join("build/cargo-module"),
    )
    .unwrap();
    let begun = folder.path().join("begun");
    // More output than a pipe holds: the write ends only when Python has read most of it.
    let cargo = format!(
        "#!/bin/bash\nfor i in {{1..8000}}; do echo '{{\"reason\": \"build-script-executed\"}}'; done\nprintf '{{\"reason\": '\n\
         echo > '{}'\nexec sleep 600\n",
        begun.display()
    );
    let path = path_with_cargo(&cargo, folder.path());
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", "--"]).arg(scripts.join("build/cargo-module")).args([
        "source",
        "objs",
        "module.so",
    ]);
    command.env("PATH", path).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let script = with_python(&mut command).spawn().unwrap();
    wsgi_testkit::wait_for("cargo to have begun", || begun.exists().then_some(()));
    // SAFETY: `kill` touches no memory; the child was not waited for, so that its process group is still its own.
    unsafe { libc::kill(-(script.id() as libc::pid_t), libc::SIGINT) };
    let output = script.wait_with_output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// A `PATH` with this program as cargo.
fn path_with_cargo(text: &str, folder: &Path) -> OsString {
    let programs = folder.join("programs");
    fs::create_dir(&programs).unwrap();
    write_script(&programs.join("cargo"), text);
    let path = std::env::var_os("PATH").unwrap();
    std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&path))).unwrap()
}

/// Sets the Python that this test was built for.
fn with_python(command: &mut Command) -> &mut Command {
    match std::env::var_os("PYO3_PYTHON") {
        Some(python) => command.env("PYTHON", python),
        None => command,
    }
}

/// Copies the sources of nginx that this test was built with.
fn sources_to_configure(folder: &Path) -> PathBuf {
    let sources = folder.join("nginx");
    fs::create_dir(&sources).unwrap();
    for part in ["auto", "configure", "conf", "src"] {
        let from = Path::new(env!("WSGI_NGINX_SOURCE_DIR")).join(part);
        if from.exists() {
            assert!(Command::new("cp").arg("-rL").arg(from).arg(&sources).status().unwrap().success());
        }
    }
    sources
}

const MAKES_A_LIBRARY: &str = r#"#!/bin/sh
while [ "$1" != --target-dir ]; do shift; done
mkdir -p "$2/release"
: > "$2/release/libngx_http_wsgi_module.a"
"#;

#[test]
fn every_header_of_nginx_calls_cargo_in_nginx_own_build_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources_to_configure(folder.path());
    let path = path_with_cargo(MAKES_A_LIBRARY, folder.path());
    for option in ["--add-dynamic-module", "--add-module"] {
        // `configure` is at the top in a tarball and in Debian's nginx-dev, and in `auto` in the repository.
        let script = if sources.join("configure").exists() { "./configure" } else { "auto/configure" };
        let mut configure = Command::new("bash");
        configure.arg(script).args(["--without-pcre", "--without-http_rewrite_module", "--without-http_gzip_module"]);
        configure.arg(format!("{option}={}", env!("CARGO_MANIFEST_DIR"))).current_dir(&sources).env("PATH", &path);
        let output = with_python(&mut configure).output().unwrap();
        assert!(output.status.success(), "{output:?}");

        let library = sources.join("objs/libngx_http_wsgi_module.a");
        let make = |options: &[&str]| {
            let mut make = Command::new("make");
            make.args(["-f", "objs/Makefile"]).args(options).arg(&library).current_dir(&sources).env("PATH", &path);
            make.env_remove("MAKEFLAGS").output().unwrap()
        };
        let output = make(&[]);
        assert!(output.status.success() && library.exists(), "{output:?}");
        assert_eq!(make(&["-q"]).status.code(), Some(0), "{option}: cargo is called where nothing has changed");

        // All headers that the build script reads, for this configuration.
        let mut compiler = Command::new("cc");
        let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/headers.h");
        compiler.args(["-MM", "-x", "c"]).arg(text).current_dir(&sources);
        for folder in ["core", "event", "event/modules", "event/quic", "os/unix", "http", "http/modules"] {
            compiler.arg(format!("-Isrc/{folder}"));
        }
        let rule = String::from_utf8(compiler.arg("-Iobjs").output().unwrap().stdout).unwrap();
        let headers: Vec<_> =
            rule.split_whitespace().filter(|word| word.starts_with("src/") || word.starts_with("objs/")).collect();
        assert!(headers.contains(&"src/http/ngx_http_request.h") && headers.len() > 50, "{rule}");
        for header in headers {
            let status = make(&["-q", "-W", header]).status;
            assert_eq!(status.code(), Some(1), "{option}: a changed {header} does not call cargo");
        }
    }
}

/// Directories, options and notice of the vendored nginx, with these options of `make nginx`.
fn vendored(options: &[&str]) -> [String; 4] {
    const PRINT: &str = r#"source scripts/lib/vendored-nginx.sh
printf '%s\n' "$nginx_objs" "$nginx_home" "${nginx_flags[*]}" "$nginx_notice""#;
    let mut bash = Command::new("bash");
    bash.args(["-c", PRINT]).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    for option in ["DEBUG", "HTTP2", "ADDRESS_SANITIZER"] {
        bash.env(option, if options.contains(&option) { "1" } else { "0" });
    }
    let output = bash.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.try_into().unwrap_or_else(|lines| panic!("{lines:?}"))
}

#[test]
fn no_option_of_make_nginx_replaces_the_nginx_of_the_tests() {
    let [objects, home, flags, _] = vendored(&[]);
    assert!(home.ends_with("/target/nginx"), "{home}");
    assert!(!flags.contains("http_v2") && !flags.contains("--with-debug"), "{flags}");
    let mut folders = vec![objects, home];
    for options in [&["HTTP2"][..], &["DEBUG"], &["DEBUG", "HTTP2"], &["ADDRESS_SANITIZER"]] {
        let [objects, home, flags, _] = vendored(options);
        assert_eq!(flags.contains("--with-http_v2_module"), options.contains(&"HTTP2"), "{options:?}");
        assert_eq!(flags.contains("--with-debug"), options.contains(&"DEBUG"), "{options:?}");
        for folder in [objects, home] {
            assert!(!folders.contains(&folder), "{options:?}: {folder}");
            folders.push(folder);
        }
    }
}

#[test]
fn the_notice_of_make_serve_names_the_nginx_for_production() {
    let [_, _, _, notice] = vendored(&[]);
    assert!(notice.contains("is for development and gets no security updates"), "{notice}");
    assert!(notice.ends_with("make module NGINX_BIN=/usr/sbin/nginx"), "{notice}");
}
