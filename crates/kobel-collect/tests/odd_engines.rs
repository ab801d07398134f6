//! Engines that answer, but not as they should: one broken part must not cost the rest.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use kobel_collect::{
    CollectStats, Target,
    docker::{DockerSource, Endpoints},
};
use kobel_hub::ingest::{self, DeviceUpdate, Inbox};
use kobel_wire::{ContainerState, DeviceId, DeviceUuid, EngineState};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Notify,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(8);

/// A path was asked for; what is answered depends on how often it was before.
type Asked = Arc<Mutex<HashMap<String, Vec<Instant>>>>;

fn id(letter: &str) -> String {
    letter.repeat(64)
}

fn running(letter: &str) -> Value {
    json!({
        "Id": id(letter), "Name": format!("/{letter}"), "Config": { "Image": "x" },
        "State": { "Status": "running", "StartedAt": "2026-11-18T11:00:00Z" },
    })
}

async fn answer(socket: &mut UnixStream, status: &str, body: &Value) {
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close", body.len());
    let _ = socket.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await;
}

/// Runs a source on an engine whose requests `serve` answers; gives what the source tells, to
/// `check`.
async fn with_engine<S, C>(
    serve: impl Fn(String, usize, UnixStream) -> S + Clone + Send + 'static,
    check: impl FnOnce(Told, Asked) -> C,
) where
    S: Future<Output = ()> + Send + 'static,
    C: Future<Output = ()>,
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut requests = JoinSet::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let (log, serve) = (Arc::clone(&log), serve.clone());
            requests.spawn(async move {
                let mut line = String::new();
                let mut reader = BufReader::new(&mut socket);
                if reader.read_line(&mut line).await.unwrap_or(0) == 0 {
                    return;
                }
                while line.trim() != "" {
                    if line.starts_with("GET") {
                        let path = line.split_whitespace().nth(1).unwrap().to_owned();
                        let path = path.split('?').next().unwrap().to_owned();
                        let before = {
                            let mut log = log.lock().unwrap();
                            let times = log.entry(path.clone()).or_default();
                            times.push(Instant::now());
                            times.len() - 1
                        };
                        // The rest of the head says nothing that matters here.
                        let mut rest = String::new();
                        while reader.read_line(&mut rest).await.unwrap_or(0) > 2 {
                            rest.clear();
                        }
                        serve(path, before, socket).await;
                        return;
                    }
                    line.clear();
                }
            });
        }
    });
    let (ingest, inbox) = ingest::channel();
    let target = Target { device: DeviceUuid::generate(), id: DeviceId(1) };
    let endpoints = Endpoints::only(path.to_str().unwrap()).unwrap();
    let source = DockerSource::new(target, ingest, endpoints, Arc::new(CollectStats::default()));
    let cancel = CancellationToken::new();
    tasks.spawn(source.run(cancel.clone()));
    check(Told { inbox, device: target.device, all: Vec::new() }, asked).await;
    cancel.cancel();
}

/// What the source told, in its order.
struct Told {
    inbox: Inbox,
    device: DeviceUuid,
    all: Vec<DeviceUpdate>,
}

impl Told {
    async fn until(&mut self, what: &str, wanted: impl Fn(&DeviceUpdate) -> bool) {
        while !self.all.iter().any(&wanted) {
            let Ok(mut taken) = timeout(PATIENCE, self.inbox.take()).await else {
                panic!("not told: {what}\ntold: {:#?}", self.all);
            };
            self.all.extend(taken.remove(&self.device));
        }
    }
}

/// What every engine here has in common.
async fn usual(path: &str, mut socket: UnixStream, letters: &[&str]) {
    match path {
        "/version" => {
            answer(&mut socket, "200 OK", &json!({ "Version": "1", "ApiVersion": "1.41" })).await;
        }
        "/_ping" => answer(&mut socket, "200 OK", &json!("OK")).await,
        "/containers/json" => {
            let all: Vec<_> = letters.iter().map(|letter| json!({ "Id": id(letter) })).collect();
            answer(&mut socket, "200 OK", &json!(all)).await;
        }
        "/events" => {
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            std::future::pending::<()>().await;
        }
        _ => answer(&mut socket, "404 Not Found", &json!({ "message": path })).await,
    }
}

