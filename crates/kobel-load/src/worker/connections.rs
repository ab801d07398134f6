//! The connections of a worker: opened at a rate, kept up as a stock client keeps itself up, cut
//! and closed when the phase says so.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use rustix::event::epoll::EventFlags;
use tokio::time::Instant;

use super::{
    Shared,
    link::{Link, kind},
    open::{Open, Session, Token},
    pace::Pace,
    tally::Tally,
};
use crate::{
    client::{
        Failure,
        polling::{Lane, Polling},
        websocket::WebSocket,
    },
    plan::{Phase, Transport},
};

/// Attempts before a connection is given up.
const ATTEMPTS: u8 = 5;

/// Handshakes under way at once, but for those after a cut, which all begin at once.
const AT_ONCE: usize = 1000;

/// Connections begun between two looks at the sockets.
const BATCH: usize = 256;

/// How often those that wait or are late are looked for.
const SWEEP: Duration = Duration::from_millis(50);

/// When a client returns that lost its connection: Socket.IO's own default, 1 s and half of it up
/// or down.
const RETURN: Duration = Duration::from_secs(1);

enum Stage {
    /// Waits for its turn to be opened.
    Queued,
    /// Is tried again then.
    Waiting(Instant),
    Open(Box<Open>),
    /// Does not come back in this phase.
    GivenUp,
}

struct Connection {
    stage: Stage,
    /// When this attempt began.
    began: Instant,
    /// When it was cut or closed, while it is not back.
    away: Option<Instant>,
    attempts: u8,
    life: u16,
    slow: bool,
}

/// All connections of a worker.
pub(super) struct Connections {
    all: Vec<Connection>,
    queue: VecDeque<usize>,
    pace: Pace,
    churn_rate: f64,
    churn: Option<Pace>,
    swept: Instant,
    /// Handshakes under way, and how many there may be.
    shaking: usize,
    at_once: usize,
    live: u32,
    given_up: u32,
    /// Those that were cut, closed or lost and are not back.
    away: u32,
    random: u32,
}

impl Connections {
    pub(super) fn new(seed: u32) -> Self {
        let now = Instant::now();
        Self {
            all: Vec::new(),
            queue: VecDeque::new(),
            pace: Pace::new(0.0, now),
            churn_rate: 0.0,
            churn: None,
            swept: now,
            shaking: 0,
            at_once: AT_ONCE,
            live: 0,
            given_up: 0,
            away: 0,
            random: seed | 1,
        }
    }

    pub(super) fn live(&self) -> u32 {
        self.live
    }

    /// All are there or given up.
    pub(super) fn settled(&self) -> bool {
        (self.live + self.given_up) as usize == self.all.len()
    }

    /// None that was cut is still away.
    pub(super) fn returned(&self) -> bool {
        self.away == 0
    }

    /// Goes towards what the phase has.
    pub(super) fn open(&mut self, phase: &Phase, now: Instant, shared: &mut Shared) {
        let count = shared.plan.share(phase.connections) as usize;
        let workers = f64::from(shared.plan.workers);
        while self.all.len() > count {
            let index = self.all.len() - 1;
            self.leave(index, shared);
            self.queue.retain(|queued| *queued != index);
            if matches!(self.all[index].stage, Stage::GivenUp) {
                self.given_up -= 1;
            }
            // Nobody waits for it any more.
            self.here(index);
            self.all.pop();
        }
        // Those that were given up get another chance.
        for index in 0..self.all.len() {
            if matches!(self.all[index].stage, Stage::GivenUp) {
                self.given_up -= 1;
                self.all[index].attempts = 0;
                self.enqueue(index);
            }
        }
        for index in self.all.len()..count {
            let stage = Stage::Queued;
            let (life, attempts) = (0, 0);
            self.all.push(Connection {
                stage,
                began: now,
                away: None,
                attempts,
                life,
                slow: false,
            });
            self.queue.push_back(index);
        }
        for index in 0..count {
            let number = number(index, shared);
            let slow = is_slow(number, phase.slow) && number >= shared.plan.subscriptions.witnesses;
            if self.all[index].slow != slow {
                self.all[index].slow = slow;
                self.apply_slow(index, shared);
            }
        }
        self.pace = Pace::new(phase.connect_rate / workers, now);
        self.churn_rate = phase.churn / workers;
        self.at_once = AT_ONCE;
    }

    /// Begins to close and open, where the phase says so.
    pub(super) fn churn(&mut self, now: Instant) {
        self.churn = (self.churn_rate > 0.0).then(|| Pace::new(self.churn_rate, now));
    }

    /// Ends that.
    pub(super) fn calm(&mut self) {
        self.churn = None;
    }

