//! SSH against a real sshd.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod connect;
mod source;
mod sshd;
