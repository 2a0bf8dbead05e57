//! The conformance suite in this process, on one thread that serves as the event loop: see docs/conformance.md.

use wsgi_core::config::Mode;
use wsgi_testkit::Host;
use wsgi_testkit::conformance::{InProcess, Traits};

fn host() -> InProcess {
    let traits =
        Traits { multithread: false, multiprocess: false, inline: true, collects_body: false, collects_chunks: false };
    InProcess::new(Host::shared_with(Mode::Inline), traits)
}

mod in_process_inline {
    wsgi_testkit::conformance_suite!(super::host());
}

mod in_process_inline_strict {
    wsgi_testkit::conformance_suite!(super::host().strict());
}
