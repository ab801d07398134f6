//! Keeps what is live in step with the inventory: a source for each device that the hub dials,
//! names and groups as people set them, and nothing of what was taken out.
//!
//! The inventory is changed by the page in this process and by the command line in another. Both
//! write the database, which says cheaply whether anybody did.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kobel_hub::{
    cluster::{Cluster, Eligible, NodeId, Owned},
    demand::Demand,
    hub::HubHandle,
    live::DeviceLabel,
    logs::live::LogSources,
    store::{
        Actor, Changes, Store, StoreError,
        inventory::{DeviceRecord, DeviceSpec, Listed},
    },
};
use kobel_wire::{Device, DeviceState, DeviceUuid, Engine, Facts, SourceKind, Timestamp};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

/// How often the database is asked whether anybody wrote it.
const EACH: Duration = Duration::from_millis(250);

/// Sources that start at once do so one after the other, this far apart: a fleet of 500 must not
/// sign in in one instant.
const APART: Duration = Duration::from_millis(20);

/// A source that runs until cancelled.
pub(crate) type Reading = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes the sources of the devices that the hub dials.
pub(crate) trait Dial: Send + Sync + 'static {
    /// What reads this device, by what is needed of it.
    /// Host keys that it takes for the first time go to `pins`.
    fn source(
        &self,
        device: &DeviceRecord,
        demand: Demand,
        pins: Pins,
        cancel: CancellationToken,
    ) -> Reading;
}

/// A device, one of its hosts as `host:port`, and that one's key.
type NewKey = (DeviceUuid, String, String);

/// Where a source tells of host keys that it takes for the first time.
#[derive(Clone)]
pub(crate) struct Pins {
    device: DeviceUuid,
    /// What this source told of: it knows these, whatever becomes of the inventory.
    told: Arc<Mutex<HashSet<(String, String)>>>,
    to: mpsc::Sender<NewKey>,
}

impl Pins {
    /// The key of `host` (`host:port`) is this one from now on.
    pub(crate) fn pin(&self, host: String, fingerprint: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert((host.clone(), fingerprint.clone()));
        if self.to.try_send((self.device, host, fingerprint)).is_err() {
            tracing::warn!("a new host key is not pinned yet: it is at the next connection");
        }
    }
}

/// A way to the task that keeps in step.
#[derive(Debug, Clone, Default)]
pub(crate) struct FleetHandle(Arc<Notify>);

impl FleetHandle {
    /// Something was changed by this process: look at once.
    pub(crate) fn look(&self) {
        self.0.notify_one();
    }
}

/// Keeps in step.
pub(crate) struct Fleet<D> {
    store: Store,
    hub: HubHandle,
    logs: LogSources,
    dial: D,
    /// The other nodes: this one reads the devices that it owns, and keeps what they tell of theirs.
    cluster: Option<Cluster>,
    handle: FleetHandle,
    /// The newest change that is live.
    seen: Option<i64>,
    /// The inventory as of then.
    devices: Vec<DeviceRecord>,
    known: HashMap<DeviceUuid, Known>,
    running: JoinSet<()>,
    /// New host keys. Full: a source goes on without, and tells of it when it connects again.
    pins: (mpsc::Sender<NewKey>, mpsc::Receiver<NewKey>),
}

/// A device as it is live.
struct Known {
    label: DeviceLabel,
    reading: Option<Running>,
    /// It is kept as another node tells it.
    is_replica: bool,
}

/// What is done about a device here.
#[derive(PartialEq)]
enum Role {
    /// Nobody reads it.
    Off,
    /// It is read here, so.
    Run(Box<Wanted>),
    /// Something else brings what is known of it: this machine's source, an agent's link.
    Elsewhere,
    /// Another node owns it.
    Replica,
}

/// A source that runs, and what it was made for.
struct Running {
    made_for: Wanted,
    cancel: CancellationToken,
    ended: oneshot::Receiver<()>,
    /// Host keys that it took by itself: that they are pinned since changes nothing for it.
    told: Arc<Mutex<HashSet<(String, String)>>>,
}

