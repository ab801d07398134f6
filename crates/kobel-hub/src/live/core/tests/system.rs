//! The room of the hub's own figures.

use kobel_wire::system::{Direction, EventRate, InOut, ProcessUse, System, Tally};

use super::*;

fn figures(ms: i64, connections: u64) -> System {
    let tally = |per_second, total| Tally { per_second: Some(per_second), total };
    System {
        sampled_at: wall(ms),
        total_connections: connections,
        connections_by_namespace: [("/".to_owned(), connections)].into(),
        messages_per_second: InOut { received: Some(2.0), sent: Some(30.5) },
        average_message_size: InOut { received: None, sent: Some(312.0) },
        error_rate: Some(0.5),
        errors: [("ping_timeout".to_owned(), tally(0.5, 3))].into(),
        top_events: vec![EventRate {
            event: "stats".into(),
            direction: Direction::Out,
            per_second: 30.5,
        }],
        client_distribution: Default::default(),
        closed: [("client".to_owned(), tally(1.0, 7)), ("stalled".to_owned(), tally(2.0, 2))]
            .into(),
        delivery: Default::default(),
        backlog_bytes: 4096,
        conflated_per_second: Some(0.0),
        dropped_per_second: None,
        process: ProcessUse { cpu: Some(12.5), memory_bytes: Some(1 << 20), ..Default::default() },
        uptime: 60.0,
        interval: 1.0,
        version: "0.1.0".into(),
    }
}

fn admin(token: i64) -> Principal {
    let access = Arc::new(Access { role: Role::Admin, devices: DeviceScope::All });
    Principal { access, ..principal(token, DeviceScope::All) }
}

fn to_system() -> Value {
    json!({ "type": "system" })
}

impl World {
    fn connect_admin(&mut self, n: u64) -> SocketId {
        let socket = SocketId::from_raw(n);
        self.live.connected(socket, admin(n as i64), self.start);
        socket
    }

    fn system(&mut self, ms: i64, connections: u64) {
        let now = self.at(ms);
        self.live.system(figures(ms, connections), now, wall(ms));
        self.deliver();
    }
}

#[test]
fn an_admin_gets_the_figures_and_the_minutes_before() {
    let mut world = World::new(0);
    let early = world.connect_admin(1);
    world.subscribe(early, 0, to_system());
    assert_eq!(world.last(early)["data"]["system"], Value::Null);
    // Kept also while nobody looks.
    world.unsubscribe(early, 0, &RoomName::System);
    world.frames = 0;
    for second in 1..=700 {
        world.system(second * 1000, second as u64);
    }
    assert_eq!(world.frames, 0);
    let socket = world.connect_admin(2);
    world.subscribe(socket, 700_100, to_system());
    let first = world.last(socket);
    assert_eq!((&first["type"], &first["id"]), (&json!("system"), &json!("main")));
    assert_eq!(first["seq"], 700);
    assert_eq!(first["data"]["system"]["totalConnections"], 700);
    let recent = &first["data"]["recent"];
    assert_eq!(recent["t"].as_array().unwrap().len(), 601);
    assert_eq!(recent["connections"][600], 700);
    // Sessions closed are one figure, whatever the reason; what was not told is null.
    assert_eq!((&recent["closed"][0], &recent["dropped"][0]), (&json!(3), &Value::Null));

    world.system(701_000, 701);
    assert_eq!(world.events(socket), ["initialData", "system"]);
    insta::assert_json_snapshot!("system_room", world.last(socket));
}

#[test]
fn a_viewer_is_refused_whatever_it_may_see() {
    let mut world = World::new(1);
    for (n, devices) in [(1, DeviceScope::All), (2, DeviceScope::Only(BTreeSet::from([uuid(1)])))] {
        let socket = world.connect(n, devices);
        for asked in [to_system(), since(to_system(), "e1", 0)] {
            world.subscribe(socket, 0, asked);
            let error = world.acks.last().unwrap().1.error.clone().unwrap();
            assert_eq!(error.code.as_str(), "UNAUTHORIZED");
            assert_eq!(error.message, "Insufficient permissions");
        }
        world.system(1000, 5);
        assert_eq!(world.events(socket), ["error", "error"]);
    }
    assert_eq!(world.live.stats().subscriptions, [0, 0, 0, 0, 0, 0]);
}

#[test]
fn permission_is_asked_again_at_delivery() {
    let switch = Switch::default();
    let mut world = World::with(0, Box::new(switch.clone()));
    let socket = world.connect_admin(1);
    world.subscribe(socket, 0, to_system());
    assert_eq!(world.live.stats().subscriptions, [0, 0, 0, 0, 1, 0]);
    switch.0.store(true, Ordering::Relaxed);
    world.system(1000, 1);
    assert_eq!(world.events(socket), ["initialData"]);
    assert_eq!(world.live.stats().denied, 1);
    switch.0.store(false, Ordering::Relaxed);
    world.system(2000, 2);
    assert_eq!(world.events(socket), ["initialData", "system"]);
}

#[test]
fn who_has_the_newest_resumes_and_others_get_the_state() {
    let mut world = World::new(0);
    world.system(1000, 1);
    world.system(2000, 2);
    for (viewer, epoch, seq, resumed) in
        [(1, "e1", 2, true), (2, "e1", 1, false), (3, "e0", 2, false), (4, "e1", 3, false)]
    {
        let socket = world.connect_admin(viewer);
        world.subscribe(socket, 2100, since(to_system(), epoch, seq));
        assert_eq!(world.acks.last().unwrap().1.resumed, Some(resumed), "{viewer}");
        if resumed {
            assert_eq!(world.events(socket), [""; 0]);
        } else {
            assert_eq!(world.events(socket), ["initialData"]);
            assert_eq!(world.last(socket)["gap"], true);
        }
    }
}

#[test]
fn a_rate_and_batches_are_as_in_other_rooms() {
    let mut world = World::new(0);
    let (thin, batch) = (world.connect_admin(1), world.connect_admin(2));
    let with = |options: Value| json!({ "type": "system", "options": options });
    world.subscribe(thin, 0, with(json!({ "rate": 5 })));
    world.subscribe(batch, 0, with(json!({ "batch": true })));
    for second in 1..=6 {
        world.system(second * 1000, second as u64);
        world.flush(second * 1000 + 100);
    }
    assert_eq!(world.events(thin), ["initialData", "system", "system"]);
    assert_eq!(world.last(thin)["data"]["totalConnections"], 6);
    assert_eq!(world.events(batch).len(), 7);
    let last = world.last(batch);
    assert_eq!((&last["room"], &last["seq"]), (&json!("system:main"), &json!(6)));
    assert_eq!(last["updates"][0]["event"], "system");
    assert_eq!(last["updates"][0]["data"]["totalConnections"], 6);
}
