//! Floor 2: conversion of values and exceptions between Rust and Python.
//!
//! A function that fails here or on a higher floor returns [`Raised`](raise::Raised): the exception is pending on the
//! thread, and the caller propagates it, logs it (`report`) or fetches it.

pub(crate) mod convert;
pub(crate) mod method;
pub(crate) mod raise;
pub(crate) mod report;
pub(crate) mod text;
