//! The compiler and the options of nginx's own Makefile.

use std::path::Path;

/// Options without a value that change how libclang reads a header. libclang does not know all options of all
/// compilers, so it gets only these. If another option changes a structure, the comparison in the bindings detects it.
const FOR_LIBCLANG: &[&str] = &[
    "--sysroot=",
    "-Wp,-D",
    "-Wp,-U",
    "-fms-extensions",
    "-fno-pack-struct",
    "-fno-short-enums",
    "-fno-short-wchar",
    "-fpack-struct",
    "-fshort-enums",
    "-fshort-wchar",
    "-mms-bitfields",
    "-mno-ms-bitfields",
];

/// The same for options with a value, which follows directly or is the next word.
const FOR_LIBCLANG_WITH_VALUE: &[(&str, Value)] = &[
    ("-D", Value::Text),
    ("-I", Value::Folder),
    ("-U", Value::Text),
    ("-idirafter", Value::Folder),
    ("-imacros", Value::Header),
    ("-include", Value::Header),
    ("-iquote", Value::Folder),
    ("-isysroot", Value::Folder),
    ("-isystem", Value::Folder),
];

#[derive(Clone, Copy)]
enum Value {
    Text,
    Folder,
    /// Searched for in the working directory first, then in the include directories.
    Header,
}

pub(crate) struct Makefile {
    /// The words of `CC`: a program, perhaps with options.
    pub(crate) compiler: Vec<String>,
    /// The words of `CFLAGS` and `ALL_INCS`. Relative paths start at the directory of nginx's sources.
    pub(crate) options: Vec<String>,
}

impl Makefile {
    /// Parses a Makefile. Returns `None` if it has no include directories, which nginx's own Makefile always has.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let joined = text.replace("\\\n", " ");
        let words = |wanted: &str| {
            let lines = joined.lines().filter_map(|line| line.split_once('='));
            let values = lines.filter(|(name, _)| name.trim() == wanted).map(|(_, value)| value.replace("$$", "$"));
            values.flat_map(|value| shlex::Shlex::new(&value).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let (compiler, folders) = (words("CC"), words("ALL_INCS"));
        (!folders.is_empty()).then(|| Self { compiler, options: [words("CFLAGS"), folders].concat() })
    }

    /// Returns the options for libclang, whose working directory is not `folder`, the directory of nginx's sources.
    pub(crate) fn for_libclang(&self, folder: &Path) -> Vec<String> {
        let mut options = Vec::new();
        // `CC` may have options, too.
        let mut words = self.compiler.iter().skip(1).chain(&self.options);
        while let Some(word) = words.next() {
            if FOR_LIBCLANG.iter().any(|option| word.starts_with(option)) {
                options.push(word.clone());
                continue;
            }
            let with_value = FOR_LIBCLANG_WITH_VALUE.iter().find(|(option, _)| word.starts_with(option));
            let Some((option, kind)) = with_value else { continue };
            let value = &word[option.len()..];
            let Some(value) = (if value.is_empty() { words.next().map(String::as_str) } else { Some(value) }) else {
                break;
            };
            // Joining an absolute path replaces the folder.
            let path = folder.join(value);
            let is_path = match kind {
                Value::Text => false,
                Value::Folder => true,
                Value::Header => path.exists(),
            };
            options.push((*option).to_owned());
            options.push(if is_path { path.display().to_string() } else { value.to_owned() });
        }
        options
    }
}
