//! The nodes that live, and this one's lease among them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kobel_wire::DeviceUuid;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    link::{BusError, Link},
    rooms::Names,
    scripts,
};

/// How often a node beats.
const BEAT: Duration = Duration::from_secs(1);

/// How long its lease holds in Redis after a beat.
const LEASE: Duration = Duration::from_secs(5);

/// How long it takes its lease for its own, counted from before the beat was sent: it ends its
/// sources in the time between.
const TRUSTED: Duration = Duration::from_millis(3_500);

/// Names one run of a node: eight characters of a URL. It stands in the ids of its sessions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// Of a new run.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut bytes = [0_u8; 8];
        getrandom::fill(&mut bytes)?;
        let text: String =
            bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
        Ok(Self(text.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for NodeId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a node says of itself. Nodes of other versions may say more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberInfo {
    /// What people call it.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where the other nodes reach it.
    pub url: String,
    /// When it started, milliseconds since 1970.
    pub started_at: i64,
    /// The device that is the machine which it runs on.
    pub machine: DeviceUuid,
    /// It is about to leave: it takes no devices.
    #[serde(default)]
    pub draining: bool,
    /// Viewers' connections.
    #[serde(default)]
    pub connections: u64,
    /// Devices that it owns.
    #[serde(default)]
    pub devices: u64,
    /// How long Redis took for its last beat, microseconds.
    #[serde(default)]
    pub redis_us: u64,
}

/// A node that lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its id.
    pub node: NodeId,
    /// What it says of itself.
    #[serde(flatten)]
    pub info: MemberInfo,
}

/// The nodes that live, by their ids.
pub type Roll = Arc<BTreeMap<NodeId, MemberInfo>>;

/// Whether this node's lease holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Until then, if no beat comes.
    Held(Instant),
    /// It must own nothing.
    Lost,
}

struct Shared {
    node: NodeId,
    info: Mutex<MemberInfo>,
    roll: watch::Sender<Roll>,
    lease: watch::Sender<Lease>,
    again: Notify,
}

/// The nodes of the cluster, this one among them. Cloned freely.
#[derive(Clone)]
pub struct Members(Arc<Shared>);

impl Members {
    /// A node that has not beaten yet.
    pub fn new(node: NodeId, info: MemberInfo) -> Self {
        Self(Arc::new(Shared {
            node,
            info: Mutex::new(info),
            roll: watch::Sender::new(Roll::default()),
            lease: watch::Sender::new(Lease::Lost),
            again: Notify::new(),
        }))
    }

    /// This node.
    pub fn node(&self) -> &NodeId {
        &self.0.node
    }

    /// The nodes that live, as of the last beat, newest as it changes.
    pub fn roll(&self) -> watch::Receiver<Roll> {
        self.0.roll.subscribe()
    }

    /// The nodes that live, as of the last beat.
    pub fn list(&self) -> Vec<Member> {
        let roll = Arc::clone(&self.0.roll.borrow());
        roll.iter().map(|(node, info)| Member { node: node.clone(), info: info.clone() }).collect()
    }

    /// Whether this node's lease holds.
    pub fn lease(&self) -> watch::Receiver<Lease> {
        self.0.lease.subscribe()
    }

    /// Changes what this node says of itself from the next beat on.
    pub fn describe(&self, change: impl FnOnce(&mut MemberInfo)) {
        change(&mut self.0.info.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The same, and beats at once.
    pub fn announce(&self, change: impl FnOnce(&mut MemberInfo)) {
        self.describe(change);
        self.0.again.notify_one();
    }

    fn info(&self) -> MemberInfo {
        self.0.info.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Beats until cancelled.
    pub(super) async fn run(self, link: Link, names: Names, cancel: CancellationToken) {
        let mut tick = interval(BEAT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_lost = true;
        loop {
            let ends = match *self.0.lease.borrow() {
                Lease::Held(until) => Some(until),
                Lease::Lost => None,
            };
            tokio::select! {
                // The end of the lease first: after a pause of the process a beat would hide it.
                biased;
                () = cancel.cancelled() => return,
                () = tokio::time::sleep_until(ends.unwrap_or_else(Instant::now)), if ends.is_some() => {
                    tracing::warn!(
                        "Redis has not answered for {:.1} s: this node owns no devices until it does",
                        TRUSTED.as_secs_f64()
                    );
                    was_lost = true;
                    self.0.lease.send_replace(Lease::Lost);
                    continue;
                }
                _ = tick.tick() => {}
                () = self.0.again.notified() => {}
            }
            let before = Instant::now();
            // A beat that takes longer than the lease is trusted changes nothing.
            let left = ends.map_or(TRUSTED, |ends| ends.saturating_duration_since(before));
            let beaten = tokio::select! {
                () = cancel.cancelled() => return,
                beaten = tokio::time::timeout(left, self.beat(&link, &names)) => beaten,
            };
            match beaten {
                Ok(Ok(roll)) => {
                    let took = before.elapsed();
                    self.describe(|info| {
                        info.redis_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                    });
                    if before + TRUSTED <= Instant::now() {
                        continue;
                    }
                    if std::mem::take(&mut was_lost) {
                        tracing::info!(node = %self.0.node, nodes = roll.len(), "in the cluster");
                    }
                    self.0.roll.send_if_modified(|known| {
                        let changed = **known != roll;
                        if changed {
                            *known = Arc::new(roll);
                        }
                        changed
                    });
                    self.0.lease.send_replace(Lease::Held(before + TRUSTED));
                }
                Ok(Err(error)) => tracing::debug!(%error, "a beat failed"),
                Err(_) => {}
            }
        }
    }

    async fn beat(
        &self,
        link: &Link,
        names: &Names,
    ) -> Result<BTreeMap<NodeId, MemberInfo>, BusError> {
        let info = serde_json::to_string(&self.info()).map_err(BusError::message)?;
        let (nodes, infos) = (names.nodes(), names.info());
        let all: Vec<String> = link
            .script(&scripts::BEAT, &[&nodes, &infos], |call| {
                call.arg(self.0.node.as_str())
                    .arg(u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX))
                    .arg(info);
            })
            .await?;
        let mut roll = BTreeMap::new();
        for pair in all.as_chunks::<2>().0 {
            let [node, info] = pair;
            // A node that says what we do not understand is none that we can talk to.
            match serde_json::from_str(info) {
                Ok(info) => {
                    roll.insert(NodeId::from(node.as_str()), info);
                }
                Err(error) => tracing::debug!(node, %error, "a node cannot be understood"),
            }
        }
        Ok(roll)
    }

    /// Leaves at once: the others need not wait for the lease to end. Best effort.
    pub(super) async fn leave(&self, link: &Link, names: &Names) {
        self.0.lease.send_replace(Lease::Lost);
        let (nodes, infos) = (names.nodes(), names.info());
        let left: Result<i64, _> = link
            .script(&scripts::LEAVE, &[&nodes, &infos], |call| {
                call.arg(self.0.node.as_str());
            })
            .await;
        if let Err(error) = left {
            tracing::debug!(%error, "cannot say goodbye to the other nodes");
        }
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Members").field(&self.0.node).finish()
    }
}
