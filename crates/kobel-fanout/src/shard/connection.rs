//! One connection, as small as it can be while idle.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};

use super::{io::Io, outbox::Outbox, rooms::Seat};
use crate::{Answer, SocketId, handler::KeptHandshake, socketio, websocket};

/// A session and its transport.
///
/// In the order as written: what a delivery looks at comes first and lies together, as its memory is
/// seldom in the processor's cache.
#[repr(C)]
pub(crate) struct Connection {
    /// What waits for the client; `None` while nothing does.
    pub(crate) outbox: Option<Box<Outbox>>,
    pub(crate) transport: Transport,
    pub(crate) sid: Box<str>,
    pub(crate) sockets: Vec<Option<Socket>>,
    pub(crate) decoder: socketio::Decoder,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) allowance: Allowance,
    /// Wakes the task that reads, to make it write too.
    pub(crate) waker: Option<Waker>,
    /// Answers that we wait for.
    pub(crate) asked: Option<Box<Asked>>,
    pub(crate) handshake: KeptHandshake,
    /// Counts as a connection of its address as long as it lives.
    pub(crate) admission: Option<crate::Admission>,
    /// Counts as a session of the server as long as it lives.
    pub(crate) place: crate::server::Reserved,
}

impl Connection {
    /// Whether its WebSocket takes deflated messages.
    pub(crate) fn deflates(&self) -> bool {
        match &self.transport {
            Transport::WebSocket { decoder, .. } => decoder.deflates(),
            Transport::Polling(_) => false,
        }
    }
}

pub(crate) enum Transport {
    Polling(Box<Polling>),
    WebSocket { io: Io, decoder: websocket::Decoder },
}

/// A session on HTTP long-polling.
#[derive(Default)]
pub(crate) struct Polling {
    /// The GET that waits for something to say.
    pub(crate) waiting: Option<oneshot::Sender<Reply>>,
    /// Alive while a WebSocket is about to take over.
    claimed: Weak<()>,
    /// Alive while a POST is under way.
    posting: Weak<()>,
}

/// Something that only one request at a time may have; given back when it is dropped, wherever
/// the request ends.
#[derive(Debug)]
pub(crate) struct Turn(#[allow(dead_code, reason = "held")] Arc<()>);

impl Turn {
    fn take(taken: &mut Weak<()>) -> Option<Self> {
        if taken.strong_count() > 0 {
            return None;
        }
        let turn = Arc::new(());
        *taken = Arc::downgrade(&turn);
        Some(Self(turn))
    }
}

impl Polling {
    /// For a WebSocket that probes, unless another one does.
    pub(crate) fn claim(&mut self) -> Option<Turn> {
        Turn::take(&mut self.claimed)
    }

    /// For a POST, unless another one is under way.
    pub(crate) fn post(&mut self) -> Option<Turn> {
        Turn::take(&mut self.posting)
    }
}

/// The answer to a polling request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// 200 with this payload.
    Payload(Bytes),
    /// 200 "ok".
    Done,
    /// 400 with this code of the reference server and this message.
    Refused(u8, &'static str),
    /// 413.
    TooLarge,
    /// 408.
    TooSlow,
    /// 503: there are too many.
    Full,
    /// 503: the server shuts down.
    Closing,
}

/// A namespace that the client is in, or wants to be in.
pub(crate) struct Socket {
    pub(crate) id: SocketId,
    pub(crate) namespace: Arc<str>,
    pub(crate) connected: bool,
    pub(crate) seats: Vec<Seat>,
}

#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) next: u64,
    pub(crate) waiting: HashMap<u64, oneshot::Sender<Answer>>,
}

/// When the next ping and its answer are due, counted from the shard's start.
pub(crate) struct Heartbeat {
    pub(crate) next_ping: Duration,
    /// Set while an answer is due.
    pub(crate) pong_due: Option<Duration>,
    /// Set until a namespace is joined.
    pub(crate) connect_due: Option<Duration>,
}

/// What the clock asks of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    Wait(Duration),
    Ping,
    PingTimeout,
    ConnectTimeout,
}

