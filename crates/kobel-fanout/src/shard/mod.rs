//! A shard: one thread, one loop, its own connections and room tables, no locks.
//!
//! Everything that happens to a connection happens here. Commands come by one bounded queue from
//! the rest of the process (`command`); bytes come from the sockets by one small task per
//! WebSocket (`reading`) and by requests for polling (`polling`). A published frame goes straight
//! from the loop to the sockets (`delivery`): a system call each, no task, no copy. Only a socket
//! that is full gets an `outbox`.

mod command;
mod connection;
mod context;
mod delivery;
mod drain;
mod gathering;
mod io;
mod namespaces;
mod outbox;
mod polling;
mod reading;
mod rooms;
mod seats;
mod sockets;
mod wheel;

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::LocalSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

pub(crate) use command::{Command, Opening, Verdict};
pub(crate) use connection::{Reply, Turn};
pub use context::Context;
pub(crate) use io::{Handed, Stream};

use crate::{
    Config, DisconnectReason, EngineHandler, Frame, Handler, SocketId, engineio,
    metrics::Snapshot,
    socketio,
    websocket::{self, CloseCode},
};
/// How a client broke a protocol, by the code of the close frame that says so.
use websocket::Error as Breach;

use connection::{Allowance, Beat, Connection, Heartbeat, Transport};
use gathering::Pace;
use rooms::Rooms;
use wheel::Wheel;

/// Bytes read from a socket at once, into a buffer that all connections of a shard share.
const SCRATCH: usize = 64 * 1024;

/// How long a client that broke a rule may go on sending into a socket that is closed.
const LINGER: Duration = Duration::from_secs(1);

/// Commands handled before sockets get their turn.
const COMMANDS_AT_ONCE: usize = 256;

/// What runs on top of the sessions.
#[derive(Clone)]
pub(crate) enum Application {
    SocketIo(Arc<dyn Handler>),
    EngineIo(Arc<dyn EngineHandler>),
}

/// Names a connection: its slot and how often the slot was used before.
pub(crate) type Key = (u32, u32);

#[derive(Default)]
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

/// The state of a shard.
pub(crate) struct Shard {
    number: usize,
    config: Arc<Config>,
    application: Application,
    slots: Vec<Slot>,
    free: Vec<u32>,
    live: usize,
    /// Sessions that may still get HTTP requests.
    sids: HashMap<Box<str>, Key>,
    /// Where a socket is: the connection, and its place there.
    sockets: HashMap<SocketId, (Key, u8)>,
    rooms: Rooms,
    wheel: Wheel,
    /// Connections with something waiting.
    backlogged: HashSet<Key>,
    /// Rooms that have gathered frames.
    gathering: Vec<u32>,
    /// When they are sent at the latest.
    gather_until: Option<Instant>,
    pace: Pace,
    /// Connections of the whole server that take deflated messages.
    deflating: Arc<AtomicUsize>,
    metrics: Snapshot,
    serial: u64,
    started: Instant,
    scratch: Vec<u8>,
    messages: Vec<websocket::Message>,
    ping: Arc<Frame>,
    verdicts: mpsc::WeakSender<Command>,
}

/// Runs a shard until its queue closes or it is told to shut down.
pub(crate) async fn run(
    number: usize,
    config: Arc<Config>,
    application: Application,
    mut commands: mpsc::Receiver<Command>,
    verdicts: mpsc::WeakSender<Command>,
    deflating: Arc<AtomicUsize>,
) {
    let span = config.ping_interval.min(config.ping_timeout);
    let pace = Pace::new(config.gathering, Instant::now());
    let shard = Rc::new(RefCell::new(Shard {
        number,
        config,
        application,
        slots: Vec::new(),
        free: Vec::new(),
        live: 0,
        sids: HashMap::new(),
        sockets: HashMap::new(),
        rooms: Rooms::default(),
        wheel: Wheel::new(span),
        backlogged: HashSet::new(),
        gathering: Vec::new(),
        gather_until: None,
        pace,
        deflating,
        metrics: Snapshot::default(),
        serial: 0,
        started: Instant::now(),
        scratch: vec![0; SCRATCH],
        messages: Vec::new(),
        ping: Frame::control("2"),
        verdicts,
    }));
    // The tasks of the sockets are owned by the set and end with it.
    let tasks = LocalSet::new();
    tasks
        .run_until(async {
            let mut turn = interval(shard.borrow().wheel.step());
            turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut batch = Vec::with_capacity(COMMANDS_AT_ONCE);
            loop {
                let gather_until = shard.borrow().gather_until;
                tokio::select! {
                    count = commands.recv_many(&mut batch, COMMANDS_AT_ONCE) => {
                        if count == 0 {
                            return;
                        }
                    }
                    _ = turn.tick() => shard.borrow_mut().turn(),
                    () = sleep_until(gather_until.unwrap_or_else(Instant::now)),
                        if gather_until.is_some() => shard.borrow_mut().send_all_gathered(),
                }
                let mut handed = batch.drain(..);
                while let Some(command) = handed.next() {
                    if let Command::Shutdown { grace, farewell, done } = command {
                        shard.borrow_mut().send_all_gathered();
                        // What came behind it at the same time, such as polls, is heard all the
                        // same.
                        let behind: Vec<_> = handed.collect();
                        drain::drain(&shard, behind, &mut commands, grace, &*farewell).await;
                        // Nobody waits where the server was dropped meanwhile.
                        let _ = done.send(());
                        return;
                    }
                    command::handle(&shard, command);
                    shard.borrow_mut().shed();
                }
            }
        })
        .await;
}

