//! Tiers, rates and what is needed of the sources.

use super::*;
use crate::demand::Need;

fn auto(socket: u64, world: &mut World) -> SocketId {
    let socket = world.connect(socket, DeviceScope::All);
    world.subscribe(socket, 0, to_device(1));
    socket
}

fn every(seconds: u64) -> Need {
    Need::Every(Duration::from_secs(seconds))
}

impl World {
    /// A sample each second, whose value is the second, and ticks between.
    fn run(&mut self, from: i64, to: i64) {
        for ms in ((from + 1) * 1_000 - 500..=to * 1_000).step_by(500) {
            self.tick(ms);
            self.flush(ms);
            if ms % 1_000 == 0 {
                self.report(1, ms, sample(1, ms, (ms / 1_000) as f64));
            }
        }
    }

    /// The values of the `stats` that a socket got.
    fn values(&self, socket: SocketId) -> Vec<i64> {
        let stats = self.got[&socket].iter().filter(|(event, _)| event == "stats");
        stats.map(|(_, data)| data["data"]["cpu"].as_f64().unwrap() as i64).collect()
    }

    fn needs(&self) -> Vec<(u64, Need)> {
        let mut needs: Vec<_> = self
            .demand
            .take()
            .into_iter()
            .map(|(device, need)| ((1..9).find(|n| uuid(*n) == device).unwrap(), need))
            .collect();
        needs.sort_by_key(|(n, _)| *n);
        needs
    }
}

#[test]
fn who_does_nothing_gets_less_and_less() {
    let mut world = World::new(1);
    let socket = auto(1, &mut world);
    world.run(0, 125);
    let mut expected: Vec<_> = (1..=10).collect();
    expected.extend([15, 20, 25, 30, 35, 40, 45, 50, 55]);
    // As it falls to the last tier it is told what its group was not.
    expected.extend([59, 60, 90, 120]);
    assert_eq!(world.values(socket), expected);
}

#[test]
fn who_wakes_gets_the_newest_value_at_once_and_then_each() {
    let mut world = World::new(1);
    let socket = auto(1, &mut world);
    world.run(0, 75);
    let before = world.values(socket).len();
    world.activity(socket, 75_100, true);
    assert_eq!(world.values(socket)[before..], [75], "before any new sample came");
    world.run(76, 80);
    assert_eq!(world.values(socket)[before + 1..], [77, 78, 79, 80]);
}

#[test]
fn a_subscribe_is_an_activity_too() {
    let mut world = World::new(2);
    let socket = auto(1, &mut world);
    world.run(0, 61);
    world.subscribe(socket, 61_100, to_device(2));
    let before = world.values(socket).len();
    world.run(62, 65);
    assert_eq!(world.values(socket)[before..], [63, 64, 65]);
}

#[test]
fn who_cannot_be_seen_looks_at_nothing() {
    let mut world = World::new(1);
    let socket = auto(1, &mut world);
    world.run(0, 2);
    world.activity(socket, 2_100, false);
    world.run(2, 29);
    assert_eq!(world.values(socket), [1, 2, 3], "one, then none for half a minute");
    world.activity(socket, 29_100, true);
    assert_eq!(world.values(socket), [1, 2, 3, 29]);
}

#[test]
fn a_rate_of_ones_own_is_kept_whatever_one_does() {
    let mut world = World::new(1);
    let socket = world.connect(1, DeviceScope::All);
    let mut asked = to_device(1);
    asked["options"] = json!({ "rate": 1 });
    world.subscribe(socket, 0, asked);
    world.activity(socket, 0, false);
    world.run(0, 100);
    assert_eq!(world.values(socket), (1..=100).collect::<Vec<_>>());
}

#[test]
fn the_last_value_before_a_silence_arrives_in_every_tier() {
    for (quiet_after, rate) in [(7, 1), (32, 5), (75, 30)] {
        let mut world = World::new(1);
        let socket = auto(1, &mut world);
        world.run(0, quiet_after);
        for ms in (quiet_after * 1_000..(quiet_after + rate + 2) * 1_000).step_by(100) {
            world.flush(ms);
        }
        assert_eq!(world.values(socket).last(), Some(&quiet_after), "at {rate} s");
        let told = world.values(socket).len();
        world.flush(10_000_000);
        assert_eq!(world.values(socket).len(), told, "once");
    }
}

