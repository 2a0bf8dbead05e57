//! The conformance suite on the example, which runs as a separate process here: see docs/conformance.md.

mod common;

mod embed_example {
    use crate::common::Host;

    wsgi_testkit::conformance_suite!(Host);
    wsgi_testkit::wire_conformance_suite!(Host);
}
