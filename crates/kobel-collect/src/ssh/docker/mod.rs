//! The container engine of a remote host, over its SSH connection.
//!
//! Each request to the engine is a stream of its own through the connection. The usual way is a
//! forwarding to the engine's socket (`direct-streamlocal@openssh.com`): it needs no program there
//! and does not count against sshd's `MaxSessions`. Where forwarding is refused, `docker system
//! dial-stdio` gives the same stream over a session, and where that is not there `socat` or `nc`
//! does. So everything above, from events to logs, is what it is for a local engine.

mod probe;
mod ways;

pub use probe::{SocketPath, SocketPathError};
pub use ways::SshEngine;
