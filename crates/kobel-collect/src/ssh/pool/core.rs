//! Which of a host's connections a stream goes over. No I/O; time is an argument.
//!
//! The *first* connection is the one that the host's metrics are read by: it is there for as long as
//! the host is, and some of its sessions are kept for that. Further ones are opened when its sessions
//! do not do, and end when nobody has used them for a while.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// The most connections to one host.
pub(super) const MOST: usize = 100;

/// How long a connection that nobody uses is kept.
pub(super) const IDLE: Duration = Duration::from_secs(5 * 60);

/// Sessions of a connection, until a host says that it gives fewer: what sshd gives by default
/// (`MaxSessions` in sshd_config(5)).
const SESSIONS: usize = 10;

/// Sessions of the first connection that are kept for the loops that read the host.
const KEPT: usize = 2;

/// How long the place of a session that ended stays taken: the host gives it back only once the
/// command there has noticed.
const SETTLING: Duration = Duration::from_secs(1);

/// The waits after connections that could not be opened, from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What a place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A session of the loops that read the host; on the first connection.
    Own,
    /// Another session; on any connection.
    Session,
    /// A forwarding, which is no session; on the first connection.
    Forward,
}

/// A place on a connection; given back by [`Core::release`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) connection: u64,
    pub(super) used: Use,
}

/// A place that was found.
#[derive(Debug)]
pub(super) struct Found<C> {
    pub(super) place: Place,
    pub(super) connection: C,
    /// Whether the connection is still there must be asked first. Of the first connection its own
    /// reader knows.
    pub(super) unsure: bool,
}

/// Why there is no place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Full {
    /// The host is not connected.
    NotConnected,
    /// Every open connection is full; another one may be opened.
    Grow,
    /// There are as many connections as may be.
    Most,
    /// The last try to open one failed: this is why, and none is opened for a while.
    Failed(String),
}

struct Held<C> {
    /// Absent while it is opened.
    connection: Option<C>,
    own: usize,
    sessions: usize,
    forwards: usize,
    /// Until when the places of sessions that ended are taken.
    settling: Vec<Instant>,
    /// Since when nobody uses it.
    idle: Option<Instant>,
    /// It did not answer: nothing more goes over it, and it ends with what does.
    silent: bool,
}

impl<C> Held<C> {
    fn new(connection: Option<C>, now: Instant) -> Self {
        let (own, sessions, forwards) = (0, 0, 0);
        Self {
            connection,
            own,
            sessions,
            forwards,
            settling: Vec::new(),
            idle: Some(now),
            silent: false,
        }
    }

    fn places(&mut self, used: Use) -> &mut usize {
        match used {
            Use::Own => &mut self.own,
            Use::Session => &mut self.sessions,
            Use::Forward => &mut self.forwards,
        }
    }

    fn in_use(&self) -> bool {
        self.own + self.sessions + self.forwards > 0
    }
}

/// Counts of the connections at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) in_use: u64,
    pub(super) idle: u64,
}

/// The connections to one host, `C` each.
pub(super) struct Core<C> {
    held: BTreeMap<u64, Held<C>>,
    first: Option<u64>,
    next: u64,
    /// Sessions that a connection has, as far as is known.
    limit: usize,
    failures: u32,
    /// Why the last one could not be opened, and until when none is tried: without an end after a
    /// refused sign-in, since hosts ban addresses that insist.
    failed: Option<(String, Option<Instant>)>,
}

impl<C: Clone> Core<C> {
    pub(super) fn new() -> Self {
        let (held, first, failed) = (BTreeMap::new(), None, None);
        Self { held, first, next: 0, limit: SESSIONS, failures: 0, failed }
    }

    /// The host is connected: this is the first connection. Gives those before it, which are over.
    pub(super) fn begin(&mut self, connection: C, now: Instant) -> Vec<C> {
        let before = self.end();
        let number = self.number();
        self.held.insert(number, Held::new(Some(connection), now));
        self.first = Some(number);
        before
    }

    /// The host is not connected any more. Gives the connections, which are over; places on them
    /// count no longer.
    pub(super) fn end(&mut self) -> Vec<C> {
        let held = std::mem::take(&mut self.held);
        *self = Self { next: self.next, ..Self::new() };
        held.into_values().filter_map(|held| held.connection).collect()
    }

    /// Sessions that a connection to this host has, as far as is known.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The first connection.
    pub(super) fn first(&self) -> Option<&C> {
        self.held.get(&self.first?)?.connection.as_ref()
    }

