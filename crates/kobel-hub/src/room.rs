//! The named things that viewers subscribe to.

use std::fmt;

use kobel_wire::{ContainerId, DeviceUuid};

/// A room's name, such as `device:0198c0de-…`, `container:3f2a…`, `dashboard:main`, `fleet:main`
/// or `system:main`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RoomName {
    /// One device: its samples, its containers' changes, its own changes.
    Device(DeviceUuid),
    /// One container: its changes.
    Container(ContainerId),
    /// All devices that the viewer may see, in batches.
    Dashboard,
    /// The newest values of all devices that the viewer may see, in one frame.
    Fleet,
    /// The hub's own figures.
    System,
}

/// The `type` of a room, by which subscriptions are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoomKind {
    /// `device:<uuid>`
    Device,
    /// `container:<id>`
    Container,
    /// `dashboard:main`
    Dashboard,
    /// `fleet:main`
    Fleet,
    /// `system:main`
    System,
}

impl RoomKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Device, Self::Container, Self::Dashboard, Self::Fleet, Self::System];

    /// The word used as `type` in a subscribe.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Container => "container",
            Self::Dashboard => "dashboard",
            Self::Fleet => "fleet",
            Self::System => "system",
        }
    }
}

impl RoomName {
    /// Its kind.
    pub fn kind(&self) -> RoomKind {
        match self {
            Self::Device(_) => RoomKind::Device,
            Self::Container(_) => RoomKind::Container,
            Self::Dashboard => RoomKind::Dashboard,
            Self::Fleet => RoomKind::Fleet,
            Self::System => RoomKind::System,
        }
    }

    /// The part after the colon.
    pub fn id(&self) -> String {
        match self {
            Self::Device(uuid) => uuid.to_string(),
            Self::Container(id) => id.to_string(),
            Self::Dashboard | Self::Fleet | Self::System => "main".into(),
        }
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(uuid) => write!(f, "device:{uuid}"),
            Self::Container(id) => write!(f, "container:{id}"),
            Self::Dashboard => f.write_str("dashboard:main"),
            Self::Fleet => f.write_str("fleet:main"),
            Self::System => f.write_str("system:main"),
        }
    }
}
