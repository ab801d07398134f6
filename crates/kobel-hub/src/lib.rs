//! What Kobel knows now, and who may see it.
//!
//! The hub stands between sources and viewers: sources report into [`ingest`], the hub keeps the
//! newest state, and what changed goes out through `kobel-fanout` to those who subscribed. It does
//! not know how a sample was collected, nor how a socket works.

pub mod access;
pub mod ingest;
pub mod store;
