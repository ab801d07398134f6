//! The rules of rooms, against a fan-out that is only a table.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kobel_fanout::{Room, SocketId};
use kobel_wire::{
    Container, ContainerId, ContainerState, Device, DeviceId, DeviceState, Engine, Facts, Role,
    Sample, SourceKind, event::Ack,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::{
    access::{Access, AccountId, CredentialId, DeviceScope, Principal},
    live::{ByScope, Command, Subject},
    request,
    room::RoomName,
};

mod fleet_room;
mod inventory;
mod log_volume;
mod merged;
mod shaping;
mod system;

fn uuid(n: u64) -> DeviceUuid {
    format!("0198c0de-0000-7000-8000-{n:012x}").parse().unwrap()
}

fn container_id(n: u64) -> ContainerId {
    format!("{n:064x}").parse().unwrap()
}

fn wall(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + ms)
}

fn device(n: u64) -> Device {
    Device {
        device_uuid: uuid(n),
        id: DeviceId(n),
        name: format!("host-{n}"),
        tags: vec![],
        group: None,
        source: SourceKind::Local,
        state: DeviceState::Online,
        state_reason: None,
        state_since: wall(0),
        facts: Facts { hostname: format!("host-{n}"), ..Facts::default() },
        engine: Engine::unknown(wall(0)),
    }
}

fn sample(n: u64, ms: i64, cpu: f64) -> DeviceUpdate {
    let mut sample = Sample::empty(uuid(n), DeviceId(n), wall(ms));
    sample.cpu = Some(cpu);
    DeviceUpdate { sample: Some(sample), ..DeviceUpdate::default() }
}

fn container(n: u64, id: u64, state: ContainerState, restarts: u64) -> Container {
    Container {
        device_uuid: uuid(n),
        container_id: container_id(id),
        name: format!("web-{id}"),
        image: "busybox".into(),
        project: None,
        service: None,
        state,
        status: "Up".into(),
        health: None,
        exit_code: None,
        created_at: None,
        started_at: None,
        restart_count: Some(restarts),
        logs: None,
        cpu: None,
        memory: None,
        memory_limit: None,
        network_in: None,
        network_out: None,
        block_read: None,
        block_write: None,
        pids: None,
    }
}

fn containers(list: Vec<Container>) -> DeviceUpdate {
    DeviceUpdate { containers: list, ..DeviceUpdate::default() }
}

fn principal(token: i64, devices: DeviceScope) -> Principal {
    Principal {
        account: AccountId(1),
        name: "ann".into(),
        access: Arc::new(Access { role: Role::Viewer, devices }),
        credential: CredentialId::Token(token),
        expires_at: None,
    }
}

/// A policy that refuses everything while it is switched.
#[derive(Clone, Default)]
struct Switch(Arc<AtomicBool>);

impl Policy for Switch {
    fn may_see(&self, _: &Access, _: Subject) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

/// The live state together with a fan-out that delivers at once.
struct World {
    live: Live,
    demand: Demand,
    start: Instant,
    rooms: HashMap<Room, HashSet<SocketId>>,
    /// What each socket got: (event, data).
    got: HashMap<SocketId, Vec<(String, Value)>>,
    acks: Vec<(SocketId, Ack)>,
    closed: Vec<SocketId>,
    logs: Vec<crate::logs::live::LogRequest>,
    frames: usize,
}

impl World {
    fn new(devices: u64) -> Self {
        Self::with(devices, Box::new(ByScope))
    }

    fn with(devices: u64, policy: Box<dyn Policy>) -> Self {
        let start = Instant::now();
        let mut live = Live::new("e1", 5, policy);
        let demand = Demand::default();
        for n in 1..=devices {
            live.add_device(device(n), demand.clone(), start, wall(0));
        }
        Self {
            live,
            demand,
            start,
            rooms: HashMap::new(),
            got: HashMap::new(),
            acks: Vec::new(),
            closed: Vec::new(),
            logs: Vec::new(),
            frames: 0,
        }
    }

