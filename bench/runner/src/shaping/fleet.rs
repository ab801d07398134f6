//! A whole hub on one core and a simulated fleet on the other.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::servers::{CLIENT_CORE, SERVER_CORE, before_others, pinned};

/// Where the hub listens.
const PORT: u16 = 3191;

/// How long a fleet may take to be on the hub.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running hub with a folder of its own, and what is attached to it; ended when dropped.
pub(super) struct Fleet {
    kobel: PathBuf,
    folder: PathBuf,
    hub: Child,
    simulation: Option<Child>,
    token: String,
}

/// What a hub had taken at an instant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    at: Instant,
    cpu_seconds: f64,
    pub(super) resident: f64,
}

impl Taken {
    /// Processor time between two instants, in percent of one core.
    pub(super) fn percent(self, later: Self) -> f64 {
        let seconds = later.at.saturating_duration_since(self.at).as_secs_f64();
        (later.cpu_seconds - self.cpu_seconds) / seconds * 100.0
    }
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{what}: {error}")
}

impl Fleet {
    /// A hub that reads this machine and nothing else.
    pub(super) fn start(kobel: &Path) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("kobel-shaping-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(failed("a folder for the hub"))?;
        let listen = format!("127.0.0.1:{PORT}");
        let hub = pinned(SERVER_CORE, kobel)
            .args(["serve", "--docker", "off", "--listen", &listen, "--data"])
            .arg(&folder)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}; build it first", kobel.display()))?;
        before_others(&hub);
        let mut fleet =
            Self { kobel: kobel.into(), folder, hub, simulation: None, token: String::new() };
        fleet.until("the hub is ready", |fleet| fleet.get("/readyz").is_ok())?;
        let out = fleet.command(&["token", "create", "bench"]).output();
        let out = out.map_err(failed("kobel token create"))?;
        fleet.token = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        Ok(fleet)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.kobel);
        command.args(args).arg("--data").arg(&self.folder).stdin(Stdio::null());
        command
    }

    /// Attaches so many devices with two containers each, and waits until the hub knows them.
    pub(super) fn attach(&mut self, devices: u32) -> Result<(), String> {
        let count = devices.to_string();
        let child = pinned(CLIENT_CORE, &self.kobel)
            .args(["simulate", "--containers", "2", "--devices", &count, "--data"])
            .arg(&self.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed("kobel simulate"))?;
        self.simulation = Some(child);
        let wanted = f64::from(devices) + 1.0;
        self.until("the fleet is attached", |fleet| {
            fleet.metric("kobel_devices").is_some_and(|known| known >= wanted)
        })
    }

    /// Viewers of the fleet's room, on the core of the simulation; gives what they say of one phase.
    pub(super) fn view(
        &self,
        viewers: u32,
        format: &str,
        rate: &str,
        seconds: u32,
    ) -> Result<Value, String> {
        let json = self.folder.join(format!("load-{format}-{rate}-{viewers}.json"));
        let pid = self.hub.id().to_string();
        let url = format!("http://127.0.0.1:{PORT}");
        let (viewers, duration) = (viewers.to_string(), format!("{seconds}s"));
        let own = std::env::current_exe().map_err(failed("load"))?;
        let status = pinned(CLIENT_CORE, &own)
            .args(["load", "--url", &url, "--token", &self.token, "--room", "fleet"])
            .args(["--format", format, "--rate", rate, "--connections", &viewers])
            .args(["--warm-up", "4s", "--duration", &duration, "--server-pid", &pid, "--json"])
            .arg(&json)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(failed("load"))?;
        let text = fs::read(&json).map_err(|_| format!("load: no report, {status}"))?;
        let mut report: Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
        Ok(report["phases"][0].take())
    }

    /// What the hub has taken by now.
    pub(super) fn taken(&self) -> Result<Taken, String> {
        let metric = |name| self.metric(name).ok_or_else(|| format!("no {name}"));
        Ok(Taken {
            at: Instant::now(),
            cpu_seconds: metric("process_cpu_seconds_total")?,
            resident: metric("process_resident_memory_bytes")?,
        })
    }

    /// One of the hub's metrics, all of its labels together.
    pub(super) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").ok()?;
        let mut values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = match rest.strip_prefix('{') {
                Some(labelled) => labelled.split_once("} ")?.1,
                None => rest.strip_prefix(' ')?,
            };
            value.parse::<f64>().ok()
        });
        let first = values.next()?;
        Some(values.fold(first, |sum, value| sum + value))
    }

    fn get(&self, path: &str) -> Result<String, String> {
        use std::io::{Read, Write};
        let failed = failed(path);
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", PORT)).map_err(&failed)?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{PORT}\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(&failed)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(&failed)?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.contains(" 200") => Ok(body.to_owned()),
            _ => Err(format!("{path}: {}", answer.lines().next().unwrap_or_default())),
        }
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<(), String> {
        let begun = Instant::now();
        while !holds(self) {
            if begun.elapsed() > PATIENCE {
                return Err(format!("{what}: not within {} s", PATIENCE.as_secs()));
            }
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self.simulation.iter_mut().chain([&mut self.hub]) {
            // It may have ended before.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
