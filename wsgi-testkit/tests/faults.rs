//! Failures in exchanges on threads.

mod failing;

use wsgi_testkit::Host;

fn host() -> &'static Host {
    Host::shared()
}
