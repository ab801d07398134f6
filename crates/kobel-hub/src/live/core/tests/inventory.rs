//! Devices that are called otherwise, or taken out, while somebody looks.

use super::*;
use crate::live::DeviceLabel;

fn label(name: &str, tags: &[&str], group: Option<&str>) -> DeviceLabel {
    DeviceLabel {
        name: name.into(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        group: group.map(str::to_owned),
    }
}

/// The last event of this name that a socket got.
fn last_of(world: &World, socket: SocketId, name: &str) -> Value {
    let found = world.got[&socket].iter().rev().find(|(event, _)| event == name);
    found.unwrap_or_else(|| panic!("no {name} in {:?}", world.got[&socket])).1.clone()
}

fn watch_all(world: &mut World) -> SocketId {
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 0, json!({ "type": "device", "id": uuid(1).to_string() }));
    world.subscribe(socket, 0, json!({ "type": "dashboard" }));
    world.subscribe(socket, 0, json!({ "type": "fleet" }));
    socket
}

#[test]
fn a_new_name_is_told_in_every_room_and_once() {
    let mut world = World::new(2);
    let socket = watch_all(&mut world);
    world.report(1, 50, sample(1, 50, 1.0));
    let named = label("front", &["web"], Some("prod"));
    world.live.label_device(uuid(1), &named, world.at(100), wall(100));
    world.flush(400);
    let device = last_of(&world, socket, "deviceUpdate");
    assert_eq!(
        (&device["data"]["name"], &device["data"]["group"]),
        (&json!("front"), &json!("prod"))
    );
    let entry = last_of(&world, socket, "deviceEntry");
    assert_eq!(
        (&entry["data"]["name"], &entry["data"]["tags"]),
        (&json!("front"), &json!(["web"]))
    );
    let boards: Vec<_> =
        world.got[&socket].iter().filter(|(_, d)| d["room"] == "dashboard:main").collect();
    assert_eq!(boards.last().unwrap().1["updates"][0]["group"], "prod");
    let count = world.got[&socket].len();
    world.live.label_device(uuid(1), &named, world.at(500), wall(500));
    world.flush(900);
    assert_eq!(world.got[&socket].len(), count, "nothing new, nothing told");
}

#[test]
fn a_device_that_is_taken_out_is_gone_everywhere() {
    let mut world = World::new(2);
    let socket = watch_all(&mut world);
    let other = world.connect(2, DeviceScope::Only(BTreeSet::from([uuid(2)])));
    world.subscribe(other, 0, json!({ "type": "fleet" }));
    world.report(1, 50, containers(vec![container(1, 7, ContainerState::Running, 0)]));
    world.flush(60);
    world.live.remove_device(uuid(1), world.at(100), wall(100));
    world.flush(400);
    assert_eq!(last_of(&world, socket, "containerUpdate")["data"]["state"], "removed");
    let gone: Vec<_> =
        world.got[&socket].iter().filter(|(event, _)| event == "deviceRemoved").collect();
    let rooms: Vec<_> = gone.iter().map(|(_, data)| data["room"].as_str().unwrap()).collect();
    assert_eq!(rooms, [format!("device:{}", uuid(1)), "fleet:main".into()]);
    let mut boards = world.got[&socket].iter().filter(|(_, d)| d["room"] == "dashboard:main");
    let updates = &boards.next_back().unwrap().1["updates"];
    assert_eq!(updates[0]["removed"], true);
    assert!(!world.got[&other].iter().any(|(event, _)| event == "deviceRemoved"), "not its own");
    // What its source still reports changes nothing; who asks is told that there is none.
    world.report(1, 500, sample(1, 500, 1.0));
    world.subscribe(socket, 600, json!({ "type": "device", "id": uuid(1).to_string() }));
    assert_eq!(last_of(&world, socket, "error")["code"], "NOT_FOUND");
    assert_eq!((world.live.stats().devices, world.live.stats().containers), (1, 0));
    // The same identity may come back.
    world.live.add_device(device(1), Demand::default(), world.at(700), wall(700));
    assert_eq!(world.live.stats().devices, 2);
}
