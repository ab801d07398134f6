//! The rules of a merged view: the lines of several streams in one, by their time; no I/O, no clock.
//!
//! All viewers of it have equal access. A line waits [`HOLD`] for older ones of other streams. Who
//! comes gets the lines before from each stream, and of the lines that follow each once: a stream
//! tells by its answer which of its lines that holds, in order with the lines themselves.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use kobel_fanout::{Frame, Loss, Policy as FramePolicy, Room, SocketId, Stretch};
use kobel_wire::{
    DeviceUuid, Timestamp,
    event::{ErrorCode, ErrorEvent, Seq},
    log::{LogLine, LogStreamId, LogTime, MergedBatch, MergedGap, MergedHistory, MergedLine},
};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    LogOptions,
    ring::size,
    stream::{BATCH, BATCH_BYTES, HISTORY, Out, frame, raw},
    tap::{Before, Tapped},
};
use crate::{
    access::Access,
    live::{Policy, Subject},
    logs::LogFilter,
};

/// How long a line waits for older ones of other streams; one that comes later still is shown when
/// it comes.
pub(super) const HOLD: Duration = Duration::from_millis(200);

/// Lines go out so far apart at least.
pub(super) const GATHER: Duration = Duration::from_millis(100);

/// The most lines that are held, and their bytes. More: all of them go.
const HELD: usize = 20_000;
const HELD_BYTES: usize = 8 << 20;

/// A container's own lines keep their order where their times contradict it by less, nanoseconds:
/// some lines say their time to the second, others have the engine's.
const CONTRADICTION: i64 = 2_000_000_000;

/// How long somebody who came waits for the lines before of every stream.
const PATIENCE: Duration = Duration::from_secs(3);

/// A line with its place among those of all streams.
#[derive(Debug, Clone)]
struct Held {
    /// By the time it says, and where equal in the order in which they came.
    order: (LogTime, u64),
    arrived: Instant,
    /// The stream's number.
    tap: u64,
    id: Arc<LogStreamId>,
    line: Arc<LogLine>,
}

/// What a filter lets pass, and to whom.
struct Group {
    filter: LogFilter,
    room: Room,
    members: u32,
}

/// A viewer of the view.
struct Member {
    socket: SocketId,
    room: Room,
}

/// A viewer that waits for the lines before.
struct Newcomer {
    number: u64,
    socket: SocketId,
    options: LogOptions,
    /// The streams that have not answered yet.
    waits: BTreeSet<u64>,
    until: Instant,
    /// The newest line of each stream's answer.
    upto: BTreeMap<u64, Seq>,
    /// The lines before, and those that went out to others since.
    lines: Vec<Held>,
    gaps: Vec<Arc<Frame>>,
    complete: bool,
}

/// The lines of several containers in one.
pub(super) struct Merged {
    /// `logs:` and the id.
    room: Arc<str>,
    id: Arc<str>,
    /// Names it among the streams of the process.
    number: u64,
    access: Arc<Access>,
    policy: Arc<dyn Policy + Sync>,
    held: Vec<Held>,
    held_bytes: usize,
    due: Option<Instant>,
    /// The last line's time of each stream.
    last: BTreeMap<u64, LogTime>,
    /// How many lines came, and how many went out.
    came: u64,
    seq: Seq,
    /// How often a filter looked at a line.
    passes: u64,
    groups: Vec<Group>,
    groups_made: u64,
    members: Vec<Member>,
    newcomers: Vec<Newcomer>,
    out: Vec<Out>,
}

impl Merged {
    /// A view by this id, for those with this access.
    pub(super) fn new(
        id: &str,
        number: u64,
        access: Arc<Access>,
        policy: Arc<dyn Policy + Sync>,
    ) -> Self {
        Self {
            room: format!("logs:{id}").into(),
            id: id.into(),
            number,
            access,
            policy,
            held: Vec::new(),
            held_bytes: 0,
            due: None,
            last: BTreeMap::new(),
            came: 0,
            seq: 0,
            passes: 0,
            groups: Vec::new(),
            groups_made: 0,
            members: Vec::new(),
            newcomers: Vec::new(),
            out: Vec::new(),
        }
    }

