//! How the log streams of several nodes are one.

use std::{future::Future, pin::Pin, sync::Arc};

use kobel_wire::{
    event::Seq,
    log::{LogLine, LogStreamId},
};
use tokio::sync::watch;

use crate::logs::{LogPosition, ToldLines};

/// Where a log goes on that another node has read so far.
#[derive(Debug, Clone)]
pub struct Resumed {
    /// Names its numbering.
    pub epoch: Arc<str>,
    /// The last number up to which it is known how far it was read.
    pub seq: Seq,
    /// How far.
    pub position: LogPosition,
    /// The newest entries up to that number.
    pub lines: Vec<Arc<LogLine>>,
}

/// The way to the log streams of other nodes. Never waits, but where it is asked for what is written
/// down.
pub trait LogBus: Send + Sync {
    /// Whether another node has viewers of a log.
    fn is_wanted(&self, stream: &LogStreamId) -> bool;

    /// Changes whenever other nodes want other logs.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Tells what was read of a log; `anew`: what was told before is of no use any more.
    fn tell(&self, stream: &LogStreamId, told: ToldLines, anew: bool);

    /// Where another node has read to, if one has lately.
    fn resume(
        &self,
        stream: LogStreamId,
    ) -> Pin<Box<dyn Future<Output = Option<Resumed>> + Send + '_>>;
}
