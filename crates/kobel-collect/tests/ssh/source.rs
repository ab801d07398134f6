//! Metrics of a host behind a real sshd, and what happens when something is wrong there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kobel_collect::{
    CollectStats, Target,
    ssh::{HostKey, SshReports, SshSource, SshSpec, Step},
};
use kobel_hub::{
    demand::{Demand, Need},
    ingest::{self, Inbox},
    logs::live::LogSources,
};
use kobel_wire::{
    Container, ContainerId, DeviceId, DeviceState, DeviceUuid, Engine, Facts, Sample,
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::sshd::{Sshd, User, signal};

/// A source that runs, and what it told.
pub(crate) struct Watched {
    inbox: Inbox,
    target: Target,
    cancel: CancellationToken,
    running: JoinHandle<()>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) facts: Option<Facts>,
    pub(crate) state: Option<(DeviceState, Option<String>)>,
    pub(crate) engine: Option<Engine>,
    pub(crate) containers: BTreeMap<ContainerId, Container>,
    pub(crate) logs: LogSources,
    pub(crate) stats: Arc<CollectStats>,
    pub(crate) pinned: mpsc::UnboundedReceiver<HostKey>,
}

impl Watched {
    pub(crate) fn start(spec: SshSpec) -> Self {
        let (ingest, inbox) = ingest::channel();
        let target = Target { device: DeviceUuid::generate(), id: DeviceId(7) };
        let demand = Demand::default();
        demand.tell(target.device, Need::of_seconds(1));
        let logs = LogSources::default();
        let (pin, pinned) = mpsc::unbounded_channel();
        let stats = Arc::new(CollectStats::default());
        let to = SshReports {
            ingest,
            demand,
            logs: logs.clone(),
            stats: Arc::clone(&stats),
            pin: Arc::new(move |key| drop(pin.send(key))),
        };
        let cancel = CancellationToken::new();
        let source = SshSource::new(target, spec, Duration::from_secs(1), to);
        let running = tokio::spawn(source.run(Duration::ZERO, cancel.clone()));
        Self {
            inbox,
            target,
            cancel,
            running,
            samples: Vec::new(),
            facts: None,
            state: None,
            engine: None,
            containers: BTreeMap::new(),
            logs,
            stats,
            pinned,
        }
    }

    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(45);
        while !wanted(self) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(mut taken) = timeout(left, self.inbox.take()).await else {
                panic!("not told: {what}\n{:?}\n{:#?}", self.state, self.samples.last());
            };
            let Some(update) = taken.remove(&self.target.device) else { continue };
            self.samples.extend(update.sample);
            self.facts = update.facts.or(self.facts.take());
            self.state = update.state.or(self.state.take());
            self.engine = update.engine.or(self.engine.take());
            if let Some(inventory) = &update.inventory {
                self.containers.retain(|id, _| inventory.iter().any(|c| c.container_id == *id));
            }
            let changed = update.inventory.into_iter().flatten().chain(update.containers);
            self.containers.extend(changed.map(|c| (c.container_id.clone(), c)));
        }
    }

    pub(crate) fn device(&self) -> DeviceUuid {
        self.target.device
    }

    pub(crate) async fn state(&mut self, state: DeviceState) -> String {
        self.until(&format!("{state:?}"), |w| w.state.as_ref().is_some_and(|s| s.0 == state)).await;
        self.state.clone().unwrap().1.unwrap_or_default()
    }

    /// Waits for so many more samples.
    pub(crate) async fn samples(&mut self, more: usize) {
        let wanted = self.samples.len() + more;
        self.until("samples", |w| w.samples.len() >= wanted).await;
    }

    pub(crate) async fn end(self) {
        self.cancel.cancel();
        timeout(Duration::from_secs(5), self.running).await.expect("it ends").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_gives_what_the_machine_itself_gives() {
    let sshd = Sshd::start("");
    sshd.authorize(&["id"], "restrict,port-forwarding");
    let mut watched = Watched::start(sshd.spec());
    watched.state(DeviceState::Online).await;
    let complete = |sample: &Sample| {
        sample.cpu.is_some()
            && sample.disk.is_some()
            && sample.network_in.is_some()
            && sample.processes.as_ref().is_some_and(|list| !list.is_empty())
    };
    watched.until("a complete sample", |w| w.samples.iter().any(complete)).await;
    let sample = watched.samples.iter().find(|sample| complete(sample)).unwrap();
    let local = kobel_collect::local::facts();
    let facts = watched.facts.as_ref().unwrap();
    assert_eq!((&facts.hostname, facts.cpu_count), (&local.hostname, local.cpu_count));
    assert_eq!((&facts.kernel, &facts.os), (&local.kernel, &local.os));
    assert!(sample.cores.len() == local.cpu_count.unwrap() as usize);
    assert!(sample.memory_total.is_some() && sample.uptime.is_some());
    // One after the other, a second apart.
    let before = watched.samples.len();
    watched.samples(3).await;
    for pair in watched.samples[before..].windows(2) {
        let apart = pair[1].sampled_at.as_millis() - pair[0].sampled_at.as_millis();
        assert!((500..2000).contains(&apart), "{apart} ms");
    }
    assert_eq!(watched.pinned.recv().await.unwrap().host, sshd.hop("root").to_string());
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_login_shell_and_much_noise() {
    let mut shells = vec![
        User::new("/bin/sh", "x"),
        User::new("/bin/bash", "x"),
        User::new("/usr/bin/fish", "x"),
        User::new("/bin/csh", "x"),
    ];
    shells.push(User::new("/bin/dash", "x"));
    for user in &shells {
        let noise = "Banner /etc/os-release\nPrintMotd yes\nPrintLastLog yes";
        let sshd = Sshd::start(noise);
        let mut spec = sshd.spec();
        spec.host.user.clone_from(&user.0);
        let mut watched = Watched::start(spec);
        watched.state(DeviceState::Online).await;
        let disk = |w: &Watched| w.samples.iter().any(|s| s.cpu.is_some() && s.disk.is_some());
        watched.until("cpu and disk", disk).await;
        watched.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_session_is_enough() {
    let sshd = Sshd::start("MaxSessions 1");
    let mut watched = Watched::start(sshd.spec());
    let complete = |w: &Watched| {
        w.samples.iter().any(|s| s.disk.is_some())
            && w.samples.iter().any(|s| s.processes.is_some())
    };
    watched.until("disk and processes", complete).await;
    let hint = |w: &Watched| {
        let state = w.state.as_ref();
        state.is_some_and(|(state, reason)| {
            let reason = reason.as_deref().unwrap_or_default();
            *state == DeviceState::Online && reason.contains("(MaxSessions 1)")
        })
    };
    watched.until("the hint", hint).await;
    // Nothing else asked for one.
    assert_eq!(watched.stats.snapshot().ssh_pool.created, 1);
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_command_is_said_and_not_hammered() {
    let sshd = Sshd::start("ForceCommand echo This account is for backups only.");
    let mut watched = Watched::start(sshd.spec());
    let reason = watched.state(DeviceState::Unreachable).await;
    assert!(reason.contains("backups only") && reason.contains("ForceCommand"), "{reason}");
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_sign_in_is_tried_once() {
    let sshd = Sshd::start("");
    let mut spec = sshd.spec();
    std::fs::write(sshd.at("authorized_keys"), "").unwrap();
    spec.host_keys.accept_new = true;
    let tries = || sshd.log().matches("userauth-request for user root").count();
    let mut watched = Watched::start(spec);
    let reason = watched.state(DeviceState::AuthFailed).await;
    assert!(reason.contains("the test's key") && reason.contains("authorized_keys"), "{reason}");
    let before = tries();
    // Longer than the first waits between two tries are.
    let quiet = timeout(Duration::from_secs(4), watched.inbox.take()).await;
    assert!(quiet.is_err(), "it was tried again");
    assert_eq!(tries(), before);
    assert_eq!(before, 1);
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_dies_is_told_and_comes_back_by_itself() {
    let mut sshd = Sshd::start("");
    let mut watched = Watched::start(sshd.spec());
    watched.samples(2).await;
    sshd.down();
    let reason = watched.state(DeviceState::Unreachable).await;
    assert!(reason.contains("connects again") || reason.contains("tries again"), "{reason}");
    sshd.up();
    watched.state(DeviceState::Online).await;
    watched.samples(2).await;
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_hangs_is_slow_when_it_goes_on_and_loses_nothing_else() {
    let sshd = Sshd::start("");
    let mut watched = Watched::start(sshd.spec());
    watched.samples(2).await;
    let stopped = sshd.sessions();
    for pid in &stopped {
        signal("STOP", *pid);
    }
    // Meanwhile another host keeps its second.
    let other = Sshd::start("");
    let mut beside = Watched::start(other.spec());
    beside.samples(4).await;
    for pid in &stopped {
        signal("CONT", *pid);
    }
    let reason = watched.state(DeviceState::Slow).await;
    assert!(reason.contains(" s: "), "{reason}");
    watched.state(DeviceState::Online).await;
    beside.end().await;
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_tells_each_step_and_where_it_stops() {
    let sshd = Sshd::start("");
    let steps = async |spec: SshSpec| {
        let (told, mut heard) = mpsc::channel(32);
        let pinned = kobel_collect::ssh::check(&spec, &told).await;
        drop(told);
        let mut steps = Vec::new();
        while let Some(step) = heard.recv().await {
            steps.push(step);
        }
        (steps, pinned)
    };
    let (told, pinned) = steps(sshd.spec()).await;
    let went: Vec<_> = told.iter().map(|step| (step.step, step.ok)).collect();
    let all = [
        Step::Resolve,
        Step::Connect,
        Step::HostKey,
        Step::SignIn,
        Step::Shell,
        Step::Metrics,
        Step::Docker,
    ];
    assert_eq!(went, all.map(|step| (step, true)), "{told:#?}");
    assert_eq!(pinned.len(), 1);

    let mut unknown = sshd.spec();
    unknown.host_keys.accept_new = false;
    let (told, pinned) = steps(unknown).await;
    let last = told.last().unwrap();
    assert_eq!((last.step, last.ok, pinned.len()), (Step::HostKey, false, 0));
    let key = last.host_key.clone().unwrap();
    assert!(key.fingerprint.starts_with("SHA256:") && !key.accepted && last.remedy.is_some());

    let mut nobody = sshd.spec();
    nobody.host.user = "nobody-here".into();
    let last = steps(nobody).await.0.pop().unwrap();
    assert_eq!((last.step, last.ok), (Step::SignIn, false));
}
