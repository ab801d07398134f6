//! The tasks of the log streams.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use kobel_fanout::Server;
use kobel_wire::{
    DeviceUuid, Timestamp,
    event::{ErrorCode, ErrorEvent},
    log::{LogStreamId, StreamVolume},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    KnownContainer, LogBus, LogRequest, LogSources, TAIL,
    feed::Feed,
    roster::{Roster, ToStream},
    stream::{Out, Stream},
    volume::{Counts, LOOK, LogVolume},
};
use crate::{
    gate::NAMESPACE,
    live::ByScope,
    logs::{
        LogStart, Poke, Redaction, SourceEvent,
        queue::{self, Limits, Taken},
        store::{LogIdentity, LogStore},
    },
};

/// How long a stream goes on when its last viewer has gone.
const LINGER: Duration = Duration::from_secs(10);

/// Requests that wait for the log streams, and those that wait for one. Full: whoever asks waits.
const REQUESTS: usize = 4_096;

/// Follows that wait for the one before to end. Full: the stream waits; it hands over the next one
/// only when the one before has ended.
const TURNS: usize = 1;

/// The most streams that are followed for the store alone; further containers are stored while
/// somebody looks. Each keeps its newest lines in memory: 2,000 of them are some 400 MB at worst.
const STORED: usize = 2_000;

/// So many events are worked on before others get their turn.
const AT_ONCE: usize = 500;

/// How much goes through each stream, as of the last look.
pub type Volumes = Vec<(LogStreamId, StreamVolume)>;

/// The way to the log streams, and what they tell all the time.
#[derive(Debug, Clone)]
pub struct LogRequests {
    queue: mpsc::Sender<LogRequest>,
    volumes: watch::Receiver<Volumes>,
}

impl LogRequests {
    /// Hands a request over; waits while too many wait.
    pub async fn send(&self, request: LogRequest) {
        // Log streams that have ended have no viewers either.
        let _ = self.queue.send(request).await;
    }

    /// How much goes through each stream, every few seconds. Newer figures replace those that wait.
    pub fn volumes(&self) -> watch::Receiver<Volumes> {
        self.volumes.clone()
    }
}

/// Runs the log streams.
pub struct LogHub {
    requests: mpsc::Receiver<LogRequest>,
    sources: LogSources,
    redaction: Arc<Redaction>,
    store: Option<LogStore>,
    known: HashMap<LogStreamId, Arc<KnownContainer>>,
    volume: Arc<LogVolume>,
    /// How much goes through each, told every few seconds.
    volumes: watch::Sender<Volumes>,
    streams_made: u64,
    /// Whether it was said that there are more containers than are followed for the store.
    is_full: bool,
    /// The log streams of other nodes.
    bus: Option<Arc<dyn LogBus>>,
}

impl LogHub {
    /// Log streams from these sources.
    pub fn new(sources: LogSources, redaction: Redaction) -> (Self, LogRequests) {
        let (send, requests) = mpsc::channel(REQUESTS);
        let volumes = watch::Sender::new(Volumes::new());
        let way = LogRequests { queue: send, volumes: volumes.subscribe() };
        let hub = Self {
            requests,
            sources,
            redaction: Arc::new(redaction),
            store: None,
            known: HashMap::new(),
            volume: Arc::default(),
            volumes,
            streams_made: 0,
            is_full: false,
            bus: None,
        };
        (hub, way)
    }

    /// Its streams and those of other nodes are one.
    pub fn clustered(mut self, bus: Arc<dyn LogBus>) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Stores what is followed, and follows what runs.
    pub fn stored(mut self, store: LogStore) -> Self {
        self.store = Some(store);
        self
    }

    /// How much goes through.
    pub fn volume(&self) -> Arc<LogVolume> {
        Arc::clone(&self.volume)
    }

