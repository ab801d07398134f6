//! What other nodes own, kept here as they tell it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use kobel_wire::{DeviceId, DeviceUuid};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    Link, LinkState, Members, Message, NodeId, StewardHandle,
    link::BusError,
    report::{Report, pack, unpack},
    rooms::Names,
    wants::{SAID, Wanted, Wants},
};
use crate::{
    demand::{Demand, Need},
    ingest::Ingest,
};

/// How long after a change of what is wanted it is said: changes come together.
const GATHER: Duration = Duration::from_millis(20);

/// Messages and orders that wait. Messages: full, they are dropped, and numbers tell; orders: who
/// gives one waits.
const WAITING: usize = 16_384;

/// So many devices are read at once.
const AT_ONCE: usize = 64;

/// What is to be done with a message.
#[derive(Debug, PartialEq, Eq)]
enum Take {
    /// It is the next one.
    Apply,
    /// It is known, or from an owner of before.
    Leave,
    /// Something before it is missing.
    Missing,
}

/// How far a device's feed was read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Place {
    token: u64,
    n: u64,
}

impl Place {
    fn take(&mut self, token: u64, n: u64) -> Take {
        if token < self.token {
            return Take::Leave;
        }
        if n == 0 {
            self.token = token;
            return Take::Apply;
        }
        if token == self.token && n <= self.n {
            return Take::Leave;
        }
        if n != self.n + 1 {
            return Take::Missing;
        }
        *self = Self { token, n };
        Take::Apply
    }

    /// Which of the entries that are kept are new, oldest first; after that nothing is missing.
    fn catch_up<T>(&mut self, kept: Vec<(Self, T)>) -> Vec<T> {
        let Some((last, _)) = kept.last() else { return Vec::new() };
        // Where Redis has lost its memory numbers begin anew.
        let anew = last.n < self.n || (last.n == self.n && last.token != self.token);
        let known = if anew { 0 } else { self.n };
        *self = Self { token: last.token.max(self.token), n: last.n };
        kept.into_iter().filter(|(place, _)| place.n > known).map(|(_, entry)| entry).collect()
    }
}

/// A device that another node owns.
struct Replica {
    id: DeviceId,
    place: Place,
    need: Need,
    /// Nothing is missing, as far as is known.
    synced: bool,
}

enum Order {
    Follow(Vec<(DeviceUuid, DeviceId)>),
    Drop(Vec<DeviceUuid>),
    Log(String, bool),
}

/// The way to the replicas.
#[derive(Clone)]
pub struct ReplicasHandle {
    orders: mpsc::Sender<Order>,
    demand: Demand,
}

impl ReplicasHandle {
    /// Where the hub is to say what is needed of these devices.
    pub fn demand(&self) -> &Demand {
        &self.demand
    }

    /// Keeps these as their owners tell it. The hub must know them.
    pub async fn follow(&self, devices: Vec<(DeviceUuid, DeviceId)>) {
        let _ = self.orders.send(Order::Follow(devices)).await;
    }

    /// Keeps these no more.
    pub async fn drop(&self, devices: Vec<DeviceUuid>) {
        let _ = self.orders.send(Order::Drop(devices)).await;
    }

    /// Whether a log is wanted here.
    pub(super) async fn log(&self, stream: String, wanted: bool) {
        let _ = self.orders.send(Order::Log(stream, wanted)).await;
    }
}

/// Keeps replicas.
pub(super) struct Replicas {
    link: Link,
    names: Names,
    members: Members,
    steward: StewardHandle,
    wants: Wants,
    ingest: Ingest,
    orders: mpsc::Receiver<Order>,
    demand: Demand,
    devices: HashMap<DeviceUuid, Replica>,
    /// What the hub needs of devices; it may say so before they are followed.
    needs: HashMap<DeviceUuid, Need>,
    /// By the names of their channels.
    channels: HashMap<String, DeviceUuid>,
    logs: HashSet<String>,
    /// The nodes that know of something that is wanted of them.
    asked: HashSet<NodeId>,
}