    fn deliver(&mut self) {
        for command in self.live.take_commands() {
            match command {
                Command::Publish { room, frame } => {
                    self.frames += 1;
                    for socket in self.rooms.get(&room).into_iter().flatten() {
                        self.got.entry(*socket).or_default().push(read(&frame));
                    }
                }
                Command::Emit { socket, frame } => {
                    self.got.entry(socket).or_default().push(read(&frame));
                }
                Command::Ack { socket, answer, .. } => self.acks.push((socket, answer)),
                Command::Join { socket, room } => {
                    self.rooms.entry(room).or_default().insert(socket);
                }
                Command::Leave { socket, room } => {
                    self.rooms.entry(room).or_default().remove(&socket);
                }
                Command::Logs(request) => self.logs.push(*request),
                Command::Disconnect { socket } => {
                    self.closed.push(socket);
                    self.rooms.values_mut().for_each(|members| {
                        members.remove(&socket);
                    });
                }
            }
        }
    }

    fn connect(&mut self, n: u64, devices: DeviceScope) -> SocketId {
        let socket = SocketId::from_raw(n);
        self.live.connected(socket, principal(n as i64, devices), self.start);
        socket
    }

    #[expect(clippy::needless_pass_by_value, reason = "so that json!() stands bare in the calls")]
    fn subscribe(&mut self, socket: SocketId, ms: i64, asked: Value) {
        let now = self.at(ms);
        match request::subscribe(Some(&asked.to_string())) {
            Ok(asked) => self.live.subscribe(socket, &asked, Some(ack()), now, wall(ms)),
            Err(refusal) => self.live.refuse(socket, Some(ack()), &refusal),
        }
        self.live.settle(now);
        self.deliver();
    }

    fn unsubscribe(&mut self, socket: SocketId, ms: i64, room: &RoomName) {
        let now = self.at(ms);
        self.live.unsubscribe(socket, room, None, now, wall(ms));
        self.live.settle(now);
        self.deliver();
    }

    fn activity(&mut self, socket: SocketId, ms: i64, visible: bool) {
        let now = self.at(ms);
        self.live.activity(socket, visible, None, now, wall(ms));
        self.live.settle(now);
        self.deliver();
    }

    fn report(&mut self, n: u64, ms: i64, update: DeviceUpdate) {
        let now = self.at(ms);
        self.live.report(uuid(n), update, now, wall(ms));
        self.deliver();
    }

    fn tick(&mut self, ms: i64) {
        let now = self.at(ms);
        self.live.tick(now, wall(ms));
        self.live.settle(now);
        self.deliver();
    }

    fn flush(&mut self, ms: i64) {
        let now = self.at(ms);
        self.live.flush(now, wall(ms));
        self.deliver();
    }

    fn at(&self, ms: i64) -> Instant {
        self.start + Duration::from_millis(ms as u64)
    }

    fn events(&self, socket: SocketId) -> Vec<&str> {
        self.got.get(&socket).into_iter().flatten().map(|(event, _)| event.as_str()).collect()
    }

    fn last(&self, socket: SocketId) -> &Value {
        &self.got[&socket].last().unwrap().1
    }

    fn refused(&self) -> &str {
        let (_, answer) = self.acks.last().unwrap();
        answer.error.as_ref().map_or("", |e| e.code.as_str())
    }
}

fn ack() -> kobel_fanout::AckId {
    kobel_fanout::AckId::from_raw(1)
}

/// An event and its first argument; of a binary one, its second, with the attachment's bytes.
fn read(frame: &kobel_fanout::Frame) -> (String, Value) {
    let packet: Value = serde_json::from_str(frame.data()).unwrap();
    let event = packet[0].as_str().unwrap().to_owned();
    match frame.attachments() {
        [] => (event, packet[1].clone()),
        [attachment] => {
            let mut about = packet[2].clone();
            about["bytes"] = attachment.iter().copied().collect::<Vec<u8>>().into();
            (event, about)
        }
        more => panic!("{} attachments", more.len()),
    }
}

fn to_device(n: u64) -> Value {
    json!({ "type": "device", "id": uuid(n).to_string() })
}

fn to_container(n: u64) -> Value {
    json!({ "type": "container", "id": container_id(n).to_string() })
}

#[test]
fn a_subscriber_gets_the_state_and_then_every_event() {
    let mut world = World::new(1);
    world.report(1, 0, sample(1, 0, 10.0));
    world.report(1, 500, containers(vec![container(1, 7, ContainerState::Running, 0)]));
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 600, to_device(1));
    world.report(1, 1000, sample(1, 1000, 20.0));
    world.report(1, 1100, containers(vec![container(1, 7, ContainerState::Exited, 0)]));
    world.report(1, 1200, containers(vec![container(1, 7, ContainerState::Removed, 0)]));
    insta::assert_json_snapshot!(
        "device_room",
        json!({
            "ack": world.acks[0].1,
            "got": world.got[&socket],
        })
    );
}

