//! Whose lines are in a merged view, told in its room.

use super::*;
use crate::{live::DeviceLabel, logs::live::LogRequest};

fn of_project(n: u64, id: u64, started: i64, project: &str) -> Container {
    Container {
        project: Some(project.into()),
        service: Some("web".into()),
        started_at: Some(wall(started)),
        ..container(n, id, ContainerState::Running, 0)
    }
}

/// The names of the members in the last event, and how many are left out.
fn members(world: &World, socket: SocketId) -> (String, Vec<String>, u64) {
    let (event, data) = world.got[&socket].last().unwrap();
    let data = &data["data"];
    let names = data["members"].as_array().unwrap().iter().map(|each| {
        assert_eq!(
            each["streamId"],
            format!(
                "{}:{}",
                each["deviceUuid"].as_str().unwrap(),
                each["containerId"].as_str().unwrap()
            )
        );
        each["name"].as_str().unwrap().to_owned()
    });
    (event.clone(), names.collect(), data["truncated"].as_u64().unwrap())
}

fn told(event: &str, names: &[&str]) -> (String, Vec<String>, u64) {
    (event.into(), names.iter().map(|name| (*name).to_owned()).collect(), 0)
}

/// What the log streams were told since the last call.
fn requests(world: &mut World) -> Vec<String> {
    let short = |members: &[kobel_wire::log::LogStreamId]| {
        let ids = members.iter().map(|id| {
            let id = id.container.to_string();
            id.trim_start_matches('0').to_owned()
        });
        ids.collect::<Vec<_>>().join(",")
    };
    let told = world.logs.drain(..).map(|request| match request {
        LogRequest::Watch { socket, view, members, options, .. } => {
            format!("{socket:?} watches {} {} of {}", view.id, options.tail, short(&members))
        }
        LogRequest::Unwatch { socket, view } => format!("{socket:?} leaves {}", view.id),
        LogRequest::Members { view, members } => format!("{} is {}", view.id, short(&members)),
        other => panic!("{other:?}"),
    });
    told.collect()
}

#[test]
fn members_come_and_go_while_one_looks() {
    let mut world = World::new(2);
    world.report(
        1,
        0,
        containers(vec![
            of_project(1, 1, 10, "shop"),
            of_project(1, 2, 20, "shop"),
            of_project(1, 3, 30, "other"),
        ]),
    );
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 100, json!({ "type": "logs", "id": "project:shop" }));
    let (_, ack) = world.acks.last().unwrap().clone();
    assert_eq!((ack.ok, ack.room.as_deref()), (true, Some("logs:project:shop")));
    assert_eq!(members(&world, socket), told("initialData", &["web-2", "web-1"]));
    let initial = world.got[&socket][0].1.clone();
    assert_eq!((&initial["type"], &initial["id"]), (&json!("logs"), &json!("project:shop")));
    assert_eq!(requests(&mut world), [format!("{socket:?} watches project:shop 200 of 2,1")]);

    // Another device, and one that has never been started: that is none yet.
    let created = Container { state: ContainerState::Created, ..of_project(2, 5, 0, "shop") };
    world.report(2, 200, containers(vec![of_project(2, 4, 150, "shop"), created]));
    assert_eq!(world.got[&socket].len(), 1, "it waits for others");
    world.flush(300);
    assert_eq!(members(&world, socket), told("logMembers", &["web-4", "web-2", "web-1"]));
    let seq = |world: &World| world.got[&socket].last().unwrap().1["seq"].as_u64().unwrap();
    assert_eq!(seq(&world), initial["seq"].as_u64().unwrap() + 1);
    assert_eq!(requests(&mut world), ["project:shop is 4,2,1"]);

    // One that stops stays a member, behind those that run; figures are no news.
    let stopped = Container { state: ContainerState::Exited, ..of_project(1, 2, 20, "shop") };
    world.report(1, 400, containers(vec![stopped]));
    world.flush(500);
    assert_eq!(members(&world, socket), told("logMembers", &["web-4", "web-1", "web-2"]));
    let busy = Container { cpu: Some(3.0), ..of_project(1, 1, 10, "shop") };
    world.report(1, 600, containers(vec![busy]));
    world.flush(900);
    assert_eq!(world.got[&socket].len(), 3);
    world.live.remove_device(uuid(2), world.at(1_000), wall(1_000));
    world.flush(1_100);
    assert_eq!(members(&world, socket), told("logMembers", &["web-1", "web-2"]));
    requests(&mut world);

    world.live.unsubscribe(
        socket,
        &RoomName::Logs("project:shop".parse().unwrap()),
        None,
        world.at(1_200),
        wall(1_200),
    );
    world.report(1, 1_300, containers(vec![of_project(1, 9, 1_300, "shop")]));
    world.flush(1_500);
    assert_eq!(requests(&mut world), [format!("{socket:?} leaves project:shop")]);
    assert_eq!(world.live.stats().subscriptions, [0; 6]);
}