    /// What is to be done, oldest first.
    pub(super) fn take_out(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    /// How often a filter looked at a line since the last call.
    pub(super) fn take_passes(&mut self) -> u64 {
        std::mem::take(&mut self.passes)
    }

    /// When [`Merged::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let newcomers = self.newcomers.iter().map(|newcomer| newcomer.until);
        newcomers.chain(self.due).min()
    }

    /// A viewer wants lines, in place of those that it wanted before. These streams are asked for the
    /// lines before, under this number.
    pub(super) fn enter(
        &mut self,
        socket: SocketId,
        number: u64,
        options: LogOptions,
        asked: BTreeSet<u64>,
        now: Instant,
    ) {
        self.leave(socket);
        self.newcomers.push(Newcomer {
            number,
            socket,
            options,
            waits: asked,
            until: now + PATIENCE,
            upto: BTreeMap::new(),
            lines: Vec::new(),
            gaps: Vec::new(),
            complete: true,
        });
        self.welcome_all(now);
    }

    /// A viewer wants no more.
    pub(super) fn leave(&mut self, socket: SocketId) {
        self.newcomers.retain(|newcomer| newcomer.socket != socket);
        let Some(at) = self.members.iter().position(|member| member.socket == socket) else {
            return;
        };
        let Member { room, .. } = self.members.swap_remove(at);
        if let Some(place) = self.groups.iter().position(|group| group.room == room) {
            self.groups[place].members -= 1;
            if self.groups[place].members == 0 {
                self.groups.swap_remove(place);
            }
        }
        self.out.push(Out::Leave(socket, room));
    }

    /// Takes what a stream told.
    pub(super) fn take(&mut self, tap: u64, told: VecDeque<Tapped>, now: Instant, wall: Timestamp) {
        for item in told {
            match item {
                Tapped::Line(id, line) => self.hold(tap, id, line, now, wall),
                Tapped::Gap(id, from, to, dropped) => {
                    self.release(None, wall);
                    self.gap(tap, &id, from, to, dropped);
                }
                Tapped::Before(before) => self.before(tap, before),
                Tapped::Wrong(id, message) => self.wrong(&id, &message),
                Tapped::Over => {
                    self.last.remove(&tap);
                    for newcomer in &mut self.newcomers {
                        newcomer.waits.remove(&tap);
                    }
                }
            }
        }
        self.welcome_all(now);
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Instant, wall: Timestamp) {
        if self.due.is_some_and(|due| due <= now) {
            self.release(Some(now), wall);
        }
        self.welcome_all(now);
    }

    fn hold(
        &mut self,
        tap: u64,
        id: Arc<LogStreamId>,
        line: Arc<LogLine>,
        now: Instant,
        wall: Timestamp,
    ) {
        self.came += 1;
        self.held_bytes += size(&line);
        let last = self.last.entry(tap).or_insert(line.timestamp);
        *last = in_order(*last, line.timestamp);
        let order = (*last, self.came);
        self.held.push(Held { order, arrived: now, tap, id, line });
        self.due.get_or_insert(now + HOLD + GATHER);
        if self.held.len() > HELD || self.held_bytes > HELD_BYTES {
            self.release(None, wall);
        }
    }

    /// Lets go what was held for long enough by now, and all that is older; `None`: everything.
    fn release(&mut self, now: Option<Instant>, wall: Timestamp) {
        self.held.sort_by_key(|held| held.order);
        let is_due = |held: &Held| now.is_none_or(|now| held.arrived + HOLD <= now);
        let count = self.held.iter().rposition(is_due).map_or(0, |last| last + 1);
        let released: Vec<_> = self.held.drain(..count).collect();
        self.held_bytes -= released.iter().map(|held| size(&held.line)).sum::<usize>();
        let oldest = self.held.iter().map(|held| held.arrived).min();
        self.due = oldest.map(|oldest| {
            let next = oldest + HOLD + GATHER;
            now.map_or(next, |now| next.max(now + GATHER))
        });
        for newcomer in &mut self.newcomers {
            newcomer.missed(&released);
        }
        self.publish(&released, wall);
    }

    fn may_see(&self, device: DeviceUuid) -> bool {
        self.policy.may_see(&self.access, Subject::Device(device))
    }

