//! What is measured.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::{
    Table,
    load::load,
    servers::{Kind, Publish, Running},
};

/// Figures of a run, by name: see [`crate::table`].
pub(crate) type Found = BTreeMap<&'static str, f64>;

/// How large it all is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) quick: bool,
}

impl Size {
    fn of<T>(self, whole: T, quick: T) -> T {
        if self.quick { quick } else { whole }
    }
}

/// A setting of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
pub(crate) enum Setting {
    /// Many rooms, an event a second each
    #[value(name = "A", alias = "a")]
    A,
    /// One room, 5 events a second
    #[value(name = "B", alias = "b")]
    B,
    /// The most deliveries a second with a p99 under 50 ms
    #[value(name = "C", alias = "c")]
    C,
    /// Memory of a connection, idle and after events
    #[value(name = "D", alias = "d")]
    D,
    /// All are cut and return at once
    #[value(name = "E", alias = "e")]
    E,
    /// A tenth does not read
    #[value(name = "F", alias = "f")]
    F,
}

/// A p99 over this is not held, in ms.
const HELD: f64 = 50.0;

impl Setting {
    /// Who is measured in it.
    pub(crate) fn servers(self, size: Size) -> Vec<Kind> {
        use Kind::{Floor, Kobel, Node, NodeBufferutil, Socketioxide};
        let all = vec![Floor, Kobel, Socketioxide, NodeBufferutil, Node];
        match self {
            Self::A if size.quick => vec![Floor, Kobel, Socketioxide],
            Self::B if size.quick => vec![Floor, Kobel, Socketioxide, NodeBufferutil],
            Self::C if size.quick => vec![Kobel],
            Self::D | Self::E if size.quick => vec![Floor, Kobel],
            // The floor drops whom it cannot send to.
            Self::F if size.quick => vec![Kobel],
            Self::F => vec![Kobel, Socketioxide, NodeBufferutil, Node],
            _ => all,
        }
    }

    /// What it is, for the table.
    pub(crate) fn title(self, size: Size) -> String {
        let many = size.of("10,000", "5,000");
        match self {
            Self::A => format!("A: {many} connections, 100 rooms, 1 event/s each"),
            Self::B => format!("B: {many} connections, one room, 5 events/s"),
            Self::C => "C: 2,000 connections, one room, most deliveries/s with p99 < 50 ms".into(),
            Self::D => format!("D: {} connections, memory", size.of("19,000", "5,000")),
            Self::E => {
                format!("E: {} are cut and return at once, 100 stay", size.of("10,000", "3,000"))
            }
            Self::F => "F: 2,000 connections, 20 events/s of 2 KB, 10 % do not read".into(),
        }
    }

    pub(crate) fn run(self, kind: Kind, size: Size, args: &Table) -> Result<Found, String> {
        let many = size.of(10_000, 5_000);
        let start = |publish| Running::start(kind, publish, args.folder());
        let one = |rate, joins| Publish { rooms: 1, rate, payload: 300, joins };
        match self {
            Self::A => {
                let server = start(Publish { rooms: 100, rate: 1.0, payload: 300, joins: many })?;
                let options = options(many, 100, size.of(10, 4));
                Ok(cost(&load(&server, &options)?))
            }
            Self::B => {
                let server = start(one(5.0, many))?;
                Ok(cost(&load(&server, &options(many, 1, size.of(10, 4)))?))
            }
            Self::C => search(kind, size, args),
            Self::D => {
                let many = size.of(19_000, 5_000);
                let idle = load(&start(one(0.0, many))?, &options(many, 1, 1))?;
                let busy = load(&start(one(1.0, many))?, &options(many, 1, size.of(10, 3)))?;
                let mut found = Found::new();
                put(&mut found, "idle", &idle["server"]["bytes_per_connection"]);
                put(&mut found, "after", &busy["server"]["bytes_per_connection_after"]);
                put(&mut found, "connected", &idle["connected"]);
                Ok(found)
            }
            Self::E => {
                let many = size.of(10_100, 3_100);
                let server = start(one(10.0, many))?;
                let mut options = options(many, 1, 60);
                options.extend(strings(&[
                    "--reconnect",
                    "--witnesses",
                    "100",
                    "--witness-emit",
                    "join",
                    "\"room-0\"",
                ]));
                // Those that are cut are in a room without events.
                let emit = options.iter().position(|option| option == "\"room-{room}\"");
                if let Some(room) = emit.and_then(|emit| options.get_mut(emit)) {
                    *room = "\"quiet\"".into();
                }
                Ok(storm(&load(&server, &options)?))
            }
            Self::F => {
                let publish = Publish { rooms: 1, rate: 20.0, payload: 2000, joins: 2000 };
                let options = options(2000, 1, size.of(20, 8));
                let without = load(&start(publish)?, &options)?;
                let slow = [options, strings(&["--slow-readers", "10"])].concat();
                let with = load(&start(publish)?, &slow)?;
                let mut found = cost(&with);
                put(&mut found, "p99 without", &without["latency"]["p99"]);
                put(&mut found, "peak", &with["server"]["resident_peak"]);
                Ok(found)
            }
        }
    }
}