impl Shard {
    /// Time since the shard's start, by which the wheel counts.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn keys(&self) -> Vec<Key> {
        let live = self.slots.iter().enumerate().filter(|(_, slot)| slot.connection.is_some());
        live.map(|(number, slot)| (number as u32, slot.generation)).collect()
    }

    fn connection(&mut self, key: Key) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(key.0 as usize)?;
        if slot.generation == key.1 { slot.connection.as_deref_mut() } else { None }
    }

    /// Makes a session; its `open` packet is the first thing to be sent.
    fn open(&mut self, opening: Opening, transport: Transport) -> Key {
        let Opening { sid, handshake, admission, place } = opening;
        let websocket = matches!(transport, Transport::WebSocket { .. });
        let open = serde_json::json!({
            "sid": sid,
            "upgrades": if websocket { &[][..] } else { &["websocket"][..] },
            "pingInterval": self.config.ping_interval.as_millis() as u64,
            "pingTimeout": self.config.ping_timeout.as_millis() as u64,
            "maxPayload": self.config.max_payload,
        });
        let now = self.now();
        let raw = matches!(self.application, Application::EngineIo(_));
        let heartbeat = Heartbeat {
            next_ping: now + self.config.ping_interval,
            pong_due: None,
            connect_due: (!raw).then_some(now + self.config.connect_timeout),
        };
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[number as usize];
        let key = (number, slot.generation);
        if let Transport::WebSocket { decoder, .. } = &transport {
            if decoder.deflates() {
                self.deflating.fetch_add(1, Ordering::Relaxed);
            }
            self.metrics.websocket += 1;
        } else {
            self.metrics.polling += 1;
            self.sids.insert(sid.clone(), key);
        }
        slot.connection = Some(Box::new(Connection {
            sid,
            transport,
            outbox: None,
            sockets: Vec::new(),
            decoder: socketio::Decoder::default(),
            heartbeat,
            allowance: Allowance::new(self.config.limits.events_per_second, Instant::now()),
            waker: None,
            asked: None,
            handshake,
            admission,
            place,
        }));
        self.live += 1;
        self.watch(key);
        self.push(key, &Frame::control(&format!("0{open}")));
        key
    }

    /// Ends a session whose client broke a protocol.
    fn breach(&mut self, key: Key, breach: Breach) {
        let reason = match breach {
            Breach::Protocol | Breach::NotUtf8 => DisconnectReason::Protocol,
            Breach::TooLarge => DisconnectReason::TooLarge,
        };
        self.close_with(key, reason, breach.code());
    }

    /// Ends a session, with the words of its transport, and frees everything of it.
    fn close(&mut self, key: Key, reason: DisconnectReason) {
        let code = match reason {
            DisconnectReason::Protocol | DisconnectReason::Overlap => CloseCode::Protocol,
            DisconnectReason::TooLarge => CloseCode::TooLarge,
            DisconnectReason::Shutdown => CloseCode::Away,
            DisconnectReason::ConnectTimeout
            | DisconnectReason::Backlog
            | DisconnectReason::Memory
            | DisconnectReason::Stalled => CloseCode::Policy,
            DisconnectReason::Client
            | DisconnectReason::Transport
            | DisconnectReason::PingTimeout
            | DisconnectReason::Server => CloseCode::Normal,
        };
        self.close_with(key, reason, code);
    }

    fn close_with(&mut self, key: Key, reason: DisconnectReason, code: CloseCode) {
        if self.connection(key).is_none() {
            return;
        }
        let slot = &mut self.slots[key.0 as usize];
        let Some(connection) = slot.connection.take() else {
            return;
        };
        let mut connection = *connection;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.0);
        self.live -= 1;
        self.sids.remove(&connection.sid);
        self.backlogged.remove(&key);
        if let Some(outbox) = &connection.outbox {
            self.metrics.backlog_bytes =
                self.metrics.backlog_bytes.saturating_sub(outbox.bytes() as u64);
        }
        *self.metrics.closed.entry(reason.as_str()).or_default() += 1;
        for socket in std::mem::take(&mut connection.sockets).into_iter().flatten() {
            self.forget(key, &socket, reason);
        }
        match connection.transport {
            Transport::Polling(mut polling) => {
                self.metrics.polling -= 1;
                if let Some(waiting) = polling.waiting.take() {
                    // The reference server ends a poll with a close packet where the client broke
                    // a rule, with a noop where the client closed.
                    let last = if reason == DisconnectReason::Client { "6" } else { "1" };
                    let _ = waiting.send(Reply::Payload(last.into()));
                }
            }
            Transport::WebSocket { mut io, decoder } => {
                self.metrics.websocket -= 1;
                if decoder.deflates() {
                    self.deflating.fetch_sub(1, Ordering::Relaxed);
                }
                // A courtesy: in the middle of a frame it would be noise.
                if connection.outbox.is_none() {
                    io.say_last(&websocket::close(code));
                    if matches!(reason, DisconnectReason::Protocol | DisconnectReason::TooLarge) {
                        let places = (connection.admission, connection.place);
                        // Owned by the shard's LocalSet; ends by the time limit at the latest, and
                        // counts as a connection until then.
                        tokio::task::spawn_local(async move {
                            // Whether or not the client leaves by itself.
                            let _ = timeout(LINGER, io.linger()).await;
                            drop(places);
                        });
                    }
                }
            }
        }
        if let Some(waker) = connection.waker.take() {
            // Its task finds the slot empty and ends.
            waker.wake();
        }
    }

    /// Lets time pass: pings, timeouts, clients that take nothing.
    fn turn(&mut self) {
        let now = self.now();
        while let Some(due) = self.wheel.turn(now) {
            for key in due {
                self.watch(key);
            }
        }
        let (stall, clock) = (self.config.limits.stall, Instant::now());
        let overdue: Vec<_> = self
            .backlogged
            .iter()
            .filter_map(|key| {
                let slot = &self.slots[key.0 as usize];
                let outbox = slot.connection.as_ref().and_then(|c| c.outbox.as_ref());
                outbox?.overdue(clock, stall).map(|reason| (*key, reason))
            })
            .collect();
        for (key, reason) in overdue {
            self.close(key, reason);
        }
    }

    /// Closes the slowest clients until what waits for all of them together fits. Between two
    /// commands: in the middle of a delivery the members of a room must not change places.
    fn shed(&mut self) {
        let share = (self.config.limits.backlog_total / self.config.shards.max(1)) as u64;
        while self.metrics.backlog_bytes > share {
            let slowest = self.backlogged.iter().copied().min_by_key(|key| {
                let slot = &self.slots[key.0 as usize];
                let outbox = slot.connection.as_ref().and_then(|c| c.outbox.as_ref());
                outbox.map(|outbox| (outbox.progress, std::cmp::Reverse(outbox.bytes())))
            });
            let Some(slowest) = slowest else { return };
            self.close(slowest, DisconnectReason::Memory);
        }
    }

    /// Does what the clock asks of a connection, and puts it back on the wheel.
    fn watch(&mut self, key: Key) {
        let now = self.now();
        let (interval, timeout) = (self.config.ping_interval, self.config.ping_timeout);
        loop {
            let Some(connection) = self.connection(key) else {
                return;
            };
            match connection.heartbeat.check(now, interval) {
                Beat::Wait(until) => return self.wheel.insert(until, key),
                Beat::PingTimeout => return self.close(key, DisconnectReason::PingTimeout),
                Beat::ConnectTimeout => return self.close(key, DisconnectReason::ConnectTimeout),
                Beat::Ping => {
                    connection.heartbeat.pinged(timeout);
                    let ping = Arc::clone(&self.ping);
                    self.push(key, &ping);
                }
            }
        }
    }

    /// A packet of text, by either transport.
    fn packet(&mut self, key: Key, packet: engineio::Packet<'_>) -> Result<(), Breach> {
        let (now, interval) = (self.now(), self.config.ping_interval);
        match packet {
            engineio::Packet::Message(text) => self.text(key, text),
            engineio::Packet::Pong => {
                if let Some(connection) = self.connection(key) {
                    connection.heartbeat.ponged(now, interval);
                }
                Ok(())
            }
            engineio::Packet::Close => {
                self.close(key, DisconnectReason::Client);
                Ok(())
            }
            engineio::Packet::Noop => Ok(()),
            // Since revision 4 the server pings. The reference server closes, too.
            engineio::Packet::Ping(_) | engineio::Packet::Open | engineio::Packet::Upgrade => {
                Err(Breach::Protocol)
            }
        }
    }
}
