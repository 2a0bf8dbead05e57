//! Facts about nginx's headers from the C compiler: field offsets, values of macros, and the options of the build.
//!
//! The C compiler is authoritative; libclang, which makes the bindings, may differ. So a C program with one row for
//! each item of `interface.rs` is compiled with the headers and run.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::mem::take;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::interface::{CODES, CONDITIONAL, FEATURES, NUMBERS, STRINGS, STRUCTURES};
use crate::source::Source;

/// Beginning of the program. It finds a bit-field by setting all of its bits in a zeroed structure.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <string.h>

static void bits(const char *structure, const char *field, const unsigned char *bytes, size_t size) {
    size_t at, first = 8 * size, width = 0;
    for (at = 0; at < 8 * size; at++) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        if (bytes[at / 8] & (0x80 >> at % 8)) {
#else
        if (bytes[at / 8] & (1 << at % 8)) {
#endif
            first = first < at ? first : at;
            width++;
        }
    }
    printf("bits\t%s\t%s\t%zu\t%zu\n", structure, field, first, width);
}

#define BITS(s, f) do { \
    static s object; \
    memset(&object, 0, sizeof(object)); \
    object.f--; \
    bits(#s, #f, (const unsigned char *) &object, sizeof(object)); \
} while (0)

#define FIELD(s, f) \
    printf("field\t%s\t%s\t%zu\t%zu\n", #s, #f, 8 * offsetof(s, f), 8 * sizeof(((s *) NULL)->f))

typedef struct { char first; void *pointer; } pointer_t;

int main(void) {
"#;

/// A field, with offset and width in bits.
pub(crate) struct Field {
    pub(crate) structure: String,
    pub(crate) name: String,
    pub(crate) offset: usize,
    pub(crate) width: usize,
    pub(crate) is_bits: bool,
}

/// Properties of pointers with this compiler and its options.
#[derive(Default)]
pub(crate) struct Pointer {
    /// Width in bits.
    pub(crate) width: usize,
    /// Whether structures hold pointers at offsets that are not multiples of their width.
    pub(crate) is_packed: bool,
}

#[derive(Default)]
pub(crate) struct Layout {
    pub(crate) pointer: Pointer,
    pub(crate) version_number: u32,
    /// The version as nginx prints it: `nginx/1.28.3`.
    pub(crate) version: String,
    pub(crate) features: Vec<String>,
    /// Names of structures and their sizes in bits.
    pub(crate) sizes: Vec<(String, usize)>,
    pub(crate) fields: Vec<Field>,
    /// Macros: name, type and value in Rust.
    pub(crate) constants: Vec<(String, &'static str, String)>,
    /// Every header that was read, except system headers.
    pub(crate) headers: Vec<PathBuf>,
}

impl Layout {
    /// Compiles the program in `folder` and runs it.
    pub(crate) fn from_c_compiler(source: &Source, folder: &Path) -> Result<Self, String> {
        let (text, program, list) = (folder.join("layout.c"), folder.join("layout"), folder.join("layout.d"));
        fs::write(&text, program_text()).map_err(|error| format!("{}: {error}", text.display()))?;
        let mut compile = compiler(source)?;
        // Compiled like nginx, in the directory of its sources. `-w` takes precedence over any `-Werror`.
        compile.current_dir(&source.folder).args(&source.makefile.options);
        compile.args(["-w", "-MMD", "-MT", "layout", "-MF"]).arg(&list).arg(&text).arg("-o").arg(&program);
        run(&mut compile).map_err(|error| {
            format!("the headers of nginx in {} cannot be used with the C compiler: {error}", source.folder.display())
        })?;
        let rule = fs::read_to_string(&list).map_err(|error| format!("{}: {error}", list.display()))?;
        // A relative path starts at the directory of the sources; joining an absolute path replaces it.
        let headers = prerequisites(&rule).into_iter().map(|path| source.folder.join(path));
        let headers = headers.filter(|path| *path != text).collect();
        // The program runs in `folder`, since options for profiling make it write files.
        let rows = run(Command::new(&program).current_dir(folder))?;
        rows.lines().try_fold(Self { headers, ..Self::default() }, |mut layout, row| {
            layout.take(row).ok_or_else(|| format!("{} printed an unexpected line {row:?}", program.display()))?;
            Ok(layout)
        })
    }

    fn take(&mut self, row: &str) -> Option<()> {
        let mut words = row.splitn(5, '\t');
        let (kind, name) = (words.next()?, words.next()?.to_owned());
        match kind {
            "size" => self.sizes.push((name, words.next()?.parse().ok()?)),
            "field" | "bits" => self.fields.push(Field {
                structure: name,
                name: words.next()?.to_owned(),
                offset: words.next()?.parse().ok()?,
                width: words.next()?.parse().ok()?,
                is_bits: kind == "bits",
            }),
            "pointer" => {
                self.pointer = Pointer { width: name.parse().ok()?, is_packed: words.next()? != name };
            }
            "feature" => self.features.push(name),
            "code" => self.constants.push((name, "ngx_int_t", words.next()?.to_owned())),
            "number" => self.constants.push((name, "ngx_uint_t", words.next()?.to_owned())),
            "string" => self.constants.push((name, "&::core::ffi::CStr", format!("c{:?}", words.next()?))),
            "version" => {
                self.version_number = name.parse().ok()?;
                words.next()?.clone_into(&mut self.version);
            }
            _ => return None,
        }
        Some(())
    }
}

/// Returns the compiler of nginx's Makefile, or the default compiler if that is not installed.
fn compiler(source: &Source) -> Result<Command, String> {
    let starts = |program: &OsStr| Command::new(program).arg("--version").output().is_ok();
    let mut names = Vec::new();
    if let Some((program, options)) = source.makefile.compiler.split_first() {
        if starts(program.as_ref()) {
            let mut command = Command::new(program);
            command.args(options);
            return Ok(command);
        }
        names.push(format!("{program}, which the Makefile of nginx names"));
    }
    match cc::Build::new().cargo_metadata(false).try_get_compiler() {
        Ok(compiler) if starts(compiler.path().as_os_str()) => return Ok(compiler.to_command()),
        Ok(compiler) => names.push(compiler.path().display().to_string()),
        Err(error) => names.push(error.to_string()),
    }
    Err(format!(
        "no C compiler was found ({}): install one (on Debian: apt-get install gcc), or set CC to one",
        names.join("; ")
    ))
}

fn program_text() -> String {
    let mut text = include_str!("headers.h").to_owned() + PROGRAM;
    let mut line = |row: std::fmt::Arguments<'_>| writeln!(text, "{row}").expect("a String can be written to");
    line(format_args!("    printf(\"version\\t%lu\\t%s\\n\", (unsigned long) nginx_version, NGINX_VER);"));
    line(format_args!("    printf(\"pointer\\t%zu\\t%zu\\n\", 8 * sizeof(void *), 8 * offsetof(pointer_t, pointer));"));
    for structure in STRUCTURES {
        line(format_args!("    printf(\"size\\t{0}\\t%zu\\n\", 8 * sizeof({0}));", structure.name));
        for field in structure.fields() {
            line(format_args!("    FIELD({}, {field});", structure.name));
        }
        for field in structure.bits() {
            line(format_args!("    BITS({}, {field});", structure.name));
        }
    }
    for (structure, field, condition) in CONDITIONAL {
        line(format_args!("#if {condition}\n    FIELD({structure}, {field});\n#endif"));
    }
    for name in CODES {
        line(format_args!("    printf(\"code\\t{name}\\t%lld\\n\", (long long) {name});"));
    }
    for name in NUMBERS {
        line(format_args!("    printf(\"number\\t{name}\\t%llu\\n\", (unsigned long long) {name});"));
    }
    for name in STRINGS {
        line(format_args!("    printf(\"string\\t{name}\\t%s\\n\", {name});"));
    }
    for (name, condition) in FEATURES {
        line(format_args!("#if {condition}\n    printf(\"feature\\t{name}\\n\");\n#endif"));
    }
    text + "    return 0;\n}\n"
}

/// Returns the prerequisites of a make rule, as a compiler writes it.
fn prerequisites(rule: &str) -> Vec<String> {
    let Some((_, files)) = rule.split_once(": ") else { return Vec::new() };
    let (mut names, mut name) = (Vec::new(), String::new());
    let mut letters = files.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek()) {
            ('\\', Some('\n')) => {}
            ('\\', Some(' ' | '#')) | ('$', Some('$')) => name.extend(letters.next()),
            _ if letter.is_whitespace() => names.push(take(&mut name)),
            _ => name.push(letter),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Returns the output of a program, or the first line of its error message if it fails.
fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("{name} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let line = complaint.lines().find(|line| line.contains("error")).or(complaint.lines().next());
    Err(line.map_or_else(|| format!("{name}: {}", output.status), |line| line.trim().to_owned()))
}
