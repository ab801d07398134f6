//! What the rest of the process asks of a shard.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{Handed, Reply, Shard, Turn, polling, reading};
use crate::{
    AckId, Admission, Answer, ConnectError, DisconnectReason, Frame, Handler, Room, SocketId,
    handler::KeptHandshake, metrics::Snapshot, server::Reserved,
};

/// What is said to a socket at shutdown.
pub(crate) type Farewell = dyn Fn(SocketId) -> Option<Arc<Frame>> + Send + Sync;

/// A session to be made.
pub(crate) struct Opening {
    pub(crate) sid: Box<str>,
    pub(crate) handshake: KeptHandshake,
    pub(crate) admission: Option<Admission>,
    pub(crate) place: Reserved,
}

/// An order to a shard.
pub(crate) enum Command {
    Publish {
        room: Room,
        frame: Arc<Frame>,
        at: Instant,
    },
    Emit {
        socket: SocketId,
        frame: Arc<Frame>,
    },
    Ask {
        socket: SocketId,
        args: String,
        answer: oneshot::Sender<Answer>,
    },
    Ack {
        socket: SocketId,
        ack: AckId,
        args: String,
    },
    Join {
        socket: SocketId,
        room: Room,
    },
    Leave {
        socket: SocketId,
        room: Room,
    },
    Disconnect {
        socket: SocketId,
        reason: DisconnectReason,
    },
    Verdict {
        socket: SocketId,
        namespace: Arc<str>,
        verdict: Result<(), ConnectError>,
    },
    OpenPolling {
        opening: Opening,
        reply: oneshot::Sender<Reply>,
    },
    OpenWebSocket {
        opening: Opening,
        handed: Handed,
        deflate: bool,
        early: Bytes,
    },
    Poll {
        sid: Box<str>,
        reply: oneshot::Sender<Reply>,
    },
    /// A POST is about to be read; only one at a time may.
    BeginPost {
        sid: Box<str>,
        reply: oneshot::Sender<Result<Turn, Reply>>,
    },
    Post {
        sid: Box<str>,
        body: Bytes,
        reply: oneshot::Sender<Reply>,
    },
    /// A POST that is larger than allowed: the session ends.
    TooLarge {
        sid: Box<str>,
    },
    /// A WebSocket wants the session; only one at a time may.
    Claim {
        sid: Box<str>,
        reply: oneshot::Sender<Option<Turn>>,
    },
    Upgrade {
        sid: Box<str>,
        turn: Turn,
        handed: Handed,
        deflate: bool,
        early: Bytes,
    },
    Snapshot {
        reply: oneshot::Sender<Snapshot>,
    },
    Shutdown {
        grace: Duration,
        farewell: Arc<Farewell>,
        done: oneshot::Sender<()>,
    },
}

/// The way back of a decision about a [`crate::ConnectRequest`].
pub(crate) struct Verdict {
    pub(crate) socket: SocketId,
    pub(crate) namespace: Arc<str>,
    pub(crate) shard: mpsc::WeakSender<Command>,
    pub(crate) handler: Arc<dyn Handler>,
}

impl Verdict {
    pub(crate) fn give(self, verdict: Result<(), ConnectError>) {
        let (socket, namespace) = (self.socket, self.namespace);
        let told = Arc::clone(&namespace);
        let accepted = verdict.is_ok();
        let late = move || {
            if accepted {
                self.handler.disconnect(socket, &namespace, DisconnectReason::Shutdown);
            }
        };
        let Some(shard) = self.shard.upgrade() else {
            return late();
        };
        match shard.try_send(Command::Verdict { socket, namespace: told, verdict }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => late(),
            // The verdict must not be lost, and its giver may not be able to wait: a task of its
            // own does, at most one per sign-in under way, until the queue takes it or closes.
            Err(mpsc::error::TrySendError::Full(command)) => {
                match tokio::runtime::Handle::try_current() {
                    Ok(runtime) => drop(runtime.spawn(async move {
                        if shard.send(command).await.is_err() {
                            late();
                        }
                    })),
                    Err(_) => late(),
                }
            }
        }
    }
}

/// Does what is asked. Orders about what is gone are no errors: it went while they were on
/// their way.
pub(crate) fn handle(this: &Rc<RefCell<Shard>>, command: Command) {
    let mut shard = this.borrow_mut();
    match command {
        Command::Publish { room, frame, at } => shard.publish(&room, &frame, at),
        Command::Emit { socket, frame } => shard.emit(socket, &frame),
        Command::Ask { socket, args, answer } => shard.ask(socket, &args, answer),
        Command::Ack { socket, ack, args } => shard.ack(socket, ack, &args),
        Command::Join { socket, room } => shard.join(socket, room),
        Command::Leave { socket, room } => shard.leave(socket, &room),
        Command::Disconnect { socket, reason } => shard.disconnect(socket, reason),
        Command::Verdict { socket, namespace, verdict } => {
            shard.decided(socket, &namespace, verdict);
        }
        Command::OpenPolling { opening, reply } => shard.open_polling(opening, reply),
        Command::Poll { sid, reply } => shard.poll_request(&sid, reply),
        Command::Post { sid, body, reply } => shard.post_request(&sid, &body, reply),
        Command::TooLarge { sid } => {
            if let Some(key) = shard.sids.get(&sid).copied() {
                shard.close(key, DisconnectReason::TooLarge);
            }
        }
        Command::Claim { sid, reply } => {
            let _ = reply.send(shard.claim(&sid));
        }
        Command::BeginPost { sid, reply } => {
            let _ = reply.send(shard.begin_post(&sid));
        }
        Command::OpenWebSocket { opening, handed, deflate, early } => {
            drop(shard);
            reading::open(this, opening, handed, deflate, early);
        }
        Command::Upgrade { sid, turn, handed, deflate, early } => {
            drop(shard);
            polling::probe(this, sid, turn, (handed, deflate), early);
        }
        Command::Snapshot { reply } => {
            let _ = reply.send(shard.metrics.clone());
        }
        // Handled by the loop itself.
        Command::Shutdown { .. } => {}
    }
}