#[test]
fn a_container_has_a_room_of_its_own() {
    let mut world = World::new(1);
    world.report(1, 0, containers(vec![container(1, 7, ContainerState::Running, 0)]));
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 0, to_container(7));
    world.report(1, 1, containers(vec![container(1, 8, ContainerState::Running, 0)]));
    world.report(1, 2, containers(vec![container(1, 7, ContainerState::Exited, 0)]));
    assert_eq!(world.events(socket), ["initialData", "statusChange"]);
    assert_eq!(world.last(socket)["data"]["state"], "exited");
    assert_eq!(world.last(socket)["seq"], 2);
}

#[test]
fn who_may_not_see_a_device_is_not_told_that_it_exists() {
    let mut world = World::new(2);
    world.report(2, 0, containers(vec![container(2, 7, ContainerState::Running, 0)]));
    let only_first = DeviceScope::Only(BTreeSet::from([uuid(1)]));
    let limited = world.connect(1, only_first);
    for (asked, answer) in [
        (to_device(1), ""),
        (to_device(2), "UNAUTHORIZED"),
        (to_device(9), "UNAUTHORIZED"),
        (to_container(7), "UNAUTHORIZED"),
        (to_container(9), "UNAUTHORIZED"),
        (json!({ "type": "dashboard" }), ""),
    ] {
        world.subscribe(limited, 0, asked.clone());
        assert_eq!(world.refused(), answer, "{asked}");
    }
    let all = world.connect(2, DeviceScope::All);
    for (asked, answer) in [
        (to_device(2), ""),
        (to_device(9), "NOT_FOUND"),
        (to_container(7), ""),
        (to_container(9), "NOT_FOUND"),
    ] {
        world.subscribe(all, 0, asked.clone());
        assert_eq!(world.refused(), answer, "{asked}");
    }

    // Nothing of the hidden device arrives by the dashboard either.
    world.report(2, 10, sample(2, 10, 50.0));
    world.flush(200);
    let seen = serde_json::to_string(&world.got[&limited]).unwrap();
    assert!(!seen.contains(&format!("\"deviceUuid\":\"{}\"", uuid(2))), "{seen}");
    assert!(seen.contains(&uuid(1).to_string()));
}

#[test]
fn a_refusal_is_an_ack_and_an_event() {
    let mut world = World::new(1);
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 0, to_device(9));
    assert_eq!(world.events(socket), ["error"]);
    let error = world.last(socket);
    assert_eq!(error["code"], "NOT_FOUND");
    assert_eq!((&error["type"], &error["id"]), (&json!("device"), &json!(uuid(9).to_string())));
    assert!(!world.acks[0].1.ok);
}

/// Permission is asked again at delivery, not only at the subscribe.
#[test]
fn what_may_not_be_seen_any_more_is_not_delivered() {
    let switch = Switch::default();
    let mut world = World::with(1, Box::new(switch.clone()));
    world.report(1, 0, containers(vec![container(1, 7, ContainerState::Running, 0)]));
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 0, to_device(1));
    world.subscribe(socket, 0, to_container(7));
    world.subscribe(socket, 0, json!({ "type": "dashboard" }));
    world.got.clear();
    switch.0.store(true, Ordering::Relaxed);
    world.report(1, 1, sample(1, 1, 1.0));
    world.report(1, 2, containers(vec![container(1, 7, ContainerState::Exited, 0)]));
    world.flush(500);
    assert_eq!(world.events(socket), [""; 0]);
    assert!(world.live.stats().denied > 0);
    switch.0.store(false, Ordering::Relaxed);
    world.report(1, 600, sample(1, 600, 1.0));
    assert_eq!(world.events(socket), ["stats"]);
}

