//! Places where a test can have the gateway panic. Without the feature `failpoints` there are none.
//!
//! A test names a folder in the variable [`FOLDER`], and makes an empty file in it to arm the point of that name. The next
//! one to come by, in whichever process and on whichever thread, takes the file away and panics: a point fires once for
//! each time that it was armed.

/// The environment variable that names the folder. Read once a process.
pub const FOLDER: &str = "WSGI_FAILPOINTS";

/// Panics if this point is armed.
#[inline(always)]
pub fn failpoint(name: &str) {
    #[cfg(feature = "failpoints")]
    armed::fire(name);
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::path::PathBuf;
    use std::sync::OnceLock;

    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();

    pub(super) fn fire(name: &str) {
        let folder = FOLDER.get_or_init(|| std::env::var_os(super::FOLDER).map(PathBuf::from));
        // Of several that come by at the same time one finds the file.
        if folder.as_ref().is_some_and(|folder| std::fs::remove_file(folder.join(name)).is_ok()) {
            panic!("the failpoint {name} is armed");
        }
    }
}
