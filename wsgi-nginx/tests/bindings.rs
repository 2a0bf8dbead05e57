//! The build script with wrong headers of nginx: it never builds a module that would misread nginx's structures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use wsgi_harness::write_script;

/// A copy of the headers that this test was built with.
struct Nginx {
    folder: TempDir,
}

impl Nginx {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_headers(&Path::new(env!("WSGI_NGINX_SOURCE_DIR")).join("src"), &folder.path().join("src"));
        let objects = folder.path().join("objs");
        copy_headers(Path::new(env!("WSGI_NGINX_BUILD_DIR")), &objects);
        fs::copy(Path::new(env!("WSGI_NGINX_BUILD_DIR")).join("Makefile"), objects.join("Makefile")).unwrap();
        Self { folder }
    }

    /// Returns a copy with `text` before the line of the request's header file that contains `place`.
    fn with(place: &str, text: &str) -> Self {
        let nginx = Self::new();
        let path = nginx.folder.path().join("src/http/ngx_http_request.h");
        let header = fs::read_to_string(&path).unwrap();
        let at = header.find(place).unwrap_or_else(|| panic!("{place:?} is in {}", path.display()));
        let at = header[..at].rfind('\n').unwrap() + 1;
        fs::write(&path, [&header[..at], text, &header[at..]].concat()).unwrap();
        nginx
    }

    /// Replaces the Makefile's value of a variable; `...` stands for the old value.
    fn set_in_makefile(&self, variable: &str, value: &str) {
        let path = self.path("objs/Makefile");
        let text = fs::read_to_string(&path).unwrap();
        let start = format!("{variable} =");
        let old = text.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no {start}"));
        let new = format!("{start} {}", value.replace("...", &old[start.len()..]));
        fs::write(&path, text.replacen(old, &new, 1)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn build_script(&self) -> Command {
        let host = said(&Command::new("rustc").arg("-vV").output().unwrap());
        let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        fs::create_dir_all(self.path("out")).unwrap();
        let mut command = Command::new(env!("WSGI_NGINX_BUILD_SCRIPT"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).env("OUT_DIR", self.path("out"));
        command.env("NGINX_SOURCE_DIR", self.folder.path()).env("NGINX_BUILD_DIR", self.path("objs"));
        command.env("BINDGEN_EXTRA_CLANG_ARGS", "-DFOR_BINDINGS");
        command.env("CARGO_CFG_TARGET_POINTER_WIDTH", usize::BITS.to_string());
        command.env("HOST", host).env("TARGET", host).env("OPT_LEVEL", "0");
        command
    }

    /// Generates the bindings and compiles them. Returns whether that succeeded, and the errors.
    fn build(&self) -> (bool, String) {
        let made = self.build_script().output().unwrap();
        if !made.status.success() {
            return (false, said(&made));
        }
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--cap-lints=allow", "-o"]);
        let compiled = rustc.arg(self.path("out/bindings.rmeta")).arg(self.path("out/bindings.rs")).output().unwrap();
        (compiled.status.success(), said(&compiled))
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

fn copy_headers(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_headers(&path, &target);
        } else if path.extension().is_some_and(|extension| extension == "h") {
            fs::copy(&path, target).unwrap();
        }
    }
}

/// Text that only libclang reads, not the C compiler.
fn for_bindings_alone(text: &str) -> String {
    format!("#ifdef FOR_BINDINGS\n{text}\n#endif\n")
}

/// Asserts that the build fails, and that one line of its errors contains all of `words`.
#[track_caller]
fn assert_refused(nginx: &Nginx, words: &[&str]) {
    let (succeeded, errors) = nginx.build();
    assert!(!succeeded, "the build succeeded");
    let sentences = errors.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
    assert_eq!(sentences, 1, "{words:?} in {errors}");
}

#[test]
fn a_field_that_the_bindings_have_elsewhere_fails_the_build() {
    let nginx = Nginx::with(" headers_out;", &for_bindings_alone("    u_char planted[24];"));
    assert_refused(&nginx, &["ngx_http_request_t.", " of nginx/", "for the C compiler", "LIBCLANG_PATH"]);
}

#[test]
fn a_bit_that_the_bindings_have_elsewhere_fails_the_build() {
    // Bits shift by one. Sizes and fields with an address do not change.
    let nginx = Nginx::with(" allow_ranges:1;", &for_bindings_alone("    unsigned planted:1;"));
    assert_refused(&nginx, &["ngx_http_request_t.allow_ranges of nginx/", "has 1 bits", "for the C compiler"]);
}

#[test]
fn a_bit_field_of_another_width_in_the_bindings_fails_the_build() {
    let nginx =
        Nginx::with(" count:16;", "#ifdef FOR_BINDINGS\n    unsigned count:15;\n    unsigned planted:1;\n#else\n");
    let path = nginx.path("src/http/ngx_http_request.h");
    let header = fs::read_to_string(&path).unwrap();
    let at = header.find(" count:16;\n").unwrap() + " count:16;\n".len();
    fs::write(&path, [&header[..at], "#endif\n", &header[at..]].concat()).unwrap();
    assert_refused(&nginx, &["ngx_http_request_t.count of nginx/", "has 16 bits", "for the C compiler"]);
}

#[test]
fn a_structure_of_another_size_in_the_bindings_fails_the_build() {
    let nginx = Nginx::new();
    let path = nginx.path("src/http/ngx_http_config.h");
    let header = fs::read_to_string(&path).unwrap();
    let planted = format!("{}}} ngx_http_module_t;", for_bindings_alone("    void *planted;"));
    fs::write(&path, header.replace("} ngx_http_module_t;", &planted)).unwrap();
    assert_refused(&nginx, &["ngx_http_module_t of nginx/", "512 bits", "for the C compiler"]);
}

#[test]
fn bits_after_a_port_are_where_the_c_compiler_has_them() {
    // nginx 1.29.3 has a 16-bit number before its bit-fields, in the same word.
    let nginx = Nginx::with(" count:16;", "    in_port_t planted;\n");
    let (succeeded, errors) = nginx.build();
    assert!(succeeded, "{errors}");
}

#[test]
fn cargo_reruns_the_build_for_every_nginx_header_that_was_read() {
    let nginx = Nginx::with("typedef struct {", "#include \"further #1 $.h\"\n");
    fs::write(nginx.path("src/http/further #1 $.h"), "").unwrap();
    let output = nginx.build_script().output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    let watched: Vec<_> =
        printed.lines().filter_map(|line| line.strip_prefix("cargo::rerun-if-changed=")).map(Path::new).collect();
    for header in [
        "src/core/nginx.h",
        "src/core/ngx_connection.h",
        "src/event/ngx_event.h",
        "src/http/further #1 $.h",
        "src/http/ngx_http_request.h",
        "src/os/unix/ngx_linux_config.h",
    ] {
        assert!(watched.contains(&&*nginx.path(header)), "{header} is not in {watched:?}");
    }
    // cargo would rerun the build script every time if it watched a file that the script itself writes.
    assert!(!watched.iter().any(|path| path.starts_with(nginx.path("out"))), "{watched:?}");
}

#[test]
fn headers_without_a_field_that_is_used_are_refused_in_one_sentence() {
    let nginx = Nginx::new();
    let path = nginx.path("src/http/ngx_http_request.h");
    let header = fs::read_to_string(&path).unwrap();
    fs::write(&path, header.replace(" single_range:1;", " another_name:1;")).unwrap();
    assert_refused(&nginx, &["wsgi-nginx cannot be built: the headers of nginx in", "single_range"]);
}

#[test]
fn an_nginx_that_is_too_old_is_refused_in_one_sentence() {
    let nginx = Nginx::new();
    let path = nginx.path("src/core/nginx.h");
    let header = fs::read_to_string(&path).unwrap();
    let lines = header.lines().map(|line| match line.split_whitespace().nth(1) {
        Some("nginx_version") => "#define nginx_version 1020002",
        Some("NGINX_VERSION") => "#define NGINX_VERSION \"1.20.2\"",
        _ => line,
    });
    fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    assert_refused(&nginx, &["wsgi-nginx cannot be built: nginx/1.20.2 in", "is too old: 1.22.0 or newer is needed."]);
}

#[test]
fn folders_without_headers_are_refused_in_one_sentence() {
    let nginx = Nginx::new();
    let refused = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(!output.status.success());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(errors.lines().count(), 1, "{errors}");
        errors
    };
    let sentence = refused(nginx.build_script().env_remove("NGINX_SOURCE_DIR").env_remove("NGINX_BUILD_DIR"));
    assert!(sentence.starts_with("wsgi-nginx cannot be built: NGINX_SOURCE_DIR is not set"), "{sentence}");
    let sentence = refused(nginx.build_script().env("NGINX_SOURCE_DIR", nginx.path("out")));
    assert!(sentence.contains("/out does not hold the sources of nginx"), "{sentence}");
    let sentence = refused(nginx.build_script().env("NGINX_BUILD_DIR", nginx.path("out")));
    assert!(sentence.contains("/out holds no Makefile: run nginx's ./configure"), "{sentence}");
    fs::write(nginx.path("objs/Makefile"), "all:\n\ttrue\n").unwrap();
    let sentence = refused(&mut nginx.build_script());
    assert!(sentence.contains("is not a Makefile of nginx's ./configure"), "{sentence}");
}

#[test]
fn missing_or_failing_libclang_is_reported_in_one_sentence() {
    let nginx = Nginx::new();
    let refused = |name: &str, value: &str| {
        let output = nginx.build_script().env(name, value).env("RUST_BACKTRACE", "1").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}={value}");
        let errors = String::from_utf8(output.stderr).unwrap();
        // libclang reports errors in headers itself, in the usual format of compilers.
        let (ours, others) =
            errors.lines().partition::<Vec<_>, _>(|line| line.starts_with("wsgi-nginx cannot be built: "));
        assert_eq!(ours.len(), 1, "{errors}");
        assert!(others.iter().all(|line| line.contains("error: ")), "{errors}");
        ours[0].to_owned()
    };
    fs::write(nginx.path("libclang.so"), "no library").unwrap();
    for folder in ["/nowhere", nginx.folder.path().to_str().unwrap()] {
        let sentence = refused("LIBCLANG_PATH", folder);
        let wanted = format!("no libclang that can be loaded was found in LIBCLANG_PATH={folder}: install it");
        assert!(sentence.contains(&wanted) && sentence.contains("or set LIBCLANG_PATH to"), "{sentence}");
    }
    // libclang without the headers of its clang, and with an option that it does not know.
    let sentence = refused("BINDGEN_EXTRA_CLANG_ARGS", "-nostdinc");
    assert!(sentence.contains("libclang cannot read the headers of nginx in"), "{sentence}");
    let sentence = refused("BINDGEN_EXTRA_CLANG_ARGS", "-std=nothing");
    assert!(sentence.contains("libclang cannot read the headers of nginx in"), "{sentence}");
}

