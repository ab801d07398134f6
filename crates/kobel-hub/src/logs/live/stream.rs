//! The rules of one log stream: lines in, messages out; no I/O, no clock.

use std::{sync::Arc, time::Duration};

use kobel_fanout::{Frame, Loss, Policy as FramePolicy, Room, SocketId, Stretch};
use kobel_wire::{
    DeviceUuid, Timestamp,
    event::{ErrorCode, ErrorEvent, Seq},
    log::{LogBatch, LogGap, LogHistory, LogLine, LogStreamId},
};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{LogOptions, feed::Feed, ring::LogRing};
use crate::{
    access::Access,
    gate::NAMESPACE,
    live::{Policy, Subject},
    logs::{
        LogFilter, LogPosition, Processor, Redaction, SourceEvent,
        queue::Taken,
        store::{LogIdentity, LogStore},
    },
};

/// How long lines wait for others.
pub(super) const GATHER: Duration = Duration::from_millis(100);

/// So many lines go at once.
pub(super) const BATCH: usize = 200;

/// The most bytes of text in one message of history.
const HISTORY: usize = 512 * 1024;

/// The most bytes of text in one batch; a longer line goes alone.
const BATCH_BYTES: usize = 128 * 1024;

/// How long the head of a trace waits for its next line.
const TRACE: Duration = Duration::from_millis(150);

/// The lines before are known to have come when none came for so long.
const SETTLED: Duration = Duration::from_millis(150);

