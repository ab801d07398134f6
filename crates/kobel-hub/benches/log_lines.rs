//! How many lines a second one core makes entries of, with the default redaction.
//!
//! `cargo bench -p kobel-hub --bench log_lines`. Prints a table; fails below the figures to reach.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails as tests do")]

use std::{hint::black_box, sync::Arc, time::Duration};

use kobel_hub::logs::{LogFilter, Processor, RawLine, Redaction, SourceEvent, line};
use kobel_wire::log::{LogOutput, LogTime};
use tokio::time::Instant;

const LINES: usize = 200_000;

fn raw(text: String) -> RawLine {
    let at = LogTime::from_nanos(1_795_000_000_007_000_000);
    RawLine { at, stream: LogOutput::Stdout, text, cut: 0 }
}

type Make = fn(usize) -> String;

const PLAIN: Make =
    |n| format!("2026-11-18T11:06:40.{n:06}Z  INFO app::http: served /items/{n} in 12 ms");
const PROSE: Make = |n| format!("listening for connection number {n} from the load balancer");
const ACCESS: Make = |n| {
    format!(
        "10.0.{}.{} - - [18/Nov/2026:11:06:40 +0000] \"GET /items/{n} HTTP/1.1\" 200 512 \"-\" \
         \"Mozilla/5.0 (X11; Linux x86_64)\"",
        n % 256,
        n % 251
    )
};
const COLOUR: Make = |n| format!("\u{1b}[2m11:06:40\u{1b}[0m \u{1b}[32mINFO\u{1b}[0m item {n}");
const LOGFMT: Make = |n| {
    format!("time=2026-11-18T11:06:40Z level=info msg=\"served item\" path=/items/{n} took=12ms")
};
const JSON: Make = |n| {
    format!(
        "{{\"level\":30,\"time\":1795000000007,\"pid\":1,\"hostname\":\"web-1\",\"reqId\":{n},\
         \"req\":{{\"method\":\"GET\",\"url\":\"/items/{n}\"}},\"msg\":\"request completed\"}}"
    )
};

/// Lines a second of the best of five runs.
fn measure(name: &str, make: Make, least: f64) -> bool {
    let redaction = Arc::new(Redaction::default());
    let mut best = [0.0_f64; 2];
    for _ in 0..5 {
        let lines: Vec<_> = (0..LINES).map(|n| raw(make(n))).collect();
        let start = Instant::now();
        for raw in lines {
            black_box(line::read(raw));
        }
        best[0] = best[0].max(LINES as f64 / start.elapsed().as_secs_f64());

        let lines: Vec<_> = (0..LINES).map(|n| SourceEvent::Line(raw(make(n)))).collect();
        let mut processor = Processor::new(Arc::clone(&redaction), Duration::from_millis(100), 0);
        let mut out = Vec::with_capacity(1000);
        let start = Instant::now();
        for line in lines {
            processor.push(start, line, &mut out);
            if out.len() == 1000 {
                black_box(&out);
                out.clear();
            }
        }
        best[1] = best[1].max(LINES as f64 / start.elapsed().as_secs_f64());
    }
    let [read, all] = best;
    println!("{name:<8} {read:>12.0} {all:>16.0}");
    all >= least
}

fn main() {
    println!("{:<8} {:>12} {:>16}", "lines/s", "read", "redact+group");
    let mut good = true;
    good &= measure("plain", PLAIN, 1e6);
    good &= measure("prose", PROSE, 1e6);
    good &= measure("access", ACCESS, 0.0);
    good &= measure("colour", COLOUR, 0.0);
    good &= measure("logfmt", LOGFMT, 0.0);
    good &= measure("json", JSON, 4e5);

    let filter = serde_json::json!({"level": "info", "text": "99 in"});
    let filter = LogFilter::from_json(&filter).unwrap();
    let lines: Vec<_> = (0..LINES).map(|n| line::read(raw(PLAIN(n)))).collect();
    let start = Instant::now();
    let found = lines.iter().filter(|line| filter.matches(line)).count();
    let filtered = LINES as f64 / start.elapsed().as_secs_f64();
    println!("filter   {filtered:>12.0} ({found} found)");
    if !good {
        eprintln!("below 1,000,000 plain or 400,000 JSON lines/s");
        std::process::exit(1);
    }
}
