//! Directories for temporary files. nginx creates them when it starts, and makes its workers' user their owner.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use wsgi_core::config::{LevelSettings, TempPath};

use crate::bindings::{NGX_HTTP_CLIENT_TEMP_PATH, ngx_add_path, ngx_conf_t, ngx_pagesize, ngx_path_t, ngx_str_t};
use crate::ngx;

/// The default path, if set at build time: for builds that do not want it beside nginx's own directories.
const CHOSEN: Option<&str> = option_env!("NGX_HTTP_WSGI_TEMP_PATH");

/// Directory levels of nginx's own defaults (`ngx_http_proxy_temp_path`).
const DEFAULT_LEVELS: [usize; 2] = [1, 2];

/// The origin of a directory's path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The directive that nginx is reading.
    Here,
    /// The default; there is no directive.
    Default,
}

/// Sets the defaults that the host determines, for a location that serves an application. Returns false after nginx has
/// logged the error.
pub(crate) fn settle(cf: &mut ngx_conf_t, settings: &mut LevelSettings) -> bool {
    // SAFETY: nginx sets it at its start and does not change it later.
    settings.write_buffer_size.get_or_insert(unsafe { ngx_pagesize });
    if settings.temp_path.is_some() {
        return true;
    }
    let path = cf.prefix().join(default());
    let path = std::path::absolute(&path).unwrap_or(path);
    let folder = settings.temp_path.insert(TempPath { path, levels: DEFAULT_LEVELS.to_vec() });
    register(cf, Some(folder), Origin::Default)
}

/// Returns the default: `wsgi_temp` beside nginx's compiled-in directory for request bodies.
fn default() -> PathBuf {
    match CHOSEN {
        Some(path) => path.into(),
        None => {
            let bodies = OsString::from_vec(NGX_HTTP_CLIENT_TEMP_PATH.to_bytes().to_vec());
            Path::new(&bodies).with_file_name("wsgi_temp")
        }
    }
}

/// Makes nginx create the directory, as `ngx_conf_set_path_slot` does. Returns false after nginx has logged the error.
pub(crate) fn register(cf: &mut ngx_conf_t, folder: Option<&TempPath>, origin: Origin) -> bool {
    let Some(TempPath { path, levels }) = folder else { return true };
    // nginx passes the name to the system, which needs the NUL.
    let Some(name) = cf.copy(&[path.as_os_str().as_bytes(), b"\0"].concat()) else { return false };
    let mut record: *mut ngx_path_t = cf.zeroed();
    // SAFETY: null, or memory of the configuration's pool.
    let Some(place) = (unsafe { record.as_mut() }) else { return false };
    place.name = ngx_str_t { len: name.len - 1, data: name.data };
    for (level, digits) in place.level.iter_mut().zip(levels) {
        *level = *digits;
        place.len += digits + 1;
    }
    if origin == Origin::Here {
        // SAFETY: nginx is reading a file, which `conf_file` describes.
        (place.conf_file, place.line) = unsafe { ((*cf.conf_file).file.name.data, (*cf.conf_file).line) };
    }
    // SAFETY: the record and its name live in the configuration's pool.
    unsafe { ngx_add_path(cf, &raw mut record) != ngx::ERROR }
}