fn options(connections: u32, rooms: u32, seconds: u32) -> Vec<String> {
    let connections = connections.to_string();
    let (rooms, duration) = (rooms.to_string(), format!("{seconds}s"));
    strings(&[
        "--connections",
        &connections,
        "--connect-rate",
        "2500",
        "--rooms",
        &rooms,
        "--emit",
        "join",
        "\"room-{room}\"",
        "--warm-up",
        "1s",
        "--duration",
        &duration,
    ])
}

fn strings(options: &[&str]) -> Vec<String> {
    options.iter().map(|option| (*option).to_owned()).collect()
}

fn put(found: &mut Found, name: &'static str, value: &Value) {
    if let Some(value) = value.as_f64() {
        found.insert(name, value);
    }
}

fn cost(report: &Value) -> Found {
    let mut found = Found::new();
    put(&mut found, "deliveries/s", &report["messages_per_second"]);
    put(&mut found, "cpu", &report["server"]["cpu_us_per_delivery"]);
    put(&mut found, "core", &report["server"]["core_us_per_delivery"]);
    put(&mut found, "core idle", &report["server"]["core_idle"]);
    put(&mut found, "setup", &report["opening"]["server_cpu_us"]);
    put(&mut found, "p50", &report["latency"]["p50"]);
    put(&mut found, "p95", &report["latency"]["p95"]);
    put(&mut found, "p99", &report["latency"]["p99"]);
    put(&mut found, "client", &report["own_cpu_seconds"]);
    put(&mut found, "failed", &report["opening"]["failed"]);
    if let Some(lost) = report["disconnects"].as_object() {
        found.insert("lost", lost.values().filter_map(Value::as_f64).sum());
    }
    let (client, seconds) = (report["own_cpu_seconds"].as_f64(), report["seconds"].as_f64());
    if let (Some(client), Some(seconds)) = (client, seconds) {
        found.insert("client", client / seconds);
    }
    found
}

fn storm(report: &Value) -> Found {
    let mut found = Found::new();
    let storm = &report["storm"];
    put(&mut found, "all back", &storm["all_back_seconds"]);
    put(&mut found, "back p50", &storm["back"]["p50"]);
    put(&mut found, "back p99", &storm["back"]["p99"]);
    put(&mut found, "witness p99", &storm["witnesses"]["p99"]);
    put(&mut found, "witness max", &storm["witnesses"]["max"]);
    put(&mut found, "setup", &report["opening"]["server_cpu_us"]);
    put(&mut found, "return", &storm["server_cpu_us"]);
    put(&mut found, "peak", &report["server"]["resident_peak"]);
    put(&mut found, "connected", &report["connected"]);
    found
}

/// Upwards until two in a row (one, if quick) are not held, then between the best and the next.
fn search(kind: Kind, size: Size, args: &Table) -> Result<Found, String> {
    const CONNECTIONS: u32 = 2000;
    const START: f64 = 50_000.0;
    let once = |deliveries: f64| -> Result<(bool, Found), String> {
        let rate = deliveries / f64::from(CONNECTIONS);
        let publish = Publish { rooms: 1, rate, payload: 300, joins: CONNECTIONS };
        let server = Running::start(kind, publish, args.folder())?;
        let found = cost(&load(&server, &options(CONNECTIONS, 1, size.of(6, 3)))?);
        let of = |name| found.get(name).copied().unwrap_or_default();
        let (got, p99) = (of("deliveries/s"), of("p99"));
        // What is offered must be delivered, not left out.
        let held = p99 < HELD && got >= deliveries * 0.97;
        eprintln!("  {deliveries:.0}/s: got {got:.0}, p99 {p99:.1} ms");
        Ok((held, found))
    };
    // A hiccup of the machine is not the server's.
    let tried = |deliveries: f64| match once(deliveries)? {
        (false, found) if !size.quick && found.get("p99").is_some_and(|p99| *p99 < HELD * 1.3) => {
            once(deliveries)
        }
        first => Ok(first),
    };
    let (mut at, factor) = (START, size.of(1.5, 4.0));
    let mut best: Option<(f64, Found)> = None;
    let mut over: Vec<(f64, Found)> = Vec::new();
    while over.len() < size.of(2, 1) {
        let (held, found) = tried(at)?;
        if held {
            over.clear();
            best = Some((at, found));
        } else {
            over.push((at, found));
        }
        at *= factor;
    }
    // Even the first was too much.
    let mut at = START / 2.0;
    while best.is_none() && at > 1000.0 {
        match tried(at)? {
            (true, found) => best = Some((at, found)),
            (false, found) => over.insert(0, (at, found)),
        }
        at /= 2.0;
    }
    let (mut low, mut found) = best.ok_or("not even 1,000 deliveries a second are held")?;
    let (mut high, mut beyond) = match over.into_iter().next() {
        Some((high, beyond)) => (high, Some(beyond)),
        None => (low * 2.0, None),
    };
    for _ in 0..size.of(2, 1) {
        let middle = (low * high).sqrt();
        match tried(middle)? {
            (true, better) => (low, found) = (middle, better),
            (false, worse) => (high, beyond) = (middle, Some(worse)),
        }
    }
    // What was the matter beyond it: events that are missing, or late.
    for (name, of) in [("over", "deliveries/s"), ("over p99", "p99"), ("over cpu", "cpu")] {
        if let Some(value) = beyond.as_ref().and_then(|beyond| beyond.get(of)) {
            found.insert(name, *value);
        }
    }
    Ok(found)
}
