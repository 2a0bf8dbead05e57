//! The module in a real nginx, end to end.
//!
//! `make nginx` builds nginx and the module; `WSGI_TEST_NGINX` and `WSGI_TEST_MODULE` override them. The names of tests
//! begin with the ids of scenarios in the specification.

mod harness;

mod accel;
mod amplification;
mod answered_by_nginx;
mod authorization;
mod bodies;
mod buffering;
mod children;
mod composition;
mod conformance;
mod crash_reports;
mod crashes;
mod directives;
mod disconnects;
mod django;
mod documentation;
mod environ;
mod errors;
mod execution;
mod exits;
mod failpoints;
mod files;
mod frameworks;
mod harness_itself;
#[cfg(ngx_feature = "http_v2")]
mod http2;
mod hup;
mod load_sharing;
mod log;
mod log_flood;
mod malformed;
mod middleware;
mod overload;
mod parts;
mod pass;
mod pools;
mod preconditions;
mod process;
mod python_settings;
mod ranges;
mod reentrancy;
mod reloading;
mod responses;
mod send_headers;
mod side_by_side;
mod signals;
mod spoofing;
mod stacks;
mod standard_streams;
mod streaming;
mod subinterpreters;
mod temp_path;
mod umask;
mod variables;
mod worker_end;
mod write;