    /// Cuts all but the witnesses; they return at once.
    pub(super) fn cut(&mut self, now: Instant, shared: &Shared) {
        self.pace = Pace::new(0.0, now);
        self.at_once = usize::MAX;
        for index in 0..self.all.len() {
            let witness = number(index, shared) < shared.plan.subscriptions.witnesses;
            if witness || !matches!(self.all[index].stage, Stage::Open(_)) {
                continue;
            }
            if let Some(open) = self.close(index) {
                open.link.cut();
                if let Some(post) = open.post {
                    post.cut();
                }
            }
            self.gone(index, now);
            self.enqueue(index);
        }
    }

    /// Breaks all.
    pub(super) fn end(&mut self) {
        for index in 0..self.all.len() {
            if let Some(open) = self.close(index) {
                open.link.cut();
            }
        }
    }

    /// What was counted; counting begins anew.
    pub(super) fn counted(&self, shared: &mut Shared) -> Tally {
        let mut tally = std::mem::take(&mut shared.meter.tally);
        tally.live = self.live;
        tally.failed = self.given_up;
        let slow =
            |one: &&Connection| one.slow && matches!(&one.stage, Stage::Open(open) if open.live);
        tally.slow = self.all.iter().filter(slow).count() as u32;
        tally
    }

    /// What is due by the clock.
    pub(super) fn turn(&mut self, now: Instant, shared: &mut Shared) {
        let room = self.at_once.saturating_sub(self.shaking).min(BATCH).min(self.queue.len());
        for _ in 0..self.pace.due(now, room) {
            if let Some(index) = self.queue.pop_front() {
                self.begin(index, now, shared);
            }
        }
        if let Some(churn) = &mut self.churn {
            for _ in 0..churn.due(now, BATCH) {
                self.churn_one(now, shared);
            }
        }
        if now.duration_since(self.swept) >= SWEEP {
            self.swept = now;
            self.sweep(now, shared);
        }
    }

    fn sweep(&mut self, now: Instant, shared: &mut Shared) {
        if self.live as usize == self.all.len() {
            return;
        }
        let patience = Duration::from_millis(shared.plan.connect_timeout_ms);
        for index in 0..self.all.len() {
            let one = &self.all[index];
            match &one.stage {
                Stage::Waiting(until) if *until <= now => self.enqueue(index),
                Stage::Open(open) if !open.live && now.duration_since(one.began) > patience => {
                    self.failed(index, &Failure::Timeout, now, shared);
                }
                _ => {}
            }
        }
    }

    fn enqueue(&mut self, index: usize) {
        self.all[index].stage = Stage::Queued;
        self.queue.push_back(index);
    }

    /// Begins an attempt.
    fn begin(&mut self, index: usize, now: Instant, shared: &mut Shared) {
        let one = &mut self.all[index];
        one.life = one.life.wrapping_add(1);
        one.began = now;
        let token = Token::new(index, one.life, Lane::Poll).0;
        let number = number(index, shared);
        match Link::connect(
            shared.plan.address,
            source(number, shared),
            one.slow,
            &shared.epoll,
            token,
        ) {
            Err(error) => self.failed(index, &Failure::Io(kind(error)), now, shared),
            Ok(mut link) => {
                let Shared { setup, out, epoll, plan, .. } = shared;
                out.bytes.clear();
                let session = match plan.transport {
                    Transport::Websocket => {
                        Session::WebSocket(WebSocket::start(number, setup, out))
                    }
                    Transport::Polling => {
                        Session::Polling(Box::new(Polling::start(number, setup, out)))
                    }
                };
                let sent = link.send(&out.bytes, epoll, token);
                let open = Open { session, link, post: None, live: false };
                one.stage = Stage::Open(Box::new(open));
                self.shaking += 1;
                if let Err(error) = sent {
                    self.failed(index, &Failure::Io(kind(error)), now, shared);
                }
            }
        }
    }

    /// The kernel has something about a socket.
    pub(super) fn ready(&mut self, token: Token, flags: EventFlags, shared: &mut Shared) {
        let (index, life, lane) = token.read();
        let Some(one) = self.all.get_mut(index).filter(|one| one.life == life) else { return };
        let Stage::Open(open) = &mut one.stage else { return };
        let before = open.live;
        let slow = one.slow && before;
        let witness = number(index, shared) < shared.plan.subscriptions.witnesses;
        let done = open.ready(token, lane, flags, witness, slow, shared);
        if let Err(failure) = done {
            return self.failed(index, &failure, Instant::now(), shared);
        }
        if !before && open.session.is_live() {
            self.arrived(index, shared);
        }
    }

    fn arrived(&mut self, index: usize, shared: &mut Shared) {
        let now = Instant::now();
        let one = &mut self.all[index];
        let Stage::Open(open) = &mut one.stage else { return };
        open.live = true;
        one.attempts = 0;
        self.live += 1;
        self.shaking -= 1;
        let tally = &mut shared.meter.tally;
        tally.opening.record(now.duration_since(one.began).as_micros() as u64);
        if let Some(away) = one.away.take() {
            self.away -= 1;
            tally.back.record(now.duration_since(away).as_micros() as u64);
        }
        if one.slow {
            self.apply_slow(index, shared);
        }
    }

