//! The rules of one log stream: lines in, messages out; no I/O, no clock.

use std::{sync::Arc, time::Duration};

use kobel_fanout::{Frame, Loss, Policy as FramePolicy, Room, SocketId, Stretch};
use kobel_wire::{
    DeviceUuid, Timestamp,
    event::{ErrorCode, ErrorEvent, Seq},
    log::{LogBatch, LogGap, LogHistory, LogLine, LogStreamId, LogTime},
};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    LogOptions, Resumed, TAIL,
    feed::Feed,
    ring::LogRing,
    sharing::Sharing,
    tap::{Before, Look, Tap, Tapped},
};
use crate::{
    access::Access,
    gate::NAMESPACE,
    live::{Policy, Subject},
    logs::{
        LogFilter, LogStart, Processor, Redaction, SourceEvent, ToldLines,
        queue::Taken,
        store::{LogIdentity, LogStore},
    },
};

/// How long lines wait for others.
pub(super) const GATHER: Duration = Duration::from_millis(100);

/// So many lines go at once.
pub(super) const BATCH: usize = 200;

/// The most bytes of text in one message of history.
pub(super) const HISTORY: usize = 512 * 1024;

/// The most bytes of text in one batch; a longer line goes alone.
pub(super) const BATCH_BYTES: usize = 128 * 1024;

/// How long the head of a trace waits for its next line.
const TRACE: Duration = Duration::from_millis(150);

/// The lines before are known to have come when none came for so long.
const SETTLED: Duration = Duration::from_millis(150);

/// And they are taken for all when this has passed, however many come.
const LOADING: Duration = Duration::from_millis(1_500);

/// How long it is waited for the node that reads a log.
const TOLD: Duration = Duration::from_secs(3);

/// So many entries other nodes are told of a log that nobody watches: what a viewer sees first where
/// another node goes on with it.
const UNSHARED: usize = 50;

/// How long a viewer that has more than there is here waits for it.
const AHEAD: Duration = Duration::from_secs(5);

/// Something for the fan-out. To be carried out in the order given.
#[derive(Debug)]
pub(super) enum Out {
    Publish(Room, Arc<Frame>),
    Emit(SocketId, Arc<Frame>),
    Join(SocketId, Room),
    Leave(SocketId, Room),
}

/// A name of the stream: the container's, and those of the containers whose place it took, as long
/// as somebody follows by them.
struct Name {
    id: LogStreamId,
    /// Names it among those of the process.
    number: u64,
}

/// A viewer of the stream.
struct Member {
    socket: SocketId,
    /// By which name.
    id: LogStreamId,
    filter: u64,
    audience: Room,
}

/// Those with equal access among those with equal filters.
struct Audience {
    access: Arc<Access>,
    room: Room,
    members: u32,
}

/// What a filter lets pass, and to whom; all follow by the same name.
struct Group {
    number: u64,
    id: LogStreamId,
    /// The name's number.
    name: u64,
    filter: LogFilter,
    audiences: Vec<Audience>,
    waiting: Vec<Arc<RawValue>>,
    /// The first and the last number that wait, and their bytes.
    stretch: Option<Stretch>,
    bytes: usize,
    due: Option<Instant>,
}

/// A viewer that waits until the lines before are there.
struct Newcomer {
    socket: SocketId,
    id: LogStreamId,
    access: Arc<Access>,
    options: LogOptions,
    /// It has more than there is here: a node that went on with the log is not that far yet. So long
    /// it waits for that.
    ahead_until: Option<Instant>,
}

/// One container's log; also of those that take its place, one after the other.
pub(super) struct Stream {
    /// The container's own name last.
    names: Vec<Name>,
    device: DeviceUuid,
    epoch: Arc<str>,
    policy: Arc<dyn Policy + Sync>,
    processor: Processor,
    feed: Option<Feed>,
    /// What other nodes are told, where this one reads the log for all.
    sharing: Option<Sharing>,
    /// Another node reads the log.
    is_told: bool,
    /// The newest number that viewers were given.
    shown: Seq,
    ring: LogRing,
    groups: Vec<Group>,
    members: Vec<Member>,
    newcomers: Vec<Newcomer>,
    taps: Vec<Tap>,
    /// Taps by the names of containers that are yet to take the place of this one.
    early: Vec<Tap>,
    /// The first entry that is of the container that is followed now.
    own_from: Seq,
    /// Views that wait for the lines before.
    looks: Vec<Look>,
    groups_made: u64,
    /// How often a filter looked at a line.
    passes: u64,
    /// When loading began and when it is over; `None` once it is.
    loading: Option<(Instant, Instant)>,
    out: Vec<Out>,
}

