//! The loop that holds the connections: one thread, one epoll, one buffer for all of them, and a
//! small state each. It must cost clearly less than the server that it measures, so an event is
//! parsed where it was read and no task, timer or channel stands between.

mod connections;
mod link;
mod open;
mod pace;
pub(crate) mod tally;

use std::{
    os::fd::OwnedFd,
    sync::mpsc::{Receiver, SyncSender, TryRecvError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    event::epoll::{self, Event, EventFlags},
    fs::Timespec,
    io::Errno,
};
use tokio::time::Instant;

use crate::{
    client::{Outgoing, Setup, Sink},
    plan::{Command, Plan, Report},
    protocol::stamp::Stamps,
};
use connections::Connections;
use open::Token;
use tally::Tally;

/// Bytes read at once: some hundred small events.
const BUFFER: usize = 256 * 1024;

/// Sockets looked at after one wait.
const EVENTS: usize = 1024;

/// How late a command or a connection that is due may be seen.
const TURN: Duration = Duration::from_millis(5);

/// Time that is let pass after each look at the sockets, so that the next one finds more of them
/// with something to read: else each event of a server on this machine wakes the loop, which costs
/// both of them a multiple of the event itself, and a server's costs would be those of waking its
/// clients. Latency is measured too long by at most so much.
const NAP: Duration = Duration::from_micros(500);

/// How often progress is said.
const PROGRESS: Duration = Duration::from_millis(500);

/// What all connections share while the loop runs.
struct Shared {
    plan: Plan,
    setup: Setup,
    epoll: OwnedFd,
    buffer: Vec<u8>,
    out: Outgoing,
    posts: Outgoing,
    meter: Meter,
}

/// Takes the events.
struct Meter {
    stamps: Stamps,
    tally: Tally,
    /// µs since 1970, read once for what came in one read.
    now: u64,
    /// Between `Measure` and `Stop`.
    measuring: bool,
    /// Whether what is read now came to a witness.
    witness: bool,
    /// While connections that were cut are not back: the witnesses count only then.
    cut: bool,
    /// Events since the start, for the progress.
    all: u64,
}

impl Sink for Meter {
    #[inline]
    fn event(&mut self, json: &[u8]) {
        self.all += 1;
        if !self.measuring {
            return;
        }
        self.tally.messages += 1;
        self.tally.bytes += json.len() as u64;
        match self.stamps.read(json) {
            Some(stamp) => {
                // A clock that is behind the publisher's gives 0, not a large number.
                let late = self.now.saturating_sub(stamp);
                if !self.witness {
                    self.tally.latency.record(late);
                } else if self.cut {
                    self.tally.witnesses.record(late);
                }
            }
            None => self.tally.unstamped += 1,
        }
    }

    fn attachment(&mut self, len: usize) {
        if self.measuring {
            self.tally.bytes += len as u64;
        }
    }
}

/// Runs a worker until it is told to end or nobody tells it anything any more.
pub(crate) fn run(plan: Plan, commands: &Receiver<Command>, reports: &SyncSender<Report>) {
    if let Err(error) = turns(plan, commands, reports) {
        // Nobody listens: then nobody needs to know.
        let _ = reports.send(Report::Failed(link::kind(error)));
    }
}

fn turns(
    plan: Plan,
    commands: &Receiver<Command>,
    reports: &SyncSender<Report>,
) -> Result<(), Errno> {
    let stamps = plan.stamp.as_deref().map_or_else(Stamps::kobel, Stamps::first);
    let setup = Setup {
        resource: plan.resource.clone(),
        headers: plan.headers.clone(),
        connect: plan.connect.clone(),
        subscriptions: plan.subscriptions.clone(),
    };
    let seed = micros() as u32;
    let mut shared = Shared {
        setup,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        buffer: vec![0; BUFFER],
        out: Outgoing::new(seed),
        posts: Outgoing::new(seed.rotate_left(16)),
        meter: Meter {
            stamps,
            tally: Tally::default(),
            now: 0,
            measuring: false,
            witness: false,
            cut: false,
            all: 0,
        },
        plan,
    };
    let mut connections = Connections::new(seed);
    let mut ready: Vec<Event> = Vec::with_capacity(EVENTS);
    let mut said = Instant::now();
    let (mut opening, mut returning) = (false, false);
    loop {
        ready.clear();
        let turn = Timespec { tv_sec: 0, tv_nsec: TURN.as_nanos() as i64 };
        let spare = rustix::buffer::spare_capacity(&mut ready);
        match epoll::wait(&shared.epoll, spare, Some(&turn)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        for event in &ready {
            // Copied: it is packed.
            let (flags, data) = (event.flags, event.data);
            connections.ready(Token(data.u64()), flags, &mut shared);
        }
        // Where there is more than fits, there is no time to lose.
        if ready.len() < EVENTS {
            thread::sleep(NAP);
        }
        let now = Instant::now();
        connections.turn(now, &mut shared);
        if opening && connections.settled() {
            opening = false;
            let tally = Box::new(connections.counted(&mut shared));
            if reports.send(Report::Ready(tally)).is_err() {
                return Ok(());
            }
        }
        if returning && connections.returned() {
            returning = false;
            shared.meter.cut = false;
            if reports.send(Report::Back).is_err() {
                return Ok(());
            }
        }
        if now.duration_since(said) >= PROGRESS {
            said = now;
            let (live, messages) = (connections.live(), shared.meter.all);
            let p99 = shared.meter.tally.latency.percentile(99.0);
            // Full: the next one says more.
            let _ = reports.try_send(Report::Progress { live, messages, p99 });
        }
        match commands.try_recv() {
            Ok(Command::Open(phase)) => {
                shared.meter.tally = Tally::default();
                connections.open(&phase, now, &mut shared);
                opening = true;
            }
            Ok(Command::Measure) => {
                shared.meter.tally = Tally::default();
                shared.meter.measuring = true;
                connections.churn(now);
            }
            Ok(Command::Cut) => {
                connections.cut(now, &shared);
                shared.meter.cut = true;
                returning = true;
            }
            Ok(Command::Stop) => {
                shared.meter.measuring = false;
                connections.calm();
                let tally = Box::new(connections.counted(&mut shared));
                if reports.send(Report::Counted(tally)).is_err() {
                    return Ok(());
                }
            }
            Ok(Command::End) | Err(TryRecvError::Disconnected) => {
                connections.end();
                return Ok(());
            }
            Err(TryRecvError::Empty) => {}
        }
    }
}

/// Microseconds since 1970.
fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64)
}

/// Whether the other side is gone, for a connection that is not read.
fn ended(flags: EventFlags) -> bool {
    flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
}
