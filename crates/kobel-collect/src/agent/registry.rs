//! Which link speaks for which device, and how far each run has come.
//!
//! Both outlive a connection: after a new one the hub says where the agent goes on. A run that has
//! been away for longer than its agent keeps reports is forgotten.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kobel_hub::access::{Access, CredentialId};
use kobel_wire::{DeviceUuid, proto::HubRefusal};
use tokio::{sync::Notify, time::Instant};

use super::logs::Command;

/// How long a run without a link is remembered: agents keep reports for an hour.
const REMEMBERED: Duration = Duration::from_secs(2 * 3_600);

/// How often it is looked for those that are forgotten.
const SWEEP: Duration = Duration::from_secs(60);

/// The most runs that are remembered; beyond it those that left first are forgotten.
const RUNS: usize = 10_000;

/// The number of a link; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LinkId(u64);

/// Names a run for ever: by which credential, instance and run. Who knows the name of another's run
/// cannot end its link.
pub(super) type RunName = (Option<CredentialId>, String, String);

/// How far a run has come. Held by its newest link, and locked while a message is taken in: an
/// older link of the same run cannot report a thing any more.
#[derive(Debug)]
pub(super) struct Progress {
    /// Whose it is.
    pub(super) link: LinkId,
    /// The last number that was taken in.
    pub(super) last: u64,
    /// Reports that the agent gave up, as it last said.
    pub(super) shed: u64,
}

/// What others tell a link's task. Bounded: a device of the link is lost once.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    letters: Mutex<Letters>,
    pub(super) ready: Notify,
}

/// What a link's task finds in its mailbox.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// Devices that another link speaks for now.
    pub(super) lost: Vec<DeviceUuid>,
    /// The link must end, with these words to the agent.
    pub(super) end: Option<HubRefusal>,
    /// Logs that are to be asked for or given up, in order. Bounded by those that are followed.
    pub(super) logs: Vec<Command>,
}

impl Mailbox {
    /// Puts something in, and wakes the link's task.
    pub(super) fn put(&self, put: impl FnOnce(&mut Letters)) {
        put(&mut self.letters.lock().unwrap_or_else(PoisonError::into_inner));
        self.ready.notify_one();
    }

    /// Everything in it.
    pub(super) fn take(&self) -> Letters {
        mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug)]
struct Link {
    mailbox: Arc<Mailbox>,
    credential: CredentialId,
    access: Arc<Access>,
}

#[derive(Debug)]
struct Run {
    progress: Arc<Mutex<Progress>>,
    /// When its link ended; `None` while it is up.
    left: Option<Instant>,
}

#[derive(Debug)]
struct Owned {
    link: Option<LinkId>,
    /// The run that told of the device's containers last.
    run: Arc<RunName>,
    containers: Arc<Mutex<HashSet<u64>>>,
}

/// A device that a link speaks for from now on.
#[derive(Debug)]
pub(super) struct Speech {
    /// Hashes of the ids of the containers that were reported of it, by whatever link. Only for a
    /// bound: two with the same hash count as one.
    pub(super) containers: Arc<Mutex<HashSet<u64>>>,
    /// Whether another run told of its containers last.
    pub(super) is_new: bool,
}

#[derive(Debug, Default)]
struct Table {
    next_link: u64,
    swept: Option<Instant>,
    links: BTreeMap<LinkId, Link>,
    runs: HashMap<Arc<RunName>, Run>,
    devices: HashMap<DeviceUuid, Owned>,
}

/// All links of a hub. Cloned freely; held for a look into a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Registry(Arc<Mutex<Table>>);

/// A link's place in the registry; given back by [`Registry::leave`].
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) link: LinkId,
    pub(super) mailbox: Arc<Mailbox>,
}

impl Registry {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new link.
    pub(super) fn enter(&self, credential: CredentialId, access: Arc<Access>) -> Seat {
        let mut table = self.table();
        let link = LinkId(table.next_link);
        table.next_link += 1;
        let mailbox = Arc::new(Mailbox::default());
        table.links.insert(link, Link { mailbox: Arc::clone(&mailbox), credential, access });
        Seat { link, mailbox }
    }