    fn apply_slow(&mut self, index: usize, shared: &mut Shared) {
        let one = &mut self.all[index];
        let (slow, token) = (one.slow, Token::new(index, one.life, Lane::Poll).0);
        if let Stage::Open(open) = &mut one.stage
            && open.live
            && let Err(error) = open.link.set_reading(!slow, &shared.epoll, token)
        {
            self.failed(index, &Failure::Io(kind(error)), Instant::now(), shared);
        }
    }

    /// Takes a connection's link out, without saying anything to the server.
    fn close(&mut self, index: usize) -> Option<Box<Open>> {
        match std::mem::replace(&mut self.all[index].stage, Stage::Queued) {
            Stage::Open(open) => {
                if open.live {
                    self.live -= 1;
                } else {
                    self.shaking -= 1;
                }
                Some(open)
            }
            other => {
                self.all[index].stage = other;
                None
            }
        }
    }

    /// Closes as a client does that leaves.
    fn leave(&mut self, index: usize, shared: &mut Shared) {
        let token = Token::new(index, self.all[index].life, Lane::Poll).0;
        if let Some(mut open) = self.close(index)
            && open.live
            && matches!(open.session, Session::WebSocket(_))
        {
            shared.out.bytes.clear();
            WebSocket::leave(&mut shared.out);
            // Gone either way.
            let _ = open.link.send(&shared.out.bytes, &shared.epoll, token);
        }
    }

    fn churn_one(&mut self, now: Instant, shared: &mut Shared) {
        if self.all.is_empty() {
            return;
        }
        let from = self.random() as usize % self.all.len();
        // The next that is there; most are.
        let found = (0..self.all.len().min(64))
            .map(|step| (from + step) % self.all.len())
            .find(|index| matches!(&self.all[*index].stage, Stage::Open(open) if open.live));
        if let Some(index) = found {
            self.leave(index, shared);
            shared.meter.tally.churned += 1;
            self.gone(index, now);
            self.enqueue(index);
        }
    }

    /// An attempt failed, or a connection was lost.
    fn failed(&mut self, index: usize, failure: &Failure, now: Instant, shared: &mut Shared) {
        let live = self.close(index).is_some_and(|open| open.live);
        let tally = &mut shared.meter.tally;
        let counts = if live { &mut tally.lost } else { &mut tally.errors };
        *counts.entry(failure.to_string()).or_default() += 1;
        let random = self.random();
        if live {
            self.gone(index, now);
        } else {
            self.all[index].attempts += 1;
        }
        let one = &mut self.all[index];
        if one.attempts >= ATTEMPTS || (!live && !failure.passes()) {
            one.stage = Stage::GivenUp;
            self.given_up += 1;
            self.here(index);
        } else {
            let mean = RETURN * 2u32.pow(u32::from(one.attempts.saturating_sub(1)).min(2));
            one.stage = Stage::Waiting(Pace::later(mean, now, random));
        }
    }

    fn gone(&mut self, index: usize, now: Instant) {
        self.away += u32::from(self.all[index].away.replace(now).is_none());
    }

    fn here(&mut self, index: usize) {
        self.away -= u32::from(self.all[index].away.take().is_some());
    }

    fn random(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }
}

/// The number of a connection in the whole run.
fn number(index: usize, shared: &Shared) -> u32 {
    index as u32 * shared.plan.workers + shared.plan.worker
}

/// Whether this one is among the `percent` that do not read: spread evenly.
fn is_slow(number: u32, percent: f64) -> bool {
    let before = |count: u32| (f64::from(count) * percent / 100.0) as u64;
    before(number + 1) > before(number)
}

/// The ports of one address are not enough for very many connections to one server.
fn source(number: u32, shared: &Shared) -> Option<SocketAddr> {
    let nth = number.checked_div(shared.plan.per_source)?;
    let IpAddr::V4(_) = shared.plan.address.ip() else { return None };
    let last = u8::try_from(1 + nth).unwrap_or(u8::MAX).min(254);
    Some(SocketAddr::new(Ipv4Addr::new(127, 0, 0, last).into(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_ones_are_spread_evenly() {
        for (percent, of_1000) in [(0.0, 0), (10.0, 100), (0.5, 5), (100.0, 1000)] {
            let count = (0..1000).filter(|number| is_slow(*number, percent)).count();
            assert_eq!(count, of_1000);
            let first = (0..500).filter(|number| is_slow(*number, percent)).count();
            assert!(first.abs_diff(of_1000 / 2) <= 1);
        }
    }
}