#[tokio::test]
async fn an_engine_without_figures_is_not_asked_in_a_tight_loop() {
    let serve = |path: String, _: usize, mut socket: UnixStream| async move {
        if path.ends_with("/stats") {
            answer(&mut socket, "500 Internal Server Error", &json!({ "message": "no cgroups" }))
                .await;
        } else if path.contains(&id("a")) {
            answer(&mut socket, "200 OK", &running("a")).await;
        } else {
            usual(&path, socket, &["a"]).await;
        }
    };
    with_engine(serve, async |mut told, asked| {
        told.until("the inventory", |u| u.inventory.is_some()).await;
        let path = format!("/containers/{}/stats", id("a"));
        let count = || asked.lock().unwrap().get(&path).map_or(0, Vec::len);
        timeout(PATIENCE, async {
            while count() < 2 {
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("asked again");
        let times = asked.lock().unwrap()[&path].clone();
        let pause = times[1] - times[0];
        assert!(pause >= Duration::from_millis(900), "asked again after {pause:?}");
    })
    .await;
}

#[tokio::test]
async fn a_container_that_cannot_be_inspected_hides_no_other_and_is_asked_again() {
    let serve = |path: String, before: usize, mut socket: UnixStream| async move {
        if path == format!("/containers/{}/json", id("a")) {
            answer(&mut socket, "200 OK", &running("a")).await;
        } else if path == format!("/containers/{}/json", id("b")) {
            if before < 2 {
                let message = json!({ "message": "corrupt layer" });
                answer(&mut socket, "500 Internal Server Error", &message).await;
            } else {
                answer(&mut socket, "200 OK", &running("b")).await;
            }
        } else {
            usual(&path, socket, &["a", "b"]).await;
        }
    };
    with_engine(serve, async |mut told, _| {
        told.until("the other", |u| {
            u.inventory.as_ref().is_some_and(|all| all.iter().any(|c| c.name == "a"))
        })
        .await;
        told.until("it, in the end", |u| u.containers.iter().any(|c| c.name == "b")).await;
        let engines = || told.all.iter().filter_map(|u| u.engine.as_ref());
        assert!(engines().all(|e| e.state == EngineState::Connected), "{:#?}", told.all);
    })
    .await;
}

#[tokio::test]
async fn a_ping_that_hangs_holds_up_no_event() {
    let pinged = Arc::new(Notify::new());
    let serve = move |path: String, _: usize, mut socket: UnixStream| {
        let pinged = Arc::clone(&pinged);
        async move {
            if path == "/_ping" {
                pinged.notify_one();
                std::future::pending::<()>().await;
            } else if path == "/events" {
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                pinged.notified().await;
                let event = json!({
                    "Type": "container", "Action": "die",
                    "Actor": { "ID": id("a"), "Attributes": { "exitCode": "9" } },
                });
                let _ = socket.write_all(format!("{event}\n").as_bytes()).await;
                std::future::pending::<()>().await;
            } else if path == format!("/containers/{}/json", id("a")) {
                answer(&mut socket, "200 OK", &running("a")).await;
            } else {
                usual(&path, socket, &["a"]).await;
            }
        }
    };
    with_engine(serve, async |mut told, _| {
        told.until("its end", |u| {
            u.containers.iter().any(|c| c.state == ContainerState::Exited && c.exit_code == Some(9))
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_engine_is_connected_only_once_its_containers_are_known() {
    let serve = |path: String, _: usize, mut socket: UnixStream| async move {
        if path == "/containers/json" {
            let message = json!({ "message": "bad\u{1b}[31m" });
            answer(&mut socket, "500 Internal Server Error", &message).await;
        } else {
            usual(&path, socket, &[]).await;
        }
    };
    with_engine(serve, async |mut told, _| {
        told.until("the error", |u| {
            u.engine.as_ref().is_some_and(|e| e.state == EngineState::Error)
        })
        .await;
        let engines: Vec<_> = told.all.iter().filter_map(|u| u.engine.as_ref()).collect();
        assert!(engines.iter().all(|e| e.state == EngineState::Error), "{engines:?}");
        let message = engines[0].message.as_ref().unwrap();
        assert!(message.contains("Docker") && !message.contains('\u{1b}'), "{message:?}");
    })
    .await;
}
