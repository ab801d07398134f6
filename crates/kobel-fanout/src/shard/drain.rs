//! The end of a shard.

use std::{cell::RefCell, rc::Rc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{Command, Reply, Shard, command};
use crate::DisconnectReason;

/// How often it is looked whether everybody has taken the farewell.
const DRAIN_TURN: Duration = Duration::from_millis(20);

/// Says farewell, lets what waits go out for at most `grace`, and closes everything.
pub(super) async fn drain(
    shard: &Rc<RefCell<Shard>>,
    behind: Vec<Command>,
    commands: &mut mpsc::Receiver<Command>,
    grace: Duration,
    farewell: &command::Farewell,
) {
    let sockets: Vec<_> = shard.borrow().sockets.keys().copied().collect();
    for socket in sockets {
        if let Some(frame) = farewell(socket) {
            shard.borrow_mut().emit(socket, &frame);
        }
    }
    for command in behind {
        late(shard, command);
    }
    let end = Instant::now() + grace;
    let mut turn = interval(DRAIN_TURN);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Who has taken everything may go; the rest has until the end.
        shard.borrow_mut().close_drained();
        if shard.borrow().backlogged.is_empty() {
            break;
        }
        tokio::select! {
            () = sleep_until(end) => break,
            _ = turn.tick() => {}
            // Polling clients come by here to take their farewell.
            command = commands.recv() => match command {
                None => break,
                Some(command) => late(shard, command),
            },
        }
    }
    let mut shard = shard.borrow_mut();
    for key in shard.keys() {
        shard.close(key, DisconnectReason::Shutdown);
    }
}

/// A command that comes when the end has begun.
fn late(shard: &Rc<RefCell<Shard>>, command: Command) {
    match command {
        Command::OpenPolling { reply, .. } => {
            let _ = reply.send(Reply::Closing);
        }
        // A socket that is dropped is closed.
        Command::OpenWebSocket { .. } | Command::Upgrade { .. } => {}
        command => command::handle(shard, command),
    }
}

impl Shard {
    /// Closes every connection that nothing waits for.
    fn close_drained(&mut self) {
        for key in self.keys() {
            if !self.backlogged.contains(&key) {
                self.close(key, DisconnectReason::Shutdown);
            }
        }
    }
}
