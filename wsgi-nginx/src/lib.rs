//! `ngx_http_wsgi_module`: Python WSGI applications inside the nginx worker.
//!
//! This crate only translates and forwards. It turns nginx's requests into the gateway's ([`request`], [`body`]) and
//! the gateway's responses into nginx's ([`head`], [`chain`]), and nginx's events drive the exchange between them
//! ([`handler`]). The rules of WSGI are in `wsgi_core`.
#![allow(rustdoc::private_intra_doc_links, reason = "the crate has no interface but nginx's")]

mod accel;
mod bindings;
mod body;
mod burst;
mod chain;
mod conf;
mod descriptors;
mod directives;
mod entry;
mod event;
mod eventfd;
mod guard;
mod handler;
mod handover;
mod head;
mod inline_sink;
mod kept;
mod kept_alive;
mod lines;
mod listeners;
mod load;
mod log;
mod log_room;
mod loop_cell;
mod mailbox;
mod master;
mod ngx;
mod preconditions;
mod reentry;
mod req;
mod request;
mod response;
mod retire;
mod shared;
mod shares;
mod temporary;
mod thread_sink;
mod transfer;
mod umask;
mod worker;
