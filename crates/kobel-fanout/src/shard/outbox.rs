//! What waits for one client: bounded, with a rule for each frame.

use std::{
    collections::{HashMap, VecDeque},
    io::IoSlice,
    sync::Arc,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{Frame, Policy, engineio::SEPARATOR};

/// The most frames gathered into one system call; the kernel's IOV_MAX is 1024.
const GATHER: usize = 64;

/// Frames that wait for a client, oldest first. Exists only while something waits.
#[derive(Debug)]
pub(crate) struct Outbox {
    frames: VecDeque<Arc<Frame>>,
    /// Bytes of the first frame that are already written.
    written: usize,
    bytes: usize,
    /// Frames ever taken from the front: a frame's place is its number less this.
    taken: u64,
    /// The number of the waiting frame of each conflation key.
    keys: HashMap<u64, u64>,
    /// When the client last took something.
    pub(crate) progress: Instant,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits.
    Waits,
    /// It took the place of an older one.
    Conflated,
    /// So many older ones were dropped for it.
    Dropped(u64),
    /// More waits than may: the client is to be closed.
    Full,
}

impl Outbox {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            frames: VecDeque::new(),
            written: 0,
            bytes: 0,
            taken: 0,
            keys: HashMap::new(),
            progress: now,
        }
    }

    /// Adds a frame of which `written` bytes are already out (only to an empty outbox).
    pub(crate) fn push(&mut self, frame: &Arc<Frame>, written: usize, limit: usize) -> Pushed {
        if let Policy::Conflate(key) = frame.policy {
            let number = self.taken + self.frames.len() as u64;
            match self.keys.get(&key) {
                // The first frame may be half out; then it stays and the new one queues.
                Some(&at) if at > self.taken || (at == self.taken && self.written == 0) => {
                    let place = (at - self.taken) as usize;
                    self.bytes = self.bytes - self.frames[place].len() + frame.len();
                    self.frames[place] = Arc::clone(frame);
                    return if self.bytes > limit { Pushed::Full } else { Pushed::Conflated };
                }
                _ => {
                    self.keys.insert(key, number);
                }
            }
        }
        self.frames.push_back(Arc::clone(frame));
        self.bytes += frame.len();
        if written > 0 {
            self.written = written;
        }
        if self.bytes <= limit {
            return Pushed::Waits;
        }
        match self.shed(limit) {
            0 => Pushed::Full,
            dropped if self.bytes <= limit => Pushed::Dropped(dropped),
            _ => Pushed::Full,
        }
    }

    /// Drops the oldest frames that may be dropped until the rest fits.
    fn shed(&mut self, limit: usize) -> u64 {
        let (mut dropped, mut place) = (0, usize::from(self.written > 0));
        while self.bytes > limit && place < self.frames.len() {
            if self.frames[place].policy == Policy::DropOldest {
                if let Some(frame) = self.frames.remove(place) {
                    self.bytes -= frame.len();
                    dropped += 1;
                }
            } else {
                place += 1;
            }
        }
        if dropped > 0 {
            // Places have moved: number the keys anew.
            self.keys.clear();
            for (place, frame) in self.frames.iter().enumerate() {
                if let Policy::Conflate(key) = frame.policy {
                    self.keys.insert(key, self.taken + place as u64);
                }
            }
        }
        dropped
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
        for frame in self.frames.iter().take(GATHER) {
            slices.push(IoSlice::new(&frame.socket[skip..]));
            skip = 0;
        }
    }

    /// So many bytes are out.
    pub(crate) fn advance(&mut self, bytes: usize, now: Instant) {
        self.progress = now;
        self.written += bytes;
        while let Some(first) = self.frames.front() {
            let len = first.len();
            if self.written < len {
                break;
            }
            self.written -= len;
            self.bytes -= len;
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<Arc<Frame>> {
        let frame = self.frames.pop_front()?;
        if let Policy::Conflate(key) = frame.policy
            && self.keys.get(&key) == Some(&self.taken)
        {
            self.keys.remove(&key);
        }
        self.taken += 1;
        Some(frame)
    }

    /// Everything as one polling payload.
    pub(crate) fn take_payload(&mut self) -> Bytes {
        if let [only] = self.frames.make_contiguous() {
            let payload = only.polling().clone();
            self.clear();
            return payload;
        }
        let mut payload = Vec::with_capacity(self.bytes);
        for frame in &self.frames {
            if !payload.is_empty() {
                payload.push(SEPARATOR);
            }
            payload.extend_from_slice(frame.polling());
        }
        self.clear();
        payload.into()
    }

    fn clear(&mut self) {
        self.taken += self.frames.len() as u64;
        self.frames.clear();
        self.keys.clear();
        (self.bytes, self.written) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(n: u32, policy: Policy) -> Arc<Frame> {
        Frame::event("/", "e", &n, policy).unwrap()
    }

    fn payload(outbox: &mut Outbox) -> Vec<u32> {
        let payload = outbox.take_payload();
        let text = std::str::from_utf8(&payload).unwrap();
        text.split('\u{1e}')
            .filter(|p| !p.is_empty())
            .map(|p| serde_json::from_str::<(String, u32)>(&p[2..]).unwrap().1)
            .collect()
    }

    #[test]
    fn the_newest_of_a_key_takes_the_place_of_the_older() {
        let mut outbox = Outbox::new(Instant::now());
        for (n, policy) in [
            (1, Policy::Conflate(7)),
            (2, Policy::Deliver),
            (3, Policy::Conflate(8)),
            (4, Policy::Conflate(7)),
        ] {
            outbox.push(&frame(n, policy), 0, 1000);
        }
        assert_eq!(payload(&mut outbox), [4, 2, 3]);
    }

    #[test]
    fn a_half_written_frame_is_left_alone() {
        let mut outbox = Outbox::new(Instant::now());
        outbox.push(&frame(1, Policy::Conflate(7)), 3, 1000);
        assert_eq!(outbox.push(&frame(2, Policy::Conflate(7)), 0, 1000), Pushed::Waits);
        assert_eq!(outbox.push(&frame(3, Policy::Conflate(7)), 0, 1000), Pushed::Conflated);
        let whole = [&frame(1, Policy::Deliver).socket[3..], &frame(3, Policy::Deliver).socket[..]];
        let mut slices = Vec::new();
        outbox.gather(&mut slices);
        assert_eq!(slices.iter().flat_map(|s| s.to_vec()).collect::<Vec<_>>(), whole.concat());
    }

    #[test]
    fn the_oldest_droppable_go_first_and_the_rest_must_fit() {
        let size = frame(1, Policy::Deliver).len();
        let mut outbox = Outbox::new(Instant::now());
        assert_eq!(outbox.push(&frame(1, Policy::Deliver), 0, size * 3), Pushed::Waits);
        for n in 2..=3 {
            assert_eq!(outbox.push(&frame(n, Policy::DropOldest), 0, size * 3), Pushed::Waits);
        }
        assert_eq!(outbox.push(&frame(4, Policy::DropOldest), 0, size * 3), Pushed::Dropped(1));
        assert_eq!(outbox.push(&frame(5, Policy::Deliver), 0, size * 3), Pushed::Dropped(1));
        assert_eq!(outbox.push(&frame(6, Policy::Deliver), 0, size * 3), Pushed::Dropped(1));
        assert_eq!(outbox.push(&frame(7, Policy::Deliver), 0, size * 3), Pushed::Full);
        assert_eq!(payload(&mut outbox), [1, 5, 6, 7]);
    }

    proptest! {
        /// However the socket takes the bytes, must-deliver frames all arrive, whole and in
        /// order, and the last frame of every key arrives.
        #[test]
        fn nothing_that_must_arrive_is_lost(
            steps in prop::collection::vec((0u64..4, prop::option::of(1usize..60)), 1..100)
        ) {
            let mut outbox = Outbox::new(Instant::now());
            let mut wire = Vec::new();
            let mut must = Vec::new();
            let mut last = HashMap::new();
            let write = |outbox: &mut Outbox, wire: &mut Vec<u8>, bytes: usize| {
                let mut slices = Vec::new();
                outbox.gather(&mut slices);
                let all: Vec<u8> = slices.iter().flat_map(|s| s.to_vec()).collect();
                let some = &all[..bytes.min(all.len())];
                wire.extend_from_slice(some);
                outbox.advance(some.len(), Instant::now());
            };
            for (n, (key, taken)) in steps.into_iter().enumerate() {
                let n = n as u32;
                if key == 0 {
                    must.push(n);
                    outbox.push(&frame(n, Policy::Deliver), 0, usize::MAX);
                } else {
                    last.insert(key, n);
                    outbox.push(&frame(n, Policy::Conflate(key)), 0, usize::MAX);
                }
                if let Some(bytes) = taken {
                    write(&mut outbox, &mut wire, bytes);
                }
            }
            while !outbox.is_empty() {
                write(&mut outbox, &mut wire, 17);
            }
            prop_assert_eq!(outbox.bytes(), 0);
            let mut got = Vec::new();
            let mut rest = &wire[..];
            while let [_, len, after @ ..] = rest {
                let (text, after) = after.split_at(usize::from(*len));
                let text = std::str::from_utf8(text).unwrap();
                got.push(serde_json::from_str::<(String, u32)>(&text[2..]).unwrap().1);
                rest = after;
            }
            prop_assert!(must.iter().all(|n| got.contains(n)));
            let order: Vec<_> = got.iter().filter(|n| must.contains(n)).copied().collect();
            prop_assert_eq!(order, must);
            prop_assert!(last.values().all(|n| got.contains(n)));
        }
    }
}
