//! What waits for one client: bounded, with a rule for each frame.

use std::{
    collections::{HashMap, VecDeque},
    io::IoSlice,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    DisconnectReason, Frame, Loss, Policy, Stretch, engineio::SEPARATOR, frame::ConflationKey,
};

/// The most frames gathered into one system call; the kernel's IOV_MAX is 1024.
const GATHER: usize = 64;

/// What a waiting frame counts beside its bytes: what holds an answer of a few bytes is much larger
/// than the answer.
pub(crate) const FRAME_COST: usize = 128;

/// Holes in the queue before it is worth closing them.
const MANY_HOLES: usize = 64;

/// Frames that wait for a client, oldest first. Exists only while something waits.
///
/// A frame's number says how many came before it since the outbox was made; its place in the
/// queue is its number less those that were taken.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// A hole where a frame was taken out of turn.
    frames: VecDeque<Option<Arc<Frame>>>,
    holes: usize,
    /// Bytes of the first frame that are already written.
    written: usize,
    bytes: usize,
    /// Frames and holes ever taken from the front.
    taken: u64,
    /// The number of the waiting frame of each conflation key.
    keys: HashMap<ConflationKey, u64>,
    /// Numbers of the frames that may be dropped, oldest first; some may be gone.
    droppable: VecDeque<u64>,
    /// The number after that of the last frame that does not conflate: no newer frame may stand
    /// before it, or a client that resumes after what it saw last would miss it.
    barrier: u64,
    /// What of each stream is told to be lost, by the number of the frame that tells it.
    lost: HashMap<u64, (u64, Stretch)>,
    /// When the client last took something.
    pub(crate) progress: Instant,
    /// Set when the connection ends once everything is out, or at this time.
    pub(crate) closing: Option<(Instant, DisconnectReason)>,
    /// Which bytes of a frame go to this client.
    deflate: bool,
}

/// What became of the queue when a frame was added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// The frame took the place of an older one.
    pub(crate) conflated: bool,
    /// So many older ones were dropped for it.
    pub(crate) dropped: u64,
    /// More waits than may: the client is to be closed.
    pub(crate) full: bool,
}

impl Outbox {
    pub(crate) fn new(deflate: bool, now: Instant) -> Self {
        Self {
            frames: VecDeque::new(),
            holes: 0,
            written: 0,
            bytes: 0,
            taken: 0,
            keys: HashMap::new(),
            droppable: VecDeque::new(),
            barrier: 0,
            lost: HashMap::new(),
            progress: now,
            closing: None,
            deflate,
        }
    }

    /// Adds a frame of which `written` bytes are already out (only to an empty outbox).
    pub(crate) fn push(&mut self, frame: &Arc<Frame>, written: usize, limit: usize) -> Pushed {
        let mut pushed = Pushed::default();
        if let Some(key) = frame.conflation()
            && let Some(&older) = self.keys.get(&key)
            && self.untouched(older)
        {
            pushed.conflated = true;
            if older >= self.barrier {
                // In the older one's place, or one that changes often would never get its turn.
                let place = (older - self.taken) as usize;
                if let Some(old) = self.frames[place].replace(Arc::clone(frame)) {
                    self.bytes = self.bytes - self.len(&old) + self.len(frame);
                }
                return self.fit(pushed, limit);
            }
            self.remove(older);
        }
        self.index(frame, self.end());
        if !matches!(frame.policy, Policy::Conflate(_)) {
            self.barrier = self.end() + 1;
        }
        self.frames.push_back(Some(Arc::clone(frame)));
        self.bytes += self.len(frame);
        if written > 0 {
            self.written = written;
        }
        let pushed = self.fit(pushed, limit);
        if self.holes > MANY_HOLES && self.holes * 2 > self.frames.len() {
            self.close_holes();
        }
        pushed
    }

    fn len(&self, frame: &Frame) -> usize {
        frame.wire(self.deflate).len()
    }

    /// The number of the next frame.
    fn end(&self) -> u64 {
        self.taken + self.frames.len() as u64
    }

    /// Whether none of it is out yet.
    fn untouched(&self, number: u64) -> bool {
        number > self.taken || (number == self.taken && self.written == 0)
    }

    fn index(&mut self, frame: &Frame, number: u64) {
        if let Some(key) = frame.conflation() {
            self.keys.insert(key, number);
        }
        if frame.policy == Policy::DropOldest {
            self.droppable.push_back(number);
        }
    }

    /// Takes a frame out of turn.
    fn remove(&mut self, number: u64) -> bool {
        let Some(frame) =
            self.place(number).and_then(|p| self.frames.get_mut(p)).and_then(Option::take)
        else {
            return false;
        };
        self.bytes -= self.len(&frame);
        self.holes += 1;
        self.settle();
        true
    }

    /// Drops the oldest frames that may be dropped until the rest fits.
    fn fit(&mut self, mut pushed: Pushed, limit: usize) -> Pushed {
        while self.cost() > limit {
            let Some(number) = self.droppable.pop_front() else {
                pushed.full = true;
                break;
            };
            if self.untouched(number) && self.drop_frame(number) {
                pushed.dropped += 1;
            }
        }
        pushed
    }