impl Stream {
    /// A stream whose lines before are about to come.
    pub(super) fn new(
        id: LogStreamId,
        number: u64,
        epoch: Arc<str>,
        policy: Arc<dyn Policy + Sync>,
        redaction: Arc<Redaction>,
        now: Instant,
    ) -> Self {
        Self {
            device: id.device,
            names: vec![Name { id, number }],
            epoch,
            policy,
            processor: Processor::new(redaction, TRACE, 0),
            feed: None,
            sharing: None,
            is_told: false,
            shown: 0,
            ring: LogRing::default(),
            groups: Vec::new(),
            members: Vec::new(),
            newcomers: Vec::new(),
            taps: Vec::new(),
            early: Vec::new(),
            own_from: 0,
            looks: Vec::new(),
            groups_made: 0,
            passes: 0,
            loading: Some((now + LOADING, now + SETTLED)),
            out: Vec::new(),
        }
    }

    /// A stream that is stored, and what was stored of it before, oldest first.
    pub(super) fn stored(
        mut self,
        redaction: Arc<Redaction>,
        feed: Feed,
        before: Vec<LogLine>,
    ) -> Self {
        self.processor = Processor::new(redaction, TRACE, before.len() as Seq);
        for (mut line, seq) in before.into_iter().zip(1..) {
            line.seq = seq;
            self.shown = seq;
            self.ring.push(Arc::new(line));
        }
        self.feed = Some(feed);
        self
    }

    /// This node reads the log for all from now on, from `start` on.
    pub(super) fn shared(&mut self, start: LogStart) {
        self.sharing = Some(Sharing::new(start, self.processor.lines()));
        self.is_told = false;
    }

    /// Another node reads the log from now on: what is held back here comes from there.
    pub(super) fn told_by_another(&mut self, now: Instant) {
        self.processor.forget();
        if let Some(loading) = &mut self.loading {
            // It is asked first, and then has to answer.
            *loading = (now + TOLD, now + TOLD);
        }
        (self.feed, self.sharing, self.is_told) = (None, None, true);
    }

    /// This node reads the log on that another one has read so far. Where it is stored: where.
    pub(super) fn resume(
        &mut self,
        resumed: &Resumed,
        stored: Option<(LogStore, Arc<LogIdentity>)>,
        now: Instant,
    ) {
        if *resumed.epoch != *self.epoch {
            self.renumber(Arc::clone(&resumed.epoch), now);
        }
        for line in resumed.lines.iter().filter(|line| line.seq > self.shown) {
            self.ring.push(Arc::clone(line));
        }
        let newest = resumed.lines.last().map_or(0, |line| line.seq);
        self.shown = self.shown.max(newest).max(resumed.seq);
        self.processor.forget();
        self.processor.told(resumed.seq);
        let (start, upto) = (LogStart::After(resumed.position), self.processor.lines());
        self.feed = stored.map(|(store, identity)| Feed::new(store, identity, start, upto));
        self.shared(start);
    }

    /// This node reads a log of which nobody knows how far it was read: it begins anew.
    pub(super) fn begin_anew(
        &mut self,
        epoch: Arc<str>,
        (start, feed): (LogStart, Option<Feed>),
        before: Vec<LogLine>,
        now: Instant,
    ) {
        self.processor.forget();
        self.renumber(epoch, now);
        for (mut line, seq) in before.into_iter().zip(1..) {
            line.seq = seq;
            self.shown = seq;
            self.ring.push(Arc::new(line));
        }
        self.processor.told(self.shown);
        self.feed = feed;
        self.shared(start);
    }

    /// How many of the source's lines came.
    pub(super) fn source_lines(&self) -> u64 {
        self.processor.lines()
    }

