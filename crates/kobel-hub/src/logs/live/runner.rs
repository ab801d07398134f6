//! Keeps the tasks of the log streams and of the merged views, and hands requests on to them.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use kobel_fanout::{Frame, Policy as FramePolicy, Server, SocketId};
use kobel_wire::{
    DeviceUuid, Timestamp,
    event::{ErrorCode, ErrorEvent},
    log::{LogStreamId, LogTime},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{Id, JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    KnownContainer, LogHub, LogOptions, LogRequest, LogViewId, TAIL,
    hub::REQUESTS,
    merged::Merged,
    roster::{Roster, ToStream},
    stream::Stream,
    tap::{Look, Tap, Tapped, taps},
    task::{Task, Turn},
    view::{Tapping, ToView, View, ViewTask},
    volume::LOOK,
};
use crate::{
    access::Access,
    gate::NAMESPACE,
    live::ByScope,
    logs::{
        LogStart, Poke,
        queue::{self, Limits},
        store::LogIdentity,
    },
};

/// Follows that wait for the one before to end. Full: the stream waits; it hands over the next one
/// only when the one before has ended.
const TURNS: usize = 1;

/// The most streams that are followed for the store alone; further containers are stored while
/// somebody looks. Each keeps its newest lines in memory: 2,000 of them are some 400 MB at worst.
const STORED: usize = 2_000;

/// A container that comes to a view said what is newer than that since the view has it.
const FRESH: Duration = Duration::from_secs(10);

/// How long a view keeps a container that is gone.
const PARTING: Duration = Duration::from_secs(5);

/// What people are told of a device whose logs nobody gives.
const NO_SOURCE: &str = "the logs of this device cannot be read by this version of the hub";

/// A stream that has ended, and what it was still told.
struct Ended {
    number: u64,
    left: Vec<ToStream>,
}

pub(super) struct Runner {
    hub: LogHub,
    known: HashMap<LogStreamId, Arc<KnownContainer>>,
    running: Roster,
    tasks: JoinSet<Ended>,
    /// Which stream a task runs.
    numbers: HashMap<Id, u64>,
    views: HashMap<LogViewId, View>,
    view_tasks: JoinSet<()>,
    /// How many streams, views and ways between them were made.
    made: u64,
    /// Whether it was said that there are more containers than are followed for the store.
    is_full: bool,
    server: Server,
    cancel: CancellationToken,
}

impl Runner {
    pub(super) fn new(hub: LogHub, server: Server, cancel: CancellationToken) -> Self {
        Self {
            hub,
            known: HashMap::new(),
            running: Roster::default(),
            tasks: JoinSet::new(),
            numbers: HashMap::new(),
            views: HashMap::new(),
            view_tasks: JoinSet::new(),
            made: 0,
            is_full: false,
            server,
            cancel,
        }
    }

    pub(super) async fn run(mut self) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let cancel = self.cancel.clone();
        let sources = self.hub.sources.clone();
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                moved = sources.moved(), if self.hub.bus.is_some() => {
                    for device in moved {
                        self.moved(device).await;
                    }
                }
                _ = look.tick() => {
                    let now = Instant::now();
                    self.hub.volumes.send_replace(self.hub.volume.look(now));
                    self.part(now).await;
                }
                request = self.hub.requests.recv() => match request {
                    None => break,
                    Some(request) => self.hand_on(request).await,
                },
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended).await,
                Some(ended) = self.view_tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a merged view of logs ended by itself");
                    }
                }
            }
        }
        drop((self.running, self.views));
        while self.tasks.join_next().await.is_some() {}
        while self.view_tasks.join_next().await.is_some() {}
    }

    /// A stream has ended. Whoever came in this moment begins the next one.
    async fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let Ended { number, left } = match ended {
            Ok((id, ended)) => {
                self.numbers.remove(&id);
                ended
            }
            Err(error) => {
                tracing::error!(%error, "a log stream ended by itself");
                let Some(number) = self.numbers.remove(&error.id()) else { return };
                Ended { number, left: Vec::new() }
            }
        };
        let (names, late) = self.running.ended(number);
        for told in left.into_iter().chain(late) {
            let (id, told) = match told {
                // Nobody waits for its predecessor any more.
                ToStream::Recreated(known, _) => {
                    (known.identity.stream(), ToStream::Request(LogRequest::Container(known)))
                }
                ToStream::Request(request) => match stream_of(&request) {
                    Some(id) => (id, ToStream::Request(request)),
                    None => continue,
                },
                ToStream::Tap(tap) => {
                    let (id, view) = (LogStreamId::clone(&tap.id), tap.view);
                    self.tell(&id, ToStream::Tap(tap)).await;
                    self.retapped(view, &id);
                    continue;
                }
                ToStream::Look(look) => match self.tapped(&names, look.view) {
                    Some(id) => (id, ToStream::Look(look)),
                    None => continue,
                },
                // Its way to the view has ended with it; who begins anew asks where it is read.
                ToStream::Untap(_) | ToStream::Moved => continue,
            };
            self.tell(&id, told).await;
        }
    }

    /// By which of these names a view is told of a stream.
    fn tapped(&self, names: &[LogStreamId], view: u64) -> Option<LogStreamId> {
        let view = self.views.values().find(|known| known.number == view)?;
        names.iter().find(|name| view.taps.contains_key(name)).cloned()
    }

    /// A view is told of this container by another stream than before.
    fn retapped(&mut self, view: u64, id: &LogStreamId) {
        let Some(stream) = self.running.number(id) else { return };
        let view = self.views.values_mut().find(|known| known.number == view);
        if let Some(tapping) = view.and_then(|view| view.taps.get_mut(id)) {
            tapping.stream = stream;
        }
    }

    /// Another node reads the logs of this device now, or this one does.
    async fn moved(&mut self, device: DeviceUuid) {
        for stream in self.running.of_device_mut(device) {
            stream.tell(ToStream::Moved).await;
        }
        // Those that are followed for the store alone begin here, where this node reads them.
        let known = self.known.values().filter(|known| known.identity.device_uuid == device);
        for known in known.cloned().collect::<Vec<_>>() {
            self.hand_on(LogRequest::Container(known)).await;
        }
    }

    async fn hand_on(&mut self, request: LogRequest) {
        match &request {
            LogRequest::Enter { .. } | LogRequest::Leave { .. } => {}
            LogRequest::Container(known) => {
                let id = known.identity.stream();
                let new = self.known.insert(id, Arc::clone(known)).is_none();
                let known = Arc::clone(known);
                self.succeed(&known, new).await;
            }
            LogRequest::Gone(stream) => {
                if let Some(gone) = self.known.remove(stream) {
                    self.running.gone(stream, &gone.identity);
                    let mut known = self.known.values();
                    let successor = known.find(|known| known.identity.succeeds(&gone.identity));
                    if let Some(successor) = successor.cloned() {
                        self.succeed(&successor, false).await;
                    }
                }
                if let Some(store) = &self.hub.store {
                    store.forget(stream);
                }
            }
            LogRequest::Watch { .. } | LogRequest::Unwatch { .. } | LogRequest::Members { .. } => {
                return self.view(request).await;
            }
        }
        if let Some(id) = stream_of(&request) {
            self.tell(&id, ToStream::Request(request)).await;
        }
    }

    /// Tells a container's stream something; begins it, where it is needed for that.
    async fn tell(&mut self, id: &LogStreamId, told: ToStream) {
        if let Some(stream) = self.running.get_mut(id) {
            return stream.tell(told).await;
        }
        let for_store = match &told {
            ToStream::Request(LogRequest::Enter { .. }) | ToStream::Tap(_) => false,
            ToStream::Request(LogRequest::Container(known)) if known.up && known.stored => true,
            _ => return,
        };
        if for_store && self.hub.store.is_none() {
            return;
        }
        let Some(source) = self.hub.sources.of(id.device) else {
            return self.refuse(&told).await;
        };
        if for_store {
            if !source.is_stored_unwatched() {
                return;
            }
            if self.running.len() >= STORED {
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
        self.made += 1;
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let number = self.made;
        let (sink, lines) = queue::channel(Limits::default());
        let (turns, mut next) = mpsc::channel(TURNS);
        let (following, poke) = (self.cancel.child_token(), Poke::default());
        let known = self.known.get(id).cloned();
        let identity = known.as_ref().map(|known| Arc::new(known.identity.clone()));
        let stored = self.hub.store.clone().zip(known.clone()).filter(|(_, known)| known.stored);
        let redaction = Arc::clone(&self.hub.redaction);
        let this_turn = following.child_token();
        let task = Task {
            sources: self.hub.sources.clone(),
            store: self.hub.store.clone(),
            bus: self.hub.bus.clone(),
            known,
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
            server: self.server.clone(),
            counts: self.hub.volume.begin(number, identity),
            volume: Arc::clone(&self.hub.volume),
            number,
            seen: queue::Volume::default(),
        };
        let _ = requests.send(told).await;
        self.running.insert(id.clone(), number, requests);
        self.hub.volume.followed();
        let (cancel, id) = (self.cancel.clone(), id.clone());
        let running = self.tasks.spawn(async move {
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
            let left = tokio::select! {
                left = task.run(told, cancel) => left,
                () = follow => Vec::new(),
            };
            Ended { number, left }
        });
        self.numbers.insert(running.id(), number);
    }

    /// A container is there, `new` or not; the stream of one whose place it took goes on with it.
    async fn succeed(&mut self, known: &Arc<KnownContainer>, new: bool) {
        let own = &known.identity;
        // A service's only container has the place of the one before whatever it is called.
        let only = new
            && !self.known.values().any(|other| {
                other.identity.container_id != own.container_id && other.identity.same_service(own)
            });
        let succeeds = |gone: &LogIdentity| own.succeeds(gone) || (only && own.same_service(gone));
        if let Some(stream) = self.running.succeed(&own.stream(), succeeds) {
            self.made += 1;
            stream.tell(ToStream::Recreated(Arc::clone(known), self.made)).await;
        }
    }

    async fn view(&mut self, request: LogRequest) {
        match request {
            LogRequest::Watch { socket, view, access, members, options } => {
                self.watch(socket, view, access, &members, options).await;
            }
            LogRequest::Unwatch { socket, view } => {
                let Some(known) = self.views.get_mut(&view) else { return };
                known.sockets.remove(&socket);
                let _ = known.requests.send(ToView::Leave(socket)).await;
                if known.sockets.is_empty()
                    && let Some(ended) = self.views.remove(&view)
                {
                    for id in ended.taps.into_keys() {
                        self.tell(&id, ToStream::Untap(ended.number)).await;
                    }
                }
            }
            LogRequest::Members { view, members } => {
                let from = Timestamp::now().as_millis().saturating_sub(FRESH.as_millis() as i64);
                self.members(&view, &members, Some(Timestamp::from_millis(from).into())).await;
            }
            _ => {}
        }
    }

    async fn watch(
        &mut self,
        socket: SocketId,
        id: LogViewId,
        access: Arc<Access>,
        members: &[LogStreamId],
        options: LogOptions,
    ) {
        if !self.views.contains_key(&id) {
            let view = self.begin_view(&id, access);
            self.views.insert(id.clone(), view);
            self.members(&id, members, None).await;
        }
        self.made += 1;
        let newcomer = self.made;
        let Some(view) = self.views.get_mut(&id) else { return };
        view.sockets.insert(socket);
        let asked: BTreeSet<_> = view.taps.values().map(|tapping| tapping.tap).collect();
        let streams: Vec<_> = view.taps.keys().cloned().collect();
        let look = Look {
            view: view.number,
            newcomer,
            tail: options.tail as usize,
            filter: options.filter.clone(),
        };
        let _ = view.requests.send(ToView::Enter { socket, newcomer, options, asked }).await;
        for stream in streams {
            self.tell(&stream, ToStream::Look(look.clone())).await;
        }
    }

    fn begin_view(&mut self, id: &LogViewId, access: Arc<Access>) -> View {
        self.made += 1;
        let number = self.made;
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let (maker, taps) = taps();
        let task = ViewTask {
            merged: Merged::new(&id.id, number, access, Arc::new(ByScope)),
            requests: receiver,
            taps,
            server: self.server.clone(),
            volume: Arc::clone(&self.hub.volume),
        };
        self.view_tasks.spawn(task.run(self.cancel.clone()));
        let (sockets, taps, parting) = (HashSet::new(), HashMap::new(), Vec::new());
        View { number, requests, maker, sockets, taps, parting }
    }

    /// A view has these members. `from`: what new ones said since then is new to it.
    async fn members(&mut self, id: &LogViewId, members: &[LogStreamId], from: Option<LogTime>) {
        let Some(view) = self.views.get_mut(id) else { return };
        let (number, maker) = (view.number, view.maker.clone());
        let mut taps = std::mem::take(&mut view.taps);
        for id in members {
            if taps.contains_key(id) {
                continue;
            }
            // It took the place of another member in that one's stream, which the view has.
            let stream = self.running.number(id);
            let before = taps.iter().find(|(known, tapping)| {
                Some(tapping.stream) == stream && !members.contains(known)
            });
            if let Some((before, tapping)) = before.map(|(id, tapping)| (id.clone(), *tapping)) {
                taps.remove(&before);
                taps.insert(id.clone(), tapping);
                continue;
            }
            self.made += 1;
            let (tap, to) = (self.made, maker.sender(self.made));
            let told = Tap { view: number, id: Arc::new(id.clone()), from, to };
            self.tell(id, ToStream::Tap(told)).await;
            if let Some(stream) = self.running.number(id) {
                taps.insert(id.clone(), Tapping { stream, tap });
            }
        }
        let gone: Vec<_> = taps.keys().filter(|id| !members.contains(id)).cloned().collect();
        let mut parting = Vec::new();
        for id in gone {
            if self.known.contains_key(&id) {
                taps.remove(&id);
                self.tell(&id, ToStream::Untap(number)).await;
            } else {
                parting.push((Instant::now(), id));
            }
        }
        if let Some(view) = self.views.get_mut(id) {
            view.taps = taps;
            for (now, id) in parting {
                if !view.parting.iter().any(|(_, known)| *known == id) {
                    view.parting.push((now, id));
                }
            }
        }
    }

    /// Lets go of members that have been gone for a while.
    async fn part(&mut self, now: Instant) {
        let mut parted = Vec::new();
        for view in self.views.values_mut() {
            let (number, taps) = (view.number, &mut view.taps);
            view.parting.retain(|(since, id)| {
                let stays = *since + PARTING > now;
                if !stays && taps.remove(id).is_some() {
                    parted.push((id.clone(), number));
                }
                stays
            });
        }
        for (id, number) in parted {
            self.tell(&id, ToStream::Untap(number)).await;
        }
    }

    /// A device whose logs nobody gives.
    async fn refuse(&self, told: &ToStream) {
        match told {
            ToStream::Request(LogRequest::Enter { socket, stream, .. }) => {
                let error = ErrorEvent {
                    code: ErrorCode::Unavailable,
                    message: NO_SOURCE.into(),
                    kind: Some("container".into()),
                    id: Some(stream.container.to_string()),
                };
                let frame = Frame::event(NAMESPACE, "error", &error, FramePolicy::Deliver);
                if let Ok(frame) = frame {
                    self.server.emit(*socket, frame).await;
                }
            }
            ToStream::Tap(tap) => {
                tap.to.tell(Tapped::Wrong(Arc::clone(&tap.id), NO_SOURCE.into()));
            }
            _ => {}
        }
    }
}

/// The stream that a request is about.
fn stream_of(request: &LogRequest) -> Option<LogStreamId> {
    match request {
        LogRequest::Enter { stream, .. }
        | LogRequest::Leave { stream, .. }
        | LogRequest::Gone(stream) => Some(stream.clone()),
        LogRequest::Container(known) => Some(known.identity.stream()),
        LogRequest::Watch { .. } | LogRequest::Unwatch { .. } | LogRequest::Members { .. } => None,
    }
}
