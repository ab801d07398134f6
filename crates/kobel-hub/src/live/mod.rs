//! Live state and rooms, without sockets, tasks or clocks.
//!
//! [`Live`] is the whole of it: reports and requests go in with the time, [`Command`]s for the
//! fan-out come out. Order is the point. Commands are carried out in the order in which they were
//! given, so a viewer's `initialData` and the events after it fit together without a lock.

mod batch;
mod binary;
mod command;
mod core;
mod delivery;
mod fleet;
mod fleet_frames;
mod groups;
mod history;
mod inventory;
mod merged;
mod needs;
mod pace;
mod resume;
mod ring;
mod stream;
mod summaries;
mod system;
mod tell;
mod tier;
mod viewer;

pub use command::{Command, LiveStats};
pub use core::Live;
pub use inventory::DeviceLabel;

use crate::access::Access;
use kobel_wire::DeviceUuid;

/// What permission is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A device and what is on it.
    Device(DeviceUuid),
    /// The hub's own figures.
    System,
}

/// The question of permission. Asked when a viewer subscribes and again for each event that is
/// delivered.
pub trait Policy: Send {
    /// Whether a holder of this access may see this.
    fn may_see(&self, access: &Access, subject: Subject) -> bool;
}

/// The policy of the product: the access's own scope and role.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByScope;

impl Policy for ByScope {
    fn may_see(&self, access: &Access, subject: Subject) -> bool {
        match subject {
            Subject::Device(device) => access.may_see(device),
            Subject::System => access.may_see_system(),
        }
    }
}