    /// Runs until cancelled.
    pub async fn run(mut self, server: Server, cancel: CancellationToken) {
        let mut running = Roster::default();
        let mut tasks: JoinSet<u64> = JoinSet::new();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sources = self.sources.clone();
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                moved = sources.moved(), if self.bus.is_some() => {
                    for device in moved {
                        self.moved(device, &mut running, &mut tasks, &server, &cancel).await;
                    }
                }
                _ = look.tick() => {
                    self.volumes.send_replace(self.volume.look(Instant::now()));
                }
                request = self.requests.recv() => match request {
                    None => break,
                    Some(request) => {
                        self.hand_on(request, &mut running, &mut tasks, &server, &cancel).await;
                    }
                },
                Some(ended) = tasks.join_next() => match ended {
                    Ok(number) => running.ended(number),
                    Err(error) => tracing::error!(%error, "a log stream ended by itself"),
                },
            }
        }
        drop(running);
        while tasks.join_next().await.is_some() {}
    }

    /// Another node reads the logs of this device now, or this one does.
    async fn moved(
        &mut self,
        device: DeviceUuid,
        running: &mut Roster,
        tasks: &mut JoinSet<u64>,
        server: &Server,
        cancel: &CancellationToken,
    ) {
        for stream in running.of_device(device) {
            // One that has just ended has no viewers.
            let _ = stream.requests.send(ToStream::Moved).await;
        }
        // Those that are followed for the store alone begin here, where this node reads them.
        let known = self.known.values().filter(|known| known.identity.device_uuid == device);
        for known in known.cloned().collect::<Vec<_>>() {
            let request = LogRequest::Container(known);
            self.hand_on(request, running, tasks, server, cancel).await;
        }
    }

    async fn hand_on(
        &mut self,
        request: LogRequest,
        running: &mut Roster,
        tasks: &mut JoinSet<u64>,
        server: &Server,
        cancel: &CancellationToken,
    ) {
        let store = self.store.clone();
        let (id, starts) = match &request {
            LogRequest::Enter { stream, .. } => (stream.clone(), true),
            LogRequest::Leave { stream, .. } => (stream.clone(), false),
            LogRequest::Container(known) => {
                let id = known.identity.stream();
                let new = self.known.insert(id.clone(), Arc::clone(known)).is_none();
                self.succeed(known, new, running).await;
                (id, store.is_some() && known.up && known.stored)
            }
            LogRequest::Gone(stream) => {
                if let Some(gone) = self.known.remove(stream) {
                    running.gone(stream, &gone.identity);
                    let mut known = self.known.values();
                    let successor = known.find(|known| known.identity.succeeds(&gone.identity));
                    if let Some(successor) = successor.cloned() {
                        self.succeed(&successor, false, running).await;
                    }
                }
                if let Some(store) = &store {
                    store.forget(stream);
                }
                (stream.clone(), false)
            }
        };
        let mut request = ToStream::Request(request);
        if let Some(stream) = running.get(&id) {
            match stream.requests.send(request).await {
                Ok(()) => return,
                // It has just ended.
                Err(back) => request = back.0,
            }
        }
        let ToStream::Request(request) = request else { return };
        if !starts {
            return;
        }
        let Some(source) = self.sources.of(id.device) else {
            return refuse(server, &request).await;
        };
        if matches!(request, LogRequest::Container(_)) {
            if !source.is_stored_unwatched() {
                return;
            }
            if running.len() >= STORED {
                if !std::mem::replace(&mut self.is_full, true) {
                    tracing::warn!(
                        followed = STORED,
                        "too many containers for the log store: the logs of further ones are \
                         stored only while somebody looks at them"
                    );
                }
                return;
            }
        }
        self.streams_made += 1;
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let number = self.streams_made;
        let (sink, lines) = queue::channel(Limits::default());
        let (turns, mut next) = mpsc::channel(TURNS);
        let (following, poke) = (cancel.child_token(), Poke::default());
        let known = self.known.get(&id).cloned();
        let identity = known.as_ref().map(|known| Arc::new(known.identity.clone()));
        let stored = store.zip(known.clone()).filter(|(_, known)| known.stored);
        let redaction = Arc::clone(&self.redaction);
        let this_turn = following.child_token();
        let task = Task {
            sources: self.sources.clone(),
            store: self.store.clone(),
            bus: self.bus.clone(),
            known: known.clone(),
            is_told: source.is_told(),
            is_moving: false,
            this_turn: this_turn.clone(),
            turns,
            following: following.clone(),
            poke: poke.clone(),
            container: id.clone(),
            up: false,
            successors: VecDeque::new(),
            stream: Stream::new(
                id.clone(),
                number,
                uuid::Uuid::now_v7().simple().to_string().into(),
                Arc::new(ByScope),
                Arc::clone(&redaction),
                Instant::now(),
            ),
            kept: false,
            may_keep: source.is_stored_unwatched(),
            requests: receiver,
            lines,
            server: server.clone(),
            counts: self.volume.begin(number, identity),
            volume: Arc::clone(&self.volume),
            number,
            seen: queue::Volume::default(),
        };
        let _ = requests.send(ToStream::Request(request)).await;
        running.insert(id.clone(), number, requests);
        let cancel = cancel.clone();
        tasks.spawn(async move {
            let _ended = following.clone().drop_guard();
            let (task, start) = match stored {
                _ if task.bus.is_some() => task.begin_among_others().await,
                Some((store, known)) => task.stored(&id, store, &known, redaction).await,
                None => (task, LogStart::Tail(TAIL)),
            };
            let follow = source.follow(id.container.clone(), start, sink, poke, this_turn);
            let (wrong, told) = oneshot::channel();
            let follow = async {
                let _ = wrong.send(follow.await);
                while let Some(Turn { follow, wrong }) = next.recv().await {
                    let _ = wrong.send(follow.await);
                }
                // The stream ends when nobody needs it, not with its source.
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = task.run(told, cancel) => {}
                () = follow => {}
            }
            number
        });
    }

    /// A container is there, `new` or not; the stream of one whose place it took goes on with it.
    async fn succeed(&mut self, known: &Arc<KnownContainer>, new: bool, running: &mut Roster) {
        let own = &known.identity;
        // A service's only container has the place of the one before whatever it is called.
        let only = new
            && !self.known.values().any(|other| {
                other.identity.container_id != own.container_id && other.identity.same_service(own)
            });
        let succeeds = |gone: &LogIdentity| own.succeeds(gone) || (only && own.same_service(gone));
        if let Some(stream) = running.succeed(&own.stream(), succeeds) {
            self.streams_made += 1;
            let told = ToStream::Recreated(Arc::clone(known), self.streams_made);
            // One that has just ended has no viewers.
            let _ = stream.requests.send(told).await;
        }
    }
}

