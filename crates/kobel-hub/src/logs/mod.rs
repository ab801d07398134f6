//! Logs: from a source's lines to entries that can be read, filtered and found.
//!
//! All but [`live`] and [`queue`] is pure: lines in, entries out; time comes as an argument. The way of a line:
//!
//! 1. a source gives [`RawLine`]s to a [`LogSink`]; [`queue`] is one that never makes it wait;
//! 2. [`Redaction`] masks secrets, before anything else sees the line;
//! 3. [`mod@line`] makes it a [`LogLine`](kobel_wire::log::LogLine): time, level, message, fields;
//! 4. [`Grouper`] joins the lines of a stack trace;
//! 5. [`LogFilter`] says whether a viewer wants it.
//!
//! Start reading at [`Processor`], which is steps 2 to 4. [`live`] gives the entries to viewers.

pub mod line;
pub mod live;
pub mod queue;
pub mod stamp;
pub mod store;

mod filter;
mod group;
mod position;
mod process;
mod redact;
mod source;

pub use filter::{FilterError, LogFilter};
pub use group::{GROUP_BYTES, GROUP_LINES, Grouper};
pub use position::{LogPosition, LogProgress, LogStart};
pub use process::Processor;
pub use redact::{Redaction, RedactionError, Rule};
pub use source::{LogSink, Poke, RawLine, SourceEvent, ToldLines};