/// Asserts that the build succeeds, and that the bindings have a field of this name.
#[track_caller]
fn assert_has_field(nginx: &Nginx, name: &str) {
    let (succeeded, errors) = nginx.build();
    assert!(succeeded, "{errors}");
    let bindings = fs::read_to_string(nginx.path("out/bindings.rs")).unwrap();
    assert!(bindings.contains(&format!(" {name} :")), "there is no field {name}");
}

/// Headers whose request structure has one more field under this condition.
fn planted_if(condition: &str) -> Nginx {
    Nginx::with(" headers_out;", &format!("#if {condition}\n    u_char planted[24];\n#endif\n"))
}

#[test]
fn a_field_that_options_of_nginx_add_is_in_the_bindings() {
    let nginx = planted_if("INCLUDED && FROM_FOLDER && IMPORTED && GIVEN && NEXT && PASSED && !defined TAKEN_BACK");
    fs::create_dir(nginx.path("further")).unwrap();
    for (file, macro_name) in [("objs/a.h", "INCLUDED"), ("objs/b.h", "FROM_FOLDER"), ("further/c.h", "IMPORTED")] {
        fs::write(nginx.path(file), format!("#define {macro_name} 1\n")).unwrap();
    }
    let files = "-include objs/a.h -include b.h -isystem objs -imacros c.h -iquotefurther";
    let macros = "-DGIVEN -D NEXT=1 -Wp,-DPASSED -DTAKEN_BACK -UTAKEN_BACK";
    nginx.set_in_makefile("CFLAGS", &format!("... {files} {macros}"));
    assert_has_field(&nginx, "planted");
}

