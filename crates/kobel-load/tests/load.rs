//! The load generator against a real server in this process: what it reports is what happened
//! there.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use kobel_fanout::{
    Body, Config, ConnectError, ConnectRequest, Context, DisconnectReason, Event, Frame, Handler,
    Limits, Policy, Room, ServeLimits, Server, SocketId, serve,
};
use kobel_load::{LoadArgs, PhaseReport, Report};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet, time::interval};
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    load: LoadArgs,
}

/// Lets in who has the token, and joins whoever asks to the room asked for.
#[derive(Default)]
struct App {
    connects: AtomicUsize,
    joined: Mutex<Vec<String>>,
}

impl Handler for App {
    fn connect(&self, request: ConnectRequest) {
        let auth: Value = request
            .auth()
            .and_then(|auth| serde_json::from_str(auth.get()).ok())
            .unwrap_or_default();
        if auth["token"] == "secret" {
            self.connects.fetch_add(1, Ordering::SeqCst);
            request.accept();
        } else {
            let data = json!({ "code": "UNAUTHORIZED" });
            request.reject(ConnectError::new("no").with_data(data));
        }
    }

    fn event(&self, cx: &mut Context<'_>, event: Event) {
        let room: String = serde_json::from_str(event.args[0].get()).unwrap();
        let ok = event.name == "join";
        if ok {
            self.joined.lock().unwrap().push(room.clone());
            cx.join(Room::from(room));
        }
        let answer = json!({ "ok": ok, "error": { "code": "NOT_FOUND" } });
        cx.ack(event.ack.unwrap(), &answer).unwrap();
    }

    fn disconnect(&self, _: SocketId, _: &str, _: DisconnectReason) {}
}

/// A server that publishes to the rooms `room-0` and on; stopped by [`Fixture::stop`].
struct Fixture {
    address: SocketAddr,
    app: Arc<App>,
    server: Server,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
}

