//! Gathering: a busy shard lets frames of a room wait for each other, and sends them to each
//! member in one system call.
//!
//! A quiet shard sends at once. Only when sending would take much of its time does it gather, for
//! at most [`GATHER`]: what waits stands once in the room, not once per member. Order holds in each
//! room, and between a room and what is sent to a member itself: whoever sends to a socket first
//! lets it [catch up](Shard::catch_up).

use std::{io::IoSlice, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Key, Shard, connection::Transport, delivery::LOOK_AT_CLOCK};
use crate::{DisconnectReason, Frame, Gathering};

/// The longest that a frame waits for others.
pub(super) const GATHER: Duration = Duration::from_millis(20);

/// A room does not gather more bytes than this: they fit into a socket's buffer at once.
const ROOM_BYTES: usize = 64 * 1024;

/// Gathering begins when sending at once would take this part of the time.
const BEGIN: f64 = 0.5;

/// And ends below this part.
const END: f64 = 0.3;

/// What a delivery costs before it was measured, seconds: a send(2) on loopback.
const COST: f64 = 5e-6;

/// Decides when to gather, by what sending at once would cost. Deliveries are counted, not time
/// spent: gathering makes the time small, and must not end by its own success.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    deliveries: usize,
    /// Seconds a delivery, smoothed.
    cost: f64,
    gathers: bool,
    mode: Gathering,
}

impl Pace {
    pub(super) fn new(mode: Gathering, now: Instant) -> Self {
        Self { since: now, deliveries: 0, cost: COST, gathers: false, mode }
    }

    /// Whether to gather now. `soon`: the room's frames come one upon the other.
    pub(super) fn gathers(&self, soon: bool) -> bool {
        match self.mode {
            Gathering::Adaptive => self.gathers && soon,
            Gathering::Always => true,
            Gathering::Never => false,
        }
    }

    /// So many deliveries were asked for.
    pub(super) fn asked(&mut self, deliveries: usize, now: Instant) {
        let window = now.saturating_duration_since(self.since);
        if window >= GATHER {
            let load = self.deliveries as f64 * self.cost / window.as_secs_f64();
            self.gathers = load > if self.gathers { END } else { BEGIN };
            (self.since, self.deliveries) = (now, 0);
        }
        self.deliveries += deliveries;
    }

    /// So many deliveries at once took so long.
    pub(super) fn took(&mut self, deliveries: usize, time: Duration) {
        // A few are mostly the clock's own cost; a pause of the whole machine is no cost at all.
        if deliveries >= 8 {
            let each = (time.as_secs_f64() / deliveries as f64).clamp(1e-7, 2e-5);
            self.cost += (each - self.cost) / 16.0;
        }
    }
}

/// The bytes of several frames in a row, copied once for all members of a room.
struct Joined {
    bytes: Vec<u8>,
    /// Where each frame begins, and where the last one ends.
    starts: Vec<usize>,
}

impl Joined {
    fn new(frames: &[Arc<Frame>], deflate: bool) -> Self {
        let mut bytes = Vec::with_capacity(frames.iter().map(|f| f.wire(deflate).len()).sum());
        let mut starts = Vec::with_capacity(frames.len() + 1);
        for frame in frames {
            starts.push(bytes.len());
            bytes.extend_from_slice(frame.wire(deflate));
        }
        starts.push(bytes.len());
        Self { bytes, starts }
    }

    /// The bytes of the frames from this one on.
    fn from(&self, frame: usize) -> &[u8] {
        &self.bytes[self.starts[frame]..]
    }

    /// The frame in which `written` bytes from the start of frame `first` end, and how many of
    /// its own bytes are among them.
    fn locate(&self, first: usize, written: usize) -> (usize, usize) {
        let at = self.starts[first] + written;
        let frame = self.starts.partition_point(|start| *start <= at) - 1;
        (frame, at - self.starts[frame])
    }
}

/// Frames that go to all members of a room, in the forms that were asked for.
struct Batch {
    frames: Vec<Arc<Frame>>,
    plain: Option<Joined>,
    deflated: Option<Joined>,
}

impl Batch {
    fn joined(&mut self, deflate: bool) -> &Joined {
        let form = if deflate { &mut self.deflated } else { &mut self.plain };
        form.get_or_insert_with(|| Joined::new(&self.frames, deflate))
    }
}

impl Shard {
    /// Lets a frame wait with others of its room.
    pub(super) fn gather(&mut self, room: u32, frame: &Arc<Frame>, at: Instant) {
        let bytes = self.rooms.gather(room, frame, at);
        if bytes == frame.len() {
            self.gathering.push(room);
            // From its publish on: what came while the shard was sending has waited already.
            self.gather_until.get_or_insert(at + GATHER);
        }
        if bytes > ROOM_BYTES {
            self.send_gathered(room);
        }
    }