#[test]
fn a_revoked_credential_gets_nothing_more() {
    let mut world = World::new(1);
    let (kept, revoked) = (world.connect(1, DeviceScope::All), world.connect(2, DeviceScope::All));
    world.subscribe(kept, 0, to_device(1));
    world.subscribe(revoked, 0, to_device(1));
    world.live.revoke(CredentialId::Token(2));
    world.report(1, 1, sample(1, 1, 1.0));
    assert_eq!(world.events(kept), ["initialData", "stats"]);
    assert_eq!(world.events(revoked), ["initialData"]);
    assert_eq!(world.closed, [revoked]);
    let known = world.live.credentials();
    assert_eq!(known.iter().map(|(c, _)| *c).collect::<Vec<_>>(), [CredentialId::Token(1)]);
    assert_eq!(world.live.stats().subscriptions, [1, 0, 0, 0, 0, 0]);
}

#[test]
fn a_credential_ends_by_the_wall_clock() {
    let mut world = World::new(1);
    let socket = SocketId::from_raw(1);
    let expires_at = Some(wall(5_000));
    let viewer = Principal { expires_at, ..principal(1, DeviceScope::All) };
    world.live.connected(socket, viewer, world.start);
    world.tick(4_999);
    assert_eq!(world.closed, []);
    world.tick(5_000);
    assert_eq!(world.closed, [socket]);
}

#[test]
fn viewers_with_equal_access_share_a_frame() {
    let mut world = World::new(1);
    for n in 0..100 {
        let socket = world.connect(n, DeviceScope::All);
        world.subscribe(socket, 0, to_device(1));
    }
    world.frames = 0;
    world.report(1, 1, sample(1, 1, 1.0));
    assert_eq!(world.frames, 1);
    assert!(world.got.values().all(|got| got.len() == 2));
}

#[test]
fn nobody_watching_means_no_frame_but_the_stream_goes_on() {
    let mut world = World::new(1);
    world.report(1, 0, sample(1, 0, 1.0));
    world.report(1, 1000, sample(1, 1000, 1.0));
    assert_eq!(world.frames, 0);
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 1000, to_device(1));
    assert_eq!(world.last(socket)["seq"], 2);
    assert_eq!(world.last(socket)["data"]["recent"]["t"].as_array().unwrap().len(), 2);
}

#[test]
fn the_dashboard_gathers_for_100_ms_and_keeps_the_newest() {
    let mut world = World::new(3);
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 0, json!({ "type": "dashboard" }));
    world.report(1, 10, sample(1, 10, 1.0));
    world.report(2, 20, sample(2, 20, 2.0));
    world.report(1, 30, sample(1, 30, 3.0));
    assert_eq!(world.live.flush_at(), Some(world.at(110)));
    world.flush(109);
    assert_eq!(world.events(socket), ["initialData"]);
    world.flush(110);
    let batch = world.last(socket);
    assert_eq!((&batch["count"], &batch["seq"]), (&json!(2), &json!(2)));
    assert_eq!(batch["timestamp"], wall(110).as_millis());
    let cpu: Vec<_> =
        batch["updates"].as_array().unwrap().iter().map(|u| &u["sample"]["cpu"]).collect();
    assert_eq!(cpu, [&json!(3.0), &json!(2.0)]);
    assert_eq!(world.live.flush_at(), None);
}

#[test]
fn more_than_fifty_waiting_updates_go_at_once() {
    let mut world = World::new(51);
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 0, json!({ "type": "dashboard" }));
    for n in 1..=50 {
        world.report(n, 1, sample(n, 1, 1.0));
    }
    assert_eq!(world.events(socket), ["initialData"]);
    world.report(51, 1, sample(51, 1, 1.0));
    assert_eq!(world.last(socket)["count"], 51);
}

#[test]
fn a_newcomer_to_a_dashboard_sees_no_update_twice() {
    let mut world = World::new(1);
    let (first, second) = (world.connect(1, DeviceScope::All), world.connect(2, DeviceScope::All));
    world.subscribe(first, 0, json!({ "type": "dashboard" }));
    world.report(1, 10, sample(1, 10, 1.0));
    world.subscribe(second, 20, json!({ "type": "dashboard" }));
    world.flush(500);
    assert_eq!(world.events(first), ["initialData", "batchUpdate"]);
    assert_eq!(world.events(second), ["initialData"]);
    assert_eq!(world.last(second)["seq"], world.last(first)["seq"]);
}

