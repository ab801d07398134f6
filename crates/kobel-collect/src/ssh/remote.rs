//! Streams to a remote host, whoever opens them.

use std::{future::Future, pin::Pin};

use crate::docker::Connection;

/// [`Remote`]'s answers.
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<Connection, RemoteError>> + Send + 'a>>;

/// Why no stream was opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// The connection to the host is not there, or broke.
    #[error("{0}")]
    Gone(String),
    /// The host answered, and will not.
    #[error("{0}")]
    Refused(String),
}

/// A remote host to which streams can be opened.
pub trait Remote: Send + Sync {
    /// Runs a command by the login shell: its input and output are the stream; what it says on its
    /// standard error is dropped.
    fn exec<'a>(&'a self, command: &'a str) -> Opening<'a>;

    /// A stream to a Unix socket of the host (`direct-streamlocal@openssh.com`, OpenSSH's PROTOCOL,
    /// section 2.4).
    fn unix<'a>(&'a self, path: &'a str) -> Opening<'a>;
}
