//! The listening socket, and how many sockets there may be.

use std::{io, net::SocketAddr};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted; the kernel's `net.core.somaxconn` comes first. When a
/// hub restarts, thousands come at once, and one that finds no place here waits for a second or
/// more before it tries again.
const BACKLOG: u32 = 8_192;

/// Open files that are not viewers: the database, logs, sources, and some to spare.
const OTHERS: u64 = 256;

/// Listens on an address, also right after another hub did.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A socket is an open file: takes as many as the system allows, and says so if that is less than
/// the connections asked for.
pub(super) fn raise_limit(connections: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "cannot raise the limit of open files");
        }
    }
    let Some(most) = getrlimit(Resource::Nofile).current else {
        return;
    };
    let room = most.saturating_sub(OTHERS);
    if room < connections as u64 {
        tracing::info!(
            connections = room,
            "the limit of open files allows this many connections; for more raise it (ulimit -n, \
             or LimitNOFILE of a systemd unit)"
        );
    }
}
