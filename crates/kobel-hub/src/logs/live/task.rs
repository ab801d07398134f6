//! The task of one stream: its follows, one after the other, its requests and its lines.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc, time::Duration};

use kobel_fanout::Server;
use kobel_wire::{Timestamp, log::LogStreamId};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    KnownContainer, LogBus, LogRequest, LogSources, TAIL, elsewhere,
    feed::Feed,
    roster::ToStream,
    stream::{Out, Stream},
    volume::{Counts, LogVolume},
};
use crate::logs::{
    LogStart, Poke, Redaction, SourceEvent,
    queue::{self, Limits, Taken},
    store::LogStore,
};

/// How long a stream goes on when its last viewer has gone.
const LINGER: Duration = Duration::from_secs(10);

/// So many events are worked on before others get their turn.
const AT_ONCE: usize = 500;

/// What is wrong with a source that has ended; waits for ever where that was told already.
async fn why(told: &mut Option<oneshot::Receiver<Result<(), String>>>) -> Option<String> {
    match told {
        Some(told) => told.await.ok()?.err(),
        None => std::future::pending().await,
    }
}

/// Another follow for a stream, after the one before has ended.
pub(super) struct Turn {
    pub(super) follow: Pin<Box<dyn Future<Output = Result<(), String>> + Send>>,
    pub(super) wrong: oneshot::Sender<Result<(), String>>,
}

/// The task of one stream.
pub(super) struct Task {
    pub(super) sources: LogSources,
    pub(super) store: Option<LogStore>,
    /// The log streams of other nodes.
    pub(super) bus: Option<Arc<dyn LogBus>>,
    /// What is known of the container that is followed.
    pub(super) known: Option<Arc<KnownContainer>>,
    /// Another node reads the log; and whether that has just changed.
    pub(super) is_told: bool,
    pub(super) is_moving: bool,
    /// Ends the follow of now, and not the stream.
    pub(super) this_turn: CancellationToken,
    pub(super) turns: mpsc::Sender<Turn>,
    pub(super) following: CancellationToken,
    /// Wakes the follow.
    pub(super) poke: Poke,
    /// Which container is followed now, and whether it is known to run.
    pub(super) container: LogStreamId,
    pub(super) up: bool,
    /// Containers that take their predecessors' place, as soon as all was read of these.
    pub(super) successors: VecDeque<(Arc<KnownContainer>, u64)>,
    pub(super) stream: Stream,
    /// Whether the store needs it, and whether it may.
    pub(super) kept: bool,
    pub(super) may_keep: bool,
    pub(super) requests: mpsc::Receiver<ToStream>,
    pub(super) lines: queue::LogReceiver,
    pub(super) server: Server,
    pub(super) counts: Arc<Counts>,
    pub(super) volume: Arc<LogVolume>,
    /// Names the stream among those of the process.
    pub(super) number: u64,
    pub(super) seen: queue::Volume,
}

impl Task {
    /// With what was stored of the stream before, and where it goes on.
    pub(super) async fn stored(
        mut self,
        id: &LogStreamId,
        store: LogStore,
        known: &KnownContainer,
        redaction: Arc<Redaction>,
    ) -> (Self, LogStart) {
        let before = store.resume(id, TAIL as usize).await;
        let (start, history) = match before.position {
            Some(position) => (LogStart::After(position), before.history),
            None if known.fresh => (LogStart::All, Vec::new()),
            None => (LogStart::Tail(TAIL), Vec::new()),
        };
        let identity = Arc::new(known.identity.clone());
        let feed = Feed::new(store, identity, start, 0);
        self.stream = self.stream.stored(redaction, feed, history);
        (self, start)
    }

