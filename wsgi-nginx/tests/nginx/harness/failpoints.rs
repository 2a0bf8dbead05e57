//! The module that panics on demand: built along with the tests, for the nginx that they were built with.

use std::path::{Path, PathBuf};

use super::site::{Site, module, nginx_binary};
use super::{Nginx, wait_for};

/// The variable that names the folder of armed points (`wsgi_core::failpoint`).
pub(super) const FOLDER: &str = "WSGI_FAILPOINTS";

/// How the panic of every point ends.
const ARMED: &str = " is armed";

impl Site {
    /// Loads the module with failpoints in place of the one under test. What it says when one fires is no reason to fail.
    pub(crate) fn with_failpoints(mut self) -> Self {
        self.failpoints = true;
        std::fs::create_dir(self.failpoint_folder()).expect("make a folder");
        self.expect_in_log(ARMED).expect_in_log("wsgi-core/src/failpoint.rs:")
    }

    /// Has a point panic the next time that it is reached.
    pub(crate) fn arm(&self, name: &str) {
        std::fs::write(self.failpoint_folder().join(name), "").expect("arm a failpoint");
    }

    /// Whether a point that was armed has been reached.
    pub(crate) fn has_fired(&self, name: &str) -> bool {
        !self.failpoint_folder().join(name).exists()
    }

    pub(super) fn failpoint_folder(&self) -> PathBuf {
        self.path("failpoints")
    }

    pub(super) fn module_file(&self) -> PathBuf {
        if self.failpoints { panicking_module() } else { module() }
    }

    /// The nginx that was built along with the headers of the tests. The headers of an installed nginx have none beside
    /// them: then it is the nginx under test, which refuses the module if it is another one.
    pub(super) fn nginx_binary(&self) -> PathBuf {
        let built = option_env!("NGINX_BUILD_DIR").map(|folder| Path::new(folder).join("nginx"));
        built.filter(|path| self.failpoints && path.is_file()).unwrap_or_else(nginx_binary)
    }
}

impl Nginx {
    /// Has a point panic the next time that it is reached.
    pub(crate) fn arm(&self, name: &str) {
        self.site.arm(name);
    }

    /// Waits until the armed point was reached and its alert is in the log. Returns the alert.
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

/// cargo has built it for the tests: its name has no hash, so that another build of it may have taken the place.
fn panicking_module() -> PathBuf {
    let tests = std::env::current_exe().expect("this test is a file");
    let path = tests.with_file_name("libngx_http_wsgi_module.so");
    let built = std::fs::read(&path).unwrap_or_default();
    let has_points = built.windows(ARMED.len()).any(|window| window == ARMED.as_bytes());
    assert!(has_points, "\"{}\" has no failpoints: touch wsgi-nginx/src/lib.rs, and test again", path.display());
    path
}
