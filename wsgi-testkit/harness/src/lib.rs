//! Checks that the hosts of this repository share, beyond the conformance suite of [`wsgi_testkit`]. For their tests only: the
//! crate is not published.
//!
//! The in-process host of wsgi-testkit, the nginx module, wsgi-hyper and `examples/embed` run these checks on the same
//! applications:
//!
//! - [`malformed`] is a table of malformed requests with the answers of nginx and of wsgi-hyper, and [`amplification`] compares
//!   the cost of these requests for a server with the cost for their client.
//! - [`leaving`] has clients that leave at any byte, and checks that the server releases the resources of their requests.
//! - [`frameworks`] has applications of five web frameworks, and makes the virtual environment that they need.
//! - [`children`] starts child processes in each way that Python has, [`side_by_side`] uses the standard library from several
//!   interpreters, and [`stacks`] needs much of the stack.
//!
//! [`Chance`] makes random steps reproducible, [`NginxVersion`] compares releases of nginx, and [`write_script`] makes programs.
//! The tests of this crate run the checks in process, with the host of wsgi-testkit.
//!
//! A check belongs here if it names a host of this repository, needs its files, or compares hosts with each other. The parts
//! that tests of other applications and hosts can use belong in wsgi-testkit.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod amplification;
mod chance;
pub mod children;
pub mod frameworks;
pub mod leaving;
pub mod malformed;
mod nginx_version;
mod script;
pub mod side_by_side;
pub mod stacks;

pub use chance::Chance;
pub use nginx_version::NginxVersion;
pub use script::write_script;
