//! Tells the other nodes what this one takes in of the devices that it owns.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use kobel_wire::{
    Container, ContainerId, ContainerState, DeviceId, DeviceState, DeviceUuid, Engine, Facts,
    Sample, Summary,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    Link, Owned, StewardHandle,
    link::BusError,
    report::{Report, pack},
    rooms::Names,
    scripts,
    wants::Wants,
};
use crate::{
    demand::{Need, UNWATCHED},
    hub::HubHandle,
    ingest::{DeviceUpdate, Inbox},
};

/// How often what others want is handed to the hub again.
const LOOK: Duration = Duration::from_secs(1);

/// How much too early a sample may come and still be told.
const EARLY: Duration = Duration::from_millis(250);

/// So many devices are written at once.
const AT_ONCE: usize = 64;

/// How long what was written is kept when nobody writes, s.
const KEPT: u64 = 24 * 3_600;

/// What is written.
#[derive(Debug, PartialEq)]
enum Write {
    /// The whole state: what was kept before is of no use any more.
    Key(Report),
    /// What changed since.
    More(Report),
    /// Figures: nobody misses them who does not hear them.
    Now(Report),
}

impl Write {
    fn parts(&self) -> (&'static str, &Report) {
        match self {
            Self::Key(report) => ("key", report),
            Self::More(report) => ("more", report),
            Self::Now(report) => ("now", report),
        }
    }
}

/// What was told of a device, and its newest state.
#[derive(Debug, Default)]
struct Mirror {
    facts: Option<Facts>,
    engine: Option<Engine>,
    state: Option<(DeviceState, Option<String>)>,
    sample: Option<Sample>,
    /// `None` while nobody took stock.
    containers: Option<BTreeMap<ContainerId, Container>>,
    summaries: Vec<Summary>,
    /// When the whole was written.
    key_at: Option<Instant>,
    /// When the last sample was told.
    told_at: Option<Instant>,
}

impl Mirror {
    /// Takes in what the hub took in; gives what is to be written, in this order. `need` is that of
    /// the other nodes.
    fn take(&mut self, update: DeviceUpdate, need: Need, now: Instant) -> Vec<Write> {
        let mut more = Report::default();
        let mut figures = Vec::new();
        if let Some(facts) = update.facts
            && self.facts.as_ref() != Some(&facts)
        {
            more.facts = Some(facts.clone());
            self.facts = Some(facts);
        }
        if let Some(engine) = update.engine
            && self.engine.as_ref() != Some(&engine)
        {
            more.engine = Some(engine.clone());
            self.engine = Some(engine);
        }
        if let Some(state) = update.state
            && self.state.as_ref() != Some(&state)
        {
            more.state = Some(state.clone());
            self.state = Some(state);
        }
        if let Some(inventory) = update.inventory {
            let known = self.containers.take();
            let all: BTreeMap<_, _> =
                inventory.iter().map(|c| (c.container_id.clone(), c.clone())).collect();
            let same = known.is_some_and(|known| {
                known.len() == all.len()
                    && all.iter().all(|(id, container)| {
                        known.get(id).is_some_and(|known| known.same_but_figures(container))
                    })
            });
            if same {
                figures.extend(inventory);
            } else {
                more.inventory = Some(inventory);
            }
            self.containers = Some(all);
        }
        for container in update.containers {
            let known = self.containers.get_or_insert_default();
            if container.state == ContainerState::Removed {
                known.remove(&container.container_id);
                more.containers.push(container);
                continue;
            }
            let before = known.insert(container.container_id.clone(), container.clone());
            if before.is_some_and(|before| before.same_but_figures(&container)) {
                figures.push(container);
            } else {
                more.containers.push(container);
            }
        }
        let new = update.sample.is_some();
        self.sample = update.sample.or(self.sample.take());
        self.summaries.extend(update.summaries);

        let key_due = self.key_at.is_none_or(|at| at + UNWATCHED <= now + EARLY);
        if key_due || !self.summaries.is_empty() {
            self.key_at = Some(now);
            self.told_at = Some(now);
            return vec![Write::Key(self.whole())];
        }
        let mut writes = Vec::new();
        if !more.is_empty() {
            writes.push(Write::More(more));
        }
        if let Need::Every(period) = need {
            let due = self.told_at.is_none_or(|at| at + period <= now + EARLY);
            let mut report = Report { containers: figures, ..Report::default() };
            if new && due {
                self.told_at = Some(now);
                report.sample.clone_from(&self.sample);
            }
            if !report.is_empty() {
                writes.push(Write::Now(report));
            }
        }
        writes
    }

