//! The connections to one host: what is behind them does not notice which one it is, nor that the
//! host was gone meanwhile.
//!
//! One is enough for most: metrics, containers and their logs go over it as sessions and forwardings.
//! Where sshd forwards no sockets, each stream to the container engine is a session, and sshd allows
//! few of them a connection; then further connections are opened, and end when they are idle.

mod core;
mod lease;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, interval, timeout};

use self::{
    core::{Core, Full, Use},
    lease::{Lease, Leased},
};
use super::{
    connect::{SshConnection, Step, Steps},
    remote::{Opening, Remote, RemoteError},
    spec::{HostKey, SshSpec},
};
use crate::{docker::Connection, stats::PoolStats, text::clean};

/// How long a connection may take to answer the ping before it is used again.
const PING: Duration = Duration::from_secs(2);

/// How often idle connections are looked for.
const LOOK: Duration = Duration::from_secs(15);

/// How long the farewell to all connections may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// The most places that are tried for one stream.
const TRIES: usize = 4;

/// The connections to one host.
pub(super) struct Pool {
    shared: Arc<Shared>,
    /// Held while a connection is opened: one at a time, since sshd drops the next of those that
    /// are not signed in yet (`MaxStartups`), and so that who waits takes a place on it.
    opening: tokio::sync::Mutex<()>,
}

struct Shared {
    // Held for a move of values, never across an await.
    state: Mutex<State>,
    stats: Arc<PoolStats>,
}

struct State {
    core: Core<Arc<SshConnection>>,
    /// What dials the host; absent while it is not connected.
    spec: Option<SshSpec>,
    /// The loops that read the host run: the rest may have sessions, too.
    reads: bool,
    counted: core::Figures,
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state: MutexGuard<'_, State> =
            self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = work(&mut state);
        let now = state.core.figures();
        let before = std::mem::replace(&mut state.counted, now);
        self.stats.changed((before.in_use, now.in_use), (before.idle, now.idle));
        worked
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.stats.changed((state.counted.in_use, 0), (state.counted.idle, 0));
    }
}

impl Pool {
    pub(super) fn new(stats: Arc<PoolStats>) -> Self {
        let (core, counted) = (Core::new(), core::Figures::default());
        let state = Mutex::new(State { core, spec: None, reads: false, counted });
        Self { shared: Arc::new(Shared { state, stats }), opening: tokio::sync::Mutex::default() }
    }

    /// The host is connected. `spec` dials it again, with the keys that are right by now.
    pub(super) fn begin(&self, connection: SshConnection, spec: &SshSpec) {
        self.shared.stats.created();
        self.shared.with(|state| {
            state.core.begin(Arc::new(connection), Instant::now());
            (state.spec, state.reads) = (Some(spec.clone()), false);
        });
    }

    /// Whoever reads the host has its sessions: the others may ask for theirs.
    pub(super) fn reads(&self) {
        self.shared.with(|state| state.reads = true);
    }

    /// The host is not connected any more: all connections end.
    pub(super) async fn end(&self) {
        let over = self.shared.with(|state| {
            (state.spec, state.reads) = (None, false);
            state.core.end()
        });
        farewell(over).await;
    }

    /// Whether the host is not connected, or its first connection is known to be gone.
    pub(super) fn is_closed(&self) -> bool {
        self.shared.with(|state| state.core.first().is_none_or(|first| first.is_closed()))
    }

    /// Sessions that a connection to the host has, as far as is known.
    pub(super) fn sessions(&self) -> usize {
        self.shared.with(|state| state.core.limit())
    }

    /// Ends connections that nobody has used for long, for as long as it is polled.
    pub(super) async fn tidy(&self) {
        let mut look = interval(LOOK);
        loop {
            look.tick().await;
            let over = self
                .shared
                .with(|state| state.core.rest(Instant::now(), |connection| connection.is_closed()));
            farewell(over).await;
        }
    }

    /// What reads the host's metrics goes by this: always the first connection, and the sessions
    /// that are kept on it.
    pub(super) fn own(self: &Arc<Self>) -> Arc<dyn Remote> {
        Arc::new(Own(Arc::clone(self)))
    }

