//! A host's containers behind a real sshd and a real dockerd.

use std::time::Duration;

use kobel_collect::ssh::{Docker, docker::SocketPath};
use kobel_hub::logs::{
    LogStart, Poke, SourceEvent,
    queue::{self, Limits},
};
use kobel_wire::{ContainerState, EngineState};
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
    for (lines, endpoint) in [
        ("", "ssh: unix://"),
        ("AllowStreamLocalForwarding no\nMaxSessions 30", "ssh: docker system dial-stdio"),
    ] {
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
                match event {
                    SourceEvent::Line(line) => seen.push(line.text),
                    SourceEvent::Marker(..) | SourceEvent::Missing(_) => {}
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