    fn whole(&mut self) -> Report {
        Report {
            sample: self.sample.clone(),
            summaries: std::mem::take(&mut self.summaries),
            facts: self.facts.clone(),
            engine: self.engine.clone(),
            state: self.state.clone(),
            inventory: self.containers.as_ref().map(|all| all.values().cloned().collect()),
            containers: Vec::new(),
        }
    }
}

/// Tells the other nodes.
pub(super) struct Share {
    link: Link,
    names: Names,
    steward: StewardHandle,
    wants: Wants,
    mirrors: HashMap<DeviceUuid, Mirror>,
}

impl Share {
    pub(super) fn new(link: Link, names: Names, steward: StewardHandle, wants: Wants) -> Self {
        Self { link, names, steward, wants, mirrors: HashMap::new() }
    }

    /// Runs until cancelled; `inbox` has what the hub takes in of the devices that are owned.
    pub(super) async fn run(mut self, inbox: Inbox, hub: HubHandle, cancel: CancellationToken) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut owned = self.steward.owned();
        let mut wanted = self.wants.changes();
        let mut told = HashMap::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                reports = inbox.take() => self.write(reports, &owned).await,
                Ok(()) = wanted.changed() => self.tell_hub(&hub, &mut told).await,
                Ok(()) = owned.changed() => {
                    let owned = owned.borrow().clone();
                    self.mirrors.retain(|device, _| owned.contains_key(device));
                }
                _ = tick.tick() => {
                    self.wants.expire(Instant::now());
                    self.tell_hub(&hub, &mut told).await;
                    self.write_again(&owned).await;
                }
            }
        }
    }

    /// Hands what other nodes want to the hub, which asks it of the sources with what its own viewers
    /// want.
    async fn tell_hub(&self, hub: &HubHandle, told: &mut HashMap<DeviceId, u8>) {
        let wanted = self.wants.all();
        if wanted != *told {
            hub.others_need(wanted.clone()).await;
            *told = wanted;
        }
    }

    async fn write(
        &mut self,
        reports: HashMap<DeviceUuid, DeviceUpdate>,
        owned: &watch::Receiver<Arc<Owned>>,
    ) {
        let owned = Arc::clone(&owned.borrow());
        let now = Instant::now();
        let mut all = Vec::new();
        for (device, update) in reports {
            let Some(token) = owned.get(&device) else { continue };
            let mirror = self.mirrors.entry(device).or_default();
            let id = update.sample.as_ref().or(mirror.sample.as_ref()).map(|sample| sample.id);
            let need = id.map_or(Need::Unwatched, |id| self.wants.of(id));
            let writes = mirror.take(update, need, now);
            if !writes.is_empty() {
                all.push((device, *token, writes));
            }
        }
        self.carry_out(all).await;
    }

    /// Writes the whole of what could not be written.
    async fn write_again(&mut self, owned: &watch::Receiver<Arc<Owned>>) {
        let owned = Arc::clone(&owned.borrow());
        let now = Instant::now();
        let mut all = Vec::new();
        for (device, mirror) in &mut self.mirrors {
            if let (Some(token), None) = (owned.get(device), mirror.key_at) {
                mirror.key_at = Some(now);
                all.push((*device, *token, vec![Write::Key(mirror.whole())]));
            }
        }
        self.carry_out(all).await;
    }

    async fn carry_out(&mut self, all: Vec<(DeviceUuid, u64, Vec<Write>)>) {
        if all.is_empty() {
            return;
        }
        let (link, names) = (&self.link, &self.names);
        let written: Vec<_> = stream::iter(all)
            .map(|(device, token, writes)| async move {
                for write in &writes {
                    match carry_out(link, names, device, token, write).await {
                        Ok(-1) => return Some((device, true)),
                        Ok(_) => {}
                        Err(error) => {
                            tracing::debug!(%error, "cannot tell the other nodes of a device");
                            return Some((device, false));
                        }
                    }
                }
                None
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (device, refused) in written.into_iter().flatten() {
            // What was not written is in the next whole state.
            if let Some(mirror) = self.mirrors.get_mut(&device) {
                mirror.key_at = None;
            }
            if refused {
                self.steward.refused(device).await;
            }
        }
    }
}

async fn carry_out(
    link: &Link,
    names: &Names,
    device: DeviceUuid,
    token: u64,
    write: &Write,
) -> Result<i64, BusError> {
    let (what, report) = write.parts();
    let payload = pack(report)?;
    let (owner, feed) = (names.owner(device), names.feed(device));
    let channel = if what == "now" { names.now(device) } else { feed.clone() };
    let sent = &link.traffic().bytes_out;
    sent.fetch_add(payload.len() as u64, std::sync::atomic::Ordering::Relaxed);
    link.script(&scripts::WRITE, &[&owner, &feed], |call| {
        call.arg(token).arg(&channel).arg(link.publish_command()).arg(what).arg(payload).arg(KEPT);
    })
    .await
}

#[cfg(test)]
mod tests {
    use kobel_wire::Timestamp;

    use super::*;

    fn container(id: char, state: &str, cpu: f64) -> Container {
        serde_json::from_value(serde_json::json!({
            "deviceUuid": "0198c0de-0000-7000-8000-0000000000ab",
            "containerId": id.to_string().repeat(64), "name": id.to_string(), "image": "x",
            "state": state, "status": "", "cpu": cpu,
        }))
        .unwrap()
    }

    fn sample(second: i64) -> Sample {
        let device = container('a', "running", 0.0).device_uuid;
        Sample::empty(device, DeviceId(1), Timestamp::from_millis(second * 1_000))
    }

    fn kinds(writes: &[Write]) -> Vec<&'static str> {
        writes.iter().map(|write| write.parts().0).collect()
    }

    #[test]
    fn changes_are_told_at_once_and_figures_as_they_are_wanted() {
        let mut mirror = Mirror::default();
        let start = Instant::now();
        let second = |n: u64| start + Duration::from_secs(n);
        let of = |sample, containers: Vec<Container>| DeviceUpdate {
            sample,
            containers,
            ..DeviceUpdate::default()
        };
        let inventory = DeviceUpdate {
            inventory: Some(vec![container('a', "running", 1.0)]),
            ..DeviceUpdate::default()
        };
        let first = mirror.take(inventory, Need::Unwatched, second(0));
        let [Write::Key(whole)] = first.as_slice() else { panic!("{first:?}") };
        assert_eq!(whole.inventory.as_ref().unwrap().len(), 1);
        // Nobody looks: figures stay here, changes do not.
        let figures = vec![container('a', "running", 2.0)];
        let told = mirror.take(of(Some(sample(1)), figures), Need::Unwatched, second(1));
        assert_eq!(kinds(&told), [""; 0]);
        let stopped = vec![container('a', "exited", 0.0)];
        assert_eq!(kinds(&mirror.take(of(None, stopped), Need::Unwatched, second(2))), ["more"]);
        // Somebody looks each second, then each fifth.
        let every = |n| Need::Every(Duration::from_secs(n));
        let told = mirror.take(of(Some(sample(3)), vec![]), every(1), second(3));
        assert_eq!(kinds(&told), ["now"]);
        for n in 4..=8 {
            let told = mirror.take(of(Some(sample(n)), vec![]), every(5), second(n as u64));
            assert_eq!(kinds(&told).len(), usize::from(n == 8), "second {n}");
        }
        let told = mirror.take(of(None, vec![container('a', "removed", 0.0)]), every(1), second(9));
        assert_eq!(kinds(&told), ["more"]);
        // The whole, in its time.
        let told = mirror.take(of(Some(sample(30)), vec![]), every(1), second(30));
        let [Write::Key(whole)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(whole.inventory, Some(vec![]));
        assert_eq!(whole.sample.as_ref().unwrap().sampled_at, Timestamp::from_millis(30_000));
    }
}