    async fn session(&self, used: Use, command: &str) -> Result<Connection, RemoteError> {
        let mut refused = None;
        for _ in 0..TRIES {
            let lease = self.lease(used).await?;
            let stream = match lease.connection().session().await {
                Ok(channel) => lease.connection().run(channel, command).await?,
                Err(RemoteError::Refused(why)) => {
                    let fewer = lease.refused();
                    refused = Some(RemoteError::Refused(why));
                    if fewer && used == Use::Session {
                        continue;
                    }
                    break;
                }
                Err(error) => return Err(error),
            };
            return Ok(Box::new(Leased::new(stream, lease)));
        }
        Err(refused.unwrap_or_else(|| RemoteError::Refused("the host's sessions are taken".into())))
    }

    /// A place on a connection: on one that is there, or on a new one.
    async fn lease(&self, used: Use) -> Result<Lease, RemoteError> {
        loop {
            let mut lease = match self.find(used) {
                Ok(lease) => lease,
                Err(Full::Grow) => {
                    let _one_at_a_time = self.opening.lock().await;
                    // Somebody may have opened one meanwhile.
                    match self.find(used) {
                        Err(Full::Grow) => self.grow().await?,
                        found => found.map_err(|full| words(&full))?,
                    }
                }
                Err(full) => return Err(words(&full)),
            };
            if lease.unsure() {
                if !timeout(PING, lease.connection().ping()).await.unwrap_or(false) {
                    farewell(lease.silent()).await;
                    continue;
                }
                lease.answered();
            }
            self.shared.stats.acquired();
            return Ok(lease);
        }
    }

    fn find(&self, used: Use) -> Result<Lease, Full> {
        let found = self.shared.with(|state| match used {
            Use::Session | Use::Forward if !state.reads => Err(Full::NotConnected),
            _ => state.core.find(used, Instant::now()),
        })?;
        Ok(Lease::new(found, &self.shared))
    }

    async fn grow(&self) -> Result<Lease, RemoteError> {
        let grown = self.shared.with(|state| {
            let place = state.core.grow(Instant::now())?;
            Ok((place, state.spec.clone()))
        });
        let (place, spec) = grown.map_err(|full| words(&full))?;
        // Also where whoever asked gives up meanwhile.
        let opening = lease::Opening::new(place, &self.shared);
        let Some(spec) = spec else { return Err(words(&Full::NotConnected)) };
        match SshConnection::open(&spec, &Known).await {
            Ok(connection) => {
                self.shared.stats.created();
                opening.opened(Arc::new(connection)).ok_or_else(|| words(&Full::NotConnected))
            }
            Err(error) => {
                self.shared.stats.failed();
                let why = clean(&error.to_string(), 300);
                tracing::warn!(host = %spec.host, reason = %why, "no further connection to a host");
                opening.failed(why.clone(), error.is_final());
                Err(words(&Full::Failed(why)))
            }
        }
    }
}

impl Remote for Pool {
    fn exec<'a>(&'a self, command: &'a str) -> Opening<'a> {
        Box::pin(self.session(Use::Session, command))
    }

    fn unix<'a>(&'a self, path: &'a str) -> Opening<'a> {
        Box::pin(async move {
            let lease = self.lease(Use::Forward).await?;
            let stream = lease.connection().unix(path).await?;
            Ok(Box::new(Leased::new(stream, lease)) as Connection)
        })
    }
}

/// [`Pool::own`].
struct Own(Arc<Pool>);

impl Remote for Own {
    fn exec<'a>(&'a self, command: &'a str) -> Opening<'a> {
        Box::pin(self.0.session(Use::Own, command))
    }

    fn unix<'a>(&'a self, path: &'a str) -> Opening<'a> {
        self.0.unix(path)
    }
}

fn words(full: &Full) -> RemoteError {
    match full {
        Full::NotConnected | Full::Grow => RemoteError::Gone("the host is not connected".into()),
        Full::Most => RemoteError::Refused(format!(
            "all {} connections to the host are taken: allow sshd there to forward sockets \
             (AllowStreamLocalForwarding yes), or more sessions (MaxSessions)",
            core::MOST
        )),
        Full::Failed(why) => {
            RemoteError::Refused(format!("no further connection to the host is had: {why}"))
        }
    }
}

async fn farewell(over: Vec<Arc<SshConnection>>) {
    let all = async {
        for connection in over {
            connection.end().await;
        }
    };
    // One that does not take it ends when it is dropped, and all that went over it is.
    let _ = timeout(FAREWELL, all).await;
}

/// The host was met: its keys are pinned, and nobody waits for the steps.
struct Known;

impl Steps for Known {
    fn done(&self, _: Step, _: String) {}

    fn pin(&self, _: HostKey) {}
}
