//! A real Redis, and nodes in this process.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use kobel_fanout::{Handshake, Server};
use kobel_hub::{
    access::Principal,
    cluster::{Cluster, Eligible, MemberInfo, NodeId},
    demand::Demand,
    gate::Authenticate,
    hub::{Hub, HubHandle},
    ingest::{self, Ingest},
    logs::{
        Redaction,
        live::{LogHub, LogSources},
    },
};
use kobel_wire::{
    Device, DeviceId, DeviceState, DeviceUuid, Engine, Facts, SourceKind, Timestamp,
    event::{ErrorBody, ErrorCode},
};
use serde_json::value::RawValue;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// A redis-server of this test; ended with it.
pub(crate) struct Redis {
    child: Option<Child>,
    port: u16,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        // Nobody else takes the port in the moment between.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut redis = Self { child: None, port };
        redis.up().await;
        redis
    }

    pub(crate) async fn up(&mut self) {
        let port = self.port.to_string();
        let args = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let child = Command::new("redis-server")
            .args(args)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is needed for this test: apt-get install redis-server");
        self.child = Some(child);
        eventually("Redis answers", || {
            std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        })
        .await;
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Writes down who owns a device, behind the nodes' backs.
    pub(crate) fn owns(&self, n: u128, node: &str, token: u64) {
        let (port, token) = (self.port.to_string(), token.to_string());
        let owner = format!("test:{{{}}}:owner", device(n));
        let args = ["-p", &port, "HSET", &owner, "node", node, "token", &token];
        let set = Command::new("redis-cli").args(args).stdout(Stdio::null()).status();
        assert!(set.unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until it holds, for 20 s.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < until, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct Nobody;

impl Authenticate for Nobody {
    async fn authenticate(
        &self,
        _: &Handshake,
        _: Option<&RawValue>,
    ) -> Result<Principal, ErrorBody> {
        Err(ErrorBody { code: ErrorCode::Unauthorized, message: "nobody".into() })
    }
}

/// A node with a hub that runs.
pub(crate) struct Node {
    pub(crate) cluster: Cluster,
    pub(crate) hub: HubHandle,
    pub(crate) ingest: Ingest,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
}

impl Node {
    pub(crate) fn start(redis: &str) -> Self {
        let (ingest, inbox) = ingest::channel();
        let mut hub = Hub::new("epoch", 100);
        let node = NodeId::generate().unwrap();
        let info = MemberInfo {
            name: node.to_string(),
            version: "1".into(),
            url: "http://127.0.0.1:1".into(),
            started_at: 0,
            machine: device(0xffff),
            draining: false,
            connections: 0,
            devices: 0,
            redis_us: 0,
        };
        let url = redis.parse().unwrap();
        let (cluster, node) = Cluster::new(url, "test:", node, info, ingest.clone(), &mut hub);
        let cancel = CancellationToken::new();
        let gate = Arc::new(hub.gate(Arc::new(Nobody), cancel.clone()));
        let config = kobel_fanout::Config { shards: 1, ..kobel_fanout::Config::default() };
        let server = Server::start(config, gate).unwrap();
        let (logs, requests) = LogHub::new(LogSources::default(), Redaction::none());
        let handle = hub.handle();
        let mut tasks = JoinSet::new();
        tasks.spawn(logs.run(server.clone(), cancel.clone()));
        tasks.spawn(hub.run(inbox, server, requests, cancel.clone()));
        tasks.spawn(node.run(handle.clone(), cancel.clone()));
        Self { cluster, hub: handle, ingest, cancel, tasks }
    }

    /// Tells it which devices there are, all dialled.
    pub(crate) async fn devices(&self, count: u128) {
        let devices = (0..count).map(|n| (device(n), Eligible::Any)).collect();
        self.cluster.steward().devices(devices).await;
    }

    pub(crate) fn owns(&self, n: u128) -> bool {
        self.cluster.steward().owns(device(n))
    }

    pub(crate) fn owned(&self) -> usize {
        self.cluster.steward().owned().borrow().len()
    }

    /// The hub knows a device, with what is needed of it told to `demand`.
    pub(crate) async fn knows(&self, n: u128, demand: &Demand) {
        let now = Timestamp::now();
        let device = Device {
            device_uuid: device(n),
            id: DeviceId(n as u64 + 1),
            name: format!("host-{n}"),
            tags: Vec::new(),
            group: None,
            source: SourceKind::Ssh,
            state: DeviceState::Unreachable,
            state_reason: None,
            state_since: now,
            facts: Facts::default(),
            engine: Engine::unknown(now),
        };
        self.hub.add_devices(vec![device], demand).await;
    }

    /// It keeps a device as its owner tells it.
    pub(crate) async fn follows(&self, n: u128) {
        let replicas = self.cluster.replicas();
        self.knows(n, replicas.demand()).await;
        replicas.follow(vec![(device(n), DeviceId(n as u64 + 1))]).await;
    }

    pub(crate) async fn state_of(&self, n: u128) -> DeviceState {
        let devices = self.hub.devices().await;
        devices.iter().find(|d| d.device_uuid == device(n)).unwrap().state
    }

    /// Leaves as it should.
    pub(crate) async fn stop(mut self) {
        self.cancel.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    /// Is gone at once, as if killed.
    pub(crate) fn kill(mut self) {
        self.tasks.abort_all();
    }
}

pub(crate) fn device(n: u128) -> DeviceUuid {
    format!("0198c0de-0000-7000-8000-{n:012x}").parse().unwrap()
}
