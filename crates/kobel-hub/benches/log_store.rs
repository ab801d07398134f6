//! What storing and finding lines costs, on one core.
//!
//! `cargo bench -p kobel-hub --bench log_store`. Stores ten million made-up lines of twenty
//! containers over a day (`LINES=…` for another count), looks for some, prints a table; fails below
//! the figures to reach.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails as tests do")]

use std::{sync::Arc, time::Duration};

use kobel_hub::logs::{
    RawLine, line,
    store::{Keep, LogIdentity, LogQuery, LogSearch, LogStore, SearchEvent},
};
use kobel_wire::log::{LogLine, LogOutput, LogTime};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const STREAMS: u64 = 20;
const DAY: i64 = 86_400_000_000_000;
const START: i64 = 1_795_000_000_000_000_000;
const HOUR: i64 = DAY / 24;
const AT_ONCE: usize = 500;

/// xorshift64*: the same lines each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }
}

const PATHS: [&str; 8] = [
    "/api/items",
    "/api/users",
    "/api/orders",
    "/health",
    "/static/app.js",
    "/api/cart/checkout",
    "/login",
    "/api/search",
];
const SAYINGS: [&str; 10] = [
    "request completed",
    "cache miss for key",
    "connection from upstream established",
    "user session refreshed",
    "payment authorised",
    "retrying after transient failure",
    "job finished",
    "wrote batch to storage",
    "published event to queue",
    "lease renewed by worker",
];
const LEVELS: [&str; 8] = ["INFO", "INFO", "INFO", "INFO", "DEBUG", "DEBUG", "WARN", "ERROR"];

/// Of ten containers four write text, two an access log, three JSON and one logfmt; most lines have
/// an id that no other has.
fn text(stream: u64, at: i64, random: &mut Random) -> String {
    let time = LogTime::from_nanos(at / 1_000_000 * 1_000_000).to_string();
    let (path, saying, level) = (random.of(&PATHS), random.of(&SAYINGS), random.of(&LEVELS));
    let (id, request) = (random.below(100_000), random.next());
    let most = if random.below(50) == 0 { 20_000 } else { 300 };
    let took = random.below(most);
    match stream % 10 {
        0..=3 => format!(
            "{}{:03}Z {level:>5} shop::worker{}: {saying} item={id} took={took}ms",
            time.trim_end_matches('Z'),
            at / 1_000 % 1_000,
            stream % 3,
        ),
        4 | 5 => format!(
            "10.0.{}.{} - - [18/Nov/2026:{} +0000] \"GET {path}/{id} HTTP/1.1\" {} {} \"-\" \
             \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\"",
            random.below(8),
            random.below(255),
            &time[11..19],
            random.of(&["200", "200", "200", "304", "404", "500"]),
            random.below(30_000),
        ),
        6..=8 => format!(
            "{{\"level\":\"{}\",\"time\":\"{time}\",\"service\":\"checkout\",\
             \"requestId\":\"{request:016x}\",\"path\":\"{path}/{id}\",\"took\":{took},\
             \"msg\":\"{saying}\"}}",
            level.to_lowercase(),
        ),
        _ => format!(
            "time={time} level={} msg=\"{saying}\" user={} request={:08x} took={took}ms",
            level.to_lowercase(),
            random.below(5_000),
            request as u32,
        ),
    }
}

fn identity(stream: u64) -> Arc<LogIdentity> {
    Arc::new(LogIdentity {
        device_uuid: "0198c0de-0000-7000-8000-0000000000ab".parse().unwrap(),
        device_name: "nest".into(),
        container_id: format!("{stream:02x}").repeat(32).parse().unwrap(),
        name: format!("web-{stream}"),
        image: "shop:1".into(),
        project: None,
        service: None,
    })
}

/// Processor time that this process has used.
fn used() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

