//! The module with failpoints, which panics on demand: cargo builds it with the tests, for the nginx that they are
//! built for.

use std::path::{Path, PathBuf};

use super::site::{Site, module, nginx_binary};
use super::{Nginx, wait_for};

/// The variable that names the directory of armed failpoints (`wsgi_core::internal`).
pub(super) const FOLDER: &str = "WSGI_FAILPOINTS";

/// The end of the panic message of every failpoint.
const ARMED: &str = " is armed";

impl Site {
    /// Loads the module with failpoints in place of the module under test. The log lines of a failpoint do not fail the
    /// test.
    pub(crate) fn with_failpoints(mut self) -> Self {
        self.failpoints = true;
        std::fs::create_dir(self.failpoint_folder()).expect("make a folder");
        self.expect_in_log(ARMED).expect_in_log("wsgi-core/src/failpoint.rs:")
    }

    /// Arms a failpoint: it panics the next time that it is reached.
    pub(crate) fn arm(&self, name: &str) {
        std::fs::write(self.failpoint_folder().join(name), "").expect("arm a failpoint");
    }

    /// Whether an armed failpoint has been reached.
    pub(crate) fn has_fired(&self, name: &str) -> bool {
        !self.failpoint_folder().join(name).exists()
    }

    pub(super) fn failpoint_folder(&self) -> PathBuf {
        self.path("failpoints")
    }

    pub(super) fn module_file(&self) -> PathBuf {
        if self.failpoints { panicking_module() } else { module() }
    }

    /// Returns the nginx that was built with the headers of the tests. Headers of an installed nginx have no binary
    /// beside them: then it is the nginx under test, which refuses the module if the versions differ.
    pub(super) fn nginx_binary(&self) -> PathBuf {
        let built = option_env!("NGINX_BUILD_DIR").map(|folder| Path::new(folder).join("nginx"));
        built.filter(|path| self.failpoints && path.is_file()).unwrap_or_else(nginx_binary)
    }
}

impl Nginx {
    /// Arms a failpoint: it panics the next time that it is reached.
    pub(crate) fn arm(&self, name: &str) {
        self.site.arm(name);
    }

    /// Whether an armed failpoint has been reached.
    pub(crate) fn has_fired(&self, name: &str) -> bool {
        self.site.has_fired(name)
    }

    /// Waits until an armed failpoint was reached and its alert is in the log. Returns the alert.
    #[track_caller]
    pub(crate) fn fired(&self, name: &str) -> String {
        wait_for(&format!("{name} to be reached"), || self.site.has_fired(name).then_some(()));
        let line = self.logged(&format!("the failpoint {name}{ARMED}"));
        let alert = wait_for(&format!("an alert of {name}"), || {
            let lines = self.log_lines(&format!("the failpoint {name}{ARMED}"));
            lines.into_iter().find(|line| line.contains("[alert]"))
        });
        assert!(alert.contains("panic "), "{line} {alert}");
        alert
    }
}

/// Returns the module that cargo has built for the tests. Its file name has no hash, so that another build may have
/// replaced it.
fn panicking_module() -> PathBuf {
    let tests = std::env::current_exe().expect("this test is a file");
    let path = tests.with_file_name("libngx_http_wsgi_module.so");
    let built = std::fs::read(&path).unwrap_or_default();
    let has_points = built.windows(ARMED.len()).any(|window| window == ARMED.as_bytes());
    assert!(has_points, "\"{}\" has no failpoints: test in the dev profile", path.display());
    path
}
