//! The conformance suite on the program, and with it on the service: see docs/conformance.md.

use std::process::Command;

use wsgi_testkit::Program;
use wsgi_testkit::conformance::{HostUnderTest, Served, Site, Traits};

/// The program with two threads.
struct Host;

impl HostUnderTest for Host {
    fn traits(&self) -> Traits {
        Traits { multithread: true, multiprocess: false, inline: false, collects_body: false }
    }

    fn serve(&self, site: Site) -> Box<dyn Served> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = folder.path().join("app.py");
        std::fs::write(&script, &site.source).expect("write the script");
        let mut command = Command::new(env!("CARGO_BIN_EXE_wsgi-hyper"));
        command.args(["--bind", "127.0.0.1:0", "--threads", "2", "--prefix", &site.prefix]);
        // The one default that is the program's own.
        command.args(["--set", "wsgi_script_reloading=off"]);
        for directive in &site.directives {
            command.arg("--set").arg(directive.replacen(' ', "=", 1));
        }
        command.arg(script);
        Box::new(Program::start(command, folder))
    }
}

mod hyper {
    wsgi_testkit::conformance_suite!(super::Host);
    wsgi_testkit::wire_conformance_suite!(super::Host);
}
