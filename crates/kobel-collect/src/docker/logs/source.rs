//! The logs of an engine's containers, for the hub.

use std::{future::Future, pin::Pin, sync::Arc};

use kobel_hub::logs::{LogStart, Poke, live::LogSource, queue::LogSender};
use kobel_wire::{ContainerId, log::LogTime};
use tokio_util::sync::CancellationToken;

use super::{Dial, Ended, Follower, Start};

/// Follows the containers of the engine that `dial` reaches.
pub struct DockerLogs(Arc<dyn Dial>);

impl DockerLogs {
    /// Of this engine.
    pub fn new(dial: Arc<dyn Dial>) -> Self {
        Self(dial)
    }
}

impl LogSource for DockerLogs {
    fn follow(
        &self,
        container: ContainerId,
        start: LogStart,
        sink: LogSender,
        poke: Poke,
        cancel: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let dial = Arc::clone(&self.0);
        let start = match start {
            LogStart::Tail(lines) => Start::Tail(lines),
            LogStart::All => Start::Since(LogTime::default()),
            LogStart::After(position) => Start::After(position),
        };
        Box::pin(async move {
            let follower = Follower::new(dial, container, Arc::new(sink), start).poked_by(poke);
            match follower.run(cancel).await {
                Ended::Cancelled | Ended::Removed => Ok(()),
                Ended::Refused(why) => {
                    Err(format!("the engine cannot give the log of this container: {why}"))
                }
            }
        })
    }
}