    /// Numbers begin anew: viewers get the lines before once more, under the new epoch.
    fn renumber(&mut self, epoch: Arc<str>, now: Instant) {
        self.epoch = epoch;
        self.processor.told(0);
        self.shown = 0;
        if let Some(last) = self.ring.newest(1).first() {
            // Views go on behind what they were told.
            let behind = LogTime::from_nanos(last.timestamp.as_nanos().saturating_add(1));
            self.taps.iter_mut().for_each(|tap| tap.from = Some(behind));
        }
        (self.ring, self.own_from) = (LogRing::default(), 0);
        for member in std::mem::take(&mut self.members) {
            self.out.push(Out::Leave(member.socket, member.audience.clone()));
            let group = self.groups.iter().find(|group| group.number == member.filter);
            let of = group.and_then(|group| {
                let audience = group.audiences.iter().find(|a| a.room == member.audience)?;
                Some((Arc::clone(&audience.access), group.filter.clone()))
            });
            if let Some((access, filter)) = of {
                let options = LogOptions { tail: TAIL, since: None, filter };
                let (socket, id) = (member.socket, member.id);
                let ahead_until = None;
                self.newcomers.push(Newcomer { socket, id, access, options, ahead_until });
            }
        }
        self.groups.clear();
        self.loading = Some((now + LOADING, now + SETTLED));
    }

    /// Whether entries are told to other nodes: `wanted` there, or watched here.
    pub(super) fn share(&mut self, wanted: bool, now: Instant) {
        let on = wanted || !self.is_unwatched();
        if let Some(sharing) = &mut self.sharing {
            sharing.share(on, self.ring.lines().cloned(), now);
        }
    }

    /// What other nodes are to be told, and whether it is in the place of all before.
    pub(super) fn take_told(&mut self, now: Instant) -> Vec<(ToldLines, bool)> {
        let whole = self.processor.whole_upto().is_some();
        let seq = self.processor.seq();
        let Self { sharing, epoch, ring, .. } = self;
        let Some(sharing) = sharing else { return Vec::new() };
        sharing.take(epoch, (seq, whole), || ring.newest(UNSHARED), now)
    }

    /// What other nodes are told when a container's log has ended.
    pub(super) fn last_told(&self) -> Option<ToldLines> {
        self.sharing.as_ref()?;
        let (epoch, seq) = (Arc::clone(&self.epoch), self.processor.seq());
        Some(ToldLines { epoch, seq, lines: Vec::new(), position: None, ended: true })
    }

    /// Whose lines it stores from now on; whether it stores any.
    pub(super) fn rename(&mut self, identity: &LogIdentity) -> bool {
        if let Some(feed) = &mut self.feed {
            feed.rename(Arc::new(identity.clone()));
        }
        self.feed.is_some()
    }

    /// Another container goes on: what follows is its log, under its name and those before. The
    /// source of the one before has ended. Where it is stored: where, and from where on it is read.
    pub(super) fn recreated(
        &mut self,
        by: &LogIdentity,
        number: u64,
        stored: Option<(LogStore, Arc<LogIdentity>, LogStart)>,
        now: Instant,
        wall: Timestamp,
    ) {
        self.close(now, wall);
        self.settle(now, wall);
        let upto = self.processor.lines();
        self.feed = stored.map(|(store, identity, start)| Feed::new(store, identity, start, upto));
        let mut lines = Vec::new();
        self.processor.recreated(by, wall.into(), &mut lines);
        self.lines(lines, now, wall);
        self.hand_over(now);
        let Self { names, members, .. } = self;
        names.retain(|name| members.iter().any(|member| member.id == name.id));
        names.push(Name { id: by.stream(), number });
        // The line that says so is the first of it.
        self.own_from = self.processor.seq();
        let id = Arc::new(by.stream());
        for tap in &mut self.taps {
            tap.id = Arc::clone(&id);
        }
        for tap in std::mem::take(&mut self.early) {
            self.tap(tap);
        }
        for look in std::mem::take(&mut self.looks) {
            self.look(look);
        }
    }

    /// What is to be done, oldest first.
    pub(super) fn take_out(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    /// Whether the lines before are still to come.
    pub(super) fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// How often a filter looked at a line since the last call.
    pub(super) fn take_passes(&mut self) -> u64 {
        std::mem::take(&mut self.passes)
    }

    /// Whether nobody follows.
    pub(super) fn is_unwatched(&self) -> bool {
        self.members.is_empty()
            && self.newcomers.is_empty()
            && self.taps.is_empty()
            && self.early.is_empty()
    }

    /// When [`Stream::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let loading = self.loading.map(|(end, settled)| end.min(settled));
        let due = self.groups.iter().filter_map(|group| group.due).min();
        let telling = self.sharing.as_ref().and_then(Sharing::deadline);
        let ahead = self.newcomers.iter().filter_map(|newcomer| newcomer.ahead_until).min();
        let storing = self.feed.as_ref().and_then(Feed::deadline);
        let deadlines = [loading, due, self.processor.deadline(), telling, ahead, storing];
        deadlines.into_iter().flatten().min()
    }

