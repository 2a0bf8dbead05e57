//! Points where a test can make the gateway panic. Builds without `debug_assertions` have none.
//!
//! A test names a folder in the variable [`FOLDER`], and creates an empty file in it to arm the point of that name. The first
//! thread of any process to reach the point then deletes the file and panics: a point fires once each time it is armed.

/// The environment variable that names the folder. Read once per process.
pub const FOLDER: &str = "WSGI_FAILPOINTS";

/// Panics if this point is armed.
#[inline(always)]
pub fn failpoint(name: &str) {
    #[cfg(debug_assertions)]
    armed::fire(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::path::PathBuf;
    use std::sync::OnceLock;

    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();

    pub(super) fn fire(name: &str) {
        let folder = FOLDER.get_or_init(|| std::env::var_os(super::FOLDER).map(PathBuf::from));
        // If several threads get here at the same time, only one of them deletes the file.
        if folder.as_ref().is_some_and(|folder| std::fs::remove_file(folder.join(name)).is_ok()) {
            panic!("the failpoint {name} is armed");
        }
    }
}