/// A device whose logs nobody gives.
async fn refuse(server: &Server, request: &LogRequest) {
    let LogRequest::Enter { socket, stream, .. } = request else { return };
    let error = ErrorEvent {
        code: ErrorCode::Unavailable,
        message: "the logs of this device cannot be read by this version of the hub".into(),
        kind: Some("container".into()),
        id: Some(stream.container.to_string()),
    };
    let policy = kobel_fanout::Policy::Deliver;
    if let Ok(frame) = kobel_fanout::Frame::event(NAMESPACE, "error", &error, policy) {
        server.emit(*socket, frame).await;
    }
}

/// Other nodes want other logs.
async fn changed(wanted: &mut Option<watch::Receiver<u64>>) {
    match wanted {
        Some(wanted) if wanted.has_changed().is_ok() => {
            let _ = wanted.changed().await;
        }
        _ => std::future::pending().await,
    }
}

/// What is wrong with a source that has ended; waits for ever where that was told already.
async fn why(told: &mut Option<oneshot::Receiver<Result<(), String>>>) -> Option<String> {
    match told {
        Some(told) => told.await.ok()?.err(),
        None => std::future::pending().await,
    }
}

/// Another follow for a stream, after the one before has ended.
struct Turn {
    follow: Pin<Box<dyn Future<Output = Result<(), String>> + Send>>,
    wrong: oneshot::Sender<Result<(), String>>,
}

struct Task {
    sources: LogSources,
    store: Option<LogStore>,
    bus: Option<Arc<dyn LogBus>>,
    /// What is known of the container that is followed.
    known: Option<Arc<KnownContainer>>,
    /// Another node reads the log; and whether that has just changed.
    is_told: bool,
    is_moving: bool,
    /// Ends the follow of now, and not the stream.
    this_turn: CancellationToken,
    turns: mpsc::Sender<Turn>,
    following: CancellationToken,
    /// Wakes the follow.
    poke: Poke,
    /// Which container is followed now, and whether it is known to run.
    container: LogStreamId,
    up: bool,
    /// Containers that take their predecessors' place, as soon as all was read of these.
    successors: VecDeque<(Arc<KnownContainer>, u64)>,
    stream: Stream,
    /// Whether the store needs it, and whether it may.
    kept: bool,
    may_keep: bool,
    requests: mpsc::Receiver<ToStream>,
    lines: queue::LogReceiver,
    server: Server,
    counts: Arc<Counts>,
    volume: Arc<LogVolume>,
    /// Names the stream among those of the process.
    number: u64,
    seen: queue::Volume,
}

impl Task {
    /// With what was stored of the stream before, and where it goes on.
    async fn stored(
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
        let feed = Feed::new(store, identity, before.position, 0);
        self.stream = self.stream.stored(redaction, feed, history);
        (self, start)
    }