    /// A viewer wants lines by this name; in place of those that it wanted before by it.
    pub(super) fn enter(
        &mut self,
        id: &LogStreamId,
        socket: SocketId,
        access: Arc<Access>,
        options: LogOptions,
        now: Instant,
        wall: Timestamp,
    ) {
        self.leave(id, socket);
        let newcomer = Newcomer { socket, id: id.clone(), access, options, ahead_until: None };
        if self.loading.is_some() {
            self.newcomers.push(newcomer);
        } else {
            self.welcome(newcomer, now, wall);
        }
    }

    /// A view wants to be told what comes.
    pub(super) fn tap(&mut self, tap: Tap) {
        self.untap(tap.view);
        if !self.names.iter().any(|name| name.id == *tap.id) {
            self.early.push(tap);
            return;
        }
        if self.loading.is_none() {
            self.tell_since(&tap);
        }
        self.taps.push(tap);
    }

    /// A view wants no more.
    pub(super) fn untap(&mut self, view: u64) {
        self.taps.retain(|tap| tap.view != view);
        self.early.retain(|tap| tap.view != view);
    }

    /// A view wants the lines before.
    pub(super) fn look(&mut self, look: Look) {
        let early = self.early.iter().any(|tap| tap.view == look.view);
        if self.loading.is_some() || early {
            self.looks.push(look);
        } else {
            self.answer(&look);
        }
    }

    fn answer(&self, look: &Look) {
        let Some(tap) = self.taps.iter().find(|tap| tap.view == look.view) else { return };
        let (lines, complete) =
            self.ring.tail(look.tail, HISTORY, |line| look.filter.matches(line));
        tap.to.tell(Tapped::Before(Before {
            newcomer: look.newcomer,
            id: Arc::clone(&tap.id),
            lines: lines.into_iter().cloned().collect(),
            upto: self.shown,
            complete,
        }));
    }

    /// A view that was there before its member gets what the member said since.
    fn tell_since(&self, tap: &Tap) {
        let Some(from) = tap.from else { return };
        let new = |line: &LogLine| line.timestamp >= from && line.seq >= self.own_from;
        for line in self.ring.lines().filter(|line| new(line)) {
            tap.to.tell(Tapped::Line(Arc::clone(&tap.id), Arc::clone(line)));
        }
    }

    /// A viewer wants no more.
    pub(super) fn leave(&mut self, id: &LogStreamId, socket: SocketId) {
        self.newcomers.retain(|newcomer| (newcomer.socket, &newcomer.id) != (socket, id));
        let place = self.members.iter().position(|m| (m.socket, &m.id) == (socket, id));
        let Some(at) = place else { return };
        let member = self.members.swap_remove(at);
        self.out.push(Out::Leave(socket, member.audience.clone()));
        let Some(place) = self.groups.iter().position(|group| group.number == member.filter) else {
            return;
        };
        let group = &mut self.groups[place];
        if let Some(audience) = group.audiences.iter_mut().find(|a| a.room == member.audience) {
            audience.members -= 1;
        }
        group.audiences.retain(|audience| audience.members > 0);
        if group.audiences.is_empty() {
            self.groups.swap_remove(place);
        }
    }

    /// Takes what the source told.
    pub(super) fn take(&mut self, taken: Taken, now: Instant, wall: Timestamp) {
        if let Some((_, settled)) = &mut self.loading {
            *settled = now + SETTLED;
        }
        // What another node numbered tells by itself what is missing.
        let told = |event: &SourceEvent| matches!(event, SourceEvent::Told(_));
        if let Some(dropped) = taken.dropped.filter(|_| !taken.events.iter().any(told)) {
            self.missing(dropped.count(), now, wall);
        }
        let mut lines = Vec::new();
        for event in taken.events {
            if let SourceEvent::Missing(count) = event {
                self.lines(std::mem::take(&mut lines), now, wall);
                self.missing(count, now, wall);
                continue;
            }
            let event = match event {
                SourceEvent::Told(told) => {
                    self.told(*told, now, wall);
                    continue;
                }
                event => event,
            };
            if let SourceEvent::Line(line) = &event {
                if let Some(feed) = &mut self.feed {
                    feed.source(line.at);
                }
                if let Some(sharing) = &mut self.sharing {
                    sharing.source(line.at);
                }
            }
            self.processor.push(now, event, &mut lines);
        }
        self.lines(lines, now, wall);
        self.hand_over(now);
        self.welcome_those_ahead(now, wall);
    }

