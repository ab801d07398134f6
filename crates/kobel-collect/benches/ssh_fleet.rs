//! What it costs to read many hosts over SSH: `cargo bench -p kobel-collect --bench ssh_fleet`.
//!
//! Hosts at the level of SSH's protocol answer with what was recorded from this machine, in a process
//! of their own; the sources of this process read them. Printed: processor time and memory of the
//! reading side by host, and how late samples are, at 1 s, at 30 s, and with hosts that hang or are
//! dead. `HOSTS` (500) and `SECONDS` (20) of each part.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a bench")]

#[path = "../tests/ssh/host.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod host;

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use host::{Behaviour, Recorded, listen};
use kobel_collect::{
    CollectStats, Target,
    ssh::{Docker, Hop, HostKeys, Secret, SignIn, SshReports, SshSource, SshSpec},
};
use kobel_hub::{
    demand::{Demand, Need},
    ingest::{self, Inbox},
    logs::live::LogSources,
};
use kobel_wire::{DeviceId, DeviceUuid};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Listens with so many good hosts and one that hangs; says the ports.
async fn serve(hosts: u64) {
    let recorded = Arc::new(Recorded::default());
    let mut ports = Vec::new();
    for _ in 0..hosts {
        ports.push(listen(Behaviour::Good, Arc::clone(&recorded)).await.to_string());
    }
    ports.push(listen(Behaviour::Hangs, recorded).await.to_string());
    println!("{}", ports.join(" "));
    std::io::stdout().flush().unwrap();
    // Until whoever started this closes our input.
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await;
}

/// User and system time of this process, seconds.
fn spent() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}

fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

struct Fleet {
    inbox: Inbox,
    demand: Vec<(DeviceUuid, Demand)>,
    cancel: CancellationToken,
    running: JoinSet<()>,
}

impl Fleet {
    fn start(ports: &[u16], key: &Secret) -> Self {
        let (ingest, inbox) = ingest::channel();
        let (cancel, mut running, mut demands) =
            (CancellationToken::new(), JoinSet::new(), Vec::new());
        let stats = Arc::new(CollectStats::default());
        for (n, port) in ports.iter().enumerate() {
            let target = Target { device: DeviceUuid::generate(), id: DeviceId(n as u64 + 1) };
            let demand = Demand::default();
            demand.tell(target.device, Need::of_seconds(1));
            let key = SignIn::Key { key: key.clone(), passphrase: None, name: "key".into() };
            let spec = SshSpec {
                host: Hop { host: "127.0.0.1".into(), port: *port, user: "bench".into() },
                jumps: Vec::new(),
                sign_in: vec![key],
                host_keys: HostKeys { pinned: Vec::new(), accept_new: true },
                docker: Docker::Off,
            };
            let to = SshReports {
                ingest: ingest.clone(),
                demand: demand.clone(),
                logs: LogSources::default(),
                stats: Arc::clone(&stats),
                pin: Arc::new(drop),
            };
            let source = SshSource::new(target, spec, Duration::from_secs(1), to);
            // In a spread of 5 s, as a hub starts them.
            let delay = Duration::from_millis(n as u64 * 5_000 / ports.len() as u64);
            running.spawn(source.run(delay, cancel.clone()));
            demands.push((target.device, demand));
        }
        Self { inbox, demand: demands, cancel, running }
    }

    /// Takes what comes for a while; gives how many samples, and by how much each came later than
    /// `period` after the one before, milliseconds.
    async fn listen(&self, long: Duration, period: i64) -> (u64, Vec<i64>) {
        let end = Instant::now() + long;
        let (mut samples, mut before, mut late) = (0, HashMap::new(), Vec::new());
        while let Ok(taken) = timeout_at(end, self.inbox.take()).await {
            for (device, update) in taken {
                let Some(sample) = update.sample else { continue };
                samples += 1;
                let at = sample.sampled_at.as_millis();
                if let Some(before) = before.insert(device, at) {
                    late.push((at - before - period).max(0));
                }
            }
            // As the hub does: in steps, not for each.
            sleep_until((Instant::now() + Duration::from_millis(20)).min(end)).await;
        }
        late.sort_unstable();
        (samples, late)
    }

    async fn end(mut self) {
        self.cancel.cancel();
        while self.running.join_next().await.is_some() {}
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let hosts = number("HOSTS", 500);
    if std::env::args().any(|arg| arg == "serve") {
        return serve(hosts).await;
    }
    let long = Duration::from_secs(number("SECONDS", 20));
    let mut server = Command::new(std::env::current_exe().unwrap())
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ports: Vec<u16> = line.split_whitespace().map(|port| port.parse().unwrap()).collect();
    let (good, hung) = (&ports[..ports.len() - 1], ports[ports.len() - 1]);
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&at)
        .status()
        .unwrap();
    assert!(made.success());
    let key = Secret::new(std::fs::read_to_string(&at).unwrap());

    let empty = resident();
    let begun = (Instant::now(), spent());
    let fleet = Fleet::start(good, &key);
    let mut first = HashMap::new();
    while first.len() < good.len() {
        for (device, update) in fleet.inbox.take().await {
            if update.sample.is_some() {
                first.insert(device, ());
            }
        }
    }
    println!(
        "{hosts} hosts connected in {:.1} s (spread over 5 s), {:.1} ms of processor time each",
        begun.0.elapsed().as_secs_f64(),
        (spent() - begun.1) / hosts as f64 * 1_000.0
    );
    fleet.listen(Duration::from_secs(5), 1_000).await;
    let report = async |fleet: &Fleet, what: &str, long: Duration, period: i64| {
        let (spent_before, at) = (spent(), Instant::now());
        let (samples, late) = fleet.listen(long, period).await;
        let seconds = at.elapsed().as_secs_f64();
        let cores = (spent() - spent_before) / seconds;
        let quantile = |q: f64| late.get((late.len() as f64 * q) as usize).copied().unwrap_or(0);
        println!(
            "{what}: {:.1} samples/s, {:.1} % of a core ({:.3} % a host), {:.1} MB ({:.0} KB a \
             host), late p50 {} p99 {} ms",
            samples as f64 / seconds,
            cores * 100.0,
            cores * 100.0 / hosts as f64,
            resident() / 1e6,
            (resident() - empty) / hosts as f64 / 1e3,
            quantile(0.5),
            quantile(0.99)
        );
    };
    report(&fleet, "at 1 s", long, 1_000).await;
    // Beside one that hangs and fifty that are dead.
    let bad: Vec<u16> = std::iter::once(hung).chain(std::iter::repeat_n(1, 50)).collect();
    let trouble = Fleet::start(&bad, &key);
    report(&fleet, "at 1 s, beside 1 hung and 50 dead", long, 1_000).await;
    trouble.end().await;
    for (device, demand) in &fleet.demand {
        demand.tell(*device, Need::Unwatched);
    }
    fleet.listen(Duration::from_secs(2), 30_000).await;
    // Two of each host, at least.
    report(&fleet, "at 30 s", long.max(Duration::from_secs(65)), 30_000).await;
    fleet.end().await;
    drop(server.stdin.take());
    server.wait().unwrap();
}
