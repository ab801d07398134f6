//! Lines that are kept: found again on all hosts, also when the container is gone.
//!
//! A folder holds two kinds of files, both of `record`s. Lines go into a **journal** as soon as
//! they come, so that a kill loses nothing that was written; once a stream has some thousand of
//! them they go into a **segment**, packed as a block with a filter of its words. When everything
//! is in blocks the journal is removed, and the oldest segments go when there is too much or they are
//! too old. Nothing is ever changed in place.
//!
//! `Writer` writes, `catalog` is what there is, `search` looks through it; `lines` is a block
//! unpacked, `shape` is why blocks are small and `words` why most of them need not be read.
//! [`LogStore`] is the way to all of it, [`LogStoreTask`] the task that owns the writer. The formats,
//! and what else was measured, are in `docs/logs.md`.

mod bytes;
mod catalog;
mod follow;
mod handle;
mod identity;
mod lines;
mod query;
mod record;
mod search;
mod shape;
mod task;
mod words;
mod writer;

pub use follow::LogFollow;
pub use handle::{LogStore, Resumed, StoreFigures, StreamFigures};
pub use identity::LogIdentity;
pub use query::{LogQuery, QueryError, Whose};
pub use search::{FoundLine, LogOrder, LogPlace, LogSearch, SearchEvent, SearchProgress};
pub use task::LogStoreTask;
pub(super) use task::gap;
pub use writer::Keep;