    /// A link says of which run of an instance it is. An older link of the same run must end, with
    /// these words.
    pub(super) fn begin_run(
        &self,
        link: LinkId,
        (instance, run): (String, String),
        replaced: HubRefusal,
        now: Instant,
    ) -> (Arc<RunName>, Arc<Mutex<Progress>>) {
        let mut table = self.table();
        table.forget_runs(now);
        let credential = table.links.get(&link).map(|link| link.credential);
        let run = Arc::new((credential, instance, run));
        let known = table.runs.entry(Arc::clone(&run)).or_insert_with(|| {
            let progress = Arc::new(Mutex::new(Progress { link, last: 0, shed: 0 }));
            Run { progress, left: None }
        });
        let progress = Arc::clone(&known.progress);
        known.left = None;
        let before = {
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            mem::replace(&mut progress.link, link)
        };
        if before != link
            && let Some(older) = table.links.get(&before)
        {
            older.mailbox.put(|letters| letters.end = Some(replaced));
        }
        (run, progress)
    }

    /// A link speaks for this device from now on; another one that did is told.
    pub(super) fn own(&self, link: LinkId, run: &Arc<RunName>, device: DeviceUuid) -> Speech {
        let mut table = self.table();
        let before = table.devices.remove(&device);
        if let Some(other) = before.as_ref().and_then(|before| before.link)
            && other != link
            && let Some(other) = table.links.get(&other)
        {
            other.mailbox.put(|letters| letters.lost.push(device));
        }
        let is_new = before.as_ref().is_none_or(|before| before.run != *run);
        let containers = before.map(|before| before.containers).unwrap_or_default();
        let owned =
            Owned { link: Some(link), run: Arc::clone(run), containers: containers.clone() };
        table.devices.insert(device, owned);
        Speech { containers, is_new }
    }

    /// A link has ended; gives the devices that nobody speaks for now.
    pub(super) fn leave(
        &self,
        link: LinkId,
        run: Option<&Arc<RunName>>,
        devices: impl Iterator<Item = DeviceUuid>,
        now: Instant,
    ) -> Vec<DeviceUuid> {
        let mut table = self.table();
        table.links.remove(&link);
        if let Some(run) = run.and_then(|run| table.runs.get_mut(run)) {
            let progress = run.progress.lock().unwrap_or_else(PoisonError::into_inner);
            if progress.link == link {
                run.left = Some(now);
            }
        }
        devices
            .filter(|device| match table.devices.get_mut(device) {
                Some(owned) if owned.link == Some(link) => {
                    owned.link = None;
                    true
                }
                _ => false,
            })
            .collect()
    }

    /// Links lose the devices of which that holds: they are spoken for elsewhere.
    pub(super) fn lose(&self, lost: impl Fn(DeviceUuid) -> bool) {
        let mut table = self.table();
        let Table { devices, links, .. } = &mut *table;
        for (device, owned) in devices.iter_mut().filter(|(device, _)| lost(**device)) {
            if let Some(link) = owned.link.take().and_then(|link| links.get(&link)) {
                link.mailbox.put(|letters| letters.lost.push(*device));
            }
        }
    }

    /// How many devices a link speaks for.
    pub(super) fn devices(&self) -> u64 {
        self.table().devices.values().filter(|owned| owned.link.is_some()).count() as u64
    }

    /// How many links there are.
    pub(super) fn links(&self) -> usize {
        self.table().links.len()
    }

    /// By which credentials links came in, with the access that each gave: each pair once.
    pub(super) fn credentials(&self) -> Vec<(CredentialId, Arc<Access>)> {
        let table = self.table();
        let mut all: Vec<(CredentialId, Arc<Access>)> = Vec::new();
        for link in table.links.values() {
            if !all.iter().any(|(c, access)| *c == link.credential && *access == link.access) {
                all.push((link.credential, Arc::clone(&link.access)));
            }
        }
        all
    }

    /// Ends every link that came in by this credential.
    pub(super) fn end(&self, credential: CredentialId, words: &HubRefusal) {
        for link in self.table().links.values().filter(|link| link.credential == credential) {
            link.mailbox.put(|letters| letters.end = Some(words.clone()));
        }
    }
}