#[test]
fn one_sees_the_members_that_one_may_see() {
    let mut world = World::new(3);
    for n in 1..=3 {
        world.report(n, 0, containers(vec![of_project(n, n, 10, "shop")]));
        let label = DeviceLabel { name: format!("h{n}"), tags: vec!["eu".into()], group: None };
        world.live.label_device(uuid(n), &label, world.at(0), wall(0));
    }
    let all = world.connect(1, DeviceScope::All);
    let only = DeviceScope::Only(BTreeSet::from([uuid(1), uuid(2)]));
    let some = world.connect(2, only);
    let both = format!("containers:{},{}", container_id(1), container_id(3));
    for (id, by_all, by_some) in [
        ("tag:eu".to_owned(), vec!["web-1", "web-2", "web-3"], Ok(vec!["web-1", "web-2"])),
        ("tag:us".into(), vec![], Ok(vec![])),
        ("project:shop".into(), vec!["web-1", "web-2", "web-3"], Ok(vec!["web-1", "web-2"])),
        (format!("device:{}", uuid(2)), vec!["web-2"], Ok(vec!["web-2"])),
        (format!("device:{}", uuid(3)), vec!["web-3"], Err("UNAUTHORIZED")),
        (format!("project:{}/shop", uuid(3)), vec!["web-3"], Err("UNAUTHORIZED")),
        (both, vec!["web-1", "web-3"], Ok(vec!["web-1"])),
        (format!("containers:{}", container_id(3)), vec!["web-3"], Err("UNAUTHORIZED")),
    ] {
        let asked = json!({ "type": "logs", "id": id });
        for socket in [all, some] {
            world.got.remove(&socket);
            world.subscribe(socket, 100, asked.clone());
        }
        let mut names = members(&world, all).1;
        names.sort();
        assert_eq!(names, by_all, "{id}");
        match by_some {
            Ok(by_some) => assert_eq!(members(&world, some).1, by_some, "{id}"),
            Err(code) => assert_eq!(world.got[&some].last().unwrap().1["code"], code, "{id}"),
        }
        for socket in [all, some] {
            let room = RoomName::Logs(id.parse().unwrap());
            world.live.unsubscribe(socket, &room, None, world.at(100), wall(100));
        }
    }
    world.subscribe(all, 200, json!({ "type": "logs", "id": format!("device:{}", uuid(8)) }));
    assert_eq!(world.got[&all].last().unwrap().1["code"], "NOT_FOUND");
    // A tag that a device gets brings its containers.
    for socket in [all, some] {
        world.subscribe(socket, 300, json!({ "type": "logs", "id": "tag:new" }));
    }
    for n in [1, 3] {
        let label = DeviceLabel { name: format!("h{n}"), tags: vec!["new".into()], group: None };
        world.live.label_device(uuid(n), &label, world.at(400), wall(400));
    }
    world.flush(600);
    assert_eq!(members(&world, all).1.len(), 2);
    assert_eq!(members(&world, some), told("logMembers", &["web-1"]));
}

#[test]
fn there_are_fifty_members_at_most() {
    let mut world = World::new(1);
    let list = (1..=60).map(|id| of_project(1, id, id as i64, "p")).collect();
    world.report(1, 0, containers(list));
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 100, json!({ "type": "logs", "id": format!("device:{}", uuid(1)) }));
    let (_, names, truncated) = members(&world, socket);
    assert_eq!((names.len(), truncated), (50, 10));
    assert_eq!((names[0].as_str(), names[49].as_str()), ("web-60", "web-11"));
}
