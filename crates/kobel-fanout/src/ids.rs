//! Typed ids.

use std::{borrow::Borrow, fmt, sync::Arc};

/// A client in a namespace. Never used twice in the life of a server; what is sent to one that is
/// gone goes nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(u64);

/// Bits of the serial number, below those of the shard.
const SERIAL_BITS: u32 = 56;

impl SocketId {
    pub(crate) fn new(shard: usize, serial: u64) -> Self {
        Self((shard as u64) << SERIAL_BITS | serial)
    }

    pub(crate) fn shard(self) -> usize {
        (self.0 >> SERIAL_BITS) as usize
    }

    /// The id from its number, for tables and tests.
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// By what number a client knows the answer that it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AckId(u64);

impl AckId {
    /// The id from its number, for tables and tests.
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

/// The name of a room. Rooms are per namespace: a frame names its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Room(Arc<str>);

impl Room {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Room {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for Room {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl Borrow<str> for Room {
    fn borrow(&self) -> &str {
        &self.0
    }
}
