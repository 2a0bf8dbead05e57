//! The module in a real nginx, end to end.
//!
//! `make nginx` builds both; `WSGI_TEST_NGINX` and `WSGI_TEST_MODULE` name others. Scenarios of the specification carry
//! their id in the name of the test.

mod harness;

mod execution;
mod harness_itself;
mod pass;
mod python_settings;
mod variables;