#[test]
fn a_rate_thins_samples_and_nothing_else() {
    let mut world = World::new(1);
    let socket = world.connect(1, DeviceScope::All);
    let mut asked = to_device(1);
    asked["options"] = json!({ "rate": 5 });
    world.subscribe(socket, 0, asked);
    for second in 1..=11 {
        world.report(1, second * 1000, sample(1, second * 1000, second as f64));
    }
    world.report(1, 11_100, containers(vec![container(1, 7, ContainerState::Running, 0)]));
    assert_eq!(world.events(socket), ["initialData", "stats", "stats", "stats", "containerUpdate"]);
}

#[test]
fn subscribing_again_replaces_the_subscription() {
    let mut world = World::new(1);
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 0, to_device(1));
    let mut asked = to_device(1);
    asked["options"] = json!({ "batch": true });
    world.subscribe(socket, 0, asked);
    world.report(1, 1, sample(1, 1, 1.0));
    world.flush(200);
    assert_eq!(world.events(socket), ["initialData", "initialData", "batchUpdate"]);
    assert_eq!(world.live.stats().subscriptions, [1, 0, 0, 0, 0, 0]);
    world.unsubscribe(socket, 250, &RoomName::Device(uuid(1)));
    world.report(1, 300, sample(1, 300, 1.0));
    world.flush(600);
    assert_eq!(world.events(socket).len(), 3);
    assert_eq!(world.live.stats().subscriptions, [0, 0, 0, 0, 0, 0]);
}

fn since(mut asked: Value, epoch: &str, seq: u64) -> Value {
    asked["options"]["since"] = json!({ "epoch": epoch, "seq": seq });
    asked
}

