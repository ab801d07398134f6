//! Keeps this node's share of the devices: claims those that are its own to run and gives up those
//! that are not.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use kobel_wire::DeviceUuid;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    Eligible, Lease, Link, LinkState, Members, Message, NodeId, Standing,
    owners::{Step, step},
    rooms::Names,
    scripts,
};

/// How often it is looked whether anything is to be done.
const LOOK: Duration = Duration::from_secs(1);

/// How often everything that is written down is read again.
const REREAD: Duration = Duration::from_secs(10);

/// How long a source may take to end before its device is given up all the same: what it still writes
/// is refused.
const RELEASE: Duration = Duration::from_secs(3);

/// How long it is remembered who owns a device when nobody writes, s.
const REMEMBERED: u64 = 24 * 3_600;

/// So many questions are on the way to Redis at once.
const AT_ONCE: usize = 64;

/// Messages and orders that wait. Full: who gives an order waits; messages are dropped, since all is
/// read again.
const WAITING: usize = 4_096;

/// The devices that this node owns now, and the token of each.
pub type Owned = BTreeMap<DeviceUuid, u64>;

/// What others ask of the steward.
enum Order {
    Devices(Vec<(DeviceUuid, Eligible)>),
    Ended(DeviceUuid),
    Link { devices: Vec<DeviceUuid>, done: oneshot::Sender<()> },
    Refused(DeviceUuid),
    Drain(oneshot::Sender<()>),
}

/// The way to the steward.
#[derive(Clone)]
pub struct StewardHandle {
    node: NodeId,
    orders: mpsc::Sender<Order>,
    owned: watch::Receiver<Arc<Owned>>,
    owners: watch::Receiver<Arc<HashMap<DeviceUuid, NodeId>>>,
}

impl StewardHandle {
    /// The devices that this node owns. Whoever runs the source of one that is taken out of it ends
    /// it, and says so by [`StewardHandle::ended`].
    pub fn owned(&self) -> watch::Receiver<Arc<Owned>> {
        self.owned.clone()
    }

    /// Whether this node owns a device.
    pub fn owns(&self, device: DeviceUuid) -> bool {
        self.owned.borrow().contains_key(&device)
    }

    /// Whether another node owns a device, as far as is known, or nobody does.
    pub fn is_elsewhere(&self, device: DeviceUuid) -> bool {
        self.owners.borrow().get(&device).is_none_or(|owner| *owner != self.node)
    }

    /// Which node owns each device, as far as it is known.
    pub fn owners(&self) -> watch::Receiver<Arc<HashMap<DeviceUuid, NodeId>>> {
        self.owners.clone()
    }

    /// All devices that there are.
    pub async fn devices(&self, devices: Vec<(DeviceUuid, Eligible)>) {
        self.order(Order::Devices(devices)).await;
    }

    /// The source of a device that this node does not own any more has ended.
    pub async fn ended(&self, device: DeviceUuid) {
        self.order(Order::Ended(device)).await;
    }

    /// An agent speaks for these devices here, so this node owns them, whoever did before, until it
    /// speaks elsewhere. Returns once it is written down, or cannot be yet.
    pub async fn link(&self, devices: Vec<DeviceUuid>) {
        let (done, written) = oneshot::channel();
        self.order(Order::Link { devices, done }).await;
        let _ = written.await;
    }

    /// A write as the owner was refused.
    pub(super) async fn refused(&self, device: DeviceUuid) {
        self.order(Order::Refused(device)).await;
    }

    /// Gives all devices up to other nodes; returns when that is done, or nobody takes them.
    pub async fn drain(&self) {
        let (done, drained) = oneshot::channel();
        self.order(Order::Drain(done)).await;
        let _ = drained.await;
    }

    async fn order(&self, order: Order) {
        // A steward that has ended owns nothing.
        let _ = self.orders.send(order).await;
    }
}

/// Told on the channel of owners.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    device: DeviceUuid,
    node: String,
    token: String,
}