#[test]
fn a_change_of_state_does_not_wait_and_takes_what_was_held_with_it() {
    let mut world = World::new(1);
    let socket = auto(1, &mut world);
    world.run(0, 71);
    let before = world.got[&socket].len();
    world.report(1, 71_200, containers(vec![container(1, 7, ContainerState::Exited, 0)]));
    let events: Vec<_> = world.events(socket)[before..].to_vec();
    assert_eq!(events, ["stats", "containerUpdate"], "in the order of their numbers");
    assert_eq!(world.values(socket).last(), Some(&71));
}

#[test]
fn figures_of_a_container_are_held_back_and_its_changes_are_not() {
    let mut world = World::new(1);
    world.report(1, 0, containers(vec![container(1, 7, ContainerState::Running, 0)]));
    let socket = world.connect(1, DeviceScope::All);
    let mut asked = to_container(7);
    asked["options"] = json!({ "rate": 10 });
    world.subscribe(socket, 0, asked);
    for second in 1..=10 {
        let mut c = container(1, 7, ContainerState::Running, 0);
        c.cpu = Some(second as f64);
        world.report(1, second * 1_000, containers(vec![c]));
    }
    let cpu = |world: &World| {
        let got = &world.got[&socket];
        got.iter().filter_map(|(_, d)| d["data"]["cpu"].as_f64()).collect::<Vec<_>>()
    };
    assert_eq!(cpu(&world), [1.0]);
    world.report(1, 10_100, containers(vec![container(1, 7, ContainerState::Exited, 0)]));
    assert_eq!(world.last(socket)["data"]["state"], "exited");
    world.flush(100_000);
    assert_eq!(world.last(socket)["data"]["state"], "exited");
    assert_eq!(cpu(&world), [1.0], "what it ended with is newer than what was held");
}

#[test]
fn a_tier_is_a_group_so_its_viewers_share_a_frame() {
    let mut world = World::new(1);
    for n in 1..=100 {
        auto(n, &mut world);
    }
    world.run(0, 15);
    world.frames = 0;
    world.run(15, 25);
    assert_eq!(world.frames, 2, "of a hundred viewers at 5 s");
}

#[test]
fn a_dashboard_of_one_who_looks_away_gathers_and_hurries_for_a_change_of_state() {
    let mut world = World::new(1);
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 0, json!({ "type": "dashboard" }));
    world.activity(socket, 100, false);
    world.run(0, 20);
    let batches = |world: &World| world.got[&socket].len() - 1;
    assert_eq!(batches(&world), 1);
    world.report(1, 20_100, containers(vec![container(1, 7, ContainerState::Exited, 0)]));
    world.flush(20_200);
    assert_eq!(batches(&world), 2);
    world.report(1, 20_300, sample(1, 20_300, 99.0));
    // Back: what was gathered comes at once.
    world.activity(socket, 21_000, true);
    assert_eq!(world.last(socket)["updates"][0]["sample"]["cpu"], 99.0);
}

#[test]
fn a_device_is_needed_as_fast_as_its_fastest_viewer_looks() {
    let mut world = World::new(3);
    assert_eq!(world.needs(), []);
    let first = world.connect(1, DeviceScope::All);
    let mut slow = to_device(1);
    slow["options"] = json!({ "rate": 7 });
    world.subscribe(first, 0, slow);
    assert_eq!(world.needs(), [(1, every(7))]);
    let second = auto(2, &mut world);
    assert_eq!(world.needs(), [(1, every(1))]);
    let third = auto(3, &mut world);
    assert_eq!(world.needs(), [], "as fast already");
    for socket in [second, third] {
        world.unsubscribe(socket, 1_000, &RoomName::Device(uuid(1)));
    }
    for ms in (1_000..6_000).step_by(500) {
        world.tick(ms);
    }
    assert_eq!(world.needs(), [], "somebody may come back");
    world.tick(6_000);
    assert_eq!(world.needs(), [(1, every(7))]);
    world.live.disconnected(first);
    for ms in (6_500..16_500).step_by(500) {
        world.tick(ms);
    }
    assert_eq!(world.needs(), [(1, Need::Unwatched)]);
    assert_eq!(world.live.stats().watched_devices, 0);
}

