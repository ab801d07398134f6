//! One node of the cluster: its parts put together.

use std::{
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{
    BusError, ClusterUrl, Lease, Link, LinkState, Logs, MemberInfo, Members, NodeId, Owned,
    ReplicasHandle, StewardHandle, logs::LogTeller, replica::Replicas, rooms::Names, share::Share,
    steward::Steward, wants::Wants,
};
use crate::{
    hub::{Hub, HubHandle, Tap},
    ingest::{self, Inbox, Ingest},
};

/// How often a node looks what it is to say of itself.
const DESCRIBE: Duration = Duration::from_secs(1);

/// The cluster as the rest of the hub sees it. Cloned freely.
#[derive(Clone)]
pub struct Cluster {
    link: Link,
    names: Names,
    members: Members,
    steward: StewardHandle,
    replicas: ReplicasHandle,
    logs: Logs,
    /// What all nodes know each other by, once it is read.
    secret: Arc<OnceLock<Zeroizing<Vec<u8>>>>,
}

/// What runs for it.
pub struct ClusterTasks {
    link: Link,
    names: Names,
    members: Members,
    steward: Steward,
    replicas: Replicas,
    share: Share,
    inbox: Inbox,
    teller: LogTeller,
    secret: Arc<OnceLock<Zeroizing<Vec<u8>>>>,
}

/// Figures for metrics, since the start where they are counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterStats {
    /// Nodes that live.
    pub nodes: u64,
    /// Devices that this node owns.
    pub owned: u64,
    /// Whether there is a connection to Redis.
    pub is_connected: bool,
    /// Whether this node's lease holds.
    pub has_lease: bool,
    /// Connections to Redis that were made.
    pub connections: u64,
    /// Commands that were sent.
    pub commands: u64,
    /// Commands that failed.
    pub failed: u64,
    /// Bytes that were published.
    pub bytes_out: u64,
    /// Messages that came.
    pub messages_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Messages that were dropped since this node was too late; what was lost is read again.
    pub dropped: u64,
    /// Log entries that other nodes were not told, since Redis was too slow; they tell of a gap.
    pub log_lines_dropped: u64,
    /// How long Redis took for the last beat, microseconds.
    pub redis_us: u64,
}

impl Cluster {
    /// A node of the cluster at this Redis; keys and channels begin with `prefix`. The hub's viewers
    /// are answered by what other nodes tell through `ingest`.
    pub fn new(
        url: ClusterUrl,
        prefix: &str,
        node: NodeId,
        info: MemberInfo,
        ingest: Ingest,
        hub: &mut Hub,
    ) -> (Self, ClusterTasks) {
        let (link, names) = (Link::new(url), Names::new(prefix));
        let members = Members::new(node, info);
        let (steward, handle) = Steward::new(link.clone(), names.clone(), members.clone());
        let wants = Wants::default();
        let (replicas, followed) = Replicas::new(
            link.clone(),
            names.clone(),
            members.clone(),
            handle.clone(),
            wants.clone(),
            ingest,
        );
        let share = Share::new(link.clone(), names.clone(), handle.clone(), wants.clone());
        let (logs, teller) =
            Logs::new(link.clone(), names.clone(), handle.clone(), wants, followed.clone());
        let secret = Arc::new(OnceLock::new());
        let (taken_in, inbox) = ingest::channel();
        hub.tap(Tap::new(taken_in, handle.owned()));
        let cluster = Self {
            link: link.clone(),
            names: names.clone(),
            members: members.clone(),
            steward: handle,
            replicas: followed,
            logs,
            secret: Arc::clone(&secret),
        };
        let tasks =
            ClusterTasks { link, names, members, steward, replicas, share, inbox, teller, secret };
        (cluster, tasks)
    }

    /// The nodes.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Who owns what.
    pub fn steward(&self) -> &StewardHandle {
        &self.steward
    }

    /// What other nodes own.
    pub fn replicas(&self) -> &ReplicasHandle {
        &self.replicas
    }

    /// The logs of other nodes' devices.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Whether there is a connection to Redis.
    pub fn link_state(&self) -> watch::Receiver<LinkState> {
        self.link.state()
    }

