//! A host's containers behind a real sshd and a real dockerd.

use std::time::Duration;

use kobel_collect::ssh::{Docker, docker::SocketPath};
use kobel_hub::logs::{
    LogStart, Poke, SourceEvent,
    queue::{self, Limits},
};
use kobel_wire::{ContainerId, ContainerState, EngineState};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{daemon::Daemon, source::Watched, sshd::Sshd};

fn socket(daemon: &Daemon) -> Docker {
    Docker::At(SocketPath::new(daemon.host().strip_prefix("unix://").unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_and_logs_are_as_good_as_local_ones() {
    let daemon = Daemon::start();
    // By forwarding; where that is refused by docker's own bridge, over sessions.
    for (lines, endpoint) in
        [("", "ssh: unix://"), ("AllowStreamLocalForwarding no", "ssh: docker system dial-stdio")]
    {
        let mut sshd = Sshd::start(lines);
        let mut spec = sshd.spec();
        spec.docker = socket(&daemon);
        let mut watched = Watched::start(spec);
        watched
            .until("engine", |w| {
                w.engine.as_ref().is_some_and(|engine| engine.state == EngineState::Connected)
            })
            .await;
        let engine = watched.engine.clone().unwrap();
        assert!(engine.endpoint.unwrap().starts_with(endpoint));

        // Numbered lines, for as long as it takes.
        let script = "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo $i; usleep 10000; done";
        let id = daemon.sh("numbers", &[], script);
        let figures = |w: &Watched| {
            w.containers.get(&id).is_some_and(|c| {
                c.state == ContainerState::Running && c.cpu.is_some() && c.memory.is_some()
            })
        };
        watched.until("figures of a container", figures).await;

        // A log is followed through a connection that is killed twice.
        let source = watched.logs.of(watched.device()).unwrap();
        let (sender, lines) = queue::channel(Limits::default());
        let cancel = CancellationToken::new();
        let following = tokio::spawn(source.follow(
            id.clone(),
            LogStart::All,
            sender,
            Poke::default(),
            cancel.clone(),
        ));
        for _ in 0..2 {
            sleep(Duration::from_millis(800)).await;
            for pid in sshd.sessions() {
                crate::sshd::signal("KILL", pid);
            }
        }
        let mut seen = Vec::new();
        let end = Instant::now() + Duration::from_secs(40);
        while seen.last().map(String::as_str) != Some("400") {
            assert!(Instant::now() < end, "the last: {:?}", seen.last());
            let taken =
                tokio::time::timeout(Duration::from_secs(30), lines.take()).await.unwrap().unwrap();
            for event in taken.events {
                if let SourceEvent::Line(line) = event {
                    seen.push(line.text);
                }
            }
        }
        let numbers: Vec<String> = (1..=400).map(|number| number.to_string()).collect();
        assert_eq!(seen, numbers);
        cancel.cancel();
        let _ = following.await;

        daemon.run(&["rm", "-f", "numbers"]);
        let gone =
            |w: &Watched| w.containers.get(&id).is_none_or(|c| c.state == ContainerState::Removed);
        watched.until("removed", gone).await;
        watched.end().await;
        sshd.down();
    }
}

/// Follows a container that counts to a hundred, from its first line; holds the stream for a while
/// after the last.
fn hundred_lines(
    watched: &Watched,
    id: &ContainerId,
) -> impl Future<Output = Vec<String>> + Send + 'static {
    let source = watched.logs.of(watched.device()).unwrap();
    let (sender, lines) = queue::channel(Limits::default());
    let cancel = CancellationToken::new();
    let follow = source.follow(id.clone(), LogStart::All, sender, Poke::default(), cancel);
    let reading = async move {
        let mut seen = Vec::new();
        while seen.last().map(String::as_str) != Some("100") {
            for event in lines.take().await.unwrap().events {
                if let SourceEvent::Line(line) = event {
                    seen.push(line.text);
                }
            }
        }
        sleep(Duration::from_secs(2)).await;
        seen
    };
    async move {
        tokio::select! {
            seen = tokio::time::timeout(Duration::from_secs(60), reading) => seen.unwrap(),
            ended = follow => panic!("{ended:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_logs_over_few_sessions_take_further_connections() {
    let daemon = Daemon::start();
    for most in [1, 2] {
        let sshd = Sshd::start(&format!("AllowStreamLocalForwarding no\nMaxSessions {most}"));
        let mut spec = sshd.spec();
        spec.docker = socket(&daemon);
        let mut watched = Watched::start(spec);
        watched
            .until("engine", |w| {
                w.engine.as_ref().is_some_and(|engine| engine.state == EngineState::Connected)
            })
            .await;
        let script =
            "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo $i; usleep 20000; done; sleep 99";
        let names: Vec<_> = (0..5).map(|n| format!("many-{most}-{n}")).collect();
        let ids: Vec<_> = names.iter().map(|name| daemon.sh(name, &[], script)).collect();
        let running = |w: &Watched| ids.iter().all(|id| w.containers.contains_key(id));
        watched.until("the containers", running).await;

        let mut following = tokio::task::JoinSet::new();
        for id in &ids {
            following.spawn(hundred_lines(&watched, id));
        }
        let mut held = 0;
        while let Some(seen) = following.join_next().await {
            let numbers: Vec<String> = (1..=100).map(|number| number.to_string()).collect();
            assert_eq!(seen.unwrap(), numbers);
            held = held.max(watched.stats.snapshot().ssh_pool.in_use);
        }
        let pool = watched.stats.snapshot().ssh_pool;
        println!("MaxSessions {most}: {pool:?}, {held} in use at once");
        // Five logs, the engine's events and figures, and the host's own reading.
        assert!(held as usize > 5 / most, "{pool:?}");
        assert!(pool.created <= 30 && pool.acquired > pool.created && pool.failed == 0, "{pool:?}");
        // Metrics go on meanwhile.
        watched.samples(2).await;

        // Connections that rest and are dead by now are found out before they are used.
        let mut rest = sshd.sessions();
        // The first connection is the one that the host is read by.
        let reads = rest.iter().copied().min().unwrap();
        let reads = [vec![reads], crate::sshd::below(reads)].concat();
        rest.retain(|pid| !reads.contains(pid));
        for pid in &rest {
            crate::sshd::signal("STOP", *pid);
        }
        assert_eq!(hundred_lines(&watched, &ids[0]).await.len(), 100);
        assert!(watched.stats.snapshot().ssh_pool.failed > 0);
        for pid in &rest {
            crate::sshd::signal("CONT", *pid);
        }
        for name in &names {
            daemon.run(&["rm", "-f", name]);
        }
        watched.end().await;
        // All are told farewell.
        let end = Instant::now() + Duration::from_secs(10);
        while !sshd.sessions().is_empty() {
            assert!(Instant::now() < end, "sessions are left: {:?}", sshd.sessions());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_are_seen_by_their_cgroups_without_their_engine() {
    let daemon = Daemon::start();
    let sshd = Sshd::start("");
    let mut spec = sshd.spec();
    spec.docker = Docker::CgroupOnly;
    let mut watched = Watched::start(spec);
    let busy = daemon.sh("busy", &["--memory=64m"], "while true; do :; done");
    let figures =
        |w: &Watched| w.containers.get(&busy).is_some_and(|c| c.cpu.is_some_and(|cpu| cpu > 1.0));
    watched.until("a busy container", figures).await;
    let container = watched.containers[&busy].clone();
    assert_eq!(container.state, ContainerState::Running);
    assert_eq!(container.name, busy.as_str()[..12]);
    assert!(container.pids.is_some_and(|pids| pids >= 1), "{container:?}");
    assert_eq!(container.memory_limit, Some(64 << 20));
    let engine = watched.engine.clone().unwrap();
    assert_eq!(
        (engine.state, engine.endpoint.as_deref()),
        (EngineState::Connected, Some("cgroups"))
    );
    // Nobody dialled the socket, and nobody may follow a log.
    assert!(!sshd.log().contains("direct-streamlocal"), "{}", sshd.log());
    assert!(watched.logs.of(watched.device()).is_none());
    daemon.run(&["rm", "-f", "busy"]);
    let gone =
        |w: &Watched| w.containers.get(&busy).is_some_and(|c| c.state == ContainerState::Removed);
    watched.until("removed", gone).await;
    watched.end().await;
}
