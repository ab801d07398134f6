//! What a run found, as data and as a table for people.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::worker::tally::{Tally, Times};

/// What a run found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The server.
    pub target: String,
    /// `websocket` or `polling`.
    pub transport: String,
    /// Processes that shared the connections.
    pub processes: u32,
    /// The phases, in their order. Empty in a process that only worked for another.
    pub phases: Vec<PhaseReport>,
}

/// What a phase found.
#[derive(Debug, Clone, Serialize)]
pub struct PhaseReport {
    /// Its name.
    pub name: String,
    /// Connections that there should be.
    pub connections: u32,
    /// Connections that there were in the end.
    pub connected: u32,
    /// Of these, those that do not read.
    pub slow: u32,
    /// How the connections came to be.
    pub opening: Opening,
    /// How long was counted, in s.
    pub seconds: f64,
    /// Events received.
    pub messages: u64,
    /// Events received a second.
    pub messages_per_second: f64,
    /// Bytes of their JSON a second.
    pub bytes_per_second: f64,
    /// Events without a stamp: not in the latency.
    pub unstamped: u64,
    /// From the publisher's stamp to the read, witnesses aside.
    pub latency: Quantiles,
    /// Connections lost, by why.
    pub disconnects: BTreeMap<String, u64>,
    /// Failed attempts to return, by why.
    pub errors: BTreeMap<String, u64>,
    /// Connections that were closed for churn.
    pub churned: u64,
    /// Connections that did not come back.
    pub failed: u32,
    /// From being closed or lost to being back.
    pub back: Quantiles,
    /// What a storm did; with `--reconnect`.
    pub storm: Option<Storm>,
    /// What the server cost; if it could be read.
    pub server: Option<Server>,
    /// Processor time that the load generator itself took while it counted, in s.
    pub own_cpu_seconds: f64,
}

/// How the connections of a phase came to be.
#[derive(Debug, Clone, Serialize)]
pub struct Opening {
    /// From the first to the last, in s.
    pub seconds: f64,
    /// Connections that came to be in it.
    pub opened: u64,
    /// From the first packet to being connected and subscribed.
    pub latency: Quantiles,
    /// Failed attempts, by why.
    pub errors: BTreeMap<String, u64>,
    /// Connections that were given up.
    pub failed: u32,
    /// Processor time of the server for each, in µs.
    pub server_cpu_us: Option<f64>,
    /// The same by the core's time, less what it does by itself.
    pub core_cpu_us: Option<f64>,
}

/// What a storm did.
#[derive(Debug, Clone, Serialize)]
pub struct Storm {
    /// Connections that were cut.
    pub cut: u32,
    /// Until all were back, in s; `None` when some were not in time.
    pub all_back_seconds: Option<f64>,
    /// From the cut to being back.
    pub back: Quantiles,
    /// Latency of the witnesses until all were back.
    pub witnesses: Quantiles,
    /// Processor time of the server for each, in µs: its end and its return.
    pub server_cpu_us: Option<f64>,
    /// The same by the core's time.
    pub core_cpu_us: Option<f64>,
}

/// What the server cost while was counted.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Server {
    /// Its processes.
    pub pids: Vec<u32>,
    /// Seconds of user time.
    pub user_seconds: f64,
    /// Seconds of system time.
    pub system_seconds: f64,
    /// Seconds that its core was busy, less what it does by itself; with `--server-core`.
    pub core_seconds: Option<f64>,
    /// What the core does by itself, in seconds a second.
    pub core_idle: Option<f64>,
    /// Processor time for each event received, in µs.
    pub cpu_us_per_delivery: Option<f64>,
    /// The same by the core's time.
    pub core_us_per_delivery: Option<f64>,
    /// Resident bytes before the first connection of the run.
    pub resident_before: u64,
    /// With all connections, before events are counted.
    pub resident_connected: u64,
    /// At the end of the phase.
    pub resident_after: u64,
    /// The most that was seen.
    pub resident_peak: u64,
    /// `resident_connected` less `resident_before`, by the connections.
    pub bytes_per_connection: f64,
    /// `resident_after` less `resident_before`, by the connections.
    pub bytes_per_connection_after: f64,
}

/// How a time is spread, in ms; all 0 when it was never measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// How often it was measured.
    pub count: u64,
    /// Half are not above this.
    pub p50: f64,
    /// 95 % are not above this.
    pub p95: f64,
    /// 99 % are not above this.
    pub p99: f64,
    /// 99.9 % are not above this.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl From<&Times> for Quantiles {
    fn from(times: &Times) -> Self {
        let ms = |micros: u64| micros as f64 / 1000.0;
        let at = |percent| ms(times.percentile(percent));
        Self {
            count: times.count(),
            p50: at(50.0),
            p95: at(95.0),
            p99: at(99.0),
            p999: at(99.9),
            max: ms(times.max()),
        }
    }
}