    /// Runs until nobody needs the stream, or cancelled.
    async fn run(mut self, told: oneshot::Receiver<Result<(), String>>, cancel: CancellationToken) {
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
                    Some(ToStream::Request(request)) => self.request(request),
                    Some(ToStream::Recreated(known, number)) => {
                        self.successors.push_back((known, number));
                    }
                    Some(ToStream::Moved) => self.moved(),
                },
                () = changed(&mut wanted) => {}
                taken = self.lines.take(), if flowing => match taken {
                    Some(taken) => self.take(taken).await,
                    None => flowing = false,
                },
                wrong = why(&mut told), if !flowing => {
                    told = None;
                    if !self.is_moving {
                        self.stream.ended(wrong.as_deref(), Instant::now(), Timestamp::now());
                        self.tell_others();
                        if let (Some(bus), Some(last)) = (&self.bus, self.stream.last_told()) {
                            bus.tell(&self.container, last, false);
                        }
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
                () = sleep_until(end.unwrap_or(idle)), if end.is_some() => break,
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
        self.stream.close(Instant::now(), Timestamp::now());
        self.volume.end(self.number);
    }

    /// Tells other nodes what they were not told yet.
    fn tell_others(&mut self) {
        let Some(bus) = self.bus.as_ref().filter(|_| !self.is_told) else { return };
        let now = Instant::now();
        self.stream.share(bus.is_wanted(&self.container), now);
        for (told, anew) in self.stream.take_told(now) {
            bus.tell(&self.container, told, anew);
        }
    }

    /// The device may be another node's now, or this one's.
    fn moved(&mut self) {
        let source = self.sources.of(self.container.device);
        if let Some(is_told) = source.map(|source| source.is_told())
            && is_told != self.is_told
        {
            self.tell_others();
            (self.is_told, self.is_moving) = (is_told, true);
            self.this_turn.cancel();
        }
    }

    /// Begins in a cluster: where another node has read to.
    async fn begin_among_others(mut self) -> (Self, LogStart) {
        let start = self.place().await;
        (self, start)
    }

    /// Where the source goes on: the stream is made ready for it.
    async fn place(&mut self) -> LogStart {
        let now = Instant::now();
        let source = self.sources.of(self.container.device);
        self.may_keep = source.is_some_and(|source| source.is_stored_unwatched());
        if self.is_told {
            self.stream.told_by_another(now);
            self.kept = false;
            return LogStart::Tail(TAIL);
        }
        let known = self.known.clone().filter(|known| known.stored);
        let stored = self.store.clone().zip(known);
        self.kept = stored.as_ref().is_some_and(|(_, known)| known.up) && self.may_keep;
        let resumed = match &self.bus {
            Some(bus) => bus.resume(self.container.clone()).await,
            None => None,
        };
        let identity = |known: &KnownContainer| Arc::new(known.identity.clone());
        if let Some(resumed) = resumed {
            let stored = stored.map(|(store, known)| (store, identity(&known)));
            self.stream.resume(&resumed, stored, now);
            return LogStart::After(resumed.position);
        }
        let epoch = uuid::Uuid::now_v7().simple().to_string().into();
        let Some((store, known)) = stored else {
            self.stream.begin_anew(epoch, None, Vec::new(), now);
            return LogStart::Tail(TAIL);
        };
        let before = store.resume(&self.container, TAIL as usize).await;
        let upto = self.stream.source_lines();
        let feed = Feed::new(store, identity(&known), before.position, upto);
        let history = if before.position.is_some() { before.history } else { Vec::new() };
        self.stream.begin_anew(epoch, Some(feed), history, now);
        match before.position {
            Some(position) => LogStart::After(position),
            None if known.fresh => LogStart::All,
            None => LogStart::Tail(TAIL),
        }
    }

    /// Follows on, here or by another node; says where the end is told.
    async fn begin_here_or_there(&mut self) -> Option<oneshot::Receiver<Result<(), String>>> {
        self.is_moving = false;
        let source = self.sources.of(self.container.device)?;
        // Meanwhile it may have moved back.
        self.is_told = source.is_told();
        let start = self.place().await;
        let (sink, lines) = queue::channel(Limits::default());
        (self.lines, self.seen) = (lines, queue::Volume::default());
        self.this_turn = self.following.child_token();
        let container = self.container.container.clone();
        let follow =
            source.follow(container, start, sink, self.poke.clone(), self.this_turn.clone());
        let (wrong, told) = oneshot::channel();
        // There is room: the follow before has ended.
        self.turns.send(Turn { follow, wrong }).await.ok()?;
        Some(told)
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
            stored = Some((store, identity, before.position));
        }
        let (now, wall) = (Instant::now(), Timestamp::now());
        self.stream.recreated(&known.identity, number, stored, now, wall);
        (self.container, self.up) = (id.clone(), false);
        self.knows(&known);
        let source = self.sources.of(id.device)?;
        if self.bus.is_some() && !self.is_told {
            self.stream.shared(None);
        }
        let (sink, lines) = queue::channel(Limits::default());
        (self.lines, self.seen) = (lines, queue::Volume::default());
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
        for out in self.stream.take_out() {
            match out {
                Out::Publish(room, frame) => self.server.publish(&room, frame).await,
                Out::Emit(socket, frame) => self.server.emit(socket, frame).await,
                Out::Join(socket, room) => self.server.join(socket, room).await,
                Out::Leave(socket, room) => self.server.leave(socket, &room).await,
            }
        }
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
