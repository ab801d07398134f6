//! The hub's own figures: what its fan-out and its process count, once a second.
//!
//! Nothing is counted here. [`monitor`] reads the counters, [`figures`] (pure) makes rates of two
//! readings, and the hub's task tells them in the room `system:main` and keeps the last minutes.
//! The hub is never held up: readings reach it through a place for one, where the newest replaces
//! the one that waits.

pub mod figures;
pub mod monitor;
mod percentile;

pub use monitor::{Monitor, ProcessReading};
