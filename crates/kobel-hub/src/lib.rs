//! What Kobel knows now, and who may see it.
//!
//! The hub stands between sources and viewers: sources report into [`ingest`], [`live`] keeps the
//! newest state, and what changed goes out through `kobel-fanout` to those who subscribed. It does
//! not know how a sample was collected, nor how a socket works.
//!
//! Start reading at [`live`] (the rules, without I/O) and [`hub`] (the task that runs them).

pub mod access;
pub mod cluster;
pub mod demand;
pub mod gate;
pub mod hub;
pub mod ingest;
pub mod live;
pub mod logs;
pub mod request;
pub mod room;
pub mod store;
pub mod system;