    /// A secret that all nodes share, made by the first: by it they know requests of each other.
    ///
    /// # Errors
    /// When Redis does not answer, or the system gives no randomness.
    pub async fn secret(&self) -> Result<Zeroizing<[u8; 32]>, BusError> {
        let mut new = Zeroizing::new([0_u8; 32]);
        getrandom::fill(&mut *new).map_err(BusError::message)?;
        let key = self.names.secret();
        let mut cmd = redis::cmd("SET");
        cmd.arg(&key).arg(&new[..]).arg("NX");
        let _made: Option<String> = self.link.command(&cmd).await?;
        let mut cmd = redis::cmd("GET");
        cmd.arg(&key);
        let secret: Zeroizing<Vec<u8>> = Zeroizing::new(self.link.command(&cmd).await?);
        if secret.len() < 32 {
            return Err(BusError::Message(format!("{key} is too short for a secret")));
        }
        let derived = Zeroizing::new(Sha256::digest(&*secret).into());
        // It does not change while a node lives.
        let _ = self.secret.set(secret);
        Ok(derived)
    }

    /// Figures for metrics.
    pub fn stats(&self) -> ClusterStats {
        let traffic = self.link.traffic();
        let own = self.members.roll();
        let own = own.borrow().get(self.members.node()).map_or(0, |info| info.redis_us);
        ClusterStats {
            nodes: self.members.roll().borrow().len() as u64,
            owned: self.steward.owned().borrow().len() as u64,
            is_connected: *self.link.state().borrow() != LinkState::Down,
            has_lease: matches!(*self.members.lease().borrow(), Lease::Held(_)),
            connections: traffic.connections.load(Relaxed),
            commands: traffic.commands.load(Relaxed),
            failed: traffic.failed.load(Relaxed),
            bytes_out: traffic.bytes_out.load(Relaxed),
            messages_in: traffic.messages_in.load(Relaxed),
            bytes_in: traffic.bytes_in.load(Relaxed),
            dropped: traffic.dropped.load(Relaxed),
            log_lines_dropped: self.logs.dropped(),
            redis_us: own,
        }
    }
}

/// Keeps what the node says of itself true, until cancelled; and what all share, where Redis has lost
/// its memory.
async fn describe(
    of: (Link, Names, Members),
    secret: Arc<OnceLock<Zeroizing<Vec<u8>>>>,
    owned: watch::Receiver<Arc<Owned>>,
    hub: HubHandle,
    cancel: CancellationToken,
) {
    let (link, names, members) = of;
    let mut tick = interval(DESCRIBE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut state = link.state();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = tick.tick() => {}
        }
        let devices = owned.borrow().len() as u64;
        let connections = hub.stats().viewers;
        members.describe(|info| (info.devices, info.connections) = (devices, connections));
        let changed = state.has_changed().unwrap_or(false);
        let is_up = *state.borrow_and_update() != LinkState::Down;
        if let (true, true, Some(secret)) = (changed, is_up, secret.get()) {
            let mut cmd = redis::cmd("SET");
            cmd.arg(names.secret()).arg(&secret[..]).arg("NX");
            let kept: Result<Option<String>, _> = link.command(&cmd).await;
            if let Err(error) = kept {
                tracing::debug!(%error, "cannot keep what the nodes share");
            }
        }
    }
}

impl ClusterTasks {
    /// Runs until cancelled; then leaves, so that the others need not wait.
    pub async fn run(self, hub: HubHandle, cancel: CancellationToken) {
        let Self { link, names, members, steward, replicas, share, inbox, teller, secret } = self;
        let owned = steward.owned();
        let mut tasks = JoinSet::new();
        // The link outlives the others: they say goodbye by it.
        let hang_up = CancellationToken::new();
        let connection = tokio::spawn(link.clone().run(hang_up.clone()));
        tasks.spawn(members.clone().run(link.clone(), names.clone(), cancel.clone()));
        tasks.spawn(steward.run(cancel.clone()));
        tasks.spawn(replicas.run(cancel.clone()));
        tasks.spawn(teller.run(cancel.clone()));
        tasks.spawn(share.run(inbox, hub.clone(), cancel.clone()));
        let of = (link.clone(), names.clone(), members.clone());
        tasks.spawn(describe(of, secret, owned, hub, cancel));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the cluster's node failed");
            }
        }
        members.leave(&link, &names).await;
        hang_up.cancel();
        let _ = connection.await;
    }
}
