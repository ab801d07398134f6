//! HTTP long-polling, and the way from there to a WebSocket.

use std::{cell::RefCell, future::poll_fn, io::IoSlice, rc::Rc, task::Poll, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::oneshot,
    time::{interval, timeout},
};

use super::{
    Handed, Key, Opening, Shard,
    connection::{Beat, Polling, Reply, Transport},
    io::Io,
    reading,
};
use crate::{
    DisconnectReason,
    engineio::{self, Item, Packet},
    websocket::{self, Message, Opcode, header},
};

/// Codes and messages of the reference server's errors.
const UNKNOWN_SID: Reply = Reply::Refused(1, "Session ID unknown");
const BAD_REQUEST: Reply = Reply::Refused(3, "Bad request");

/// How soon a poll is ended after a probe, as in the reference server. Not at once: the client
/// may be quicker.
const END_POLLS: Duration = Duration::from_millis(100);

impl Shard {
    pub(super) fn open_polling(&mut self, opening: Opening, reply: oneshot::Sender<Reply>) {
        let key = self.open(opening, Transport::Polling(Box::default()));
        if let Poll::Ready(payload) = self.take_waiting(key)
            && reply.send(Reply::Payload(payload)).is_err()
        {
            // Whoever asked has gone and does not know the session.
            self.close(key, DisconnectReason::Transport);
        }
    }

    pub(super) fn poll_request(&mut self, sid: &str, reply: oneshot::Sender<Reply>) {
        // An answer that nobody waits for any more is no error here and below.
        let Some(key) = self.sids.get(sid).copied() else {
            let _ = reply.send(UNKNOWN_SID);
            return;
        };
        let now = self.now();
        let Some(connection) = self.connection(key) else {
            return;
        };
        // By the clock, however late the wheel is.
        if matches!(connection.heartbeat.check(now), Beat::PingTimeout | Beat::ConnectTimeout) {
            self.watch(key);
            let _ = reply.send(UNKNOWN_SID);
            return;
        }
        let Transport::Polling(polling) = &mut connection.transport else {
            return;
        };
        if polling.waiting.as_ref().is_some_and(|waiting| !waiting.is_closed()) {
            self.close(key, DisconnectReason::Overlap);
            let _ = reply.send(BAD_REQUEST);
            return;
        }
        match self.take_waiting(key) {
            Poll::Ready(payload) => {
                // What was taken for a request that is gone is lost with it, as on any transport
                // that breaks: the client's next request has no way to say what it got.
                let _ = reply.send(Reply::Payload(payload));
            }
            Poll::Pending => {
                if let Some(Transport::Polling(polling)) =
                    self.connection(key).map(|c| &mut c.transport)
                {
                    polling.waiting = Some(reply);
                }
            }
        }
    }

    pub(super) fn post_request(&mut self, sid: &str, body: &[u8], reply: oneshot::Sender<Reply>) {
        let Some(key) = self.sids.get(sid).copied() else {
            let _ = reply.send(UNKNOWN_SID);
            return;
        };
        let kept = engineio::split(body).is_ok_and(|items| {
            items.into_iter().all(|item| match item {
                // After a close in the same body the rest goes nowhere.
                _ if self.connection(key).is_none() => true,
                Item::Text(packet) => self.packet(key, packet),
                Item::Binary(data) => self.binary(key, data.into()),
            })
        });
        let answer = if kept {
            Reply::Done
        } else {
            self.close(key, DisconnectReason::Protocol);
            BAD_REQUEST
        };
        let _ = reply.send(answer);
    }

    /// Gives the session to a WebSocket's probe, unless another one has it.
    pub(super) fn claim(&mut self, sid: &str) -> bool {
        let Some(polling) = self.polling(sid) else {
            return false;
        };
        !std::mem::replace(&mut polling.claimed, true)
    }

    pub(super) fn unclaim(&mut self, sid: &str) {
        if let Some(polling) = self.polling(sid) {
            polling.claimed = false;
        }
    }

    fn polling(&mut self, sid: &str) -> Option<&mut Polling> {
        let key = self.sids.get(sid).copied()?;
        match &mut self.connection(key)?.transport {
            Transport::Polling(polling) => Some(polling),
            Transport::WebSocket { .. } => None,
        }
    }