impl Fixture {
    /// Publishes every `period`, `bytes` more than the stamp, to `rooms` rooms.
    async fn start(rooms: usize, period: Duration, bytes: usize) -> Self {
        let app = Arc::new(App::default());
        let limits = Limits { backlog: 2_000_000, ..Limits::default() };
        let config = Config { shards: 1, limits, ..Config::default() };
        let server = Server::start(config, app.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cancel, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let (to, ended) = (server.clone(), cancel.clone());
        tasks.spawn(async move {
            let answer = move |request, from| {
                let server = to.clone();
                async move { server.handle(request, from).await }
            };
            serve::<_, _, Body>(listener, ServeLimits::default(), answer, ended).await.unwrap();
        });
        let (to, ended) = (server.clone(), cancel.clone());
        tasks.spawn(async move {
            let mut tick = interval(period);
            while !ended.is_cancelled() {
                tick.tick().await;
                for room in 0..rooms {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                    let news = json!({ "ts": now.as_micros() as u64, "more": "x".repeat(bytes) });
                    let frame = Frame::event("/", "news", &news, Policy::Deliver).unwrap();
                    to.publish(&Room::from(format!("room-{room}")), frame).await;
                }
            }
        });
        Self { address, app, server, cancel, tasks }
    }

    fn args(&self, token: &str, more: &[&str]) -> LoadArgs {
        let url = format!("http://{}", self.address);
        let usual = ["load", "--url", &url, "--token", token, "--stamp", "ts", "--warm-up", "0s"];
        Cli::parse_from([&usual[..], more].concat()).load
    }

    async fn load(&self, more: &[&str]) -> Report {
        let join = ["--emit", "join", "\"room-{room}\""];
        kobel_load::run(self.args("secret", &[&join[..], more].concat())).await.unwrap()
    }

    /// What was counted can be, by what the server sent in all; how much it was depends on how
    /// busy the machine is.
    async fn agrees(&self, phase: &PhaseReport) {
        let sent = self.server.snapshot().await.sent;
        let sent = sent.iter().find(|((_, event), _)| &**event == "news").map(|(_, count)| *count);
        let reading = u64::from(phase.connected - phase.slow);
        assert!((2 * reading..=sent.unwrap()).contains(&phase.messages), "{sent:?} {phase}");
        assert_eq!(phase.latency.count, phase.messages);
    }

    async fn stop(mut self) {
        self.cancel.cancel();
        self.server.shutdown(Duration::ZERO, |_| None).await;
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_counted_and_timed() {
    let fixture = Fixture::start(5, Duration::from_millis(50), 250).await;
    let report = fixture.load(&["--connections", "100", "--rooms", "5", "--duration", "2s"]).await;
    let phase = &report.phases[0];
    assert!(!report.failed());
    assert_eq!((phase.connected, phase.opening.opened, phase.unstamped), (100, 100, 0));
    fixture.agrees(phase).await;
    assert!(phase.latency.p50 > 0.0 && phase.latency.p50 < 1000.0, "{:?}", phase.latency);
    assert!(phase.latency.p50 <= phase.latency.p99 && phase.latency.p99 <= phase.latency.max);
    let joined = fixture.app.joined.lock().unwrap().clone();
    for room in 0..5 {
        let name = format!("room-{room}");
        assert_eq!(joined.iter().filter(|joined| **joined == name).count(), 20);
    }
    // The server is this process, found by its port.
    let server = phase.server.as_ref().unwrap();
    assert_eq!(server.pids, [std::process::id()]);
    assert!(server.resident_connected > 0);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_gets_the_same() {
    let fixture = Fixture::start(1, Duration::from_millis(50), 250).await;
    let report =
        fixture.load(&["--connections", "20", "--transport", "polling", "--duration", "2s"]).await;
    let phase = &report.phases[0];
    assert!(!report.failed());
    assert_eq!(phase.connected, 20);
    fixture.agrees(phase).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_do_not_read() {
    // 5 MB a second each: far more than the kernel buffers for a client, and the server keeps.
    let fixture = Fixture::start(1, Duration::from_millis(20), 100_000).await;
    let report =
        fixture.load(&["--connections", "20", "--slow-readers", "25", "--duration", "4s"]).await;
    let phase = &report.phases[0];
    // The end of the connection stands behind what they do not read, so they do not notice it.
    assert_eq!((phase.connected, phase.slow), (20, 5));
    assert!(phase.disconnects.is_empty(), "{:?}", phase.disconnects);
    let snapshot = fixture.server.snapshot().await;
    assert_eq!(snapshot.closed.get("backlog"), Some(&5), "{:?}", snapshot.closed);
    fixture.agrees(phase).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn churn_leaves_and_comes_back() {
    let fixture = Fixture::start(1, Duration::from_millis(50), 250).await;
    let report = fixture.load(&["--connections", "50", "--churn", "40", "--duration", "2s"]).await;
    let phase = &report.phases[0];
    assert!(!report.failed());
    assert!(phase.churned >= 10, "{phase}");
    assert!(phase.churned as f64 <= 40.0 * phase.seconds + 1.0, "{phase}");
    // Those that left last may still be on their way back in the end.
    let connects = fixture.app.connects.load(Ordering::SeqCst) as u64;
    assert!((50 + phase.back.count..=50 + phase.churned).contains(&connects), "{connects} {phase}");
    assert!(phase.back.count > 0);
    assert!(phase.disconnects.is_empty(), "{:?}", phase.disconnects);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_brings_all_back_and_leaves_the_witnesses() {
    let fixture = Fixture::start(1, Duration::from_millis(5), 250).await;
    let report = fixture
        .load(&[
            "--connections",
            "300",
            "--reconnect",
            "--witnesses",
            "20",
            "--witness-emit",
            "join",
            "\"room-0\"",
        ])
        .await;
    let phase = &report.phases[0];
    let storm = phase.storm.as_ref().unwrap();
    assert_eq!((storm.cut, storm.back.count, phase.connected), (280, 280, 300));
    assert!(storm.all_back_seconds.is_some());
    assert!(storm.witnesses.count > 0);
    assert_eq!(fixture.app.connects.load(Ordering::SeqCst), 300 + 280);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_grows_and_shrinks() {
    let fixture = Fixture::start(1, Duration::from_millis(50), 250).await;
    let folder = tempfile::tempdir().unwrap();
    let (scenario, json) = (folder.path().join("s.toml"), folder.path().join("out.json"));
    let text =
        "[[phase]]\nconnections = 10\n[[phase]]\nconnections = 30\n[[phase]]\nconnections = 5\n";
    std::fs::write(&scenario, text).unwrap();
    let report = fixture
        .load(&[
            "--duration",
            "500ms",
            "--scenario",
            scenario.to_str().unwrap(),
            "--json",
            json.to_str().unwrap(),
        ])
        .await;
    let of = |index: usize| (report.phases[index].connected, report.phases[index].opening.opened);
    assert_eq!([of(0), of(1), of(2)], [(10, 10), (30, 20), (5, 0)]);
    let json: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(json["phases"][1]["connected"], 30);
    assert!(json["phases"][0]["latency"]["p99"].as_f64().unwrap() > 0.0);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_by_their_kind() {
    let fixture = Fixture::start(1, Duration::from_secs(1), 0).await;
    let few = ["--connections", "3", "--duration", "100ms"];
    let args = fixture.args("wrong", &[&["--emit", "join", "\"x\""][..], &few].concat());
    let report = kobel_load::run(args).await.unwrap();
    assert!(report.failed());
    let opening = &report.phases[0].opening;
    assert_eq!(opening.errors["connect refused: UNAUTHORIZED"], 3);
    assert_eq!((report.phases[0].connected, opening.failed), (0, 3));

    let args = fixture.args("secret", &[&["--emit", "leave", "\"x\""][..], &few].concat());
    let report = kobel_load::run(args).await.unwrap();
    assert_eq!(report.phases[0].opening.errors["subscribe refused: NOT_FOUND"], 3);
    fixture.stop().await;
}

/// Processes of their own, as the limit of open files asks for: the program, with its real
/// command line.
#[tokio::test(flavor = "multi_thread")]
async fn several_processes_share_the_connections() {
    let fixture = Fixture::start(1, Duration::from_millis(50), 250).await;
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("out.json");
    let url = format!("http://{}", fixture.address);
    let run = |token: &'static str| {
        tokio::process::Command::new(env!("CARGO_BIN_EXE_kobel-load"))
            .args(["--url", &url, "--stamp", "ts", "--emit", "join", "\"room-{room}\""])
            .args(["--connections", "31", "--processes", "3", "--warm-up", "0s"])
            .args(["--duration", "1s", "--json", json.to_str().unwrap()])
            .env("KOBEL_TOKEN", token)
            .output()
    };
    let output = run("secret").await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("31 of 31 connections"));
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!((&report["processes"], &report["phases"][0]["connected"]), (&json!(3), &json!(31)));
    let messages = report["phases"][0]["messages"].as_u64().unwrap();
    assert!(messages >= 31, "{messages}");
    // Each number is somebody's.
    assert_eq!(fixture.app.joined.lock().unwrap().len(), 31);

    let output = run("wrong").await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    fixture.stop().await;
}