#[test]
fn a_field_that_an_option_for_the_c_compiler_alone_adds_fails_the_build() {
    let nginx = planted_if("defined __CHAR_UNSIGNED__");
    nginx.set_in_makefile("CFLAGS", "... -funsigned-char");
    assert_refused(&nginx, &["ngx_http_request_t.", "for the C compiler", "the options in nginx's Makefile"]);
}

#[test]
fn packed_structures_are_refused_in_one_sentence() {
    for option in ["-fpack-struct", "-fpack-struct=4", "-include objs/packed.h"] {
        let nginx = Nginx::new();
        fs::write(nginx.path("objs/packed.h"), "#pragma pack(1)\n").unwrap();
        nginx.set_in_makefile("CFLAGS", &format!("... {option}"));
        assert_refused(&nginx, &["wsgi-nginx cannot be built: nginx in", "has packed structures", "-fpack-struct"]);
    }
}

#[test]
fn an_nginx_for_another_processor_is_refused_in_one_sentence() {
    let nginx = Nginx::new();
    let output = nginx.build_script().env("CARGO_CFG_TARGET_POINTER_WIDTH", "16").output().unwrap();
    assert!(!output.status.success());
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert!(sentence.contains(&format!("has pointers of {} bits by its Makefile", usize::BITS)), "{sentence}");
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
}