    /// A place on a connection that is there.
    pub(super) fn find(&mut self, used: Use, now: Instant) -> Result<Found<C>, Full> {
        let first = self.first.ok_or(Full::NotConnected)?;
        let limit = self.limit;
        // The oldest with room, so that the newest get idle.
        let fits = |(number, held): &(&u64, &mut Held<C>)| match used {
            Use::Own | Use::Forward => **number == first,
            Use::Session => {
                let settling = held.settling.iter().filter(|until| **until > now).count();
                let taken = held.sessions + settling;
                let kept = if **number == first { held.own.max(KEPT) } else { 0 };
                held.connection.is_some() && !held.silent && taken + kept < limit
            }
        };
        let Some((number, held)) = self.held.iter_mut().find(fits) else {
            return Err(self.may_grow(now));
        };
        let connection = held.connection.clone().ok_or(Full::NotConnected)?;
        held.idle = None;
        *held.places(used) += 1;
        let place = Place { connection: *number, used };
        Ok(Found { place, connection, unsure: *number != first })
    }

    fn may_grow(&self, now: Instant) -> Full {
        match &self.failed {
            Some((why, until)) if until.is_none_or(|until| now < until) => {
                Full::Failed(why.clone())
            }
            _ if self.held.len() >= MOST => Full::Most,
            _ => Full::Grow,
        }
    }

    /// Another connection is opened, for a session on it: [`Core::opened`] or [`Core::failed`] says
    /// what came of it.
    pub(super) fn grow(&mut self, now: Instant) -> Result<Place, Full> {
        self.first.ok_or(Full::NotConnected)?;
        match self.may_grow(now) {
            Full::Grow => {}
            full => return Err(full),
        }
        let number = self.number();
        let mut held = Held::new(None, now);
        (held.sessions, held.idle) = (1, None);
        self.held.insert(number, held);
        Ok(Place { connection: number, used: Use::Session })
    }

    /// It is there. False where the host is not connected any more: the connection is over.
    pub(super) fn opened(&mut self, place: &Place, connection: C) -> bool {
        self.failures = 0;
        let Some(held) = self.held.get_mut(&place.connection) else { return false };
        held.connection = Some(connection);
        true
    }

    /// It could not be opened; `for_good`: nothing will change that but the host's next connection.
    pub(super) fn failed(&mut self, place: &Place, why: String, for_good: bool, now: Instant) {
        if self.held.remove(&place.connection).is_some() {
            let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(10)).min(LONGEST_WAIT);
            self.failures = self.failures.saturating_add(1);
            self.failed = Some((why, (!for_good).then(|| now + wait)));
        }
    }

    /// The host gave no session at this place, which is over. True where it gives fewer than was
    /// thought: another place may do.
    pub(super) fn refused(&mut self, place: &Place, now: Instant) -> bool {
        let Some(held) = self.held.get_mut(&place.connection) else { return false };
        let taken = held.places(place.used);
        *taken = taken.saturating_sub(1);
        let has = held.own + held.sessions + held.settling.len();
        if !held.in_use() {
            held.idle = Some(now);
        }
        if has == 0 {
            return false;
        }
        self.limit = self.limit.min(has);
        true
    }

    /// A stream ended. Gives its connection, where that is over with it.
    pub(super) fn release(&mut self, place: &Place, now: Instant) -> Option<C> {
        let held = self.held.get_mut(&place.connection)?;
        let taken = held.places(place.used);
        *taken = taken.saturating_sub(1);
        held.settling.retain(|until| *until > now);
        if place.used == Use::Session {
            held.settling.push(now + SETTLING);
        }
        if held.in_use() {
            return None;
        }
        held.idle = Some(now);
        if held.silent { self.held.remove(&place.connection)?.connection } else { None }
    }

    /// The connection of this place does not answer: the place is given back, and nothing more goes
    /// over it. Gives it where nobody uses it, and all others that rest: what broke it will have
    /// broken those.
    pub(super) fn silent(&mut self, place: &Place, now: Instant) -> Vec<C> {
        if let Some(held) = self.held.get_mut(&place.connection) {
            held.silent = Some(place.connection) != self.first;
        }
        let over = self.release(place, now);
        let first = self.first;
        let rest = self.held.extract_if(.., |number, held| {
            Some(*number) != first && held.idle.is_some() && held.connection.is_some()
        });
        over.into_iter().chain(rest.filter_map(|(_, held)| held.connection)).collect()
    }

    /// Gives the connections that nobody has used for long, and those that `is_over` says are.
    pub(super) fn rest(&mut self, now: Instant, is_over: impl Fn(&C) -> bool) -> Vec<C> {
        let first = self.first;
        let over = self.held.extract_if(.., |number, held| {
            let idle = held.idle.is_some_and(|since| now >= since + IDLE);
            let over = held.connection.as_ref().is_some_and(&is_over);
            Some(*number) != first && (idle || over)
        });
        over.filter_map(|(_, held)| held.connection).collect()
    }

    pub(super) fn figures(&self) -> Figures {
        let in_use = self.held.values().filter(|held| held.in_use()).count() as u64;
        Figures { in_use, idle: self.held.len() as u64 - in_use }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests;
