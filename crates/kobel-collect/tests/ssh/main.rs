//! SSH against a real sshd.

mod connect;
mod sshd;
