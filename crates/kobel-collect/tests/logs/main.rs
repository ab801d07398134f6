//! The logs of real containers, followed through real breaks, against what `docker logs` says.
//!
//! Needs root, `dockerd`, `docker` and a static `/bin/busybox`; says so where one is missing.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

mod daemon;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use daemon::Daemon;
use kobel_collect::docker::{
    Endpoints,
    logs::{Dial, Ended, Follower, LINE_BYTES, Start},
};
use kobel_hub::logs::{LogSink, Poke, RawLine, SourceEvent};
use kobel_wire::{
    ContainerId,
    log::{LogMarker, LogOutput},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Keeps everything.
#[derive(Default)]
struct Kept(Mutex<Vec<SourceEvent>>);

impl LogSink for Kept {
    fn take(&self, events: &mut Vec<SourceEvent>) {
        self.0.lock().unwrap().append(events);
    }
}

struct Following {
    kept: Arc<Kept>,
    poke: Poke,
    cancel: CancellationToken,
    task: JoinHandle<Ended>,
}

impl Following {
    fn start(daemon: &Daemon, id: &ContainerId) -> Self {
        let (kept, cancel) = (Arc::new(Kept::default()), CancellationToken::new());
        let dial: Arc<dyn Dial> = Arc::new(Endpoints::only(&daemon.host()).unwrap());
        let sink: Arc<dyn LogSink> = Arc::clone(&kept) as _;
        let poke = Poke::default();
        let follower = Follower::new(dial, id.clone(), sink, Start::Tail(1_000_000));
        let follower = follower.poked_by(poke.clone());
        let task = tokio::spawn(follower.run(cancel.clone()));
        Self { kept, poke, cancel, task }
    }

    fn lines(&self, output: LogOutput) -> Vec<RawLine> {
        let events = self.kept.0.lock().unwrap();
        let lines = events.iter().filter_map(|event| match event {
            SourceEvent::Line(line) if line.stream == output => Some(line.clone()),
            _ => None,
        });
        lines.collect()
    }

    fn texts(&self, output: LogOutput) -> Vec<String> {
        self.lines(output).into_iter().map(|line| line.text).collect()
    }

    /// Lines and markers, in one text each.
    fn story(&self) -> Vec<String> {
        let events = self.kept.0.lock().unwrap();
        let told = events.iter().map(|event| match event {
            SourceEvent::Line(line) => line.text.clone(),
            SourceEvent::Marker(marker, _) => format!("{marker:?}"),
            SourceEvent::Missing(lines) => format!("{lines} missing"),
            SourceEvent::Told(_) => "another node".into(),
        });
        told.collect()
    }

    fn markers(&self) -> Vec<LogMarker> {
        let events = self.kept.0.lock().unwrap();
        let markers = events.iter().filter_map(|event| match event {
            SourceEvent::Marker(marker, _) => Some(*marker),
            _ => None,
        });
        markers.collect()
    }

    async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !is(self) {
            let story = || self.story().into_iter().rev().take(5).collect::<Vec<_>>();
            assert!(Instant::now() < end, "not told: {what}; the last: {:.300?}", story());
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn line(&self, text: &str) {
        self.until(text, |following| {
            let events = following.kept.0.lock().unwrap();
            // The newest first: of a flood, only those are what is waited for.
            events.iter().rev().any(|e| matches!(e, SourceEvent::Line(line) if line.text == text))
        })
        .await;
    }

    async fn ended(self) -> Ended {
        self.cancel.cancel();
        timeout(Duration::from_secs(5), self.task).await.expect("ends when cancelled").unwrap()
    }
}

/// What Docker has written down of an output.
fn written(daemon: &Daemon, name: &str, output: LogOutput) -> Vec<String> {
    let out = daemon.command(&["logs", name]);
    let bytes = if output == LogOutput::Stdout { out.stdout } else { out.stderr };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
}

fn assert_same(seen: &[String], written: &[String]) {
    let differs = seen.iter().zip(written).position(|(seen, written)| seen != written);
    let at = differs.unwrap_or(seen.len().min(written.len()));
    let counts = (seen.len(), written.len());
    let both = (seen.get(at), written.get(at));
    assert!(
        seen == written,
        "seen and written {counts:?}, the first that differ, {at}: {both:.300?}"
    );
}

/// Prints numbered lines on both outputs, 2000 a second for 12 seconds.
const COUNT: &str = "i=0; while [ $i -lt 12000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); \
                     [ $((i % 100)) = 0 ] && usleep 100000; done; echo end; sleep 1000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_once_through_every_break() {
    let mut daemon = Daemon::start();
    let id = daemon.sh("count", &[], COUNT);
    let following = Following::start(&daemon, &id);
    following.line("out 1000").await;
    daemon.down("TERM");
    daemon.up();
    following.line("out 4000").await;
    daemon.down("KILL");
    daemon.up();
    following.line("end").await;
    let all = |f: &Following| f.texts(LogOutput::Stderr).len() >= 12_000;
    following.until("all of stderr", all).await;
    for output in [LogOutput::Stdout, LogOutput::Stderr] {
        assert_same(&following.texts(output), &written(&daemon, "count", output));
    }
    assert_eq!(following.markers(), [], "it was never restarted");
    assert_eq!(following.ended().await, Ended::Cancelled);

    // A life: killed and started again, then removed.
    let id = daemon.sh("life", &[], "echo begins; printf 'no line feed'; sleep 1000");
    let following = Following::start(&daemon, &id);
    following.line("begins").await;
    daemon.run(&["kill", "life"]);
    following.until("stopped", |f| f.markers() == [LogMarker::Stopped]).await;
    daemon.run(&["start", "life"]);
    following.poke.now();
    following.until("again", |f| f.story().iter().filter(|s| *s == "begins").count() == 2).await;
    daemon.run(&["kill", "life"]);
    let stopped = |f: &Following| f.markers().len() == 3;
    following.until("stopped again", stopped).await;
    daemon.run(&["rm", "life"]);
    let ended = timeout(Duration::from_secs(20), following.task).await.unwrap().unwrap();
    assert_eq!(ended, Ended::Removed);
    let kept = Arc::clone(&following.kept);
    let story =
        Following { task: tokio::spawn(async { Ended::Removed }), kept, ..following }.story();
    let run = ["begins", "no line feed", "Stopped"];
    assert_eq!(story, [run.as_slice(), &["Started"], &run].concat());

    // A log that cannot be read.
    let id = daemon.sh("mute", &["--log-driver=none"], "echo x; sleep 1000");
    let following = Following::start(&daemon, &id);
    let ended = timeout(Duration::from_secs(20), following.task).await.unwrap().unwrap();
    assert!(matches!(ended, Ended::Refused(_)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_container_writes() {
    let daemon = Daemon::start();
    let cases = [
        // Lines of many parts, one past what is kept.
        (
            "long",
            vec![],
            "for n in 1 16384 16385 40000; do head -c $n /dev/zero | tr '\\0' x; echo; done; \
                          head -c 1000000 /dev/zero | tr '\\0' y; echo; echo end; sleep 1000",
        ),
        (
            "terminal",
            vec!["-t"],
            "for n in 1 16383 16384 40000; do head -c $n /dev/zero | tr '\\0' x; echo; done; \
                                  echo end; sleep 1000",
        ),
        ("rubbish", vec![], "head -c 200000 /dev/urandom; echo; echo end; sleep 1000"),
        ("flood", vec![], "seq 1 300000; echo end; sleep 1000"),
    ];
    for (name, options, script) in cases {
        let id = daemon.sh(name, &options, script);
        let following = Following::start(&daemon, &id);
        let begun = Instant::now();
        following.line("end").await;
        println!("{name}: {:?}", begun.elapsed());
        let lines = following.lines(LogOutput::Stdout);
        let mut written = written(&daemon, name, LogOutput::Stdout);
        for (line, written) in lines.iter().zip(&mut written) {
            assert_eq!(line.text.len() as u64 + line.cut, written.len() as u64, "{name}");
            assert_eq!(line.cut > 0, written.len() > LINE_BYTES, "{name}");
            assert!(line.at.as_nanos() > 1_700_000_000_000_000_000, "{name}: {:?}", line.at);
            written.truncate(line.text.len());
        }
        let texts: Vec<_> = lines.into_iter().map(|line| line.text).collect();
        assert_same(&texts, &written);
        following.ended().await;
        daemon.run(&["rm", "-f", name]);
    }
}
