//! The logs of containers over the agent link.
//!
//! On the hub [`LogRelay`] is the source of the logs of agents' devices. A follow of it outlives the
//! link: it knows how far it has read, and a new link of the device goes on right there. On the
//! agent [`Following`] runs the follows of one connection, from whatever [`LogSource`] the agent
//! has for a device.
//!
//! Lines never hold up samples: the agent has at most [`WINDOW`] bytes of them on the way, and sends
//! reports before lines. What comes faster waits in a queue for each follow that drops the oldest,
//! and the hub is told how many those were.
//!
//! [`LogSource`]: kobel_hub::logs::live::LogSource

mod message;
mod relay;
mod serve;

pub(super) use message::start_of;
pub use relay::LogRelay;
pub(super) use relay::{Command, TooOld};
pub(super) use serve::Following;

/// The most bytes of lines that are on the way to the hub, of all follows of a link together.
pub(super) const WINDOW: u64 = 1 << 20;

/// How large a message of lines grows. One line alone may be larger.
const CHUNK: usize = 64 << 10;

#[cfg(test)]
mod tests;