    /// Ends the poll under way, so that the client may move.
    fn end_poll(&mut self, sid: &str) {
        if let Some(waiting) = self.polling(sid).and_then(|polling| polling.waiting.take()) {
            let _ = waiting.send(Reply::Payload("6".into()));
        }
    }

    /// The client moves to the WebSocket. What waits goes there, in its order.
    fn upgrade(&mut self, key: Key, io: Io, decoder: websocket::Decoder) -> bool {
        let Some(connection) = self.connection(key) else {
            return false;
        };
        let sid = connection.sid.clone();
        let Transport::Polling(polling) = &mut connection.transport else {
            return false;
        };
        if let Some(waiting) = polling.waiting.take() {
            // The client ends its polls before it moves: this one came after.
            let _ = waiting.send(UNKNOWN_SID);
        }
        connection.transport = Transport::WebSocket { io, decoder };
        self.sids.remove(&sid);
        self.metrics.polling -= 1;
        self.metrics.websocket += 1;
        true
    }
}

/// Hears a WebSocket's probe, and moves the session there when the client asks.
pub(super) fn probe(this: &Rc<RefCell<Shard>>, sid: &str, handed: Handed, early: Bytes) {
    let (shard, sid) = (Rc::clone(this), Box::<str>::from(sid));
    let limit = shard.borrow().config.upgrade_timeout;
    // Owned by the shard's LocalSet; ends by the time limit at the latest.
    tokio::task::spawn_local(async move {
        let heard = async { hear(&shard, &sid, Io::adopt(handed).ok()?, early).await };
        // After the limit, or when the client breaks off, only this socket is closed.
        let Ok(Some((io, decoder, rest))) = timeout(limit, heard).await else {
            return shard.borrow_mut().unclaim(&sid);
        };
        let key = shard.borrow().sids.get(&sid).copied();
        if let Some(key) = key
            && shard.borrow_mut().upgrade(key, io, decoder)
        {
            for message in rest {
                shard.borrow_mut().message(key, message);
            }
            reading::spawn(&shard, key, Bytes::new());
        }
    });
}

/// Reads until the client says `5`; gives the socket and what came after.
async fn hear(
    shard: &Rc<RefCell<Shard>>,
    sid: &str,
    mut io: Io,
    early: Bytes,
) -> Option<(Io, websocket::Decoder, Vec<Message>)> {
    let max = shard.borrow().config.max_payload;
    let mut decoder = websocket::Decoder::default();
    let mut messages = Vec::new();
    decoder.feed(&mut early.to_vec(), max, &mut messages).ok()?;
    let mut buffer = vec![0; 4096];
    let mut probed = false;
    let mut end_polls = interval(END_POLLS);
    loop {
        let mut heard = std::mem::take(&mut messages).into_iter();
        while let Some(message) = heard.next() {
            let Message::Text(text) = message else {
                return None;
            };
            match Packet::parse(&text).ok()? {
                Packet::Ping("probe") => {
                    let mut pong = Vec::new();
                    header(&mut pong, Opcode::Text, 6);
                    pong.extend_from_slice(b"3probe");
                    write_all(&mut io, &pong).await?;
                    probed = true;
                    end_polls.reset();
                }
                Packet::Upgrade => return Some((io, decoder, heard.collect())),
                _ => return None,
            }
        }
        let count = tokio::select! {
            read = poll_fn(|cx| io.poll_read(cx, &mut buffer)) => read.ok()?,
            _ = end_polls.tick(), if probed => {
                shard.borrow_mut().end_poll(sid);
                continue;
            }
        };
        if count == 0 {
            return None;
        }
        decoder.feed(&mut buffer[..count], max, &mut messages).ok()?;
    }
}

async fn write_all(io: &mut Io, bytes: &[u8]) -> Option<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = poll_fn(|cx| match io.write(Some(&mut *cx), &[IoSlice::new(rest)]) {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Poll::Pending,
            written => Poll::Ready(written),
        })
        .await
        .ok()?;
        rest = &rest[written..];
    }
    poll_fn(|cx| {
        io.poll_flush(cx);
        Poll::Ready(Some(()))
    })
    .await
}
