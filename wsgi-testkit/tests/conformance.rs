//! The conformance suite in this process: see docs/conformance.md.

use wsgi_testkit::conformance::InProcess;

mod in_process {
    wsgi_testkit::conformance_suite!(super::InProcess::shared());
}

mod in_process_strict {
    wsgi_testkit::conformance_suite!(super::InProcess::shared().strict());
}
