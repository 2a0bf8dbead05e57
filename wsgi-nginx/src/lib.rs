//! `ngx_http_wsgi_module`: Python WSGI applications inside the nginx worker.
//!
//! This crate translates and pumps. nginx's requests become the gateway's ([`request`], [`body`]), the gateway's
//! responses become nginx's ([`head`], [`chain`]), and nginx's events drive the exchange between them ([`handler`]).
//! What WSGI demands is decided in `wsgi_core`.
#![allow(rustdoc::private_intra_doc_links, reason = "the crate has no interface but nginx's")]

mod accel;
mod bindings;
mod body;
mod chain;
mod conf;
mod descriptors;
mod directives;
mod entry;
mod event;
mod guard;
mod handler;
mod handover;
mod head;
mod inline_sink;
mod kept;
mod lines;
mod log;
mod log_room;
mod loop_cell;
mod ngx;
mod preconditions;
mod reentry;
mod req;
mod request;
mod response;
mod retire;
mod shares;
mod temporary;
mod thread_sink;
mod umask;
mod worker;