/// What of a device its source depends on.
#[derive(PartialEq)]
struct Wanted {
    spec: DeviceSpec,
    /// The rows of its secrets: another one whenever one is set.
    secrets: Vec<i64>,
}

impl Running {
    /// Whether it is what is wanted.
    fn is_for(&self, wanted: &Wanted) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let without = |wanted: &Wanted| {
            let mut spec = wanted.spec.clone();
            if let Some(ssh) = &mut spec.ssh {
                ssh.host_keys
                    .retain(|key| !told.contains(&(key.host.clone(), key.fingerprint.clone())));
            }
            spec
        };
        self.made_for.secrets == wanted.secrets && without(&self.made_for) == without(wanted)
    }
}

impl Wanted {
    fn of(device: &DeviceRecord) -> Self {
        // What people call it and write of it changes nothing of how it is read.
        let DeviceSpec { address, options, ssh, enabled, .. } = device.spec.clone();
        let spec = DeviceSpec { address, options, ssh, enabled, ..DeviceSpec::default() };
        Self { spec, secrets: device.secrets.iter().map(|secret| secret.row).collect() }
    }
}

impl<D: Dial> Fleet<D> {
    pub(crate) fn new(
        store: Store,
        hub: HubHandle,
        logs: LogSources,
        dial: D,
        cluster: Option<Cluster>,
    ) -> Self {
        Self {
            store,
            hub,
            logs,
            dial,
            cluster,
            handle: FleetHandle::default(),
            seen: None,
            devices: Vec::new(),
            known: HashMap::new(),
            running: JoinSet::new(),
            pins: mpsc::channel(1_024),
        }
    }

    /// A way to it once it runs.
    pub(crate) fn handle(&self) -> FleetHandle {
        self.handle.clone()
    }

