//! The room of the whole fleet, in each format.

use kobel_wire::{metr, proto};

use super::*;

fn to_fleet(options: &Value) -> Value {
    json!({ "type": "fleet", "options": options })
}

fn metr2() -> Value {
    json!({ "format": "metr", "version": 2 })
}

fn bytes(data: &Value) -> Vec<u8> {
    data["bytes"].as_array().unwrap().iter().map(|b| b.as_u64().unwrap() as u8).collect()
}

/// Each device's cpu by a reader of METR version 2, from all that a socket got.
fn by_metr(world: &World, socket: SocketId) -> BTreeMap<u64, i64> {
    let mut reader = metr::Reader::default();
    let mut known = BTreeMap::new();
    for (event, data) in &world.got[&socket] {
        if event == "metrics" {
            let frame = reader.apply(&bytes(data)).unwrap();
            for record in &frame.records {
                known.insert(record.id.0, record.cpu.unwrap().round() as i64);
            }
        }
    }
    known
}

#[test]
fn one_frame_a_tick_has_everything_that_a_scope_may_see() {
    let mut world = World::new(3);
    world.report(1, 0, sample(1, 0, 1.0));
    let all = world.connect(1, DeviceScope::All);
    let too = world.connect(2, DeviceScope::All);
    let some = world.connect(3, DeviceScope::Only(BTreeSet::from([uuid(2)])));
    for socket in [all, too, some] {
        world.subscribe(socket, 0, to_fleet(&json!({})));
    }
    assert_eq!(world.got[&all][0].0, "initialData");
    let first = &world.got[&all][0].1["data"];
    assert_eq!(first["devices"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&first["devices"][0]["name"], &first["devices"][0]["cpu"]),
        (&json!("host-1"), &json!(1.0))
    );
    assert_eq!(first["totals"]["devices"], 3);
    assert_eq!(world.got[&some][0].1["data"]["devices"].as_array().unwrap().len(), 1);

    world.flush(1_000);
    world.frames = 0;
    for n in 1..=3 {
        world.report(n, 2_000 + n as i64, sample(n, 2_000, 10.0 * n as f64));
    }
    world.flush(2_103);
    assert_eq!(world.frames, 2, "one for each scope");
    for socket in [all, too] {
        let batch = world.last(socket);
        assert_eq!((&batch["room"], &batch["count"]), (&json!("fleet:main"), &json!(3)));
        assert_eq!(batch["updates"][2]["cpu"], 30.0);
    }
    assert_eq!(world.last(some)["count"], 1);
    assert_eq!(world.last(some)["updates"][0]["deviceUuid"], uuid(2).to_string());
    // The next is a tick later, whoever reports.
    world.report(1, 2_150, sample(1, 2_150, 1.0));
    world.flush(3_000);
    assert_eq!(world.last(all)["updates"][0]["cpu"], 10.0);
    world.flush(3_103);
    assert_eq!(world.last(all)["updates"][0]["cpu"], 1.0);
}

#[test]
fn every_format_says_the_same() {
    let mut world = World::new(2);
    let viewers: Vec<_> =
        [json!({}), json!({ "format": "protobuf" }), json!({ "format": "metr" }), metr2()]
            .iter()
            .zip(1..)
            .map(|(options, n)| {
                let socket = world.connect(n, DeviceScope::All);
                world.subscribe(socket, 0, to_fleet(options));
                socket
            })
            .collect();
    world.report(1, 1_000, sample(1, 1_000, 12.5));
    world.report(2, 1_000, sample(2, 1_000, 99.0));
    world.flush(1_200);
    assert_eq!(world.last(viewers[0])["updates"][1]["cpu"], 99.0);
    let metrics = proto::decode_metrics(&bytes(world.last(viewers[1])), 9).unwrap();
    assert_eq!((metrics.devices[0].id, metrics.devices[0].cpu), (1, Some(12.5)));
    let frame = metr::decode_v1(&bytes(world.last(viewers[2])), wall(1_200)).unwrap();
    assert_eq!(frame.timestamp, wall(1_200));
    assert_eq!(frame.readings[1].cpu, Some(99.0));
    assert_eq!(by_metr(&world, viewers[3]), BTreeMap::from([(1, 13), (2, 99)]));
    let about = world.last(viewers[3]);
    assert_eq!((&about["room"], &about["version"]), (&json!("fleet:main"), &json!(2)));
    assert_eq!(about["timestamp"], wall(1_200).to_string());
}