    fn place(&self, number: u64) -> Option<usize> {
        number.checked_sub(self.taken).and_then(|place| usize::try_from(place).ok())
    }

    /// Drops a frame; where its loss is told, what tells it takes its place, together with what was
    /// lost before it and is not told yet.
    fn drop_frame(&mut self, number: u64) -> bool {
        let frame = self.place(number).and_then(|p| self.frames.get(p)).and_then(Option::clone);
        let Some(Loss { stream, stretch, tell }) = frame.and_then(|f| f.loss.as_deref().cloned())
        else {
            return self.remove(number);
        };
        let earlier = self.lost.remove(&stream).filter(|(at, _)| self.untouched(*at));
        let stretch = match earlier {
            Some((at, earlier)) => {
                self.remove(at);
                earlier.and(stretch)
            }
            None => stretch,
        };
        let Some(notice) = tell(stretch) else { return self.remove(number) };
        // Taking the earlier one out may have moved the front.
        let Some(place) = self.place(number) else { return false };
        let len = self.len(&notice);
        let Some(old) = self.frames.get_mut(place).and_then(|slot| slot.replace(notice)) else {
            return false;
        };
        self.bytes = self.bytes - self.len(&old) + len;
        self.lost.insert(stream, (number, stretch));
        true
    }

    /// What waits behind the frame under way. That one may be as large as it is: a first state of
    /// thousands of devices is more than a client may let wait of what follows.
    fn cost(&self) -> usize {
        let first = self.frames.front().and_then(Option::as_ref).map_or(0, |f| self.len(f));
        self.bytes - first + (self.frames.len() - self.holes) * FRAME_COST
    }

    /// Whether more than so much waits that must arrive, answers above all.
    pub(crate) fn owes(&self, limit: usize) -> bool {
        if self.bytes + self.frames.len() * FRAME_COST <= limit {
            return false;
        }
        let must = |frame: &&Arc<Frame>| frame.policy == Policy::Deliver;
        let owed = self.frames.iter().flatten().filter(must).map(|f| self.len(f) + FRAME_COST);
        owed.sum::<usize>() > limit
    }

    /// No hole stays in front.
    fn settle(&mut self) {
        while let Some(None) = self.frames.front() {
            self.frames.pop_front();
            self.holes -= 1;
            self.taken += 1;
        }
    }

    /// Numbers the frames anew, without holes.
    fn close_holes(&mut self) {
        let frames = std::mem::take(&mut self.frames);
        let old = self.taken..;
        self.keys.clear();
        self.droppable.clear();
        self.holes = 0;
        let mut barrier = self.taken;
        let lost = std::mem::take(&mut self.lost);
        let told: HashMap<_, _> = lost
            .into_iter()
            .map(|(stream, (number, stretch))| (number, (stream, stretch)))
            .collect();
        for (number, frame) in old.zip(frames) {
            let Some(frame) = frame else { continue };
            self.index(&frame, self.end());
            if let Some((stream, stretch)) = told.get(&number) {
                self.lost.insert(*stream, (self.end(), *stretch));
            }
            if number < self.barrier {
                barrier = self.end() + 1;
            }
            self.frames.push_back(Some(frame));
        }
        self.barrier = barrier;
    }

    /// Why the connection is to be closed now, if it is.
    pub(crate) fn overdue(&self, now: Instant, stall: Duration) -> Option<DisconnectReason> {
        if now.saturating_duration_since(self.progress) >= stall {
            return Some(DisconnectReason::Stalled);
        }
        self.closing.filter(|(at, _)| *at <= now).map(|(_, reason)| reason)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes - self.written
    }

    /// The oldest bytes, for one gathered write.
    pub(crate) fn gather<'a>(&'a self, slices: &mut Vec<IoSlice<'a>>) {
        let mut skip = self.written;
        for frame in self.frames.iter().flatten().take(GATHER) {
            slices.push(IoSlice::new(&frame.wire(self.deflate)[skip..]));
            skip = 0;
        }
    }

    /// So many bytes are out.
    pub(crate) fn advance(&mut self, bytes: usize, now: Instant) {
        self.progress = now;
        self.written += bytes;
        while let Some(Some(first)) = self.frames.front() {
            let len = first.wire(self.deflate).len();
            if self.written < len {
                break;
            }
            self.written -= len;
            self.bytes -= len;
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(Some(frame)) = self.frames.pop_front()
            && let Some(key) = frame.conflation()
            && self.keys.get(&key) == Some(&self.taken)
        {
            self.keys.remove(&key);
        }
        self.taken += 1;
        while self.droppable.front().is_some_and(|number| *number < self.taken) {
            self.droppable.pop_front();
        }
        self.settle();
    }

    /// Everything as one polling payload.
    pub(crate) fn into_payload(self) -> Bytes {
        if let [only] = &*self.frames.iter().flatten().collect::<Vec<_>>() {
            return only.polling().clone();
        }
        let mut payload = Vec::with_capacity(self.bytes);
        for frame in self.frames.iter().flatten() {
            if !payload.is_empty() {
                payload.push(SEPARATOR);
            }
            payload.extend_from_slice(frame.polling());
        }
        payload.into()
    }
}

#[cfg(test)]
mod tests;