    /// Sends everything that was gathered.
    pub(super) fn send_all_gathered(&mut self) {
        self.gather_until = None;
        for room in std::mem::take(&mut self.gathering) {
            self.send_gathered(room);
        }
    }

    fn send_gathered(&mut self, room: u32) {
        let (frames, published, turn) = self.rooms.take_gathered(room);
        if frames.is_empty() {
            return;
        }
        let mut batch = Batch { frames, plain: None, deflated: None };
        // By position, last first, as in `publish`.
        let mut place = self.rooms.members(room).len();
        let mut sent = 0;
        while place > 0 {
            place -= 1;
            if let Some(member) = self.rooms.members(room).get(place).copied() {
                let generation = self.slots[member.slot as usize].generation;
                self.push_batch((member.slot, generation), &mut batch, member.seen(turn));
                sent += 1;
            }
            if sent == LOOK_AT_CLOCK || place == 0 {
                let now = Instant::now();
                for at in &published {
                    let took = now.saturating_duration_since(*at);
                    self.metrics.delivery.observe(took, sent);
                }
                sent = 0;
            }
        }
    }

    /// Sends a connection what its rooms have gathered for it, before something else goes there.
    pub(super) fn catch_up(&mut self, key: Key) {
        if self.gathering.is_empty() {
            return;
        }
        let Some(connection) = self.connection(key) else {
            return;
        };
        let seats: Vec<_> =
            connection.sockets.iter().flatten().flat_map(|s| s.seats.iter().copied()).collect();
        for seat in seats {
            // A client that is closed meanwhile has lost its seats; somebody else sits there now.
            if self.connection(key).is_none() {
                return;
            }
            for frame in self.rooms.unseen(seat) {
                self.push(key, &frame);
            }
        }
    }

    fn push_batch(&mut self, key: Key, batch: &mut Batch, first: usize) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        let (mut next, mut written) = (first, 0);
        if let (Transport::WebSocket { io, decoder }, None) =
            (&mut connection.transport, &connection.outbox)
        {
            let joined = batch.joined(decoder.deflates());
            let bytes = joined.from(first);
            match io.write(None, &[IoSlice::new(bytes)]) {
                Ok(all) if all == bytes.len() => return,
                Ok(part) => (next, written) = joined.locate(first, part),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return self.close(key, DisconnectReason::Transport),
            }
            // The socket is full: the rest waits for it.
            for frame in &batch.frames[next..] {
                self.keep(key, frame, std::mem::take(&mut written));
            }
            return;
        }
        for frame in &batch.frames[next..] {
            self.push(key, frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;

    #[test]
    fn a_busy_time_begins_and_ends_late() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(Gathering::Adaptive, start);
        // 20,000 a second at 5 µs are a tenth of the time.
        for ms in 0..100 {
            pace.asked(20, at(ms));
            assert!(!pace.gathers(true), "{ms}");
        }
        // 200,000 are all of it.
        for ms in 100..160 {
            pace.asked(200, at(ms));
        }
        assert!(pace.gathers(true));
        // 80,000 are less than began it and more than ends it.
        for ms in 160..260 {
            pace.asked(80, at(ms));
            assert!(pace.gathers(true), "{ms}");
        }
        assert!(!pace.gathers(false), "a room whose frames come seldom");
        for ms in 260..320 {
            pace.asked(20, at(ms));
        }
        assert!(!pace.gathers(true));
    }

    #[test]
    fn the_cost_follows_what_is_measured() {
        let mut pace = Pace::new(Gathering::Adaptive, Instant::now());
        for _ in 0..200 {
            pace.took(1_000, Duration::from_millis(2));
        }
        assert!((pace.cost - 2e-6).abs() < 1e-7);
        pace.took(1, Duration::from_secs(1));
        assert!(pace.cost < 3e-6);
    }

    #[test]
    fn a_half_written_frame_is_found() {
        let frames: Vec<_> = ["a", "bb", "ccc"]
            .iter()
            .map(|text| Frame::event("/", "e", text, Policy::Deliver).unwrap())
            .collect();
        let joined = Joined::new(&frames, false);
        let len = |n: usize| frames[n].len();
        assert_eq!(joined.from(1).len(), len(1) + len(2));
        assert_eq!(joined.locate(0, 0), (0, 0));
        assert_eq!(joined.locate(0, len(0) - 1), (0, len(0) - 1));
        assert_eq!(joined.locate(0, len(0)), (1, 0));
        assert_eq!(joined.locate(1, len(1) + 4), (2, 4));
    }
}