    /// So many lines are not here and will not come.
    fn missing(&mut self, count: u64, now: Instant, wall: Timestamp) {
        let mut lines = Vec::new();
        let missing = self.processor.skip(count, &mut lines);
        self.lines(lines, now, wall);
        if let Some(feed) = &mut self.feed {
            feed.lost(count, wall.into(), now);
        }
        if let Some(sharing) = &mut self.sharing {
            sharing.lost(now);
        }
        // Some of them were given already, before this node went on with the log.
        let from = (*missing.start()).max(self.shown + 1);
        if from <= *missing.end() {
            self.gap(from, *missing.end(), wall);
            self.shown = *missing.end();
        }
    }

    /// Gives the store what is whole.
    fn hand_over(&mut self, now: Instant) {
        let whole = self.processor.whole_upto();
        if let Some(feed) = &mut self.feed {
            feed.settle(whole, now);
        }
        if let (Some(sharing), Some(whole)) = (&mut self.sharing, whole) {
            sharing.settle(whole);
        }
    }

    /// Takes what the node that reads the log made of it.
    fn told(&mut self, told: ToldLines, now: Instant, wall: Timestamp) {
        if *told.epoch != *self.epoch {
            self.renumber(Arc::clone(&told.epoch), now);
        }
        // Of what was before the first entry nothing is missing here.
        let begins = self.shown == 0;
        if begins && let Some(first) = told.lines.first() {
            self.shown = first.seq.saturating_sub(1);
            self.ring.begin(self.shown);
        }
        for line in told.lines {
            if line.seq > self.shown + 1 {
                self.gap(self.shown + 1, line.seq - 1, wall);
            }
            if line.seq > self.shown {
                self.pass(line, now, wall);
            }
        }
        if told.seq > self.shown {
            if !begins {
                self.gap(self.shown + 1, told.seq, wall);
            }
            self.shown = told.seq;
        }
        self.processor.told(self.shown);
    }

    /// Gives the store all that is held back: the stream ends.
    pub(super) fn close(&mut self, now: Instant, wall: Timestamp) {
        let mut lines = Vec::new();
        self.processor.flush(&mut lines);
        self.lines(lines, now, wall);
        self.hand_over(now);
    }

    /// The source has ended; with what is wrong, if something is.
    pub(super) fn ended(&mut self, wrong: Option<&str>, now: Instant, wall: Timestamp) {
        self.close(now, wall);
        self.settle(now, wall);
        let Some(message) = wrong else { return };
        for tap in &self.taps {
            tap.to.tell(Tapped::Wrong(Arc::clone(&tap.id), message.into()));
        }
        for name in &self.names {
            let error = ErrorEvent {
                code: ErrorCode::Unavailable,
                message: message.to_owned(),
                kind: Some("container".into()),
                id: Some(name.id.container.to_string()),
            };
            if let Some(frame) = frame("error", &error, FramePolicy::Deliver) {
                let members = self.members.iter().filter(|member| member.id == name.id);
                self.out.extend(members.map(|m| Out::Emit(m.socket, Arc::clone(&frame))));
            }
        }
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Instant, wall: Timestamp) {
        let mut lines = Vec::new();
        self.processor.expire(now, &mut lines);
        self.lines(lines, now, wall);
        self.hand_over(now);
        if self.loading.is_some_and(|(end, settled)| end.min(settled) <= now) {
            self.settle(now, wall);
        }
        self.welcome_those_ahead(now, wall);
        for place in 0..self.groups.len() {
            if self.groups[place].due.is_some_and(|due| due <= now) {
                self.send(place, wall);
            }
        }
    }

    /// Those who had more than there was, and have not any more, or waited for long enough.
    fn welcome_those_ahead(&mut self, now: Instant, wall: Timestamp) {
        if self.loading.is_some() || self.newcomers.is_empty() {
            return;
        }
        for newcomer in std::mem::take(&mut self.newcomers) {
            let is_late = newcomer.ahead_until.is_none_or(|until| until <= now);
            let reached = newcomer.options.since.as_ref().is_none_or(|s| s.seq <= self.shown);
            if is_late || reached {
                self.welcome(newcomer, now, wall);
            } else {
                self.newcomers.push(newcomer);
            }
        }
    }

