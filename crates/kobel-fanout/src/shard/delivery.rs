//! From a frame to the sockets.

use std::{io::IoSlice, sync::Arc, task};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Key, Shard,
    connection::{Reply, Transport},
    gathering::GATHER,
    outbox::Outbox,
};
use crate::{DisconnectReason, Frame, Room, SocketId};

/// So many deliveries share one look at the clock.
pub(super) const LOOK_AT_CLOCK: u64 = 64;

impl Shard {
    /// Sends a frame to every member of a room.
    pub(super) fn publish(&mut self, room: &Room, frame: &Arc<Frame>, at: Instant) {
        let Some(number) = self.rooms.find(&frame.namespace, room) else {
            return;
        };
        let members = self.rooms.members(number).len();
        self.metrics.sent(&frame.namespace, &frame.event, frame.len(), members as u64);
        let begun = Instant::now();
        self.pace.asked(members, begun);
        // Where the room's next frame is not to be expected soon, waiting brings nothing together.
        let soon = self.rooms.published(number, at).is_some_and(|since| since <= GATHER);
        if self.rooms.gathers(number) || self.pace.gathers(soon) {
            return self.gather(number, frame, at);
        }
        // By position, last first: a member that is closed meanwhile is replaced by the last one,
        // which has had its frame.
        let mut place = members;
        let mut sent = 0;
        while place > 0 {
            place -= 1;
            let Some(member) = self.rooms.members(number).get(place).copied() else {
                continue;
            };
            let generation = self.slots[member.slot as usize].generation;
            self.push((member.slot, generation), frame);
            sent += 1;
            if sent == LOOK_AT_CLOCK {
                self.metrics.delivery.observe(at.elapsed(), sent);
                sent = 0;
            }
        }
        let end = Instant::now();
        self.metrics.delivery.observe(end.saturating_duration_since(at), sent);
        self.pace.took(members, end.saturating_duration_since(begun));
    }

    /// Sends a frame to one socket.
    pub(super) fn emit(&mut self, socket: SocketId, frame: &Arc<Frame>) {
        let Some(&(key, place)) = self.sockets.get(&socket) else {
            return;
        };
        let connected = self
            .connection(key)
            .and_then(|c| c.sockets.get(usize::from(place))?.as_ref())
            .is_some_and(|s| s.connected && *s.namespace == *frame.namespace);
        if connected {
            self.catch_up(key);
            self.push(key, frame);
            self.metrics.sent(&frame.namespace, &frame.event, frame.len(), 1);
        }
    }

    /// Sends a frame by the connection's transport: at once where it takes it, else it waits.
    pub(super) fn push(&mut self, key: Key, frame: &Arc<Frame>) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        let mut written = 0;
        match (&mut connection.transport, &connection.outbox) {
            (Transport::WebSocket { io, decoder }, None) => {
                let bytes = frame.wire(decoder.deflates());
                match io.write(None, &[IoSlice::new(bytes)]) {
                    Ok(all) if all == bytes.len() => return,
                    Ok(part) => written = part,
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return self.close(key, DisconnectReason::Transport),
                }
            }
            (Transport::WebSocket { .. }, Some(_)) => {}
            (Transport::Polling(polling), outbox) => {
                let waiting = polling.waiting.take_if(|_| outbox.is_none());
                if let Some(waiting) = waiting {
                    match waiting.send(Reply::Payload(frame.polling().clone())) {
                        Ok(()) => return,
                        // The request was given up meanwhile: the next one gets it.
                        Err(_) => polling.waiting = None,
                    }
                }
            }
        }
        self.keep(key, frame, written);
    }

    /// Lets a frame, of which `written` bytes are out, wait until the client takes more.
    pub(super) fn keep(&mut self, key: Key, frame: &Arc<Frame>, written: usize) {
        let limit = self.config.limits.backlog;
        let Some(connection) = self.connection(key) else {
            return;
        };
        let now = Instant::now();
        let deflate = connection.deflates();
        let first = connection.outbox.is_none();
        let outbox = connection.outbox.get_or_insert_with(|| Box::new(Outbox::new(deflate, now)));
        let before = outbox.bytes();
        let pushed = outbox.push(frame, written, limit);
        let after = outbox.bytes();
        if outbox.is_empty() {
            // The frame itself was the oldest that may be dropped.
            connection.outbox = None;
            self.backlogged.remove(&key);
            self.waiting_changed(before, after);
            self.metrics.dropped += pushed.dropped;
            return;
        }
        // The task must now wait for the socket to take more; while something waits it does so
        // already.
        if first && let Some(waker) = &connection.waker {
            waker.wake_by_ref();
        }
        self.backlogged.insert(key);
        self.waiting_changed(before, after);
        self.metrics.conflated += u64::from(pushed.conflated);
        self.metrics.dropped += pushed.dropped;
        if pushed.full {
            self.close(key, DisconnectReason::Backlog);
        }
    }

    fn waiting_changed(&mut self, before: usize, after: usize) {
        let total = &mut self.metrics.backlog_bytes;
        *total = total.saturating_add_signed(after as i64 - before as i64);
    }

    /// Writes what waits for a WebSocket until it is full. False: the connection is gone.
    pub(super) fn flush(&mut self, key: Key, cx: &mut task::Context<'_>) -> bool {
        loop {
            let now = Instant::now();
            let Some(connection) = self.connection(key) else {
                return false;
            };
            let Transport::WebSocket { io, .. } = &mut connection.transport else {
                return true;
            };
            let Some(outbox) = &mut connection.outbox else {
                io.poll_flush(cx);
                return true;
            };
            let before = outbox.bytes();
            let mut slices = Vec::new();
            outbox.gather(&mut slices);
            match io.write(Some(&mut *cx), &slices) {
                Ok(bytes) => {
                    outbox.advance(bytes, now);
                    let after = outbox.bytes();
                    let closing = outbox.closing;
                    if outbox.is_empty() {
                        connection.outbox = None;
                        self.backlogged.remove(&key);
                        if let Some((_, reason)) = closing {
                            self.waiting_changed(before, after);
                            self.close(key, reason);
                            return false;
                        }
                    }
                    self.waiting_changed(before, after);
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return true,
                Err(_) => {
                    self.close(key, DisconnectReason::Transport);
                    return false;
                }
            }
        }
    }

    /// Everything that waits for a poll, if anything does, and why the session ends with it, if it
    /// does.
    pub(super) fn take_waiting(&mut self, key: Key) -> Option<(Bytes, Option<DisconnectReason>)> {
        let outbox = self.connection(key)?.outbox.take()?;
        self.backlogged.remove(&key);
        self.waiting_changed(outbox.bytes(), 0);
        let end = outbox.closing.map(|(_, reason)| reason);
        Some((outbox.into_payload(), end))
    }
}
