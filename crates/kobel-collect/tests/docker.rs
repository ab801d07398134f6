//! The containers of a real Docker daemon, which these tests start and stop themselves.
//!
//! Needs root, `dockerd`, `docker` and a static `/bin/busybox`; says so where one is missing.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use kobel_collect::{
    CollectStats, Target,
    docker::{DockerSource, Endpoints},
};
use kobel_hub::ingest::{self, Inbox};
use kobel_wire::{
    Container, ContainerId, ContainerState, DeviceId, DeviceUuid, Engine, EngineKind, EngineState,
    Health,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

const IMAGE: &str = "kobel-test:latest";

/// A daemon with a folder and a socket of its own.
struct Daemon {
    folder: tempfile::TempDir,
    running: Option<Child>,
}

impl Daemon {
    /// Everything but the daemon itself.
    fn prepare() -> Self {
        let is_root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
        assert!(is_root, "this test starts a Docker daemon, so it has to run as root");
        for (program, package) in [("dockerd", "docker.io"), ("docker", "docker.io")] {
            let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
            assert!(found.is_ok(), "this test needs {program}: install {package}");
        }
        assert!(fs::exists("/bin/busybox").unwrap(), "this test needs busybox-static");
        Self { folder: tempfile::tempdir().unwrap(), running: None }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn host(&self) -> String {
        format!("unix://{}", self.at("docker.sock").display())
    }

    /// Starts it and waits until it answers.
    fn up(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.at("log")).unwrap();
        let flag = |name: &str, file: &str| format!("--{name}={}", self.at(file).display());
        let child = Command::new("dockerd")
            .args([flag("data-root", "data"), flag("exec-root", "exec"), flag("pidfile", "pid")])
            .arg(format!("--host={}", self.host()))
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--live-restore"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let child = self.running.insert(child);
        let give_up = std::time::SystemTime::now() + Duration::from_secs(60);
        loop {
            let ended = child.try_wait().unwrap();
            let late = std::time::SystemTime::now() > give_up;
            if ended.is_some() || late {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("dockerd does not answer ({ended:?}):\n{log}");
            }
            let host = format!("unix://{}", self.folder.path().join("docker.sock").display());
            let asked = Command::new("docker").args(["-H", &host, "version"]).output().unwrap();
            if asked.status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it; containers go on (live restore).
    fn down(&mut self) {
        if let Some(mut child) = self.running.take() {
            signal("TERM", child.id());
            child.wait().unwrap();
        }
    }

    /// `docker …`; gives what it printed.
    fn run(&self, args: &[&str]) -> String {
        let output = Command::new("docker").args(["-H", &self.host()]).args(args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {args:?}: {error}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Starts a container that runs `command`; gives its id.
    fn start(&self, name: &str, options: &[&str], command: &[&str]) -> ContainerId {
        let mut args = vec!["run", "-d", "--name", name, "--network=none"];
        args.extend(options);
        args.push(IMAGE);
        args.extend(command);
        self.run(&args).parse().unwrap()
    }

    /// An image of nothing but busybox: no registry is needed.
    fn import_image(&self) {
        let bin = self.at("root/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for applet in ["sh", "sleep", "test", "touch"] {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        let mut tar = Command::new("tar")
            .args(["c", "-C"])
            .arg(self.at("root"))
            .arg(".")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let imported = Command::new("docker")
            .args(["-H", &self.host(), "import", "-", IMAGE])
            .stdin(tar.stdout.take().unwrap())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(imported.success() && tar.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.running.is_some() {
            let host = self.host();
            let docker =
                |args: &[&str]| Command::new("docker").args(["-H", &host]).args(args).output();
            if let Ok(listed) = docker(&["ps", "-aq"]) {
                let ids = String::from_utf8_lossy(&listed.stdout).into_owned();
                let ids: Vec<&str> = ids.split_whitespace().collect();
                if !ids.is_empty() {
                    let _ = docker(&[&["rm", "-f"], ids.as_slice()].concat());
                }
            }
        }
        if let Some(mut child) = self.running.take() {
            signal("TERM", child.id());
            let _ = child.wait();
        }
        // With live restore the daemon mounts its data folder onto itself, and leaves it so: then
        // the folder could not be removed.
        let _ = Command::new("umount").arg(self.at("data")).stderr(Stdio::null()).status();
    }
}

/// Signals a process that this test started.
fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
}

/// What the source has told so far.
struct Seen {
    inbox: Inbox,
    device: DeviceUuid,
    engine: Option<Engine>,
    containers: BTreeMap<ContainerId, Container>,
}

impl Seen {
    /// Listens until what is known is as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !wanted(self) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(mut taken) = timeout(left, self.inbox.take()).await else {
                panic!("not told: {what}\nknown: {:?}\n{:#?}", self.engine, self.containers);
            };
            let Some(update) = taken.remove(&self.device) else { continue };
            self.engine = update.engine.or(self.engine.take());
            if let Some(inventory) = update.inventory {
                let by_id = |c: Container| (c.container_id.clone(), c);
                self.containers = inventory.into_iter().map(by_id).collect();
            }
            for container in update.containers {
                self.containers.insert(container.container_id.clone(), container);
            }
        }
    }

    async fn container(&mut self, what: &str, id: &ContainerId, is: impl Fn(&Container) -> bool) {
        self.until(what, |seen| seen.containers.get(id).is_some_and(&is)).await;
    }

    async fn engine(&mut self, state: EngineState) {
        let is = |seen: &Self| seen.engine.as_ref().is_some_and(|e| e.state == state);
        self.until(&format!("engine {state:?}"), is).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_are_followed_through_their_lives_and_the_daemon_s() {
    let mut daemon = Daemon::prepare();
    let (ingest, inbox) = ingest::channel();
    let target = Target { device: DeviceUuid::generate(), id: DeviceId(1) };
    let (stats, cancel) = (Arc::new(CollectStats::default()), CancellationToken::new());
    let endpoints = Endpoints::only(&daemon.host()).unwrap();
    let source = DockerSource::new(target, ingest, endpoints, Arc::clone(&stats));
    let running = tokio::spawn(source.run(cancel.clone()));
    let mut seen = Seen { inbox, device: target.device, engine: None, containers: BTreeMap::new() };

    // No Docker: said, and connected by itself when it appears.
    seen.engine(EngineState::Absent).await;
    let absent = seen.engine.clone().unwrap();
    assert!(absent.message.unwrap().contains("Docker"));
    daemon.up();
    seen.engine(EngineState::Connected).await;
    let engine = seen.engine.clone().unwrap();
    assert_eq!((engine.kind, engine.message), (Some(EngineKind::Docker), None));
    assert!(engine.version.is_some());
    daemon.import_image();

    // A life.
    let id = daemon.start("life", &["-m", "64m"], &["sleep", "100000"]);
    let figures = |c: &Container| c.cpu.is_some() && c.memory.is_some() && c.pids >= Some(1);
    seen.container("figures", &id, figures).await;
    let life = &seen.containers[&id];
    assert_eq!((life.name.as_str(), life.image.as_str()), ("life", IMAGE));
    assert_eq!((life.state, life.memory_limit), (ContainerState::Running, Some(64 << 20)));
    assert!(life.status.starts_with("Up ") && life.started_at.is_some(), "{life:?}");
    daemon.run(&["pause", "life"]);
    seen.container("paused", &id, |c| c.state == ContainerState::Paused).await;
    daemon.run(&["unpause", "life"]);
    seen.container("unpaused", &id, |c| c.state == ContainerState::Running).await;
    daemon.run(&["rename", "life", "afterlife"]);
    seen.container("renamed", &id, |c| c.name == "afterlife").await;
    daemon.run(&["stop", "-t", "0", "afterlife"]);
    seen.container("stopped", &id, |c| c.state == ContainerState::Exited).await;
    let stopped = &seen.containers[&id];
    assert_eq!((stopped.exit_code, stopped.cpu, stopped.memory), (Some(137), None, None));
    assert!(stopped.status.starts_with("Exited (137) "), "{}", stopped.status);
    daemon.run(&["start", "afterlife"]);
    seen.container("started", &id, |c| c.state == ContainerState::Running).await;
    assert_eq!(seen.containers[&id].exit_code, None);
    seen.container("figures again", &id, figures).await;
    daemon.run(&["rm", "-f", "afterlife"]);
    seen.container("removed", &id, |c| c.state == ContainerState::Removed).await;

    // A health check's verdicts.
    let check = ["--health-cmd=test -f /well", "--health-interval=1s", "--health-retries=1"];
    let sick = daemon.start("sick", &check, &["sleep", "100000"]);
    seen.container("unhealthy", &sick, |c| c.health == Some(Health::Unhealthy)).await;
    daemon.run(&["exec", "sick", "touch", "/well"]);
    seen.container("healthy", &sick, |c| c.health == Some(Health::Healthy)).await;
    daemon.run(&["rm", "-f", "sick"]);

    // The daemon goes and comes back; one container goes on, one ends unseen meanwhile.
    let survivor = daemon.start("survivor", &[], &["sleep", "100000"]);
    let unseen = daemon.start("unseen", &[], &["sleep", "100000"]);
    let ended = daemon.start("ended", &[], &["sh", "-c", "exit 3"]);
    seen.container("ended", &ended, |c| c.exit_code == Some(3)).await;
    seen.container("survivor's figures", &survivor, figures).await;
    seen.container("the other's figures", &unseen, figures).await;
    let pid = daemon.run(&["inspect", "-f", "{{.State.Pid}}", "unseen"]).parse().unwrap();
    daemon.down();
    let lost = |s: &Seen| s.engine.as_ref().is_some_and(|e| e.state != EngineState::Connected);
    seen.until("the daemon is gone", lost).await;
    assert!(seen.engine.clone().unwrap().message.unwrap().contains("Docker"));
    seen.container("no old figures", &survivor, |c| c.memory.is_none()).await;
    assert_eq!(seen.containers[&survivor].state, ContainerState::Running, "it keeps its state");
    signal("KILL", pid);
    daemon.up();
    seen.engine(EngineState::Connected).await;
    seen.container("its end was found", &unseen, |c| c.state == ContainerState::Exited).await;
    seen.container("still ended", &ended, |c| c.exit_code == Some(3)).await;
    seen.container("survivor's figures again", &survivor, figures).await;
    daemon.run(&["stop", "-t", "0", "survivor"]);
    seen.container("survivor stopped", &survivor, |c| c.state == ContainerState::Exited).await;

    let counted = stats.snapshot();
    assert!(counted.engine_reconnects >= 1 && counted.container_events >= 10, "{counted:?}");
    cancel.cancel();
    timeout(Duration::from_secs(5), running).await.expect("ends when cancelled").unwrap();
}