#[test]
fn who_comes_back_gets_exactly_what_it_missed() {
    let mut world = World::new(1);
    let running =
        |id, cpu| Container { cpu: Some(cpu), ..container(1, id, ContainerState::Running, 0) };
    world.report(1, 0, sample(1, 0, 1.0));
    world.report(1, 100, containers(vec![running(7, 1.0), running(8, 1.0)]));
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 200, to_device(1));
    let seen = world.last(socket)["seq"].as_u64().unwrap();
    assert_eq!(seen, 3);
    world.subscribe(socket, 200, to_container(7));
    world.live.disconnected(socket);

    world.report(1, 1000, sample(1, 1000, 2.0)); // 4
    world.report(1, 1100, containers(vec![container(1, 7, ContainerState::Exited, 0)])); // 5
    world.report(1, 1200, containers(vec![running(8, 2.0)])); // 6: figures
    world.report(1, 1300, containers(vec![running(7, 3.0)])); // 7
    world.report(1, 2000, sample(1, 2000, 3.0)); // 8
    world.report(1, 2100, containers(vec![running(8, 3.0)])); // 9: figures
    world.report(1, 2200, containers(vec![running(9, 1.0)])); // 10
    world.report(1, 2300, containers(vec![container(1, 9, ContainerState::Removed, 0)])); // 11

    let back = world.connect(2, DeviceScope::All);
    world.subscribe(back, 2400, since(to_device(1), "e1", seen));
    let ack = &world.acks.last().unwrap().1;
    assert_eq!((ack.resumed, ack.seq), (Some(true), Some(11)));
    let got: Vec<_> = world.got[&back]
        .iter()
        .map(|(event, data)| {
            let what = &data["data"];
            (
                event.as_str(),
                data["seq"].as_u64().unwrap(),
                what["cpu"].as_f64(),
                what["state"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        got,
        [
            // Each change, and of figures the newest; the sample at 4 is replaced by that at 8.
            ("containerUpdate", 5, None, "exited"),
            ("containerUpdate", 7, Some(3.0), "running"),
            ("stats", 8, Some(3.0), "online"),
            ("containerUpdate", 9, Some(3.0), "running"),
            ("containerUpdate", 10, Some(1.0), "running"),
            ("containerUpdate", 11, None, "removed"),
        ]
    );
    // And then the stream goes on.
    world.report(1, 3000, sample(1, 3000, 4.0));
    assert_eq!(world.last(back)["seq"], 12);

    // The same in one batch.
    let batch = world.connect(3, DeviceScope::All);
    let mut asked = since(to_device(1), "e1", seen);
    asked["options"]["batch"] = json!(true);
    world.subscribe(batch, 3100, asked);
    assert_eq!(world.events(batch), ["batchUpdate"]);
    let updates = world.last(batch)["updates"].as_array().unwrap();
    let seqs: Vec<_> = updates.iter().map(|u| u["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [5, 7, 9, 10, 11, 12]);

    // In the container's own room, too.
    let own = world.connect(4, DeviceScope::All);
    world.subscribe(own, 3200, since(to_container(7), "e1", 1));
    let states: Vec<_> = world.got[&own].iter().map(|(_, data)| &data["data"]["state"]).collect();
    assert_eq!(states, ["exited", "running"]);
}

#[test]
fn who_missed_nothing_gets_nothing_and_who_cannot_be_told_gets_the_state() {
    let mut world = World::new(1);
    world.report(1, 0, sample(1, 0, 1.0));
    let first = world.connect(9, DeviceScope::All);
    world.subscribe(first, 0, to_device(1));
    for n in 0..600 {
        let state = if n % 2 == 0 { ContainerState::Running } else { ContainerState::Exited };
        world.report(1, n, containers(vec![container(1, 7, state, 0)]));
    }
    let newest = 601;
    for (viewer, epoch, seq, resumed) in [
        (1, "e1", newest, true),
        (2, "e1", newest - 400, true),
        // Older than the ring, from another run, from the future.
        (3, "e1", 5, false),
        (4, "e0", newest, false),
        (5, "e1", newest + 1, false),
    ] {
        let socket = world.connect(viewer, DeviceScope::All);
        world.subscribe(socket, 700, since(to_device(1), epoch, seq));
        assert_eq!(world.acks.last().unwrap().1.resumed, Some(resumed), "{viewer}");
        let got = world.got.get(&socket).map_or(0, Vec::len);
        if resumed {
            assert_eq!(got as u64, newest - seq, "{viewer}");
        } else {
            assert_eq!(world.events(socket), ["initialData"]);
            assert_eq!(world.last(socket)["gap"], true);
        }
    }
}

#[test]
fn before_the_first_viewer_nothing_is_kept() {
    let mut world = World::new(1);
    for n in 0..10 {
        let state = if n % 2 == 0 { ContainerState::Running } else { ContainerState::Exited };
        world.report(1, n, containers(vec![container(1, 7, state, 0)]));
    }
    // A position that nobody can have been given.
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 20, since(to_device(1), "e1", 5));
    assert_eq!(world.acks.last().unwrap().1.resumed, Some(false));
    assert_eq!(
        (world.events(socket), &world.last(socket)["gap"]),
        (vec!["initialData"], &json!(true))
    );
}

#[test]
fn who_may_not_see_it_any_more_is_not_told_what_it_missed() {
    let mut world = World::new(1);
    world.report(1, 0, sample(1, 0, 1.0));
    let socket = world.connect(1, DeviceScope::Only(BTreeSet::new()));
    world.subscribe(socket, 0, since(to_device(1), "e1", 0));
    assert_eq!(world.refused(), "UNAUTHORIZED");
    assert!(!world.got[&socket].iter().any(|(event, _)| event == "stats"));
}

#[test]
fn subscriptions_of_a_socket_are_limited() {
    let mut world = World::new(6);
    let socket = world.connect(1, DeviceScope::All);
    for n in 1..=5 {
        world.subscribe(socket, 0, to_device(n));
        assert_eq!(world.refused(), "");
    }
    world.subscribe(socket, 0, to_device(6));
    assert_eq!(world.refused(), "TOO_MANY_SUBSCRIPTIONS");
    // One that exists may still be changed.
    world.subscribe(socket, 0, to_device(5));
    assert_eq!(world.refused(), "");
}

#[test]
fn a_device_without_samples_for_three_periods_is_stale() {
    let mut world = World::new(1);
    world.report(1, 0, sample(1, 0, 1.0));
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 0, to_device(1));
    for ms in (500..=2_500).step_by(500) {
        world.tick(ms);
    }
    assert_eq!(world.events(socket), ["initialData"]);
    world.tick(3_000);
    world.tick(3_500);
    assert_eq!(world.events(socket), ["initialData", "deviceUpdate"]);
    assert_eq!(world.last(socket)["data"]["state"], "stale");
    assert!(world.last(socket)["data"]["stateReason"].as_str().unwrap().contains("No sample"));
    world.report(1, 3_600, sample(1, 3_600, 1.0));
    assert_eq!(world.events(socket)[2..], ["deviceUpdate", "stats"]);
    assert_eq!(world.last(socket)["data"]["state"], "online");
}

#[test]
fn a_pause_of_the_hub_makes_no_device_stale() {
    let mut world = World::new(1);
    world.report(1, 0, sample(1, 0, 1.0));
    let socket = world.connect(1, DeviceScope::All);
    let mut asked = to_device(1);
    asked["options"] = json!({ "rate": 1 });
    world.subscribe(socket, 0, asked);
    world.tick(0);
    world.tick(60_000);
    world.report(1, 60_100, sample(1, 60_100, 1.0));
    world.tick(60_500);
    assert_eq!(world.live.fleet.device(uuid(1)).unwrap().device.state, DeviceState::Online);
}

#[test]
fn an_inventory_removes_what_it_does_not_list() {
    let mut world = World::new(1);
    let (a, b) =
        (container(1, 7, ContainerState::Running, 0), container(1, 8, ContainerState::Running, 0));
    world.report(1, 0, containers(vec![a, b.clone()]));
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 0, to_device(1));
    let update = DeviceUpdate { inventory: Some(vec![b]), ..DeviceUpdate::default() };
    world.report(1, 1, update);
    assert_eq!(world.events(socket), ["initialData", "containerUpdate"]);
    assert_eq!(world.last(socket)["data"]["state"], "removed");
    assert_eq!(world.live.stats().containers, 1);
}

proptest! {
    /// Whatever viewers do and sources report, what a viewer can work out from `initialData` and
    /// the events after it is the hub's own state, also where viewers look away and back; and the
    /// sequence has no repeat, nor a hole where all look all the time.
    #[test]
    fn a_viewer_always_knows_what_the_hub_knows(
        steps in prop::collection::vec((0u8..9, 0u64..3, 1u64..3, 0u64..4, any::<bool>()), 1..120),
        looks_away in any::<bool>(),
    ) {
        let mut world = World::new(2);
        let mut subscribed: BTreeSet<(u64, u64)> = BTreeSet::new();
        for n in 0..3 {
            world.connect(n, DeviceScope::All);
        }
        for (count, (step, viewer, host, id, flag)) in steps.into_iter().enumerate() {
            let (ms, count) = (count as i64 * 40, count as u64);
            let socket = SocketId::from_raw(viewer);
            match step {
                0 => {
                    let mut asked = to_device(host);
                    asked["options"] = json!({ "batch": flag });
                    world.got.entry(socket).or_default().retain(|(_, data)| !about(data, host));
                    world.subscribe(socket, ms, asked);
                    subscribed.insert((viewer, host));
                }
                1 => {
                    world.unsubscribe(socket, ms, &RoomName::Device(uuid(host)));
                    world.flush(ms);
                    subscribed.remove(&(viewer, host));
                }
                2 => world.report(host, ms, sample(host, ms, count as f64)),
                3 => {
                    let state = if flag { ContainerState::Running } else { ContainerState::Removed };
                    // Ids are unique to their device.
                    let c = container(host, host * 10 + id, state, count);
                    world.report(host, ms, containers(vec![c]));
                }
                4 => {
                    let inventory = (0..id)
                        .map(|i| container(host, host * 10 + i, ContainerState::Exited, count))
                        .collect();
                    let update =
                        DeviceUpdate { inventory: Some(inventory), ..DeviceUpdate::default() };
                    world.report(host, ms, update);
                }
                // Lost and back, with its position.
                5 if subscribed.contains(&(viewer, host)) => {
                    let others: Vec<_> =
                        subscribed.iter().filter(|(v, h)| *v == viewer && *h != host).copied().collect();
                    world.flush(ms + 10_000);
                    world.live.disconnected(socket);
                    world.rooms.values_mut().for_each(|members| {
                        members.remove(&socket);
                    });
                    for other in others {
                        subscribed.remove(&other);
                    }
                    if flag {
                        world.report(host, ms, sample(host, ms, count as f64));
                        let c = container(host, host * 10 + id, ContainerState::Running, count);
                        world.report(host, ms, containers(vec![c]));
                    }
                    world.connect(viewer, DeviceScope::All);
                    let whole = !looks_away || viewer == 2;
                    let seq = Known::from_events(&world.got[&socket], host, whole).seq;
                    let mut asked = since(to_device(host), "e1", seq);
                    asked["options"]["batch"] = json!(id == 0);
                    let got = world.got[&socket].len();
                    world.subscribe(socket, ms, asked);
                    let ack = world.acks.last().unwrap().1.clone();
                    prop_assert_eq!(ack.resumed, Some(true));
                    let resumed = json!({ "id": uuid(host).to_string(), "seq": ack.seq });
                    let list = world.got.get_mut(&socket).unwrap();
                    list.insert(got, ("resumed".into(), resumed));
                }
                // One of them never does.
                6 if looks_away && viewer != 2 => world.activity(socket, ms, flag),
                7 if looks_away => world.tick(ms),
                _ => world.flush(ms),
            }
        }
        world.flush(1_000_000);
        // What was held back then waits in batches for a moment.
        world.flush(1_000_200);
        for (viewer, host) in subscribed {
            let got = &world.got[&SocketId::from_raw(viewer)];
            let known = Known::from_events(got, host, !looks_away || viewer == 2);
            let live = world.live.fleet.device(uuid(host)).unwrap();
            if !looks_away || viewer == 2 {
                prop_assert_eq!(known.seq, live.stream.seq);
            }
            let cpu = live.sample.as_ref().and_then(|s| s.cpu);
            prop_assert_eq!(known.cpu, cpu);
            let actual: BTreeMap<_, _> = live
                .containers
                .iter()
                .map(|(id, c)| (id.to_string(), c.container.restart_count.unwrap()))
                .collect();
            prop_assert_eq!(known.containers, actual);
        }
    }
}

fn about(data: &Value, host: u64) -> bool {
    data["room"] == format!("device:{}", uuid(host)) || data["id"] == uuid(host).to_string()
}

/// What a viewer of one device works out from what it got.
#[derive(Default)]
struct Known {
    seq: u64,
    /// Up to here numbers may be left out: it came back.
    caught_up: u64,
    cpu: Option<f64>,
    containers: BTreeMap<String, u64>,
}

impl Known {
    /// `whole`: every viewer looks all the time, so no number may be left out.
    fn from_events(got: &[(String, Value)], host: u64, whole: bool) -> Self {
        let mut known = Self::default();
        for (event, data) in got.iter().filter(|(_, data)| about(data, host)) {
            match event.as_str() {
                "initialData" => {
                    known = Self { seq: data["seq"].as_u64().unwrap(), ..Self::default() };
                    known.cpu = data["data"]["sample"]["cpu"].as_f64();
                    for c in data["data"]["containers"].as_array().unwrap() {
                        known.container(c);
                    }
                }
                "batchUpdate" => {
                    let mut last = known.seq;
                    for update in data["updates"].as_array().unwrap() {
                        let seq = update["seq"].as_u64().unwrap();
                        assert!(seq > known.seq, "an update came twice");
                        last = last.max(seq);
                        known.event(update["event"].as_str().unwrap(), &update["data"]);
                    }
                    let seq = data["seq"].as_u64().unwrap();
                    assert!(if whole { last == seq } else { last <= seq }, "{last} in {seq}");
                    known.seq = seq;
                }
                "resumed" => known.caught_up = data["seq"].as_u64().unwrap(),
                single => {
                    let seq = data["seq"].as_u64().unwrap();
                    if seq > known.caught_up {
                        known.seq = known.seq.max(known.caught_up);
                        assert!(!whole || seq == known.seq + 1, "a hole or a repeat");
                    }
                    assert!(seq > known.seq, "a repeat");
                    known.seq = seq;
                    known.event(single, &data["data"]);
                }
            }
        }
        known.seq = known.seq.max(known.caught_up);
        known
    }

    fn event(&mut self, event: &str, data: &Value) {
        match event {
            "stats" => self.cpu = data["cpu"].as_f64(),
            "containerUpdate" => self.container(data),
            _ => {}
        }
    }

    fn container(&mut self, c: &Value) {
        let id = c["containerId"].as_str().unwrap().to_owned();
        if c["state"] == "removed" {
            self.containers.remove(&id);
        } else {
            self.containers.insert(id, c["restartCount"].as_u64().unwrap());
        }
    }
}