    /// The lines before are there: those who waited for them get them.
    fn settle(&mut self, now: Instant, wall: Timestamp) {
        if self.loading.take().is_some() {
            for newcomer in std::mem::take(&mut self.newcomers) {
                self.welcome(newcomer, now, wall);
            }
            self.taps.iter().for_each(|tap| self.tell_since(tap));
            for look in std::mem::take(&mut self.looks) {
                self.look(look);
            }
        }
    }

    fn may_see(&self, access: &Access) -> bool {
        self.policy.may_see(access, Subject::Device(self.device))
    }

    /// Gives a viewer the lines before, and the following from then on.
    fn welcome(&mut self, newcomer: Newcomer, now: Instant, wall: Timestamp) {
        if !self.may_see(&newcomer.access) {
            return;
        }
        let since = newcomer.options.since.as_ref();
        let is_ahead = since.is_some_and(|s| *s.epoch == *self.epoch && s.seq > self.shown);
        let among_others = self.is_told || self.sharing.is_some();
        if is_ahead && among_others && newcomer.ahead_until.is_none() {
            let ahead_until = Some(now + AHEAD);
            return self.newcomers.push(Newcomer { ahead_until, ..newcomer });
        }
        let Newcomer { socket, id, access, options, .. } = newcomer;
        let place = self.group_of(&id, &options.filter);
        // What waits is among the lines before: it goes to the others first.
        self.send(place, wall);
        let known =
            options.since.filter(|since| *since.epoch == *self.epoch && since.seq <= self.shown);
        let after = known.as_ref().map_or(0, |since| since.seq);
        let most = if known.is_some() { usize::MAX } else { options.tail as usize };
        let filter = &options.filter;
        let (logs, mut complete) =
            self.ring.tail(most, HISTORY, |line| line.seq > after && filter.matches(line));
        if known.is_some() {
            // Not all that it missed is here any more: it is told up to where.
            let first = match (complete, logs.first()) {
                (false, Some(first)) if self.ring.floor() < first.seq => first.seq,
                _ => self.ring.floor() + 1,
            };
            complete = first <= after + 1;
            if !complete {
                let (from, to) = (after + 1, first - 1);
                let frame = gap(&id, Stretch { from, to, count: to - from + 1 });
                self.out.extend(frame.map(|frame| Out::Emit(socket, frame)));
            }
        }
        let logs: Vec<_> = logs.into_iter().map(|line| &**line).collect();
        let history = LogHistory { stream_id: &id, epoch: &self.epoch, logs: &logs, complete };
        let history = frame("logHistory", &history, FramePolicy::Deliver);
        self.out.extend(history.map(|frame| Out::Emit(socket, frame)));

        let group = &mut self.groups[place];
        let number = group.number;
        let room = match group.audiences.iter_mut().find(|a| a.access == access) {
            Some(audience) => {
                audience.members += 1;
                audience.room.clone()
            }
            None => {
                self.groups_made += 1;
                let room = Room::from(format!("logs|{}|{}", group.name, self.groups_made));
                group.audiences.push(Audience { access, room: room.clone(), members: 1 });
                room
            }
        };
        self.members.push(Member { socket, id, filter: number, audience: room.clone() });
        self.out.push(Out::Join(socket, room));
    }

    /// The place of the group with this filter, by this name.
    fn group_of(&mut self, id: &LogStreamId, filter: &LogFilter) -> usize {
        let known = self.groups.iter().position(|group| group.id == *id && group.filter == *filter);
        if let Some(place) = known {
            return place;
        }
        let name = self.names.iter().find(|name| name.id == *id);
        let name = name.or(self.names.last()).map_or(0, |name| name.number);
        self.groups_made += 1;
        self.groups.push(Group {
            number: self.groups_made,
            id: id.clone(),
            name,
            filter: filter.clone(),
            audiences: Vec::new(),
            waiting: Vec::new(),
            stretch: None,
            bytes: 0,
            due: None,
        });
        self.groups.len() - 1
    }

    fn lines(&mut self, lines: Vec<LogLine>, now: Instant, wall: Timestamp) {
        for line in lines {
            // Another node gave it already, before this one went on with the log.
            if line.seq > self.shown {
                self.pass(Arc::new(line), now, wall);
            }
        }
    }

