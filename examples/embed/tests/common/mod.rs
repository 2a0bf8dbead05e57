//! The example as a host under test.

use std::process::Command;

use wsgi_testkit::conformance::{HostUnderTest, Served, Site, Traits};
use wsgi_testkit::{End, Program};

/// Starts a separate process for each application.
pub(crate) struct Host;

impl HostUnderTest for Host {
    fn name(&self) -> String {
        "examples/embed".to_owned()
    }

    fn traits(&self) -> Traits {
        Traits { multithread: true, multiprocess: false, inline: false, collects_body: false, collects_chunks: false }
    }

    fn serve(&self, site: Site) -> Box<dyn Served> {
        let folder = tempfile::tempdir().expect("a folder for the application");
        let script = folder.path().join("app.py");
        std::fs::write(&script, &site.source).expect("room for the application");
        let mut command = Command::new(env!("CARGO_BIN_EXE_embed-example"));
        command.arg(format!("127.0.0.1:0{}", site.prefix)).arg(&script).arg("wsgi_threads 4").args(&site.directives);
        Box::new(Program::start(command, folder, End::Input))
    }
}