impl Heartbeat {
    /// `interval` is that between a client's answer and the next ping.
    pub(crate) fn check(&self, now: Duration, interval: Duration) -> Beat {
        if self.connect_due.is_some_and(|due| due <= now) {
            return Beat::ConnectTimeout;
        }
        let next = match self.pong_due {
            Some(due) if due <= now => return Beat::PingTimeout,
            // The answer may come at any time and the next ping is due an interval later, which
            // may be long before this one's answer is overdue.
            Some(due) => due.min(now + interval),
            None if self.next_ping <= now => return Beat::Ping,
            None => self.next_ping,
        };
        Beat::Wait(self.connect_due.map_or(next, |due| due.min(next)))
    }

    /// A ping goes out; its answer is due by the plan, however late this is.
    pub(crate) fn pinged(&mut self, timeout: Duration) {
        self.pong_due = Some(self.next_ping + timeout);
    }

    pub(crate) fn ponged(&mut self, now: Duration, interval: Duration) {
        if self.pong_due.take().is_some() {
            self.next_ping = now + interval;
        }
    }
}

/// A token bucket for events.
pub(crate) struct Allowance {
    tokens: f32,
    at: Instant,
    told: Option<Instant>,
}

impl Allowance {
    pub(crate) fn new(rate: u32, now: Instant) -> Self {
        Self { tokens: rate as f32, at: now, told: None }
    }

    pub(crate) fn take(&mut self, rate: u32, now: Instant) -> bool {
        let rate = rate as f32;
        let gained = now.saturating_duration_since(self.at).as_secs_f32() * rate;
        self.tokens = (self.tokens + gained).min(rate);
        self.at = now;
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }

    /// Whether the client should be told now that it is too fast: at most once a second.
    pub(crate) fn tell(&mut self, now: Instant) -> bool {
        let quiet = self.told.is_none_or(|at| now - at >= Duration::from_secs(1));
        if quiet {
            self.told = Some(now);
        }
        quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_ping_then_its_answer_then_the_next() {
        let mut beat = Heartbeat { next_ping: at(300), pong_due: None, connect_due: None };
        let every = at(300);
        assert_eq!(beat.check(at(299), every), Beat::Wait(at(300)));
        assert_eq!(beat.check(at(305), every), Beat::Ping);
        beat.pinged(at(200));
        assert_eq!(beat.check(at(306), every), Beat::Wait(at(500)));
        beat.ponged(at(310), every);
        assert_eq!(beat.check(at(600), every), Beat::Wait(at(610)));
        // An answer that nobody asked for moves nothing.
        beat.ponged(at(600), every);
        assert_eq!(beat.check(at(610), every), Beat::Ping);
        beat.pinged(at(200));
        assert_eq!(beat.check(at(810), every), Beat::PingTimeout);
    }

    #[test]
    fn a_long_timeout_does_not_stretch_the_interval() {
        let mut beat = Heartbeat { next_ping: at(100), pong_due: None, connect_due: None };
        let every = at(100);
        beat.pinged(at(1000));
        assert_eq!(beat.check(at(120), every), Beat::Wait(at(220)));
        beat.ponged(at(150), every);
        assert_eq!(beat.check(at(220), every), Beat::Wait(at(250)));
        assert_eq!(beat.check(at(250), every), Beat::Ping);
        beat.pinged(at(1000));
        assert_eq!(beat.check(at(1200), every), Beat::Wait(at(1250)));
        assert_eq!(beat.check(at(1250), every), Beat::PingTimeout);
    }

    #[test]
    fn a_namespace_must_be_joined_in_time() {
        let beat = Heartbeat { next_ping: at(300), pong_due: None, connect_due: Some(at(100)) };
        assert_eq!(beat.check(at(50), at(300)), Beat::Wait(at(100)));
        assert_eq!(beat.check(at(100), at(300)), Beat::ConnectTimeout);
    }

    #[test]
    fn events_above_the_rate_are_refused() {
        let start = Instant::now();
        let mut allowance = Allowance::new(10, start);
        let mut taken = 0;
        for ms in 0..1000 {
            taken += u32::from(allowance.take(10, start + Duration::from_millis(ms)));
        }
        assert!((19..=20).contains(&taken), "{taken}");
        assert!(allowance.tell(start));
        assert!(!allowance.tell(start + Duration::from_millis(900)));
        assert!(allowance.tell(start + Duration::from_millis(1000)));
    }
}
