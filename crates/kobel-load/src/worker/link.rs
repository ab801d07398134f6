//! A non-blocking TCP connection, and what of its bytes is under way.

use std::{io, net::SocketAddr, os::fd::OwnedFd, time::Duration};

use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt},
};

/// What a connection that does not read has its kernel buffer at most: the least that Linux gives.
const SMALL_BUFFER: usize = 2048;

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    fd: OwnedFd,
    /// What came and was not used yet.
    pub(super) held: Vec<u8>,
    /// What could not be sent yet.
    unsent: Vec<u8>,
    /// The kernel has not connected it yet.
    connecting: bool,
    /// Read, or only watched for its end.
    reading: bool,
}

impl Link {
    /// Begins to connect. `slow`: with a small buffer.
    pub(super) fn connect(
        to: SocketAddr,
        source: Option<SocketAddr>,
        slow: bool,
        epoll: &OwnedFd,
        token: u64,
    ) -> Result<Self, Errno> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&fd, true)?;
        if slow {
            // Before the connect: the window is agreed on there.
            sockopt::set_socket_recv_buffer_size(&fd, SMALL_BUFFER)?;
        }
        if let Some(source) = source {
            net::bind(&fd, &source)?;
        }
        match net::connect(&fd, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let events = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP;
        epoll::add(epoll, &fd, EventData::new_u64(token), events)?;
        let (held, unsent) = (Vec::new(), Vec::new());
        Ok(Self { fd, held, unsent, connecting: true, reading: true })
    }

    /// Sends, or keeps what cannot be sent now.
    pub(super) fn send(&mut self, bytes: &[u8], epoll: &OwnedFd, token: u64) -> Result<(), Errno> {
        if self.connecting || !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let mut sent = 0;
        while sent < bytes.len() {
            match net::send(&self.fd, &bytes[sent..], SendFlags::NOSIGNAL) {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.unsent.extend_from_slice(&bytes[sent..]);
                    return self.watch(epoll, token);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The socket is writable: it is connected, and takes what was kept.
    pub(super) fn writable(&mut self, epoll: &OwnedFd, token: u64) -> Result<(), Errno> {
        if self.connecting {
            sockopt::socket_error(&self.fd)??;
            self.connecting = false;
        }
        let bytes = std::mem::take(&mut self.unsent);
        self.send(&bytes, epoll, token)?;
        if self.unsent.is_empty() { self.watch(epoll, token) } else { Ok(()) }
    }

    /// What came, after what was held before; 0 more bytes at the end of the connection, `None`
    /// when there is nothing now.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> Result<Option<usize>, Errno> {
        let held = self.held.len();
        // A message that does not fit makes room for itself; the decoder bounds it.
        if buffer.len() < held + super::BUFFER / 2 {
            buffer.resize(held + super::BUFFER, 0);
        }
        buffer[..held].copy_from_slice(&self.held);
        match net::recv(&self.fd, &mut buffer[held..], RecvFlags::empty()) {
            Ok((0, _)) => Ok(Some(0)),
            Ok((count, _)) => Ok(Some(held + count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps what was not used.
    pub(super) fn hold(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            // An idle connection keeps no buffer.
            if self.held.capacity() > 0 {
                self.held = Vec::new();
            }
        } else {
            self.held.clear();
            self.held.extend_from_slice(rest);
        }
    }

    /// Reads from now on, or only notices the end.
    pub(super) fn set_reading(
        &mut self,
        reading: bool,
        epoll: &OwnedFd,
        token: u64,
    ) -> Result<(), Errno> {
        self.reading = reading;
        self.watch(epoll, token)
    }

    fn watch(&self, epoll: &OwnedFd, token: u64) -> Result<(), Errno> {
        let mut events = EventFlags::RDHUP;
        events.set(EventFlags::IN, self.reading);
        events.set(EventFlags::OUT, !self.unsent.is_empty());
        epoll::modify(epoll, &self.fd, EventData::new_u64(token), events)
    }

    /// Breaks it at once, without a port in TIME_WAIT.
    pub(super) fn cut(self) {
        // Closed normally, should this fail.
        let _ = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
    }
}

/// The kind under which an error of a connection is counted.
pub(super) fn kind(error: Errno) -> String {
    match error {
        Errno::CONNREFUSED => "tcp: connection refused".into(),
        Errno::CONNRESET | Errno::PIPE => "tcp: reset by the server".into(),
        Errno::TIMEDOUT => "tcp: timed out".into(),
        Errno::MFILE | Errno::NFILE => "local: too many open files (raise `ulimit -n`)".into(),
        Errno::ADDRNOTAVAIL => "local: no free port left for this source address".into(),
        other => format!("tcp: {}", io::Error::from(other)),
    }
}