    /// Sends lines to those whose filter lets them pass, as far as these may be seen.
    fn publish(&mut self, lines: &[Held], wall: Timestamp) {
        let first = self.seq + 1;
        self.seq += lines.len() as u64;
        let mut seen: BTreeMap<DeviceUuid, bool> = BTreeMap::new();
        let mut encoded: Vec<Option<Arc<RawValue>>> = vec![None; lines.len()];
        for place in 0..self.groups.len() {
            let mut batch = Batch::default();
            for (at, held) in lines.iter().enumerate() {
                let device = held.id.device;
                if !*seen.entry(device).or_insert_with(|| self.may_see(device)) {
                    continue;
                }
                self.passes += 1;
                if !self.groups[place].filter.matches(&held.line) {
                    continue;
                }
                let text = encoded[at].get_or_insert_with(|| encode(held)).clone();
                let len = text.get().len();
                if batch.lines.len() >= BATCH
                    || (batch.bytes + len > BATCH_BYTES && !batch.lines.is_empty())
                {
                    self.send(place, &std::mem::take(&mut batch), wall);
                }
                batch.push(first + at as u64, text);
            }
            self.send(place, &batch, wall);
        }
    }

    fn send(&mut self, place: usize, batch: &Batch, wall: Timestamp) {
        let Some(stretch) = batch.stretch else { return };
        let logs = &*batch.lines;
        let timestamp = wall.as_millis();
        let batch = MergedBatch { room: &self.room, stream_id: &self.id, logs, timestamp };
        let Some(frame) = frame("logBatch", &batch, FramePolicy::DropOldest) else { return };
        let (room, id) = (Arc::clone(&self.room), Arc::clone(&self.id));
        let tell = Arc::new(move |lost: Stretch| {
            let Stretch { from, to, count } = lost;
            gap(&room, &id, (from, to), count)
        });
        let frame = frame.with_loss(Loss { stream: self.number, stretch, tell });
        self.out.push(Out::Publish(self.groups[place].room.clone(), frame));
    }

    /// Lines of one stream are missing for everybody.
    fn gap(&mut self, tap: u64, id: &LogStreamId, from: Seq, to: Seq, dropped: u64) {
        if !self.may_see(id.device) {
            return;
        }
        let Some(frame) = gap(&self.room, &id.to_string(), (from, to), dropped) else { return };
        for group in &self.groups {
            self.out.push(Out::Publish(group.room.clone(), Arc::clone(&frame)));
        }
        for newcomer in &mut self.newcomers {
            // Of what is missing before its answer the stream knows itself.
            if !newcomer.waits.contains(&tap) {
                newcomer.gaps.push(Arc::clone(&frame));
            }
        }
    }

    fn before(&mut self, tap: u64, before: Before) {
        let known = self.newcomers.iter_mut().find(|known| known.number == before.newcomer);
        let Some(newcomer) = known else { return };
        if !newcomer.waits.remove(&tap) {
            return;
        }
        newcomer.upto.insert(tap, before.upto);
        newcomer.complete &= before.complete;
        let (id, until) = (before.id, newcomer.until);
        let mut last = before.lines.first().map_or_else(LogTime::default, |line| line.timestamp);
        newcomer.lines.extend(before.lines.into_iter().map(|line| {
            last = in_order(last, line.timestamp);
            Held { order: (last, 0), arrived: until, tap, id: Arc::clone(&id), line }
        }));
    }

    fn wrong(&mut self, id: &LogStreamId, message: &str) {
        if !self.may_see(id.device) {
            return;
        }
        let error = ErrorEvent {
            code: ErrorCode::Unavailable,
            message: format!("container {}: {message}", id.container),
            kind: Some("logs".into()),
            id: Some(self.id.to_string()),
        };
        let Some(frame) = frame("error", &error, FramePolicy::Deliver) else { return };
        for group in &self.groups {
            self.out.push(Out::Publish(group.room.clone(), Arc::clone(&frame)));
        }
        for newcomer in &mut self.newcomers {
            newcomer.gaps.push(Arc::clone(&frame));
        }
    }