async fn look(store: &LogStore, query: &str, span: (i64, i64), limit: usize) -> (Duration, usize) {
    let mut best = (Duration::MAX, 0);
    for _ in 0..3 {
        let query = LogQuery::parse(query).unwrap();
        let looked = LogSearch { query, from: span.0, to: span.1, limit, ..LogSearch::default() };
        let start = Instant::now();
        let mut events = store.search(looked, Arc::new(|_| true));
        let mut found = 0;
        while let Some(event) = events.recv().await {
            found += usize::from(matches!(event, SearchEvent::Found(_)));
        }
        best = best.min((start.elapsed(), found));
    }
    best
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let lines: i64 = std::env::var("LINES").map_or(10_000_000, |lines| lines.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let keep = Keep { bytes: 100_000_000_000, age: Duration::from_secs(1 << 40) };
    let (store, task) = LogStore::open(folder.path(), keep).unwrap();
    let cancel = CancellationToken::new();
    let running = tokio::spawn(task.run(cancel.clone()));

    let mut random = Random(88_172_645_463_325_252);
    let (mut raw, mut making) = (0_u64, Duration::ZERO);
    let mut batches: Vec<Vec<Arc<LogLine>>> = vec![Vec::new(); STREAMS as usize];
    let begin = used();
    for n in 0..lines {
        let start = Instant::now();
        let at = START + n * (DAY / lines);
        let stream = random.below(STREAMS);
        let mut text = text(stream, at, &mut random);
        if n == lines / 3 {
            text.push_str(" zebrafish");
        }
        raw += text.len() as u64 + 1;
        let (at, output) =
            (LogTime::from_nanos(at + random.below(900_000) as i64), LogOutput::Stdout);
        let line = line::read(RawLine { at, stream: output, text, cut: 0 });
        batches[stream as usize].push(Arc::new(line));
        making += start.elapsed();
        if batches[stream as usize].len() == AT_ONCE || n + 1 == lines {
            for (stream, batch) in (0..).zip(&mut batches) {
                if batch.len() == AT_ONCE || n + 1 == lines {
                    let batch = std::mem::take(batch);
                    // No faster than it is stored.
                    while store.append(identity(stream), batch.clone(), None).is_err() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
        }
    }
    while store.figures().lines < lines as u64 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ingest = (used() - begin).saturating_sub(making).as_secs_f64();
    cancel.cancel();
    running.await.unwrap();
    let disk: u64 = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();

    let start = Instant::now();
    let (store, task) = LogStore::open(folder.path(), keep).unwrap();
    let opened = start.elapsed();
    let cancel = CancellationToken::new();
    let running = tokio::spawn(task.run(cancel.clone()));
    let rate = lines as f64 / ingest;
    let share = disk as f64 / raw as f64 * 100.0;
    println!("| {lines} lines, {:.0} MB of text | |", raw as f64 / 1e6);
    println!("|---|---|");
    println!("| stored a second, of processor time | {rate:.0} |");
    println!("| on disk | {:.0} MB, {share:.1} % |", disk as f64 / 1e6);
    println!("| opening the store | {opened:.0?} |");
    let (all, hour) = ((i64::MIN, i64::MAX), (START + 7 * HOUR, START + 8 * HOUR));
    let (rare, found) = look(&store, "zebrafish", all, 200).await;
    println!("| a rare word among all ({found} found) | {rare:.1?} |");
    assert_eq!(found, 1);
    let mut regex = Duration::ZERO;
    for (query, span, limit) in [
        ("/took[=:\"]+1[0-9]{3,4}\\b/", hour, usize::MAX),
        ("/^20.*retry/", hour, usize::MAX),
        ("level>=error item=77777", hour, usize::MAX),
        ("nowhere", all, 200),
        ("\"payment authorised\"", all, 200),
        ("", all, 200),
    ] {
        let (time, found) = look(&store, query, span, limit).await;
        let when = if span == hour { "one hour" } else { "all" };
        println!("| `{query}` in {when} ({found} found) | {time:.1?} |");
        if query.starts_with('/') {
            regex = regex.max(time);
        }
    }
    cancel.cancel();
    running.await.unwrap();
    let good = rate >= 50_000.0
        && share <= 15.0
        && rare < Duration::from_millis(200)
        && regex < Duration::from_secs(1);
    assert!(good, "below the figures to reach");
}