    /// Runs until cancelled; ends when all of its sources have.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let mut tick = interval(EACH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = self.store.changes();
        let mut owned = self
            .cluster
            .as_ref()
            .map(|cluster| (cluster.steward().owned(), cluster.steward().owners()));
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                () = moved(&mut owned) => {
                    let devices = std::mem::take(&mut self.devices);
                    self.keep_step(&devices, &[], &cancel).await;
                    self.devices = devices;
                    continue;
                }
                () = self.handle.0.notified() => changes.again(),
                Some(ended) = self.running.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a source failed");
                    }
                    continue;
                }
                Some((uuid, host, fingerprint)) = self.pins.1.recv() => {
                    self.pin(uuid, &host, &fingerprint).await;
                    continue;
                }
                _ = tick.tick() => {}
            }
            if let Err(error) = self.look(&mut changes, &cancel).await {
                tracing::error!(%error, "cannot read the inventory");
                changes.again();
            }
        }
        while self.running.join_next().await.is_some() {}
    }

    async fn pin(&self, uuid: DeviceUuid, host: &str, fingerprint: &str) {
        let now = Timestamp::now();
        let pinned =
            self.store.pin_host_key(uuid, Some(host), fingerprint, false, &Actor::Hub, now).await;
        match pinned {
            Ok(device) => {
                tracing::info!(device = %device.spec.name, host, fingerprint, "host key pinned");
            }
            Err(error) => tracing::error!(%error, host, "a new host key cannot be pinned"),
        }
    }

    async fn look(
        &mut self,
        changes: &mut Changes,
        cancel: &CancellationToken,
    ) -> Result<(), StoreError> {
        if !changes.happened().await? {
            return Ok(());
        }
        // Before the list: what is changed after it is looked at again.
        let last = self.store.last_change().await?;
        // An agent's device that another node met has no line there.
        if self.seen == Some(last) && self.cluster.is_none() {
            return Ok(());
        }
        let devices = self.store.inventory(Listed::Present).await?;
        let retried = match self.seen {
            Some(seen) => self.given_up(self.store.retried_since(seen).await?).await,
            // At the start all are tried anyway.
            None => Vec::new(),
        };
        if let Some(cluster) = &self.cluster {
            let eligible = |device: &DeviceRecord| {
                let eligible = match device.source {
                    // Nobody reads it anywhere.
                    SourceKind::Ssh if !device.spec.enabled => return None,
                    source => Eligible::of(source, device.device_uuid),
                };
                Some((device.device_uuid, eligible))
            };
            cluster.steward().devices(devices.iter().filter_map(eligible).collect()).await;
        }
        self.keep_step(&devices, &retried, cancel).await;
        self.devices = devices;
        self.seen = Some(last);
        Ok(())
    }

    /// Those of them that cannot be read: who can be read needs no other try.
    async fn given_up(&self, mut devices: Vec<DeviceUuid>) -> Vec<DeviceUuid> {
        if devices.is_empty() {
            return devices;
        }
        let live = self.hub.devices().await;
        let reads = |device: &Device| {
            matches!(device.state, DeviceState::Online | DeviceState::Slow | DeviceState::Stale)
        };
        let fine: HashSet<_> =
            live.iter().filter(|d| reads(d)).map(|device| device.device_uuid).collect();
        devices.retain(|uuid| !fine.contains(uuid));
        devices
    }

    async fn keep_step(
        &mut self,
        devices: &[DeviceRecord],
        retried: &[DeviceUuid],
        cancel: &CancellationToken,
    ) {
        let listed: HashSet<_> = devices.iter().map(|device| device.device_uuid).collect();
        let gone: Vec<_> =
            self.known.keys().filter(|uuid| !listed.contains(uuid)).copied().collect();
        for uuid in gone {
            if let Some(known) = self.known.remove(&uuid) {
                tracing::info!(device = %known.label.name, "taken out of the inventory");
                if let Some(reading) = known.reading {
                    reading.cancel.cancel();
                }
                if let (Some(cluster), true) = (&self.cluster, known.is_replica) {
                    cluster.replicas().drop(vec![uuid]).await;
                }
            }
            self.logs.remove(uuid);
            self.hub.remove_device(uuid).await;
        }
        let mut starting = 0;
        for device in devices {
            let label = DeviceLabel {
                name: device.spec.name.clone(),
                tags: device.spec.tags.clone(),
                group: device.spec.group.clone(),
            };
            let before = self.known.get(&device.device_uuid);
            let relabelled = before.is_none_or(|before| before.label != label);
            let again = retried.contains(&device.device_uuid);
            if self.follow(device, &label, (starting, again), cancel).await {
                starting += 1;
            } else if relabelled {
                // One that is not live is not told of.
                self.hub.label_device(device.device_uuid, label).await;
            }
        }
    }

    /// Starts, restarts or ends the source of a device by what is wanted, or `again` as it is; true
    /// where one started, after `starting` others.
    async fn follow(
        &mut self,
        device: &DeviceRecord,
        label: &DeviceLabel,
        (starting, again): (u32, bool),
        cancel: &CancellationToken,
    ) -> bool {
        let uuid = device.device_uuid;
        let role = self.role(device);
        let known = self.known.entry(uuid).or_insert_with(|| Known {
            label: label.clone(),
            reading: None,
            is_replica: false,
        });
        known.label = label.clone();
        match (&known.reading, &role) {
            (None, Role::Off | Role::Elsewhere) if !known.is_replica => return false,
            (None, Role::Replica) if known.is_replica => return false,
            (Some(reading), Role::Run(wanted)) if reading.is_for(wanted) && !again => return false,
            _ => {}
        }
        let before = known.reading.take().map(|reading| {
            reading.cancel.cancel();
            reading.ended
        });
        let was_replica = std::mem::replace(&mut known.is_replica, role == Role::Replica);
        if let (Some(cluster), true) = (&self.cluster, was_replica && role != Role::Replica) {
            cluster.replicas().drop(vec![uuid]).await;
        }
        let wanted = match role {
            Role::Run(wanted) => *wanted,
            Role::Elsewhere => return false,
            Role::Off => {
                self.logs.remove(uuid);
                self.hub.remove_device(uuid).await;
                self.say_ended(uuid, before);
                return false;
            }
            Role::Replica => {
                if let Some(cluster) = self.cluster.clone() {
                    self.logs.set(uuid, cluster.logs().of(uuid));
                    let replicas = cluster.replicas();
                    let demand = replicas.demand();
                    if !self.hub.redirect(vec![uuid], demand).await.is_empty() {
                        self.hub.add_devices(vec![elsewhere(device)], demand).await;
                    }
                    replicas.follow(vec![(uuid, device.id)]).await;
                }
                self.say_ended(uuid, before);
                return false;
            }
        };
        let demand = Demand::default();
        // What another node told of it stands until its source here says otherwise.
        if !was_replica || !self.hub.redirect(vec![uuid], &demand).await.is_empty() {
            self.hub.add_devices(vec![connecting(device)], &demand).await;
        }
        let cancel = cancel.child_token();
        let (end, ended) = oneshot::channel();
        let told: Arc<Mutex<HashSet<_>>> = Arc::default();
        let pins = Pins { device: uuid, told: Arc::clone(&told), to: self.pins.0.clone() };
        let source = self.dial.source(device, demand, pins, cancel.clone());
        let until = cancel.clone();
        self.running.spawn(async move {
            // Dropped when the source has ended.
            let _end = end;
            // Two at once would fight for the device, and the older one's last word would stay.
            if let Some(before) = before {
                let _ = before.await;
            }
            tokio::select! {
                () = until.cancelled() => return,
                () = sleep(APART * starting) => {}
            }
            source.await;
        });
        if let Some(known) = self.known.get_mut(&uuid) {
            known.reading = Some(Running { made_for: wanted, cancel, ended, told });
        }
        true
    }

    /// What is done about a device here.
    fn role(&self, device: &DeviceRecord) -> Role {
        if device.source == SourceKind::Ssh && !device.spec.enabled {
            return Role::Off;
        }
        let Some(cluster) = &self.cluster else {
            return match device.source {
                SourceKind::Ssh => Role::Run(Box::new(Wanted::of(device))),
                _ => Role::Elsewhere,
            };
        };
        let (uuid, steward) = (device.device_uuid, cluster.steward());
        match device.source {
            // What an agent says here is good whether Redis answers or not, until it says it elsewhere.
            SourceKind::Agent | SourceKind::Simulated if steward.is_elsewhere(uuid) => {
                Role::Replica
            }
            SourceKind::Agent | SourceKind::Simulated => Role::Elsewhere,
            // This machine, too, may be another node's on it.
            SourceKind::Ssh | SourceKind::Local if steward.owns(uuid) => {
                Role::Run(Box::new(Wanted::of(device)))
            }
            SourceKind::Ssh | SourceKind::Local => Role::Replica,
        }
    }

    /// Says that the source of a device has ended, once it has: another node may begin.
    fn say_ended(&mut self, device: DeviceUuid, ended: Option<oneshot::Receiver<()>>) {
        let (Some(cluster), Some(ended)) = (self.cluster.clone(), ended) else { return };
        self.running.spawn(async move {
            let _ = ended.await;
            cluster.steward().ended(device).await;
        });
    }
}

/// What another node owns, and what this one does.
type Places = (watch::Receiver<Arc<Owned>>, watch::Receiver<Arc<HashMap<DeviceUuid, NodeId>>>);

/// Another node's devices, or this one's, became so.
async fn moved(places: &mut Option<Places>) {
    match places {
        Some((owned, owners)) if owned.has_changed().is_ok() => tokio::select! {
            _ = owned.changed() => {}
            _ = owners.changed() => {}
        },
        _ => std::future::pending().await,
    }
}

/// A device of which another node has not told yet.
fn elsewhere(device: &DeviceRecord) -> Device {
    let reason = Some("No node of the cluster has told of it yet".into());
    Device { state_reason: reason, ..connecting(device) }
}

/// A device that nothing is known of yet.
fn connecting(device: &DeviceRecord) -> Device {
    let now = Timestamp::now();
    Device {
        device_uuid: device.device_uuid,
        id: device.id,
        name: device.spec.name.clone(),
        tags: device.spec.tags.clone(),
        group: device.spec.group.clone(),
        source: device.source,
        state: DeviceState::Unreachable,
        state_reason: Some("Connecting".into()),
        state_since: now,
        facts: Facts::default(),
        engine: Engine::unknown(now),
    }
}