/// A device that is being given up.
struct Leaving {
    to: NodeId,
    since: Instant,
    ended: bool,
}

/// The steward.
pub(super) struct Steward {
    link: Link,
    names: Names,
    members: Members,
    orders: mpsc::Receiver<Order>,
    owned: watch::Sender<Arc<Owned>>,
    owners: watch::Sender<Arc<HashMap<DeviceUuid, NodeId>>>,
    devices: HashMap<DeviceUuid, Eligible>,
    /// What is written down, as far as it was read.
    standings: HashMap<DeviceUuid, Option<Standing>>,
    leaving: HashMap<DeviceUuid, Leaving>,
    /// Devices of agents that have a link here.
    linked: HashSet<DeviceUuid>,
    /// Those of them of which that is not written down yet.
    unwritten: HashSet<DeviceUuid>,
    draining: Option<(oneshot::Sender<()>, Instant)>,
}

impl Steward {
    /// A steward that owns nothing yet.
    pub(super) fn new(link: Link, names: Names, members: Members) -> (Self, StewardHandle) {
        let (send, orders) = mpsc::channel(WAITING);
        let owned = watch::Sender::new(Arc::<Owned>::default());
        let owners = watch::Sender::new(Arc::default());
        let handle = StewardHandle {
            node: members.node().clone(),
            orders: send,
            owned: owned.subscribe(),
            owners: owners.subscribe(),
        };
        let steward = Self {
            link,
            names,
            members,
            orders,
            owned,
            owners,
            devices: HashMap::new(),
            standings: HashMap::new(),
            leaving: HashMap::new(),
            linked: HashSet::new(),
            unwritten: HashSet::new(),
            draining: None,
        };
        (steward, handle)
    }

    /// The devices that this node owns.
    pub(super) fn owned(&self) -> watch::Receiver<Arc<Owned>> {
        self.owned.subscribe()
    }

