//! The agent's side: the follows of one connection.

use std::{collections::HashMap, sync::Arc};

use kobel_hub::logs::{
    LogStart, Poke, SourceEvent,
    live::LogSource,
    queue::{self, Limits, LogReceiver},
};
use kobel_wire::{
    ContainerId, Timestamp,
    proto::{AgentMessage, LogChunk, LogEnd, LogRecord, agent_message::Body},
};
use prost::Message;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    CHUNK, WINDOW,
    message::{missing, record},
};

/// The most of one follow that waits; beyond it the oldest lines are dropped. As much again is
/// about to be sent.
const LIMITS: Limits = Limits { events: 8_192, bytes: 2 << 20 };

/// Chunks that wait for the link, of all follows. Full: those that have the next wait for their
/// turn, and their lines in their queues.
const CHUNKS: usize = 4;

/// The follows of one connection. Ends them when it is dropped; [`Following::close`] waits for that.
pub(in super::super) struct Following {
    running: HashMap<u64, CancellationToken>,
    tasks: JoinSet<()>,
    send: mpsc::Sender<LogChunk>,
    chunks: mpsc::Receiver<LogChunk>,
    /// Bytes of chunks that were sent, and of those the hub has taken in.
    sent: u64,
    taken: u64,
    next: Option<LogChunk>,
    cancel: CancellationToken,
}

impl Following {
    /// No follows yet; they end with `cancel`.
    pub(in super::super) fn new(cancel: &CancellationToken) -> Self {
        let (send, chunks) = mpsc::channel(CHUNKS);
        Self {
            running: HashMap::new(),
            tasks: JoinSet::new(),
            send,
            chunks,
            sent: 0,
            taken: 0,
            next: None,
            cancel: cancel.child_token(),
        }
    }

    /// The hub wants a container's log.
    pub(in super::super) fn follow(
        &mut self,
        id: u64,
        container: ContainerId,
        start: LogStart,
        source: Arc<dyn LogSource>,
    ) {
        let cancel = self.cancel.child_token();
        if let Some(before) = self.running.insert(id, cancel.clone()) {
            before.cancel();
        }
        while self.tasks.try_join_next().is_some() {}
        let send = self.send.clone();
        self.tasks.spawn(async move {
            let following = cancel.child_token();
            let (sink, lines) = queue::channel(LIMITS);
            let reading = source.follow(container, start, sink, Poke::default(), following.clone());
            let passing = async {
                let passed = pass(id, &lines, &send).await;
                // Who passes nothing on needs no source.
                following.cancel();
                passed
            };
            let work = async {
                let (ended, passed) = tokio::join!(reading, passing);
                if passed.is_some() {
                    let end = Some(LogEnd { wrong: ended.err() });
                    let _ = send.send(LogChunk { follow: id, records: Vec::new(), end }).await;
                }
            };
            tokio::select! {
                () = cancel.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// The hub does not take a log from this agent.
    pub(in super::super) fn refuse(&mut self, id: u64, wrong: &str) {
        let send = self.send.clone();
        let (cancel, wrong) = (self.cancel.clone(), Some(wrong.to_owned()));
        self.tasks.spawn(async move {
            let end = Some(LogEnd { wrong });
            let chunk = LogChunk { follow: id, records: Vec::new(), end };
            tokio::select! {
                () = cancel.cancelled() => {}
                _ = send.send(chunk) => {}
            }
        });
    }

    /// The hub does not want a log any more.
    pub(in super::super) fn stop(&mut self, id: u64) {
        if let Some(cancel) = self.running.remove(&id) {
            cancel.cancel();
        }
    }

    /// The hub took so many bytes in, since the connection began.
    pub(in super::super) fn acked(&mut self, bytes: u64) {
        self.taken = self.taken.max(bytes.min(self.sent));
    }

    /// Waits until a message could go. Cancel safe.
    pub(in super::super) async fn ready(&mut self) {
        if self.next.is_some() || self.sent - self.taken >= WINDOW {
            return std::future::pending().await;
        }
        self.next = self.chunks.recv().await;
    }

    /// The next message, if one may go now.
    pub(in super::super) fn next(&mut self, wall: Timestamp) -> Option<Vec<u8>> {
        if self.sent - self.taken >= WINDOW {
            return None;
        }
        let chunk = self.next.take().or_else(|| self.chunks.try_recv().ok())?;
        if chunk.end.is_some() {
            self.running.remove(&chunk.follow);
        }
        let body = Some(Body::Log(chunk));
        let bytes = AgentMessage { sent_at_ms: wall.as_millis(), body }.encode_to_vec();
        self.sent += bytes.len() as u64;
        Some(bytes)
    }

    /// Ends all follows, and waits for that.
    pub(in super::super) async fn close(mut self) {
        self.cancel.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Hands on what comes, in chunks, until nothing more comes; `None` where nobody takes it.
async fn pass(follow: u64, lines: &LogReceiver, send: &mpsc::Sender<LogChunk>) -> Option<()> {
    while let Some(taken) = lines.take().await {
        let dropped = taken.dropped.map(|dropped| missing(dropped.count()));
        let mut records: Vec<LogRecord> = dropped.into_iter().collect();
        let mut size = 0;
        for event in taken.events {
            size += size_of(&event);
            // A gap goes with the line behind it.
            records.push(record(event));
            if size >= CHUNK {
                let records = std::mem::take(&mut records);
                send.send(LogChunk { follow, records, end: None }).await.ok()?;
                size = 0;
            }
        }
        if !records.is_empty() {
            send.send(LogChunk { follow, records, end: None }).await.ok()?;
        }
    }
    Some(())
}

fn size_of(event: &SourceEvent) -> usize {
    match event {
        SourceEvent::Line(line) => line.text.len() + 16,
        SourceEvent::Marker(..) | SourceEvent::Missing(_) | SourceEvent::Told(_) => 16,
    }
}
