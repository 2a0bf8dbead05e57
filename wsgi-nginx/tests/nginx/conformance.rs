//! The conformance suite on nginx: inline, with one thread and with four. See docs/conformance.md.

use std::net::SocketAddr;

use wsgi_testkit::Request;
use wsgi_testkit::conformance::{self, HostUnderTest, Served, Traits};

use crate::harness::{Mode, Nginx, Response, Site};

/// nginx with one worker.
pub(crate) struct Host(pub(crate) Mode);

impl HostUnderTest for Host {
    fn name(&self) -> String {
        match self.0 {
            Mode::Threads(number) => format!("nginx with {number} threads"),
            Mode::Inline => "nginx, inline".to_owned(),
        }
    }

    fn traits(&self) -> Traits {
        Traits {
            multithread: matches!(self.0, Mode::Threads(number) if number > 1),
            multiprocess: true,
            inline: self.0 == Mode::Inline,
            collects_body: true,
            collects_chunks: true,
        }
    }

    fn serve(&self, site: conformance::Site) -> Box<dyn Served> {
        let directives: String = site.directives.iter().map(|directive| format!("{directive};\n")).collect();
        // The body size is not limited, and nginx does not send its version: both are decisions of the operator, not of
        // the module.
        let location = format!("wsgi_pass app.py;\nclient_max_body_size 0;\n{directives}");
        let nginx = Site::new(self.0).http("server_tokens off;\nlingering_timeout 1s;");
        // Clauses hold with and without `wsgi_strict`, unless they set it.
        let nginx = if self.0 == Mode::Threads(4) { nginx.http("wsgi_strict on;") } else { nginx };
        let nginx = nginx.file("app.py", &site.source).location(&site.prefix, &location);
        Box::new(nginx.start())
    }
}

impl Served for Nginx {
    fn send(&self, request: Request) -> Response {
        self.connect().ask(&request)
    }

    fn address(&self) -> Option<SocketAddr> {
        Some(([127, 0, 0, 1], self.port()).into())
    }

    fn log(&self) -> String {
        Nginx::log(self)
    }

    fn stop(self: Box<Self>) -> String {
        Nginx::stop(*self)
    }
}

mod inline {
    use super::{Host, Mode};

    wsgi_testkit::conformance_suite!(Host(Mode::Inline));
    wsgi_testkit::wire_conformance_suite!(Host(Mode::Inline));
}

mod threads_1 {
    use super::{Host, Mode};

    wsgi_testkit::conformance_suite!(Host(Mode::Threads(1)));
    wsgi_testkit::wire_conformance_suite!(Host(Mode::Threads(1)));
}

mod threads_4 {
    use super::{Host, Mode};

    wsgi_testkit::conformance_suite!(Host(Mode::Threads(4)));
    wsgi_testkit::wire_conformance_suite!(Host(Mode::Threads(4)));
}
