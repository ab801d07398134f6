//! SSH against a real sshd.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod connect;
#[path = "../logs/daemon.rs"]
mod daemon;
mod docker;
mod host;
mod hostile;
mod source;
mod sshd;