impl Table {
    fn forget_runs(&mut self, now: Instant) {
        let stays = |run: &Run| {
            run.left.is_none_or(|left| now.saturating_duration_since(left) < REMEMBERED)
        };
        let recently = self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP);
        if self.runs.len() < RUNS && recently {
            return;
        }
        self.swept = Some(now);
        self.runs.retain(|_, run| stays(run));
        if self.runs.len() < RUNS {
            return;
        }
        let mut left: Vec<_> = self
            .runs
            .iter()
            .filter_map(|(name, run)| Some((run.left?, Arc::clone(name))))
            .collect();
        left.sort_by_key(|(left, _)| *left);
        let most = RUNS * 9 / 10;
        let excess = self.runs.len().saturating_sub(most);
        for (_, name) in left.into_iter().take(excess) {
            self.runs.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use kobel_hub::access::DeviceScope;
    use kobel_wire::Role;

    use super::*;

    fn enter(registry: &Registry, token: i64) -> Seat {
        let access = Arc::new(Access { role: Role::Agent, devices: DeviceScope::All });
        registry.enter(CredentialId::Token(token), access)
    }

    fn begin(registry: &Registry, seat: &Seat, run: &str) -> (Arc<RunName>, Arc<Mutex<Progress>>) {
        let run = ("host".to_owned(), run.to_owned());
        let words = HubRefusal { message: "anew".into(), ..HubRefusal::default() };
        registry.begin_run(seat.link, run, words, Instant::now())
    }

    #[test]
    fn the_newest_link_speaks_for_a_device() {
        let registry = Registry::default();
        let (old, new) = (enter(&registry, 1), enter(&registry, 2));
        let device = DeviceUuid::generate();
        let (run_a, _) = begin(&registry, &old, "a");
        let (run_b, _) = begin(&registry, &new, "b");
        assert!(registry.own(old.link, &run_a, device).is_new);
        assert!(!registry.own(old.link, &run_a, device).is_new, "its containers are known by then");
        assert!(registry.own(new.link, &run_b, device).is_new);
        assert_eq!(old.mailbox.take().lost, [device]);
        assert_eq!(registry.devices(), 1);
        // The old one's end says nothing about a device that is the new one's.
        assert!(
            registry.leave(old.link, Some(&run_a), [device].into_iter(), Instant::now()).is_empty()
        );
        let ended = registry.leave(new.link, Some(&run_b), [device].into_iter(), Instant::now());
        assert_eq!((ended, registry.devices()), (vec![device], 0));
        let again = enter(&registry, 2);
        assert!(!registry.own(again.link, &run_b, device).is_new, "the same run goes on");
    }

    #[test]
    fn a_run_has_one_link_and_goes_on_where_it_was() {
        let registry = Registry::default();
        let first = enter(&registry, 1);
        let (run, progress) = begin(&registry, &first, "a");
        progress.lock().unwrap().last = 7;
        let second = enter(&registry, 1);
        let (_, progress) = begin(&registry, &second, "a");
        assert_eq!(first.mailbox.take().end.unwrap().message, "anew");
        {
            let progress = progress.lock().unwrap();
            assert_eq!((progress.link, progress.last), (second.link, 7));
        }
        registry.leave(first.link, Some(&run), [].into_iter(), Instant::now());
        assert_eq!(registry.credentials().len(), 1);
        registry.end(CredentialId::Token(1), &HubRefusal::default());
        assert!(second.mailbox.take().end.is_some());
    }

    #[test]
    fn a_run_is_of_its_credential() {
        let registry = Registry::default();
        let (own, other) = (enter(&registry, 1), enter(&registry, 2));
        let (_, progress) = begin(&registry, &own, "a");
        progress.lock().unwrap().last = 7;
        let (_, others) = begin(&registry, &other, "a");
        assert!(own.mailbox.take().end.is_none(), "another's token does not end its link");
        assert_eq!(others.lock().unwrap().last, 0);
        assert_eq!(progress.lock().unwrap().link, own.link);
    }

    #[tokio::test(start_paused = true)]
    async fn runs_are_forgotten_after_two_hours_and_by_number() {
        let registry = Registry::default();
        let seat = enter(&registry, 1);
        let (run, progress) = begin(&registry, &seat, "a");
        progress.lock().unwrap().last = 7;
        registry.leave(seat.link, Some(&run), [].into_iter(), Instant::now());
        tokio::time::advance(REMEMBERED - Duration::from_secs(1)).await;
        let seat = enter(&registry, 1);
        assert_eq!(begin(&registry, &seat, "a").1.lock().unwrap().last, 7);
        registry.leave(seat.link, Some(&run), [].into_iter(), Instant::now());
        tokio::time::advance(REMEMBERED).await;
        let seat = enter(&registry, 1);
        assert_eq!(begin(&registry, &seat, "a").1.lock().unwrap().last, 0);
        for n in 0..RUNS + 10 {
            let seat = enter(&registry, 1);
            let (run, _) = begin(&registry, &seat, &format!("n{n}"));
            registry.leave(seat.link, Some(&run), [].into_iter(), Instant::now());
        }
        assert!(registry.table().runs.len() <= RUNS);
    }
}
