//! The nginx that the module is built for: its sources, and the result of its `configure`.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::makefile::Makefile;

/// The location of the headers, and the options with which nginx's own Makefile compiles them.
pub(crate) struct Source {
    pub(crate) folder: PathBuf,
    pub(crate) objects: PathBuf,
    pub(crate) makefile: Makefile,
}

impl Source {
    /// Returns the sources in `NGINX_SOURCE_DIR`, configured into `NGINX_BUILD_DIR` (by default its directory `objs`).
    /// Without both, returns the sources of the crate nginx-src, which builds them, if the feature `vendored` is on.
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
        let path = objects.join("Makefile");
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let makefile = Makefile::parse(&text).ok_or_else(|| {
            format!("{} names no include folders: it is not a Makefile of nginx's ./configure", path.display())
        })?;
        Ok(Self { folder, objects, makefile })
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