    /// Runs until nobody needs the stream, or cancelled. What it was still told then, oldest first.
    pub(super) async fn run(
        mut self,
        told: oneshot::Receiver<Result<(), String>>,
        cancel: CancellationToken,
    ) -> Vec<ToStream> {
        let mut told = Some(told);
        let mut flowing = true;
        let mut end: Option<Instant> = None;
        let mut wanted = self.bus.as_ref().map(|bus| bus.changes());
        loop {
            let deadline = self.stream.deadline();
            let idle = Instant::now();
            tokio::select! {
                () = cancel.cancelled() => break,
                request = self.requests.recv() => match request {
                    None => break,
                    Some(told) => self.told(told),
                },
                () = elsewhere::changed(&mut wanted) => {}
                taken = self.lines.take(), if flowing => match taken {
                    Some(taken) => self.take(taken).await,
                    None => flowing = false,
                },
                wrong = why(&mut told), if !flowing => {
                    told = None;
                    if !self.is_moving {
                        self.stream.ended(wrong.as_deref(), Instant::now(), Timestamp::now());
                        self.tell_end();
                    }
                }
                () = async {}, if !flowing && told.is_none() && self.is_moving => {
                    told = self.begin_here_or_there().await;
                    flowing = told.is_some();
                }
                () = async {}, if !flowing && told.is_none() && !self.successors.is_empty() => {
                    told = self.go_on().await;
                    flowing = told.is_some();
                }
                () = sleep_until(deadline.unwrap_or(idle)), if deadline.is_some() => {
                    self.stream.tick(Instant::now(), Timestamp::now());
                }
                () = sleep_until(end.unwrap_or(idle)), if end.is_some() => {
                    // Somebody may have come in this very moment.
                    if self.requests.is_empty() {
                        break;
                    }
                    continue;
                }
            }
            self.carry_out().await;
            self.tell_others();
            self.count();
            end = match (self.stream.is_unwatched() && !self.kept, end) {
                (false, _) => None,
                (true, None) => Some(Instant::now() + LINGER),
                (true, end) => end,
            };
        }
        self.requests.close();
        self.stream.close(Instant::now(), Timestamp::now());
        self.volume.end(self.number);
        // Or now; whoever comes from here on waits for the end of this one.
        let mut left = Vec::new();
        while let Ok(told) = self.requests.try_recv() {
            left.push(told);
        }
        left
    }

    fn told(&mut self, told: ToStream) {
        match told {
            ToStream::Request(request) => self.request(request),
            ToStream::Recreated(known, number) => self.successors.push_back((known, number)),
            ToStream::Moved => self.moved(),
            ToStream::Tap(tap) => self.stream.tap(tap),
            ToStream::Untap(view) => self.stream.untap(view),
            ToStream::Look(look) => self.stream.look(look),
        }
    }

    /// What is known of the container that is followed.
    fn knows(&mut self, known: &KnownContainer) {
        if known.up && !std::mem::replace(&mut self.up, known.up) {
            self.poke.now();
        }
        self.up = known.up;
        self.known = Some(Arc::new(known.clone()));
        self.volume.rename(self.number, &known.identity);
        self.kept = self.stream.rename(&known.identity) && known.up && self.may_keep;
    }

    /// Follows the container that took the place of the one before; says where its end is told.
    async fn go_on(&mut self) -> Option<oneshot::Receiver<Result<(), String>>> {
        let (known, number) = self.successors.pop_front()?;
        let id = known.identity.stream();
        let (mut stored, mut start) = (None, LogStart::All);
        if let Some(store) = self.store.clone().filter(|_| known.stored) {
            let before = store.resume(&id, 0).await;
            if let Some(position) = before.position {
                start = LogStart::After(position);
            }
            let identity = Arc::new(known.identity.clone());
            stored = Some((store, identity, start));
        }
        let (now, wall) = (Instant::now(), Timestamp::now());
        self.stream.recreated(&known.identity, number, stored, now, wall);
        (self.container, self.up) = (id.clone(), false);
        self.knows(&known);
        let source = self.sources.of(id.device)?;
        if self.bus.is_some() && !self.is_told {
            self.stream.shared(start);
        }
        let (sink, lines) = queue::channel(Limits::default());
        (self.lines, self.seen) = (lines, queue::Volume::default());
        self.volume.followed();
        self.this_turn = self.following.child_token();
        let follow =
            source.follow(id.container, start, sink, self.poke.clone(), self.this_turn.clone());
        let (wrong, told) = oneshot::channel();
        // There is room: the follow before has ended.
        self.turns.send(Turn { follow, wrong }).await.ok()?;
        Some(told)
    }