    /// Welcomes those who have the lines before of every stream, or have waited for long enough.
    fn welcome_all(&mut self, now: Instant) {
        let is_ready = |newcomer: &Newcomer| newcomer.waits.is_empty() || newcomer.until <= now;
        while let Some(at) = self.newcomers.iter().position(is_ready) {
            let newcomer = self.newcomers.remove(at);
            self.welcome(newcomer);
        }
    }

    /// Gives a viewer the lines before, and the following from then on.
    fn welcome(&mut self, newcomer: Newcomer) {
        let Newcomer { socket, options, mut lines, gaps, waits, mut complete, .. } = newcomer;
        complete &= waits.is_empty();
        let mut seen: BTreeMap<DeviceUuid, bool> = BTreeMap::new();
        // What is held is still to come, for everybody.
        let held: BTreeSet<_> = self.held.iter().map(|held| (held.tap, held.line.seq)).collect();
        lines.retain(|line| {
            let device = line.id.device;
            *seen.entry(device).or_insert_with(|| self.may_see(device))
                && !held.contains(&(line.tap, line.line.seq))
        });
        lines.sort_by_key(|line| (line.order.0, line.tap, line.line.seq));
        let (mut bytes, mut count) = (0, 0);
        for line in lines.iter().rev() {
            bytes += size(&line.line);
            if count >= options.tail as usize || (bytes > HISTORY && count > 0) {
                complete = false;
                break;
            }
            count += 1;
        }
        let logs: Vec<_> = lines[lines.len() - count..].iter().map(encode).collect();
        let history =
            MergedHistory { room: &self.room, stream_id: &self.id, logs: &logs, complete };
        let history = frame("logHistory", &history, FramePolicy::Deliver);
        self.out.extend(history.into_iter().chain(gaps).map(|frame| Out::Emit(socket, frame)));
        let room = self.group_of(options.filter);
        self.members.push(Member { socket, room: room.clone() });
        self.out.push(Out::Join(socket, room));
    }

    /// The room of those with this filter, with one member more.
    fn group_of(&mut self, filter: LogFilter) -> Room {
        if let Some(group) = self.groups.iter_mut().find(|group| group.filter == filter) {
            group.members += 1;
            return group.room.clone();
        }
        self.groups_made += 1;
        let room = Room::from(format!("logs|{}|{}", self.number, self.groups_made));
        self.groups.push(Group { filter, room: room.clone(), members: 1 });
        room
    }
}

impl Newcomer {
    /// These went out to the others: what of it no answer holds comes with the lines before.
    fn missed(&mut self, lines: &[Held]) {
        for held in lines {
            let answered = self.upto.get(&held.tap).is_some_and(|upto| held.line.seq <= *upto);
            if answered
                || self.waits.contains(&held.tap)
                || !self.options.filter.matches(&held.line)
            {
                continue;
            }
            self.lines.push(held.clone());
        }
    }
}

/// Lines on their way to one group.
#[derive(Default)]
struct Batch {
    lines: Vec<Arc<RawValue>>,
    bytes: usize,
    /// The first and the last number, by the count of the view.
    stretch: Option<Stretch>,
}

impl Batch {
    fn push(&mut self, seq: Seq, line: Arc<RawValue>) {
        self.bytes += line.get().len();
        self.lines.push(line);
        self.stretch = Some(match self.stretch {
            Some(Stretch { from, count, .. }) => Stretch { from, to: seq, count: count + 1 },
            None => Stretch { from: seq, to: seq, count: 1 },
        });
    }
}

/// The time by which a line stands after one of the same stream.
fn in_order(last: LogTime, at: LogTime) -> LogTime {
    let back = last.as_nanos().saturating_sub(at.as_nanos());
    if (0..CONTRADICTION).contains(&back) { last } else { at }
}

fn encode(held: &Held) -> Arc<RawValue> {
    // Plain data always encodes.
    raw(&MergedLine { line: &held.line, stream_id: &held.id })
        .unwrap_or_else(|| Arc::from(RawValue::NULL.to_owned()))
}

/// The message of what is missing.
fn gap(room: &str, stream_id: &str, (from, to): (Seq, Seq), dropped: u64) -> Option<Arc<Frame>> {
    let gap = MergedGap { room, stream_id, from_seq: from, to_seq: to, dropped };
    frame("logGap", &gap, FramePolicy::Deliver)
}

#[cfg(test)]
mod tests;