#[test]
fn options_of_nginx_that_change_no_structure_are_taken() {
    let options = "-O2 -Wall -Wpadded -Wundef -Werror -flto -fshort-enums -fstack-protector-strong -std=gnu99 -pthread";
    let nginx = Nginx::new();
    nginx.set_in_makefile("CFLAGS", &format!("... {options} -DPLANTED='\"a $$b\"' -I 'a folder'"));
    let (succeeded, errors) = nginx.build();
    assert!(succeeded, "{errors}");
}

#[test]
fn the_compiler_of_nginx_decides_where_fields_are() {
    let nginx = planted_if("PLANTED");
    let compiler = nginx.path("compiler");
    write_script(&compiler, "#!/bin/sh\nexec cc -DPLANTED \"$@\"\n");
    nginx.set_in_makefile("CC", compiler.to_str().unwrap());
    assert_refused(&nginx, &["ngx_http_request_t.", "for the C compiler"]);
    nginx.set_in_makefile("CC", "cc -DPLANTED");
    assert_has_field(&nginx, "planted");
    // nginx was built on another machine, whose compiler is not here.
    nginx.set_in_makefile("CC", nginx.path("no-compiler").to_str().unwrap());
    let (succeeded, errors) = nginx.build();
    assert!(succeeded, "{errors}");
}

#[test]
fn missing_c_compiler_is_reported_in_one_sentence() {
    let nginx = Nginx::new();
    nginx.set_in_makefile("CC", "/nowhere/first -m64");
    let output = nginx.build_script().env("CC", "/nowhere/second").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "wsgi-nginx cannot be built: no C compiler was found (/nowhere/first, which the Makefile of nginx names; \
         /nowhere/second): install one (on Debian: apt-get install gcc), or set CC to one.\n"
    );
}