    fn request(&mut self, request: LogRequest) {
        match request {
            LogRequest::Enter { socket, stream, access, options } => {
                self.stream.enter(
                    &stream,
                    socket,
                    access,
                    options,
                    Instant::now(),
                    Timestamp::now(),
                );
            }
            LogRequest::Leave { socket, stream } => self.stream.leave(&stream, socket),
            LogRequest::Container(known) => {
                let id = known.identity.stream();
                // It is not followed yet: this is what is known of it by now.
                if let Some((waits, _)) =
                    self.successors.iter_mut().find(|(waits, _)| waits.identity.stream() == id)
                {
                    *waits = known;
                    return;
                }
                if id == self.container {
                    self.knows(&known);
                }
            }
            // A view asks each stream by itself.
            LogRequest::Watch { .. } | LogRequest::Unwatch { .. } | LogRequest::Members { .. } => {}
            LogRequest::Gone(id) => {
                let waiting = self.successors.iter_mut().find(|(w, _)| w.identity.stream() == id);
                if let Some((waits, _)) = waiting {
                    let last = KnownContainer { up: false, ..(**waits).clone() };
                    *waits = Arc::new(last);
                } else if id == self.container {
                    self.kept = self.may_keep && !self.successors.is_empty();
                }
            }
        }
    }

    /// In portions, so that a flood leaves time to others.
    async fn take(&mut self, taken: Taken) {
        let Taken { mut dropped, events } = taken;
        let mut events = events.into_iter();
        loop {
            let portion: Vec<_> = events.by_ref().take(AT_ONCE).collect();
            if portion.is_empty() && dropped.is_none() {
                return;
            }
            self.late(&portion, Timestamp::now());
            let portion = Taken { dropped: dropped.take(), events: portion };
            self.stream.take(portion, Instant::now(), Timestamp::now());
            self.carry_out().await;
            tokio::task::yield_now().await;
        }
    }

    async fn carry_out(&mut self) {
        carry_out(&self.server, self.stream.take_out()).await;
    }

    fn count(&mut self) {
        let now = self.lines.volume();
        let more = queue::Volume {
            lines: now.lines - self.seen.lines,
            bytes: now.bytes - self.seen.bytes,
            dropped: now.dropped - self.seen.dropped,
            waiting: now.waiting,
        };
        self.volume.add(&self.counts, more);
        self.volume.passed(self.stream.take_passes());
        self.seen = now;
        if !self.stream.is_loading() {
            self.counts.settled();
        }
    }

    /// How late the newest of these lines is, by the engine's clock.
    fn late(&self, events: &[SourceEvent], wall: Timestamp) {
        let newest = events.iter().rev().find_map(|event| match event {
            SourceEvent::Line(line) => Some(line.at),
            _ => None,
        });
        if let Some(at) = newest.filter(|_| !self.stream.is_loading()) {
            let late = wall.as_millis().saturating_sub(at.as_nanos() / 1_000_000);
            self.counts.late(u64::try_from(late).unwrap_or(0));
        }
    }
}

/// Has the fan-out do what a stream or a view wants done.
pub(super) async fn carry_out(server: &Server, out: Vec<Out>) {
    for out in out {
        match out {
            Out::Publish(room, frame) => server.publish(&room, frame).await,
            Out::Emit(socket, frame) => server.emit(socket, frame).await,
            Out::Join(socket, room) => server.join(socket, room).await,
            Out::Leave(socket, room) => server.leave(socket, &room).await,
        }
    }
}
