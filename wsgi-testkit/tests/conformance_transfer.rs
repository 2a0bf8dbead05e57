//! The conformance suite in this process, with requests that wait in one interpreter and are transferred to another one: see
//! docs/conformance.md.

use wsgi_testkit::Host;
use wsgi_testkit::conformance::{InProcess, Traits};

fn host() -> InProcess {
    let traits =
        Traits { multithread: true, multiprocess: false, inline: false, collects_body: false, collects_chunks: false };
    InProcess::new(Host::shared_with_transfers(), traits)
}

mod in_process_transfer {
    wsgi_testkit::conformance_suite!(super::host());
}

mod in_process_transfer_strict {
    wsgi_testkit::conformance_suite!(super::host().strict());
}