impl Replicas {
    pub(super) fn new(
        link: Link,
        names: Names,
        members: Members,
        steward: StewardHandle,
        wants: Wants,
        ingest: Ingest,
    ) -> (Self, ReplicasHandle) {
        let (send, orders) = mpsc::channel(WAITING);
        let demand = Demand::default();
        let handle = ReplicasHandle { orders: send, demand: demand.clone() };
        let replicas = Self {
            link,
            names,
            members,
            steward,
            wants,
            ingest,
            orders,
            demand,
            devices: HashMap::new(),
            needs: HashMap::new(),
            channels: HashMap::new(),
            logs: HashSet::new(),
            asked: HashSet::new(),
        };
        (replicas, handle)
    }

    /// Runs until cancelled.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let (to, mut messages) = mpsc::channel::<Message>(WAITING);
        let own = self.names.node(self.members.node());
        let mut link = self.link.state();
        let mut owners = self.steward.owners();
        let mut tick = interval(SAID);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut listening = LinkState::Down;
        let mut say_at: Option<Instant> = None;
        let demand = self.demand.clone();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                Ok(()) = link.changed() => {}
                Some(order) = self.orders.recv() => {
                    self.order(order, &to).await;
                    say_at.get_or_insert(Instant::now() + GATHER);
                }
                Some(message) = messages.recv() => {
                    self.heard(message, &own).await;
                    while let Ok(message) = messages.try_recv() {
                        self.heard(message, &own).await;
                    }
                }
                changed = demand.changed() => {
                    self.needs(changed, &to).await;
                    say_at.get_or_insert(Instant::now() + GATHER);
                }
                Ok(()) = owners.changed() => { say_at.get_or_insert(Instant::now() + GATHER); }
                () = tokio::time::sleep_until(say_at.unwrap_or_else(Instant::now)),
                    if say_at.is_some() =>
                {
                    say_at = None;
                    self.say().await;
                }
                _ = tick.tick() => { say_at.get_or_insert(Instant::now()); }
            }
            let state = *link.borrow_and_update();
            if state != listening {
                listening = state;
                if state != LinkState::Down {
                    if let Err(error) = self.link.listen(std::slice::from_ref(&own), &to).await {
                        tracing::debug!(%error, "cannot hear what other nodes want");
                        listening = LinkState::Down;
                    }
                    self.devices.values_mut().for_each(|replica| replica.synced = false);
                }
            }
            if state != LinkState::Down {
                self.catch_up().await;
            }
        }
    }

    async fn order(&mut self, order: Order, to: &mpsc::Sender<Message>) {
        match order {
            Order::Follow(devices) => {
                let mut channels = Vec::new();
                for (device, id) in devices {
                    if self.devices.contains_key(&device) {
                        continue;
                    }
                    let feed = self.names.feed(device);
                    self.channels.insert(feed.clone(), device);
                    channels.push(feed);
                    let place = Place::default();
                    let need = self.needs.get(&device).copied().unwrap_or(Need::Unwatched);
                    if need != Need::Unwatched {
                        let now = self.names.now(device);
                        self.channels.insert(now.clone(), device);
                        channels.push(now);
                    }
                    let replica = Replica { id, place, need, synced: false };
                    self.devices.insert(device, replica);
                }
                if let Err(error) = self.link.listen(&channels, to).await {
                    tracing::debug!(%error, "cannot hear of other nodes' devices yet");
                }
            }
            Order::Drop(devices) => {
                let mut channels = Vec::new();
                for device in devices {
                    self.needs.remove(&device);
                    if self.devices.remove(&device).is_some() {
                        channels.extend([self.names.feed(device), self.names.now(device)]);
                    }
                }
                for channel in &channels {
                    self.channels.remove(channel);
                }
                self.link.forget(&channels).await;
            }
            Order::Log(stream, wanted) => {
                if wanted {
                    self.logs.insert(stream);
                } else {
                    self.logs.remove(&stream);
                }
            }
        }
    }

    /// The hub needs these so often now: it is heard how they fare while it needs it.
    async fn needs(&mut self, changed: Vec<(DeviceUuid, Need)>, to: &mpsc::Sender<Message>) {
        let (mut more, mut less) = (Vec::new(), Vec::new());
        for (device, need) in changed {
            self.needs.insert(device, need);
            let Some(replica) = self.devices.get_mut(&device) else { continue };
            let before = std::mem::replace(&mut replica.need, need);
            let channel = self.names.now(device);
            match (before, need) {
                (Need::Unwatched, Need::Every(_)) => {
                    self.channels.insert(channel.clone(), device);
                    more.push(channel);
                }
                (Need::Every(_), Need::Unwatched) => {
                    self.channels.remove(&channel);
                    less.push(channel);
                }
                _ => {}
            }
        }
        if !more.is_empty()
            && let Err(error) = self.link.listen(&more, to).await
        {
            tracing::debug!(%error, "cannot hear samples of other nodes' devices yet");
        }
        if !less.is_empty() {
            self.link.forget(&less).await;
        }
    }

    /// Says to each node what is wanted of it.
    async fn say(&mut self) {
        let me = self.members.node().clone();
        let owners = Arc::clone(&self.steward.owners().borrow());
        let mut wanted: HashMap<&NodeId, Wanted> = HashMap::new();
        for (device, replica) in &self.devices {
            let Some(owner) = owners.get(device).filter(|owner| **owner != me) else { continue };
            if let Need::Every(period) = replica.need {
                let seconds = u8::try_from(period.as_secs()).unwrap_or(30);
                let of = wanted.entry(owner).or_default();
                of.devices.entry(seconds).or_default().push(replica.id.0);
            }
        }
        for log in &self.logs {
            let device = log.split(':').next().and_then(|device| device.parse().ok());
            let owner = device.and_then(|device: DeviceUuid| owners.get(&device));
            if let Some(owner) = owner.filter(|owner| **owner != me) {
                wanted.entry(owner).or_default().logs.push(log.clone());
            }
        }
        // Who was asked for something is told that it is no more.
        let asked: HashSet<NodeId> = wanted.keys().map(|node| (*node).clone()).collect();
        let before = std::mem::replace(&mut self.asked, asked);
        for node in self.asked.union(&before) {
            let mut message = wanted.remove(node).unwrap_or_default();
            message.from = me.to_string();
            let told = match pack(&message) {
                Ok(message) => self.link.tell(&self.names.node(node), &message).await,
                Err(error) => Err(error),
            };
            if let Err(error) = told {
                tracing::debug!(%error, "cannot tell a node what is wanted of it");
                return;
            }
        }
    }

    async fn heard(&mut self, message: Message, own: &str) {
        if *message.channel == *own {
            match unpack::<Wanted>(&message.payload) {
                Ok(wanted) => self.wants.hear(&wanted, Instant::now()),
                Err(error) => tracing::debug!(%error, "what a node wants cannot be read"),
            }
            return;
        }
        let Some(device) = self.channels.get(&*message.channel).copied() else { return };
        let Some(replica) = self.devices.get_mut(&device) else { return };
        // What this node writes comes back to it.
        if self.steward.owns(device) {
            return;
        }
        if !replica.synced && message.n > 0 {
            // It is in what is read then.
            return;
        }
        match replica.place.take(message.token, message.n) {
            Take::Apply => apply(&self.ingest, device, replica.id, &message.payload),
            Take::Leave => {}
            Take::Missing => replica.synced = false,
        }
    }

    /// Reads what is missing.
    async fn catch_up(&mut self) {
        let behind = self.devices.iter().filter(|(_, replica)| !replica.synced);
        let behind: Vec<_> = behind.map(|(device, _)| *device).collect();
        if behind.is_empty() {
            return;
        }
        let (link, names) = (&self.link, &self.names);
        let read: Vec<_> = stream::iter(behind)
            .map(|device| async move { (device, kept(link, &names.feed(device)).await) })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (device, read) in read {
            let Some(replica) = self.devices.get_mut(&device) else { continue };
            match read {
                Ok(entries) => {
                    replica.synced = true;
                    for payload in replica.place.catch_up(entries) {
                        apply(&self.ingest, device, replica.id, &payload);
                    }
                }
                Err(error) => tracing::debug!(%error, "cannot read what another node told"),
            }
        }
    }
}

