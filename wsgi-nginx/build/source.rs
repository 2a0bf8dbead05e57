//! The nginx that the module is built for: its sources, and what its `configure` has decided.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the headers are, and how nginx's own Makefile compiles with them.
pub(crate) struct Source {
    pub(crate) folder: PathBuf,
    pub(crate) objects: PathBuf,
    /// Options `-I...` and `-D...` for a C compiler.
    pub(crate) options: Vec<String>,
}

impl Source {
    /// The sources in `NGINX_SOURCE_DIR`, configured into `NGINX_BUILD_DIR` (its folder `objs` by default); without both,
    /// those of the crate nginx-src, which builds them, if the feature `vendored` is on.
    pub(crate) fn from_environment() -> Result<Self, String> {
        let folder_in = |name: &str| {
            println!("cargo::rerun-if-env-changed={name}");
            env::var_os(name).filter(|value| !value.is_empty())
        };
        let (folder, objects) = match (folder_in("NGINX_SOURCE_DIR"), folder_in("NGINX_BUILD_DIR")) {
            (Some(folder), Some(objects)) => (PathBuf::from(folder), PathBuf::from(objects)),
            (Some(folder), None) => (PathBuf::from(&folder), Path::new(&folder).join("objs")),
            (None, objects) => vendored(objects)?,
        };
        if !folder.join("src/core/nginx.h").is_file() {
            return Err(format!("NGINX_SOURCE_DIR={} does not hold the sources of nginx", folder.display()));
        }
        for file in ["Makefile", "ngx_auto_config.h"] {
            let path = objects.join(file);
            println!("cargo::rerun-if-changed={}", path.display());
            if !path.is_file() {
                return Err(format!(
                    "NGINX_BUILD_DIR={} holds no {file}: run nginx's ./configure, or name the folder of its --builddir",
                    objects.display()
                ));
            }
        }
        let makefile = objects.join("Makefile");
        let text = fs::read_to_string(&makefile).map_err(|error| format!("{}: {error}", makefile.display()))?;
        let options = options(&text, &folder).ok_or_else(|| {
            format!("{} names no include folders: it is not a Makefile of nginx's ./configure", makefile.display())
        })?;
        Ok(Self { folder, objects, options })
    }
}

#[cfg(feature = "vendored")]
fn vendored(objects: Option<OsString>) -> Result<(PathBuf, PathBuf), String> {
    nginx_src::print_cargo_metadata();
    let objects = objects.or_else(|| Some(Path::new(&env::var_os("OUT_DIR")?).join("objs").into_os_string()));
    nginx_src::build(objects.unwrap_or_default()).map_err(|error| format!("building nginx failed: {error}"))
}

#[cfg(not(feature = "vendored"))]
fn vendored(_objects: Option<OsString>) -> Result<(PathBuf, PathBuf), String> {
    Err("NGINX_SOURCE_DIR is not set: run make nginx or make module, which set it, or name the configured sources of nginx"
        .to_owned())
}

/// The options of a Makefile's `ALL_INCS` and `CFLAGS` that decide how headers are read. `None` without any folder.
fn options(makefile: &str, folder: &Path) -> Option<Vec<String>> {
    let (mut folders, mut definitions) = (Vec::new(), Vec::new());
    let joined = makefile.replace("\\\n", " ");
    for line in joined.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        if !matches!(name.trim(), "ALL_INCS" | "CFLAGS") {
            continue;
        }
        let mut words = shlex::Shlex::new(value);
        while let Some(word) = words.next() {
            let Some((option, value)) = word.split_at_checked(2) else { continue };
            if !matches!(option, "-I" | "-D") {
                continue;
            }
            let value = if value.is_empty() { words.next()? } else { value.to_owned() };
            if option == "-D" {
                definitions.push(format!("-D{value}"));
            } else {
                // An absolute path replaces the folder it is joined to.
                folders.push(format!("-I{}", folder.join(value).display()));
            }
        }
    }
    (!folders.is_empty()).then(|| [folders, definitions].concat())
}