#[test]
fn who_comes_back_within_seconds_changes_nothing() {
    let mut world = World::new(1);
    let socket = auto(1, &mut world);
    assert_eq!(world.needs(), [(1, every(1))]);
    world.unsubscribe(socket, 1_000, &RoomName::Device(uuid(1)));
    world.tick(3_000);
    world.subscribe(socket, 3_500, to_device(1));
    for ms in (4_000..9_500).step_by(500) {
        world.tick(ms);
    }
    assert_eq!(world.needs(), []);
}

#[test]
fn a_board_needs_what_its_viewer_may_see() {
    for kind in ["dashboard", "fleet"] {
        let mut world = World::new(3);
        let socket = world.connect(1, DeviceScope::Only(BTreeSet::from([uuid(2), uuid(3)])));
        world.subscribe(socket, 0, json!({ "type": kind }));
        assert_eq!(world.needs(), [(2, every(1)), (3, every(1))], "{kind}");
        // Out of sight nobody needs it: a summary has as much.
        world.activity(socket, 100, false);
        for ms in (500..=6_000).step_by(500) {
            world.tick(ms);
        }
        assert_eq!(world.needs(), [(2, Need::Unwatched), (3, Need::Unwatched)], "{kind}");
        world.activity(socket, 6_100, true);
        assert_eq!(world.needs(), [(2, every(1)), (3, every(1))], "{kind}");
    }
}

#[test]
fn a_container_needs_its_device() {
    let mut world = World::new(2);
    world.report(2, 0, containers(vec![container(2, 7, ContainerState::Running, 0)]));
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 0, to_container(7));
    assert_eq!(world.needs(), [(2, every(1))]);
}

#[test]
fn a_device_that_comes_while_somebody_looks_is_needed_at_once() {
    let mut world = World::new(1);
    let socket = world.connect(1, DeviceScope::All);
    world.subscribe(socket, 0, json!({ "type": "dashboard" }));
    assert_eq!(world.needs(), [(1, every(1))]);
    let now = world.at(100);
    world.live.add_device(device(2), world.demand.clone(), now, wall(100));
    world.live.settle(now);
    assert_eq!(world.needs(), [(2, every(1))]);
    world.flush(300);
    assert_eq!(world.last(socket)["updates"][0]["name"], "host-2");
    // Another source takes it over: what was remembered stays, and it is told anew.
    world.report(2, 400, sample(2, 400, 5.0));
    let other = Demand::default();
    world.live.add_device(device(2), other.clone(), world.at(500), wall(500));
    world.live.settle(world.at(500));
    assert_eq!(other.take(), [(uuid(2), every(1))]);
    assert!(world.live.fleet.device(uuid(2)).unwrap().sample.is_some());
}

#[test]
fn summaries_are_kept_with_their_spread_and_nobody_is_stale_for_them() {
    let mut world = World::new(1);
    for n in 1..=3_i64 {
        let (from, to) = (n * 30_000 - 29_000, n * 30_000);
        let mut series = [None; kobel_wire::SERIES.len()];
        series[0] = Some(kobel_wire::Spread { min: 1.0, mean: n as f32, max: 90.0 });
        let summary = kobel_wire::Summary {
            device_uuid: uuid(1),
            id: DeviceId(1),
            from: wall(from),
            to: wall(to),
            samples: 30,
            series,
        };
        let newest = sample(1, to, 50.0);
        world.report(1, to, DeviceUpdate { summaries: vec![summary], ..newest });
        for ms in (to..to + 30_000).step_by(500) {
            world.tick(ms);
        }
    }
    assert_eq!(world.live.stats().samples_spared, 3 * 29);
    let socket = auto(1, &mut world);
    let first = &world.last(socket)["data"];
    assert_eq!(first["device"]["state"], "online");
    assert_eq!(first["sample"]["cpu"], 50.0);
    assert_eq!(first["recent"]["cpu"], json!([1, 2, 3]), "the means");
    let ends: Vec<_> = (1..=3).map(|n| wall(n * 30_000).as_millis()).collect();
    assert_eq!(first["recent"]["t"], json!(ends));
    assert_eq!(first["summaries"]["t"], json!(ends));
    assert_eq!(
        first["summaries"]["cpu"],
        json!({ "min": [1.0, 1.0, 1.0], "max": [90.0, 90.0, 90.0] })
    );
}