/// What is kept of a feed, oldest first.
async fn kept(link: &Link, feed: &str) -> Result<Vec<(Place, Bytes)>, BusError> {
    let mut cmd = redis::cmd("XRANGE");
    cmd.arg(feed).arg("-").arg("+");
    let entries: Vec<(String, Vec<Vec<u8>>)> = link.command(&cmd).await?;
    let mut kept = Vec::with_capacity(entries.len());
    for (id, fields) in entries {
        let n = id.split('-').next().and_then(|n| n.parse().ok());
        let [t, token, p, payload] = fields.as_slice() else { continue };
        let token = std::str::from_utf8(token).ok().and_then(|token| token.parse().ok());
        if let (b"t", b"p", Some(n), Some(token)) = (t.as_slice(), p.as_slice(), n, token) {
            kept.push((Place { token, n }, Bytes::copy_from_slice(payload)));
        }
    }
    Ok(kept)
}

/// Hands a report to the hub as a source would.
fn apply(ingest: &Ingest, device: DeviceUuid, id: DeviceId, payload: &[u8]) {
    let report = match unpack::<Report>(payload) {
        Ok(report) => report,
        Err(error) => {
            return tracing::warn!(%device, %error, "what another node told cannot be read");
        }
    };
    let Report { sample, summaries, facts, engine, state, inventory, containers } = report;
    if let Some(facts) = facts {
        ingest.facts(device, facts);
    }
    if let Some(engine) = engine {
        ingest.engine(device, engine);
    }
    if let Some((state, reason)) = state {
        ingest.state(device, state, reason);
    }
    // What a message says is about the device whose channel it came by.
    let own = |container: &kobel_wire::Container| container.device_uuid == device;
    if let Some(mut inventory) = inventory {
        inventory.retain(own);
        ingest.inventory(device, inventory);
    }
    for container in containers.into_iter().filter(own) {
        ingest.container(container);
    }
    for summary in summaries.into_iter().filter(|s| s.device_uuid == device && s.id == id) {
        ingest.summary(summary);
    }
    if let Some(sample) = sample.filter(|s| s.device_uuid == device && s.id == id) {
        ingest.sample(sample);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_old_or_missing_is_known() {
        let mut place = Place { token: 5, n: 3 };
        for (token, n, take, after) in [
            (5, 3, Take::Leave, (5, 3)),
            (4, 4, Take::Leave, (5, 3)),
            (5, 4, Take::Apply, (5, 4)),
            (5, 0, Take::Apply, (5, 4)),
            (4, 0, Take::Leave, (5, 4)),
            (5, 6, Take::Missing, (5, 4)),
            (6, 5, Take::Apply, (6, 5)),
            (6, 0, Take::Apply, (6, 5)),
            // Redis forgot: numbers begin anew, tokens do not.
            (9, 1, Take::Missing, (6, 5)),
        ] {
            assert_eq!(place.take(token, n), take, "{token} {n}");
            assert_eq!((place.token, place.n), after, "{token} {n}");
        }
        let kept = vec![(Place { token: 9, n: 1 }, "key"), (Place { token: 9, n: 2 }, "more")];
        assert_eq!(place.catch_up(kept), ["key", "more"]);
        assert_eq!(place, Place { token: 9, n: 2 });
    }

    proptest! {
        /// Whatever is lost on the way: once caught up, the reader has applied the last whole state
        /// and each change since, in order; nothing twice.
        #[test]
        fn who_catches_up_knows_everything(
            writes in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 1..60)
        ) {
            let (mut kept, mut place, mut synced) = (Vec::new(), Place::default(), false);
            let (mut applied, mut n, mut last_key) = (Vec::new(), 0, 0);
            for (is_key, is_lost, reads) in writes {
                n += 1;
                let at = Place { token: 1, n };
                if is_key || n == 1 {
                    kept.clear();
                    last_key = n;
                }
                kept.push((at, n));
                if !is_lost && synced {
                    match place.take(at.token, n) {
                        Take::Apply => applied.push(n),
                        Take::Leave => prop_assert!(false, "nothing comes twice"),
                        Take::Missing => synced = false,
                    }
                }
                if reads && !synced {
                    applied.extend(place.catch_up(kept.clone()));
                    synced = true;
                }
            }
            applied.extend(place.catch_up(kept));
            prop_assert!(applied.windows(2).all(|pair| pair[0] < pair[1]), "{applied:?}");
            let since: Vec<_> = applied.iter().copied().filter(|a| *a >= last_key).collect();
            prop_assert_eq!(since, (last_key..=n).collect::<Vec<_>>());
        }
    }
}