    /// Runs until cancelled.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let (to, mut told) = mpsc::channel::<Message>(WAITING);
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut roll, mut lease) = (self.members.roll(), self.members.lease());
        let mut link = self.link.state();
        let mut heard_on = LinkState::Down;
        let mut reread = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Ok(()) = lease.changed() => {}
                Some(order) = self.orders.recv() => {
                    self.order(order).await;
                    while let Ok(order) = self.orders.try_recv() {
                        self.order(order).await;
                    }
                }
                Some(message) = told.recv() => {
                    self.told(&message);
                    while let Ok(message) = told.try_recv() {
                        self.told(&message);
                    }
                }
                Ok(()) = roll.changed() => {}
                Ok(()) = link.changed() => {}
                _ = tick.tick() => {}
            }
            let state = *link.borrow_and_update();
            if !matches!(*lease.borrow_and_update(), Lease::Held(_)) {
                self.let_go();
                continue;
            }
            if state == LinkState::Down {
                continue;
            }
            if state != heard_on {
                if let Err(error) = self.link.listen(&[self.names.owners()], &to).await {
                    tracing::debug!(%error, "cannot hear who owns what");
                    continue;
                }
                heard_on = state;
                self.standings.clear();
            }
            if reread <= Instant::now() {
                reread = Instant::now() + REREAD;
                self.standings.clear();
            }
            self.read().await;
            self.act().await;
            self.drained();
        }
        self.let_go();
    }

    /// Owns nothing from now on, whatever is written down.
    fn let_go(&mut self) {
        self.leaving.clear();
        self.standings.clear();
        self.owned.send_if_modified(|owned| {
            let had = !owned.is_empty();
            *owned = Arc::default();
            had
        });
        if let Some((done, _)) = self.draining.take() {
            let _ = done.send(());
        }
    }

    async fn order(&mut self, order: Order) {
        match order {
            Order::Devices(devices) => {
                self.devices = devices.into_iter().collect();
                // An agent's device may be newer than the list.
                let linked = self.linked.iter().map(|device| (*device, Eligible::Link));
                self.devices.extend(linked);
                let known = &self.devices;
                self.standings.retain(|device, _| known.contains_key(device));
                self.change(|owned| owned.retain(|device, _| known.contains_key(device)));
            }
            Order::Ended(device) => {
                if let Some(leaving) = self.leaving.get_mut(&device) {
                    leaving.ended = true;
                }
            }
            Order::Refused(device) => {
                self.standings.remove(&device);
            }
            Order::Link { devices, done } => {
                self.linked.extend(&devices);
                self.unwritten.extend(&devices);
                for device in &devices {
                    self.devices.entry(*device).or_insert(Eligible::Link);
                }
                if matches!(*self.members.lease().borrow(), Lease::Held(_)) {
                    self.read_these(devices).await;
                    self.write_links().await;
                }
                let _ = done.send(());
            }
            Order::Drain(done) => {
                self.members.announce(|info| info.draining = true);
                self.draining = Some((done, Instant::now() + RELEASE * 2));
            }
        }
    }

    fn told(&mut self, message: &Message) {
        let Ok(told) = serde_json::from_slice::<Told>(&message.payload) else { return };
        let standing = Standing { node: NodeId::from(told.node.as_str()), token: told.token };
        if self.devices.contains_key(&told.device) {
            self.stands(told.device, Some(standing));
        }
    }

    /// This is written down.
    fn stands(&mut self, device: DeviceUuid, standing: Option<Standing>) {
        let mine = standing.as_ref().filter(|standing| standing.node == *self.members.node());
        if mine.is_some() {
            self.unwritten.remove(&device);
        } else if standing.is_some() && !self.unwritten.contains(&device) {
            // Its agent has gone to another node.
            self.linked.remove(&device);
        }
        let token = mine.and_then(|standing| standing.token.parse::<u64>().ok());
        let leaving = self.leaving.contains_key(&device);
        // An agent's device is this node's while the agent has its link here.
        let linked =
            self.devices.get(&device) != Some(&Eligible::Link) || self.linked.contains(&device);
        self.change(|owned| match token {
            Some(token) if !leaving && linked => {
                owned.insert(device, token);
            }
            _ => {
                owned.remove(&device);
            }
        });
        if token.is_none() {
            self.leaving.remove(&device);
        }
        let node = standing.as_ref().map(|standing| standing.node.clone());
        self.owners.send_if_modified(|owners| {
            let changed = owners.get(&device) != node.as_ref();
            if changed {
                let owners = Arc::make_mut(owners);
                match node {
                    Some(node) => owners.insert(device, node),
                    None => owners.remove(&device),
                };
            }
            changed
        });
        self.standings.insert(device, standing);
    }

    fn change(&self, change: impl FnOnce(&mut Owned)) {
        self.owned.send_if_modified(|owned| {
            let mut new = Owned::clone(owned);
            change(&mut new);
            let changed = new != **owned;
            if changed {
                *owned = Arc::new(new);
            }
            changed
        });
    }

    /// Reads what is written down of the devices of which that is not known.
    async fn read(&mut self) {
        let unread = self.devices.keys().filter(|device| !self.standings.contains_key(device));
        self.read_these(unread.copied().collect()).await;
    }

    async fn read_these(&mut self, devices: Vec<DeviceUuid>) {
        let (link, names) = (&self.link, &self.names);
        let read: Vec<_> = stream::iter(devices)
            .map(|device| async move {
                let mut cmd = redis::cmd("HMGET");
                cmd.arg(names.owner(device)).arg("node").arg("token");
                let read: Result<(Option<String>, Option<String>), _> = link.command(&cmd).await;
                (device, read)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut forgotten = Vec::new();
        for (device, read) in read {
            match read {
                Ok((Some(node), Some(token))) => {
                    let node = NodeId::from(node.as_str());
                    self.stands(device, Some(Standing { node, token }));
                }
                // Redis has lost its memory, and this node its place in it; not its device.
                Ok(_) if self.owned.borrow().contains_key(&device) => forgotten.push(device),
                Ok(_) => self.stands(device, None),
                Err(error) => tracing::debug!(%error, "cannot read who owns a device"),
            }
        }
        for device in forgotten {
            self.claim(device, String::new()).await;
        }
    }

    /// Takes the devices of agents that have come here, whoever had them.
    async fn write_links(&mut self) {
        let known = |device: &&DeviceUuid| self.standings.contains_key(device);
        let ready: Vec<_> = self.unwritten.iter().filter(known).copied().collect();
        for device in ready {
            let standing = self.standings.get(&device).and_then(Option::as_ref);
            let token = standing.map_or_else(String::new, |standing| standing.token.clone());
            self.claim(device, token).await;
        }
    }

    async fn act(&mut self) {
        self.write_links().await;
        let roll = Arc::clone(&self.members.roll().borrow());
        let me = self.members.node().clone();
        let mut steps = Vec::new();
        for (device, eligible) in &self.devices {
            let Some(standing) = self.standings.get(device) else { continue };
            match step(&me, *device, eligible, standing.as_ref(), &roll) {
                Step::Rest => {}
                step => steps.push((*device, step)),
            }
        }
        for (device, step) in steps {
            if let Step::HandTo(to) = step {
                self.leaving.entry(device).or_insert_with(|| Leaving {
                    to,
                    since: Instant::now(),
                    ended: false,
                });
            } else if let Step::Claim(expected) = step {
                self.claim(device, expected).await;
            }
        }
        let leaving: HashSet<_> = self.leaving.keys().copied().collect();
        self.change(|owned| owned.retain(|device, _| !leaving.contains(device)));
        let now = Instant::now();
        let ready = self.leaving.iter().filter(|(_, leaving)| {
            leaving.ended || now.saturating_duration_since(leaving.since) >= RELEASE
        });
        let ready: Vec<_> = ready.map(|(device, leaving)| (*device, leaving.to.clone())).collect();
        for (device, to) in ready {
            let standing = self.standings.get(&device).and_then(Option::as_ref);
            let Some(token) = standing.map(|standing| standing.token.clone()) else { continue };
            self.write(device, &token, &to).await;
            self.leaving.remove(&device);
        }
    }

    async fn claim(&mut self, device: DeviceUuid, expected: String) {
        let me = self.members.node().clone();
        self.write(device, &expected, &me).await;
    }

    /// Writes a new owner down, where what is expected is there still, and tells everybody.
    async fn write(&mut self, device: DeviceUuid, expected: &str, to: &NodeId) {
        let key = self.names.owner(device);
        let written: Result<(i64, String, String), _> = self
            .link
            .script(&scripts::CLAIM, &[&key], |call| {
                call.arg(expected).arg(to.as_str()).arg(REMEMBERED);
            })
            .await;
        match written {
            Ok((done, node, token)) => {
                let standing = Standing { node: NodeId::from(node.as_str()), token };
                if done == 1 {
                    tracing::debug!(%device, node, "owner");
                    let told = Told { device, node, token: standing.token.clone() };
                    if let Ok(told) = serde_json::to_vec(&told)
                        && let Err(error) = self.link.tell(&self.names.owners(), &told).await
                    {
                        tracing::debug!(%error, "cannot tell who owns a device");
                    }
                }
                let there = (!standing.token.is_empty()).then_some(standing);
                self.stands(device, there);
            }
            Err(error) => {
                tracing::debug!(%error, "cannot write down who owns a device");
                self.standings.remove(&device);
            }
        }
    }

    fn drained(&mut self) {
        let Some((_, until)) = &self.draining else { return };
        let me = self.members.node();
        let roll = self.members.roll();
        let alone = !roll.borrow().iter().any(|(node, info)| node != me && !info.draining);
        let mine = |device: &DeviceUuid| self.devices.get(device) == Some(&Eligible::Any);
        let done = self.leaving.is_empty() && !self.owned.borrow().keys().any(mine);
        if (done || alone || *until <= Instant::now())
            && let Some((done, _)) = self.draining.take()
        {
            let _ = done.send(());
        }
    }
}