#[test]
fn a_newcomer_can_read_the_next_delta() {
    let mut world = World::new(3);
    let first = world.connect(1, DeviceScope::All);
    world.subscribe(first, 0, to_fleet(&metr2()));
    let cpu = |world: &mut World, second: i64| {
        for n in 1..=3 {
            world.report(
                n,
                second * 1_000,
                sample(n, second * 1_000, second as f64 + 20.0 * n as f64),
            );
        }
        world.flush(second * 1_000 + 500);
    };
    for second in 1..=4 {
        cpu(&mut world, second);
    }
    let late = world.connect(2, DeviceScope::All);
    world.subscribe(late, 4_700, to_fleet(&metr2()));
    assert_eq!(by_metr(&world, late), BTreeMap::from([(1, 24), (2, 44), (3, 64)]), "at once");
    for second in 5..=70 {
        world.activity(first, second * 1_000 - 200, true);
        world.activity(late, second * 1_000 - 200, true);
        cpu(&mut world, second);
    }
    let now = BTreeMap::from([(1, 90), (2, 110 - 10), (3, 100)]);
    let capped = |known: BTreeMap<u64, i64>| {
        known.into_iter().map(|(id, cpu)| (id, cpu.min(100))).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(capped(by_metr(&world, late)), now);
    assert_eq!(capped(by_metr(&world, first)), now);
}

#[test]
fn a_device_that_is_new_or_changes_is_told_with_its_name_and_figures_are_not() {
    let mut world = World::new(1);
    let all = world.connect(1, DeviceScope::All);
    let none = world.connect(2, DeviceScope::Only(BTreeSet::new()));
    for socket in [all, none] {
        world.subscribe(socket, 0, to_fleet(&metr2()));
    }
    let entries = |world: &World, socket: SocketId| {
        let got = world.got[&socket].iter();
        got.filter(|(event, _)| event == "deviceEntry")
            .map(|(_, d)| d["data"].clone())
            .collect::<Vec<_>>()
    };
    world.live.add_device(device(2), world.demand.clone(), world.at(10), wall(10));
    world.deliver();
    assert_eq!(entries(&world, all)[0]["name"], "host-2");
    world.report(1, 100, containers(vec![container(1, 7, ContainerState::Running, 0)]));
    assert_eq!(entries(&world, all)[1]["containers"]["running"], 1);
    let mut c = container(1, 7, ContainerState::Running, 0);
    c.cpu = Some(3.0);
    world.report(1, 200, containers(vec![c]));
    world.report(1, 300, sample(1, 300, 1.0));
    assert_eq!(entries(&world, all).len(), 2);
    let update = DeviceUpdate {
        state: Some((DeviceState::Unreachable, Some("gone".into()))),
        ..DeviceUpdate::default()
    };
    world.report(1, 400, update);
    assert_eq!(entries(&world, all)[2]["state"], "unreachable");
    assert_eq!(entries(&world, none), Vec::<Value>::new());
}

#[test]
fn what_may_not_be_seen_any_more_is_in_no_frame() {
    let switch = Switch::default();
    let mut world = World::with(2, Box::new(switch.clone()));
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 0, to_fleet(&json!({})));
    world.report(1, 100, sample(1, 100, 1.0));
    switch.0.store(true, Ordering::Relaxed);
    world.flush(300);
    assert_eq!(world.last(socket)["count"], 0);
}

#[test]
fn who_wakes_sees_the_fleet_as_it_is() {
    for options in [json!({}), metr2()] {
        let mut world = World::new(2);
        let socket = world.connect(1, DeviceScope::All);
        world.subscribe(socket, 0, to_fleet(&options));
        world.activity(socket, 100, false);
        for n in 1..=2 {
            world.report(n, 1_000, sample(n, 1_000, 5.0));
        }
        world.flush(1_500);
        for n in 1..=2 {
            world.report(n, 2_000, sample(n, 2_000, 40.0 + n as f64));
        }
        world.flush(20_000);
        world.activity(socket, 20_100, true);
        if options == json!({}) {
            assert_eq!(world.last(socket)["updates"][1]["cpu"], 42.0);
        } else {
            assert_eq!(by_metr(&world, socket), BTreeMap::from([(1, 41), (2, 42)]));
        }
    }
}
