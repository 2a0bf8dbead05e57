//! Failures in exchanges that another process answers.

mod failing;

use wsgi_testkit::Host;

fn host() -> &'static Host {
    Host::shared_with_transfers()
}