    /// Gives an entry to viewers, to the store and to other nodes.
    fn pass(&mut self, line: Arc<LogLine>, now: Instant, wall: Timestamp) {
        self.shown = line.seq;
        {
            let mut encoded: Option<Arc<RawValue>> = None;
            for place in 0..self.groups.len() {
                let group = &mut self.groups[place];
                self.passes += 1;
                if !group.filter.matches(&line) {
                    continue;
                }
                if encoded.is_none() {
                    encoded = raw(&*line);
                }
                let Some(encoded) = &encoded else { continue };
                let len = encoded.get().len();
                if group.bytes + len > BATCH_BYTES && !group.waiting.is_empty() {
                    self.send(place, wall);
                }
                let group = &mut self.groups[place];
                group.push(line.seq, Arc::clone(encoded), now);
                if group.waiting.len() >= BATCH {
                    self.send(place, wall);
                }
            }
            if let Some(feed) = &mut self.feed {
                feed.entry(&line);
            }
            if let Some(sharing) = &mut self.sharing {
                sharing.entry(&line, now);
            }
            if self.loading.is_none() {
                for tap in &self.taps {
                    tap.to.tell(Tapped::Line(Arc::clone(&tap.id), Arc::clone(&line)));
                }
            }
            self.ring.push(line);
        }
    }

    /// Sends what waits in a group to those of it who may see it.
    fn send(&mut self, place: usize, wall: Timestamp) {
        let group = &mut self.groups[place];
        group.due = None;
        group.bytes = 0;
        let waiting = std::mem::take(&mut group.waiting);
        let Some(stretch) = group.stretch.take() else { return };
        let batch = LogBatch { stream_id: &group.id, logs: &waiting, timestamp: wall.as_millis() };
        let Some(frame) = frame("logBatch", &batch, FramePolicy::DropOldest) else { return };
        let id = group.id.clone();
        let tell = Arc::new(move |lost: Stretch| gap(&id, lost));
        let frame = frame.with_loss(Loss { stream: group.name, stretch, tell });
        for audience in &group.audiences {
            if self.policy.may_see(&audience.access, Subject::Device(self.device)) {
                self.out.push(Out::Publish(audience.room.clone(), Arc::clone(&frame)));
            }
        }
    }

    /// Lines are missing for everybody.
    fn gap(&mut self, from: Seq, to: Seq, wall: Timestamp) {
        for place in 0..self.groups.len() {
            self.send(place, wall);
        }
        if self.loading.is_none() {
            for tap in &self.taps {
                tap.to.tell(Tapped::Gap(Arc::clone(&tap.id), from, to, to - from + 1));
            }
        }
        for group in &self.groups {
            let lost = Stretch { from, to, count: to - from + 1 };
            let Some(frame) = gap(&group.id, lost) else { continue };
            for audience in &group.audiences {
                if self.may_see(&audience.access) {
                    self.out.push(Out::Publish(audience.room.clone(), Arc::clone(&frame)));
                }
            }
        }
    }
}

impl Group {
    fn push(&mut self, seq: Seq, line: Arc<RawValue>, now: Instant) {
        self.bytes += line.get().len();
        self.waiting.push(line);
        let one = Stretch { from: seq, to: seq, count: 1 };
        self.stretch = Some(match self.stretch {
            Some(Stretch { from, count, .. }) => Stretch { from, to: seq, count: count + 1 },
            None => one,
        });
        self.due.get_or_insert(now + GATHER);
    }
}

/// The message of what is missing.
fn gap(id: &LogStreamId, lost: Stretch) -> Option<Arc<Frame>> {
    let Stretch { from, to, count } = lost;
    let gap = LogGap { stream_id: id, from_seq: from, to_seq: to, dropped: count };
    frame("logGap", &gap, FramePolicy::Deliver)
}

pub(super) fn frame<T: Serialize>(
    event: &str,
    data: &T,
    policy: FramePolicy,
) -> Option<Arc<Frame>> {
    Frame::event(NAMESPACE, event, data, policy)
        .inspect_err(|error| tracing::error!(%error, "a log event could not be encoded"))
        .ok()
}

pub(super) fn raw<T: Serialize>(value: &T) -> Option<Arc<RawValue>> {
    serde_json::value::to_raw_value(value)
        .inspect_err(|error| tracing::error!(%error, "a log line could not be encoded"))
        .ok()
        .map(Arc::from)
}

#[cfg(test)]
mod tests;
