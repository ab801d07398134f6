//! How much goes through a container's log, told in its room.

use kobel_wire::log::{LogStreamId, StreamVolume};

use super::*;

#[test]
fn it_is_told_in_the_containers_room_and_to_who_comes_back() {
    let mut world = World::new(1);
    world.report(1, 0, containers(vec![container(1, 7, ContainerState::Running, 0)]));
    let id = LogStreamId { device: uuid(1), container: container_id(7) };
    let tell = |world: &mut World, ms: i64, lines: u64| {
        let volume = StreamVolume { lines, ..StreamVolume::default() };
        let unknown = LogStreamId { container: container_id(8), ..id.clone() };
        let volumes = [(id.clone(), volume), (unknown, volume)];
        world.live.log_volumes(&volumes, world.at(ms), wall(ms));
        world.deliver();
    };
    tell(&mut world, 10, 1);
    let socket = world.connect(1, DeviceScope::All);
    let asked = json!({ "type": "container", "id": container_id(7).to_string() });
    world.subscribe(socket, 20, asked.clone());
    let (event, first) = world.got[&socket][0].clone();
    assert_eq!(event, "initialData");
    assert_eq!(first["data"]["logVolume"]["lines"], 1);
    tell(&mut world, 30, 2);
    let (event, told) = world.got[&socket].last().unwrap().clone();
    assert_eq!(event, "logVolume");
    assert_eq!((&told["data"]["lines"], &told["data"]["lagMs"]), (&json!(2), &json!(0)));
    assert_eq!(told["room"], format!("container:{}", container_id(7)));
    assert_eq!(told["seq"], first["seq"].as_u64().unwrap() + 1);

    // Who comes back gets the newest, and nothing that it has.
    let came_back = |world: &mut World, seq: &Value| {
        world.got.clear();
        let since = json!({ "since": { "epoch": first["epoch"], "seq": seq } });
        let mut asked = asked.clone();
        asked["options"] = since;
        world.subscribe(socket, 50, asked);
        let got = world.got.remove(&socket).unwrap_or_default();
        got.into_iter().map(|(event, _)| event).collect::<Vec<_>>()
    };
    assert_eq!(came_back(&mut world, &told["seq"]), [""; 0]);
    tell(&mut world, 60, 3);
    tell(&mut world, 70, 4);
    assert_eq!(came_back(&mut world, &told["seq"]), ["logVolume"]);
}
