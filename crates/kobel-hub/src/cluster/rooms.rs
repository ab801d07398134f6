//! Names of keys and channels.
//!
//! All of one device have its UUID in braces, so they are on one node of a Redis Cluster, where a
//! script can use them together.

use kobel_wire::{DeviceUuid, log::LogStreamId};

use super::NodeId;

/// Makes the names, with a prefix of its own for each installation that shares a Redis.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// A sorted set: the nodes, by the ends of their leases.
    pub(super) fn nodes(&self) -> String {
        format!("{}{{nodes}}:leases", self.prefix)
    }

    /// A hash: what each node says of itself.
    pub(super) fn info(&self) -> String {
        format!("{}{{nodes}}:info", self.prefix)
    }

    /// What all nodes share a secret by.
    pub(super) fn secret(&self) -> String {
        format!("{}{{nodes}}:secret", self.prefix)
    }

    /// The channel of one node.
    pub(super) fn node(&self, node: &NodeId) -> String {
        format!("{}node:{node}", self.prefix)
    }

    /// The channel where it is told who owns what.
    pub(super) fn owners(&self) -> String {
        format!("{}owners", self.prefix)
    }

    /// A hash: who owns the device, by which token, and how much was written.
    pub(super) fn owner(&self, device: DeviceUuid) -> String {
        format!("{}{{{device}}}:owner", self.prefix)
    }

    /// A stream, and the channel of what is added to it: the device's last whole state and the
    /// changes since.
    pub(super) fn feed(&self, device: DeviceUuid) -> String {
        format!("{}{{{device}}}:feed", self.prefix)
    }

    /// The channel of the device's samples.
    pub(super) fn now(&self, device: DeviceUuid) -> String {
        format!("{}{{{device}}}:now", self.prefix)
    }

    /// A stream, and its channel: the newest lines of a container's log.
    pub(super) fn log(&self, stream: &LogStreamId) -> String {
        format!("{}{{{}}}:log:{}", self.prefix, stream.device, stream.container)
    }
}
