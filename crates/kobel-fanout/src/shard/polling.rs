//! HTTP long-polling, and the way from there to a WebSocket.

use std::{
    cell::RefCell, future::poll_fn, io::IoSlice, rc::Rc, sync::atomic::Ordering, task::Poll,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::oneshot,
    time::{interval, timeout},
};

use super::{
    Breach, Handed, Key, Opening, Shard,
    connection::{Beat, Polling, Reply, Transport, Turn},
    io::Io,
    reading,
};
use crate::{
    DisconnectReason, Frame,
    engineio::{self, Item, Packet},
    websocket::{self, Message},
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
        if let Some((payload, _)) = self.take_waiting(key)
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
        let (now, interval) = (self.now(), self.config.ping_interval);
        let Some(connection) = self.connection(key) else {
            return;
        };
        // By the clock, however late the wheel is.
        let beat = connection.heartbeat.check(now, interval);
        if matches!(beat, Beat::PingTimeout | Beat::ConnectTimeout) {
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
            Some((payload, end)) => {
                // What was taken for a request that is gone is lost with it, as on any transport
                // that breaks: the client's next request has no way to say what it got.
                let _ = reply.send(Reply::Payload(payload));
                if let Some(reason) = end {
                    self.close(key, reason);
                }
            }
            None => {
                if let Some(Transport::Polling(polling)) =
                    self.connection(key).map(|c| &mut c.transport)
                {
                    polling.waiting = Some(reply);
                }
            }
        }
    }

    /// A POST begins: there may be one at a time ("Sending data").
    pub(super) fn begin_post(&mut self, sid: &str) -> Result<Turn, Reply> {
        let Some(key) = self.sids.get(sid).copied() else {
            return Err(UNKNOWN_SID);
        };
        let turn = match self.connection(key).map(|connection| &mut connection.transport) {
            Some(Transport::Polling(polling)) => polling.post(),
            _ => return Err(UNKNOWN_SID),
        };
        turn.ok_or_else(|| {
            self.close(key, DisconnectReason::Overlap);
            BAD_REQUEST
        })
    }

    pub(super) fn post_request(&mut self, sid: &str, body: &[u8], reply: oneshot::Sender<Reply>) {
        let Some(key) = self.sids.get(sid).copied() else {
            let _ = reply.send(UNKNOWN_SID);
            return;
        };
        let kept = engineio::split(body).map_err(|_| Breach::Protocol).and_then(|items| {
            items.into_iter().try_for_each(|item| match item {
                // After a close in the same body the rest goes nowhere.
                _ if self.connection(key).is_none() => Ok(()),
                Item::Text(packet) => self.packet(key, packet),
                Item::Binary(data) => self.binary(key, data.into()),
            })
        });
        let answer = match kept {
            Ok(()) => Reply::Done,
            Err(breach) => {
                self.breach(key, breach);
                BAD_REQUEST
            }
        };
        let _ = reply.send(answer);
    }

    /// Gives the session to a WebSocket's probe, unless another one has it.
    pub(super) fn claim(&mut self, sid: &str) -> Option<Turn> {
        self.polling(sid)?.claim()
    }

    fn polling(&mut self, sid: &str) -> Option<&mut Polling> {
        let key = self.sids.get(sid).copied()?;
        match &mut self.connection(key)?.transport {
            Transport::Polling(polling) => Some(polling),
            Transport::WebSocket { .. } => None,
        }
    }

    /// Ends the poll under way, so that the client may move. False: the session is gone.
    fn end_poll(&mut self, sid: &str) -> bool {
        let Some(polling) = self.polling(sid) else {
            return false;
        };
        if let Some(waiting) = polling.waiting.take() {
            let _ = waiting.send(Reply::Payload("6".into()));
        }
        true
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
        let deflates = decoder.deflates();
        connection.transport = Transport::WebSocket { io, decoder };
        if deflates {
            self.deflating.fetch_add(1, Ordering::Relaxed);
        }
        self.sids.remove(&sid);
        self.metrics.polling -= 1;
        self.metrics.websocket += 1;
        true
    }
}

/// Hears a WebSocket's probe, and moves the session there when the client asks.
pub(super) fn probe(
    this: &Rc<RefCell<Shard>>,
    sid: Box<str>,
    turn: Turn,
    (handed, deflate): (Handed, bool),
    early: Bytes,
) {
    let shard = Rc::clone(this);
    let limit = shard.borrow().config.upgrade_timeout;
    // Owned by the shard's LocalSet; ends by the time limit at the latest.
    tokio::task::spawn_local(async move {
        let decoder = websocket::Decoder::new(deflate);
        let heard = async { hear(&shard, &sid, Io::adopt(handed).ok()?, decoder, early).await };
        let heard = timeout(limit, heard).await;
        // Another may try.
        drop(turn);
        // After the limit, or when the client breaks off, only this socket is closed.
        let Ok(Some((io, decoder, rest))) = heard else { return };
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
    mut decoder: websocket::Decoder,
    early: Bytes,
) -> Option<(Io, websocket::Decoder, Vec<Message>)> {
    let max = shard.borrow().config.max_payload;
    let mut messages = Vec::new();
    decoder.feed(&mut early.to_vec(), max, &mut messages).ok()?;
    let mut buffer = vec![0; 4096];
    let mut probed = false;
    let mut look = interval(END_POLLS);
    loop {
        let mut heard = std::mem::take(&mut messages).into_iter();
        while let Some(message) = heard.next() {
            let text = match message {
                Message::Text(text) => text,
                // Some proxies and libraries keep a WebSocket alive by its own pings.
                Message::Ping(data) => {
                    write_all(&mut io, &Frame::pong(&data).socket).await?;
                    continue;
                }
                Message::Pong => continue,
                Message::Binary(_) | Message::Close => return None,
            };
            match Packet::parse(&text).ok()? {
                Packet::Ping("probe") => {
                    write_all(&mut io, &Frame::control("3probe").socket).await?;
                    probed = true;
                    look.reset();
                }
                Packet::Upgrade => return Some((io, decoder, heard.collect())),
                _ => return None,
            }
        }
        let count = tokio::select! {
            read = poll_fn(|cx| io.poll_read(cx, &mut buffer)) => read.ok()?,
            _ = look.tick() => {
                let mut shard = shard.borrow_mut();
                let alive = if probed { shard.end_poll(sid) } else { shard.sids.contains_key(sid) };
                if alive { continue } else { return None }
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