impl Report {
    /// Whether connections failed: then the exit status is not 0.
    pub fn failed(&self) -> bool {
        self.phases.iter().any(|phase| phase.opening.failed + phase.failed > 0)
    }
}

impl Opening {
    pub(crate) fn new(tally: &Tally, seconds: f64) -> Self {
        Self {
            seconds,
            opened: tally.opening.count(),
            latency: (&tally.opening).into(),
            errors: tally.errors.clone(),
            failed: tally.failed,
            server_cpu_us: None,
            core_cpu_us: None,
        }
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, p50, p95, p99, p999, max } = self;
        if *count == 0 {
            return f.write_str("not measured");
        }
        write!(f, "p50 {p50:.2}  p95 {p95:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {max:.2} ms")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for phase in &self.phases {
            write!(f, "{phase}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PhaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "  {name:<22}{value}");
        let slow =
            if self.slow > 0 { format!(", {} do not read", self.slow) } else { String::new() };
        row(&self.name, format!("{} of {} connections{slow}", self.connected, self.connections))?;
        let opening = &self.opening;
        if opening.opened > 0 {
            row("opened", format!("{} in {:.1} s", opening.opened, opening.seconds))?;
            row("  each", opening.latency.to_string())?;
        }
        for (kind, count) in &opening.errors {
            row("  failed attempts", format!("{count} × {kind}"))?;
        }
        if opening.failed > 0 {
            row("  given up", opening.failed.to_string())?;
        }
        let (messages, rate) = (self.messages, self.messages_per_second);
        let megabytes = self.bytes_per_second / 1e6;
        let seconds = self.seconds;
        row(
            "events",
            format!("{messages} in {seconds:.1} s: {rate:.0} a second, {megabytes:.1} MB/s"),
        )?;
        row("latency", self.latency.to_string())?;
        if self.unstamped > 0 {
            row("  without a stamp", self.unstamped.to_string())?;
        }
        if let Some(storm) = &self.storm {
            let all = storm.all_back_seconds.map_or("not all back in time".into(), |seconds| {
                format!("all back after {seconds:.2} s")
            });
            row("cut", format!("{}, {all}", storm.cut))?;
            row("  each back", storm.back.to_string())?;
            if storm.witnesses.count > 0 {
                row("  witnesses' latency", storm.witnesses.to_string())?;
            }
        } else if self.churned > 0 {
            row("churn", format!("{} closed", self.churned))?;
            row("  each back", self.back.to_string())?;
        }
        for (kind, count) in &self.disconnects {
            row("lost", format!("{count} × {kind}"))?;
        }
        for (kind, count) in &self.errors {
            row("failed to return", format!("{count} × {kind}"))?;
        }
        if let Some(server) = &self.server {
            server.rows(self, &mut row)?;
        }
        row("load generator", format!("{:.1} s of processor", self.own_cpu_seconds))
    }
}

impl Server {
    fn rows(
        &self,
        phase: &PhaseReport,
        row: &mut impl FnMut(&str, String) -> fmt::Result,
    ) -> fmt::Result {
        let (user, system) = (self.user_seconds, self.system_seconds);
        let core =
            self.core_seconds.map_or(String::new(), |core| format!(", its core {core:.2} s"));
        row("server's processor", format!("{user:.2} s user, {system:.2} s system{core}"))?;
        let both = |own: Option<f64>, core: Option<f64>| {
            let text = |micros: f64| format!("{micros:.2} µs");
            match (own, core) {
                (Some(own), Some(core)) => Some(format!("{}, core {}", text(own), text(core))),
                (own, core) => own.or(core).map(text),
            }
        };
        if let Some(text) = both(self.cpu_us_per_delivery, self.core_us_per_delivery) {
            row("  a delivery", text)?;
        }
        if let Some(text) = both(phase.opening.server_cpu_us, phase.opening.core_cpu_us) {
            row("  a connection", text)?;
        }
        if let Some(storm) = &phase.storm
            && let Some(text) = both(storm.server_cpu_us, storm.core_cpu_us)
        {
            row("  a reconnection", text)?;
        }
        let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        row(
            "server's memory",
            format!(
                "{:.1} MiB before, {:.1} connected, {:.1} after, {:.1} at most",
                mib(self.resident_before),
                mib(self.resident_connected),
                mib(self.resident_after),
                mib(self.resident_peak),
            ),
        )?;
        let (before, after) = (self.bytes_per_connection, self.bytes_per_connection_after);
        row("  a connection", format!("{before:.0} B idle, {after:.0} B after the events"))
    }
}
