//! Remote Linux hosts over plain SSH: nothing is installed there.
//!
//! One connection a host ([`SshConnection`], RFC 4251 to 4254 by russh), and further ones where its
//! sshd gives too few sessions (`pool`). [`docker`] reaches the
//! host's container engine through it.

pub mod docker;
pub mod remote;

mod channel;
mod check;
mod collector;
mod connect;
mod error;
mod ignore;
mod pool;
mod sign_in;
mod source;
mod spec;

pub use check::{Checked, CheckedKey, check};
pub use connect::{SshConnection, Step, Steps};
pub use error::SshError;
pub use ignore::Ignore;
pub use source::{SshReports, SshSource};
pub use spec::{Docker, Hop, HostKey, HostKeys, Secret, SignIn, SshSpec, Verdict};