/// And they are taken for all when this has passed, however many come.
const LOADING: Duration = Duration::from_millis(1_500);

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
    ring: LogRing,
    groups: Vec<Group>,
    members: Vec<Member>,
    newcomers: Vec<Newcomer>,
    groups_made: u64,
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
            ring: LogRing::default(),
            groups: Vec::new(),
            members: Vec::new(),
            newcomers: Vec::new(),
            groups_made: 0,
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
            self.ring.push(Arc::new(line));
        }
        self.feed = Some(feed);
        self
    }

    /// Whose lines it stores from now on; whether it stores any.
    pub(super) fn rename(&mut self, identity: &LogIdentity) -> bool {
        if let Some(feed) = &mut self.feed {
            feed.rename(Arc::new(identity.clone()));
        }
        self.feed.is_some()
    }

    /// Another container goes on: what follows is its log, under its name and those before. The
    /// source of the one before has ended. Where it is stored: where, and from which position on.
    pub(super) fn recreated(
        &mut self,
        by: &LogIdentity,
        number: u64,
        stored: Option<(LogStore, Arc<LogIdentity>, Option<LogPosition>)>,
        now: Instant,
        wall: Timestamp,
    ) {
        self.close(now, wall);
        self.settle(now, wall);
        let upto = self.processor.lines();
        self.feed =
            stored.map(|(store, identity, position)| Feed::new(store, identity, position, upto));
        let mut lines = Vec::new();
        self.processor.recreated(by, wall.into(), &mut lines);
        self.lines(lines, now, wall);
        self.hand_over();
        let Self { names, members, .. } = self;
        names.retain(|name| members.iter().any(|member| member.id == name.id));
        names.push(Name { id: by.stream(), number });
    }

    /// What is to be done, oldest first.
    pub(super) fn take_out(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    /// Whether the lines before are still to come.
    pub(super) fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Whether nobody follows.
    pub(super) fn is_unwatched(&self) -> bool {
        self.members.is_empty() && self.newcomers.is_empty()
    }

    /// When [`Stream::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let loading = self.loading.map(|(end, settled)| end.min(settled));
        let due = self.groups.iter().filter_map(|group| group.due).min();
        [loading, due, self.processor.deadline()].into_iter().flatten().min()
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
        let newcomer = Newcomer { socket, id: id.clone(), access, options };
        if self.loading.is_some() {
            self.newcomers.push(newcomer);
        } else {
            self.welcome(newcomer, now, wall);
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
        if let Some(dropped) = taken.dropped {
            self.missing(dropped.count(), now, wall);
        }
        let mut lines = Vec::new();
        for event in taken.events {
            if let SourceEvent::Missing(count) = event {
                self.lines(std::mem::take(&mut lines), now, wall);
                self.missing(count, now, wall);
                continue;
            }
            if let (Some(feed), SourceEvent::Line(line)) = (&mut self.feed, &event) {
                feed.source(line.at);
            }
            self.processor.push(now, event, &mut lines);
        }
        self.lines(lines, now, wall);
        self.hand_over();
    }

    /// So many lines are not here and will not come.
    fn missing(&mut self, count: u64, now: Instant, wall: Timestamp) {
        let mut lines = Vec::new();
        let missing = self.processor.skip(count, &mut lines);
        self.lines(lines, now, wall);
        if let Some(feed) = &mut self.feed {
            feed.lost(count, wall.into());
        }
        self.gap(*missing.start(), *missing.end(), wall);
    }

    /// Gives the store what is whole.
    fn hand_over(&mut self) {
        if let Some(feed) = &mut self.feed {
            feed.settle(self.processor.whole_upto());
        }
    }

    /// Gives the store all that is held back: the stream ends.
    pub(super) fn close(&mut self, now: Instant, wall: Timestamp) {
        let mut lines = Vec::new();
        self.processor.flush(&mut lines);
        self.lines(lines, now, wall);
        self.hand_over();
    }

    /// The source has ended; with what is wrong, if something is.
    pub(super) fn ended(&mut self, wrong: Option<&str>, now: Instant, wall: Timestamp) {
        self.close(now, wall);
        self.settle(now, wall);
        let Some(message) = wrong else { return };
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
        self.hand_over();
        if self.loading.is_some_and(|(end, settled)| end.min(settled) <= now) {
            self.settle(now, wall);
        }
        for place in 0..self.groups.len() {
            if self.groups[place].due.is_some_and(|due| due <= now) {
                self.send(place, wall);
            }
        }
    }

    /// The lines before are there: those who waited for them get them.
    fn settle(&mut self, now: Instant, wall: Timestamp) {
        if self.loading.take().is_some() {
            for newcomer in std::mem::take(&mut self.newcomers) {
                self.welcome(newcomer, now, wall);
            }
        }
    }

    fn may_see(&self, access: &Access) -> bool {
        self.policy.may_see(access, Subject::Device(self.device))
    }

    /// Gives a viewer the lines before, and the following from then on.
    fn welcome(&mut self, newcomer: Newcomer, _now: Instant, wall: Timestamp) {
        let Newcomer { socket, id, access, options } = newcomer;
        if !self.may_see(&access) {
            return;
        }
        let place = self.group_of(&id, &options.filter);
        // What waits is among the lines before: it goes to the others first.
        self.send(place, wall);
        let known = options
            .since
            .filter(|since| *since.epoch == *self.epoch && since.seq <= self.processor.seq());
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
        let logs: Vec<_> = logs.into_iter().cloned().collect();
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
            let line = Arc::new(line);
            let mut encoded: Option<Arc<RawValue>> = None;
            for place in 0..self.groups.len() {
                let group = &mut self.groups[place];
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

fn frame<T: Serialize>(event: &str, data: &T, policy: FramePolicy) -> Option<Arc<Frame>> {
    Frame::event(NAMESPACE, event, data, policy)
        .inspect_err(|error| tracing::error!(%error, "a log event could not be encoded"))
        .ok()
}

fn raw<T: Serialize>(value: &T) -> Option<Arc<RawValue>> {
    serde_json::value::to_raw_value(value)
        .inspect_err(|error| tracing::error!(%error, "a log line could not be encoded"))
        .ok()
        .map(Arc::from)
}

#[cfg(test)]
mod tests;
