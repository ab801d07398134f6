//! WebSockets: one small task each, which reads, and writes only while something waits.

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{self, Poll},
};

use bytes::Bytes;

use super::{Breach, Handed, Key, Opening, Shard, connection::Transport, io::Io};
use crate::{
    DisconnectReason, Frame,
    engineio::Packet,
    websocket::{self, Message},
};

/// Reads from one socket before the others get their turn.
const READS_AT_ONCE: usize = 8;

/// Starts a session on a WebSocket.
pub(super) fn open(
    this: &Rc<RefCell<Shard>>,
    opening: Opening,
    handed: Handed,
    deflate: bool,
    early: Bytes,
) {
    // The socket may have broken on its way here.
    let Ok(io) = Io::adopt(handed) else { return };
    let mut shard = this.borrow_mut();
    let transport = Transport::WebSocket { io, decoder: websocket::Decoder::new(deflate) };
    let key = shard.open(opening, transport);
    drop(shard);
    spawn(this, key, early);
}

/// Starts the task of a connection that is on WebSocket.
pub(super) fn spawn(this: &Rc<RefCell<Shard>>, key: Key, early: Bytes) {
    let shard = Rc::clone(this);
    let mut early = Some(early);
    // Owned by the shard's LocalSet. Ends when the connection does: closing wakes it.
    tokio::task::spawn_local(poll_fn(move |cx| {
        let mut shard = shard.borrow_mut();
        if let Some(early) = early.take().filter(|early| !early.is_empty()) {
            shard.received(key, &mut early.to_vec());
        }
        shard.poll(key, cx)
    }));
}

impl Shard {
    fn poll(&mut self, key: Key, cx: &mut task::Context<'_>) -> Poll<()> {
        let Some(connection) = self.connection(key) else {
            return Poll::Ready(());
        };
        if !connection.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            connection.waker = Some(cx.waker().clone());
        }
        if !self.flush(key, cx) {
            return Poll::Ready(());
        }
        if self.owes(key) {
            // Woken when the client takes some of it.
            return Poll::Pending;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let polled = self.read(key, cx, &mut scratch);
        self.scratch = scratch;
        polled
    }

    fn read(&mut self, key: Key, cx: &mut task::Context<'_>, scratch: &mut [u8]) -> Poll<()> {
        for _ in 0..READS_AT_ONCE {
            let Some(connection) = self.connection(key) else {
                return Poll::Ready(());
            };
            let Transport::WebSocket { io, .. } = &mut connection.transport else {
                return Poll::Ready(());
            };
            match io.poll_read(cx, scratch) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.close(key, DisconnectReason::Transport);
                    return Poll::Ready(());
                }
                Poll::Ready(Ok(count)) => self.received(key, &mut scratch[..count]),
            }
            if self.owes(key) {
                break;
            }
        }
        // There may be more; the others first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether a client asks faster than it takes the answers: then it is not read from until it takes
    /// them, and its requests wait on its side. Else a thousand requests at once would be over what
    /// may wait for it.
    fn owes(&mut self, key: Key) -> bool {
        let limit = self.config.limits.backlog / 2;
        let outbox = self.connection(key).and_then(|connection| connection.outbox.as_ref());
        outbox.is_some_and(|outbox| outbox.owes(limit))
    }

    /// Bytes of a WebSocket.
    fn received(&mut self, key: Key, bytes: &mut [u8]) {
        let limit = self.config.max_payload;
        let mut messages = std::mem::take(&mut self.messages);
        let Some(connection) = self.connection(key) else {
            return;
        };
        let Transport::WebSocket { decoder, .. } = &mut connection.transport else {
            return;
        };
        let fed = decoder.feed(bytes, limit, &mut messages);
        for message in messages.drain(..) {
            self.message(key, message);
        }
        self.messages = messages;
        if let Err(breach) = fed {
            self.breach(key, breach);
        }
    }

    pub(super) fn message(&mut self, key: Key, message: Message) {
        if self.connection(key).is_none() {
            // What comes after a close goes nowhere.
            return;
        }
        let kept = match message {
            Message::Text(text) => match Packet::parse(&text) {
                Ok(packet) => self.packet(key, packet),
                Err(_) => Err(Breach::Protocol),
            },
            Message::Binary(data) => self.binary(key, data),
            Message::Ping(data) => {
                self.push(key, &Frame::pong(&data));
                Ok(())
            }
            Message::Pong => Ok(()),
            Message::Close => {
                self.close(key, DisconnectReason::Transport);
                Ok(())
            }
        };
        if let Err(breach) = kept {
            self.breach(key, breach);
        }
    }
}
