//! The rules of a stream, against a fan-out that is only a table.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::atomic::{AtomicBool, Ordering},
};

use kobel_wire::{
    Role,
    log::{LogOutput, LogTime},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    access::DeviceScope,
    logs::{RawLine, SourceEvent, queue::Dropped},
    request::Since,
};

/// A policy that refuses everything while it is switched.
#[derive(Clone, Default)]
struct Switch(Arc<AtomicBool>);

impl Policy for Switch {
    fn may_see(&self, _: &Access, _: Subject) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

fn id() -> LogStreamId {
    "0198c0de-0000-7000-8000-0000000000ab:0123456789ab".parse().unwrap()
}

struct World {
    stream: Stream,
    start: Instant,
    rooms: HashMap<Room, HashSet<SocketId>>,
    got: HashMap<SocketId, Vec<(String, Value)>>,
    /// Frames that were published.
    frames: HashSet<usize>,
    sent: u64,
    switch: Switch,
}

impl World {
    fn new() -> Self {
        let (start, switch) = (Instant::now(), Switch::default());
        let policy = Arc::new(switch.clone());
        let redaction = Arc::new(Redaction::none());
        let stream = Stream::new(id(), 1, "e1".into(), policy, redaction, start);
        let (rooms, got, frames) = (HashMap::new(), HashMap::new(), HashSet::new());
        Self { stream, start, rooms, got, frames, sent: 0, switch }
    }

    /// One whose lines before are there.
    fn settled(lines: u64) -> Self {
        let mut world = Self::new();
        world.lines(0, lines);
        world.tick(2_000);
        world
    }

    fn now(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn deliver(&mut self) {
        for out in self.stream.take_out() {
            match out {
                Out::Publish(room, frame) => {
                    self.frames.insert(Arc::as_ptr(&frame) as usize);
                    for socket in self.rooms.get(&room).into_iter().flatten() {
                        self.got.entry(*socket).or_default().push(read(&frame));
                    }
                }
                Out::Emit(socket, frame) => {
                    self.got.entry(socket).or_default().push(read(&frame));
                }
                Out::Join(socket, room) => {
                    self.rooms.entry(room).or_default().insert(socket);
                }
                Out::Leave(socket, room) => {
                    self.rooms.entry(room).or_default().remove(&socket);
                }
            }
        }
    }

    fn lines(&mut self, ms: u64, count: u64) {
        let events = (0..count)
            .map(|_| {
                self.sent += 1;
                // Neither is held back as the head of a trace.
                let level = if self.sent.is_multiple_of(3) { "INFO" } else { "DEBUG" };
                let text = format!("{level} line {}", self.sent);
                let (at, stream) = (LogTime::from_nanos(self.sent as i64), LogOutput::Stdout);
                SourceEvent::Line(RawLine { at, stream, text, cut: 0 })
            })
            .collect();
        self.take(ms, Taken { dropped: None, events });
    }

    fn take(&mut self, ms: u64, taken: Taken) {
        let now = self.now(ms);
        self.stream.take(taken, now, wall(ms));
        self.deliver();
    }

    fn tick(&mut self, ms: u64) {
        let now = self.now(ms);
        self.stream.tick(now, wall(ms));
        self.deliver();
    }

    fn enter(&mut self, socket: u64, ms: u64, options: LogOptions) -> SocketId {
        let (socket, now) = (SocketId::from_raw(socket), self.now(ms));
        self.stream.enter(&id(), socket, access(DeviceScope::All), options, now, wall(ms));
        self.deliver();
        socket
    }

    fn events(&self, socket: SocketId) -> Vec<&str> {
        self.got.get(&socket).into_iter().flatten().map(|(event, _)| event.as_str()).collect()
    }

    /// The numbers of the lines that a socket got, in their order.
    fn numbers(&self, socket: SocketId) -> Vec<u64> {
        let logs = self.got[&socket].iter().filter_map(|(_, data)| data["logs"].as_array());
        logs.flatten().map(|line| line["seq"].as_u64().unwrap()).collect()
    }
}

fn read(frame: &Frame) -> (String, Value) {
    let packet: Value = serde_json::from_str(frame.data()).unwrap();
    (packet[0].as_str().unwrap().to_owned(), packet[1].clone())
}

fn wall(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + ms as i64)
}

fn access(devices: DeviceScope) -> Arc<Access> {
    Arc::new(Access { role: Role::Viewer, devices })
}

fn options(filter: &Value) -> LogOptions {
    LogOptions { filter: LogFilter::from_json(filter).unwrap(), ..LogOptions::default() }
}

fn since(epoch: &str, seq: u64) -> LogOptions {
    LogOptions { since: Some(Since { epoch: epoch.into(), seq }), ..LogOptions::default() }
}

#[test]
fn a_viewer_waits_for_the_lines_before_and_gets_each_line_once() {
    let mut world = World::new();
    let socket = world.enter(1, 0, LogOptions::default());
    world.lines(20, 3);
    world.lines(60, 2);
    world.tick(100);
    assert_eq!(world.events(socket), Vec::<&str>::new(), "more may come");
    world.tick(210);
    assert_eq!(world.events(socket), ["logHistory"]);
    let history = &world.got[&socket][0].1;
    assert_eq!((&history["epoch"], &history["complete"]), (&json!("e1"), &json!(true)));
    assert_eq!(history["streamId"], "0198c0de-0000-7000-8000-0000000000ab:0123456789ab");
    world.lines(300, 2);
    assert_eq!(world.stream.deadline(), Some(world.now(400)));
    world.tick(400);
    assert_eq!(world.numbers(socket), (1..=7).collect::<Vec<_>>());
    assert_eq!(world.got[&socket][1].1["timestamp"], wall(400).as_millis());
}

#[test]
fn a_source_that_never_pauses_makes_nobody_wait_for_ever() {
    let mut world = World::new();
    let socket = world.enter(1, 0, LogOptions::default());
    for ms in (0..1_500).step_by(50) {
        world.lines(ms, 1);
        world.tick(ms);
    }
    assert_eq!(world.events(socket), Vec::<&str>::new());
    world.tick(1_500);
    assert_eq!(world.events(socket), ["logHistory"]);
}

#[test]
fn two_hundred_lines_go_at_once() {
    let mut world = World::settled(0);
    let socket = world.enter(1, 2_000, LogOptions::default());
    world.lines(2_010, 450);
    assert_eq!(world.events(socket), ["logHistory", "logBatch", "logBatch"]);
    world.tick(2_110);
    assert_eq!(world.numbers(socket), (1..=450).collect::<Vec<_>>());
}

#[test]
fn viewers_with_equal_filters_share_what_is_sent() {
    let mut world = World::settled(0);
    let few = json!({ "level": "info" });
    for socket in 0..50 {
        world.enter(socket, 2_000, options(&if socket % 2 == 0 { json!({}) } else { few.clone() }));
    }
    // Another scope is another room, and the same frame.
    let only = DeviceScope::Only(BTreeSet::new());
    let socket = SocketId::from_raw(99);
    let now = world.now(2_000);
    world.stream.enter(&id(), socket, access(only), options(&few), now, wall(2_000));
    world.deliver();
    world.lines(2_010, 9);
    world.tick(2_110);
    assert_eq!(world.frames.len(), 2, "one for each filter");
    assert_eq!(world.numbers(socket), [3, 6, 9]);
    assert_eq!(world.numbers(SocketId::from_raw(1)), [3, 6, 9]);
    assert_eq!(world.numbers(SocketId::from_raw(2)), (1..=9).collect::<Vec<_>>());
}

#[test]
fn another_filter_takes_the_place_of_the_one_before() {
    let mut world = World::settled(6);
    let socket = world.enter(1, 2_000, LogOptions::default());
    world.lines(2_010, 1);
    world.enter(1, 2_020, options(&json!({ "text": "line 6" })));
    world.lines(2_030, 3);
    world.tick(2_200);
    assert_eq!(world.events(socket), ["logHistory", "logHistory"]);
    assert_eq!(world.numbers(socket), [1, 2, 3, 4, 5, 6, 6]);
}

#[test]
fn who_comes_back_gets_what_it_missed_or_is_told() {
    let mut world = World::settled(50);
    for (n, known, first) in [
        (1, since("e1", 40), Some(41)),
        (2, since("e1", 50), None),
        // Of another run, or from the future: the lines before, as for anybody.
        (3, since("e0", 40), Some(1)),
        (4, since("e1", 60), Some(1)),
    ] {
        let socket = world.enter(n, 2_000, known);
        assert_eq!(world.numbers(socket).first().copied(), first, "{n}");
        assert_eq!(world.events(socket), ["logHistory"], "{n}");
    }
    // More than is kept.
    world.lines(2_010, 2_000);
    let socket = world.enter(9, 2_500, since("e1", 20));
    assert_eq!(world.events(socket), ["logGap", "logHistory"]);
    let gap = &world.got[&socket][0].1;
    assert_eq!(
        (&gap["fromSeq"], &gap["toSeq"], &gap["dropped"]),
        (&json!(21), &json!(1050), &json!(1030))
    );
    assert_eq!(world.numbers(socket), (1051..=2050).collect::<Vec<_>>());
}

#[test]
fn lines_that_were_lost_on_the_way_are_a_gap_for_all() {
    let mut world = World::settled(2);
    let sockets = [
        world.enter(1, 2_000, LogOptions::default()),
        world.enter(2, 2_000, options(&json!({ "level": "info" }))),
    ];
    world.lines(2_010, 1);
    world.take(2_020, Taken { dropped: Some(Dropped { from: 4, to: 13 }), events: vec![] });
    world.lines(2_030, 1);
    world.tick(2_200);
    for socket in sockets {
        let gap = world.got[&socket].iter().find(|(event, _)| event == "logGap").unwrap();
        assert_eq!((&gap.1["fromSeq"], &gap.1["toSeq"]), (&json!(4), &json!(13)));
    }
    assert_eq!(world.numbers(sockets[0]), [1, 2, 3, 14]);
}

#[test]
fn what_may_not_be_seen_any_more_is_not_delivered() {
    let mut world = World::settled(2);
    let socket = world.enter(1, 2_000, LogOptions::default());
    world.lines(2_010, 1);
    world.switch.0.store(true, Ordering::Relaxed);
    world.tick(2_200);
    world.take(2_300, Taken { dropped: Some(Dropped { from: 4, to: 5 }), events: vec![] });
    let late = world.enter(2, 2_400, LogOptions::default());
    assert_eq!(world.events(socket), ["logHistory"]);
    assert_eq!(world.events(late), Vec::<&str>::new());
}

#[test]
fn a_source_that_cannot_says_why() {
    let mut world = World::new();
    let socket = world.enter(1, 0, LogOptions::default());
    let now = world.now(10);
    world.stream.ended(Some("the log driver keeps nothing"), now, wall(10));
    world.deliver();
    assert_eq!(world.events(socket), ["logHistory", "error"]);
    let error = &world.got[&socket][1].1;
    assert_eq!((&error["code"], &error["id"]), (&json!("UNAVAILABLE"), &json!("0123456789ab")));
}

#[test]
fn a_history_is_bounded_and_says_so() {
    let mut world = World::new();
    let events = (0..20)
        .map(|n| {
            let text = format!("{n:02}{}", "x".repeat(100_000));
            let (at, stream) = (LogTime::default(), LogOutput::Stdout);
            SourceEvent::Line(RawLine { at, stream, text, cut: 0 })
        })
        .collect();
    world.take(0, Taken { dropped: None, events });
    world.tick(2_000);
    let socket = world.enter(1, 2_000, LogOptions::default());
    assert_eq!(world.got[&socket][0].1["complete"], false);
    assert_eq!(world.numbers(socket), (16..=20).collect::<Vec<_>>());
}

proptest! {
    /// Whoever comes, goes, comes back and filters: what a viewer gets between two of its
    /// histories is every line that its filter lets pass, once and in order.
    #[test]
    fn each_line_once(steps in prop::collection::vec((0u8..6, 0u64..3, 0u64..40), 1..80)) {
        let mut world = World::settled(5);
        let mut few_only: HashMap<u64, bool> = HashMap::new();
        let mut ms = 2_000;
        for (step, socket, count) in steps {
            ms += count;
            match step {
                0 => {
                    let few = count % 2 == 0;
                    let filter = if few { json!({ "level": "info" }) } else { json!({}) };
                    world.got.remove(&SocketId::from_raw(socket));
                    world.enter(socket, ms, options(&filter));
                    few_only.insert(socket, few);
                }
                1 if few_only.get(&socket) == Some(&false) => {
                    let known = world.numbers(SocketId::from_raw(socket)).last().copied();
                    world.stream.leave(&id(), SocketId::from_raw(socket));
                    world.deliver();
                    world.lines(ms, count % 7);
                    world.enter(socket, ms, since("e1", known.unwrap_or(0)));
                }
                _ => {
                    world.lines(ms, count);
                    world.tick(ms);
                }
            }
        }
        world.tick(ms + 1_000);
        for (socket, few) in few_only {
            let numbers = world.numbers(SocketId::from_raw(socket));
            let first = numbers.first().copied().unwrap_or(0);
            let expected: Vec<_> =
                (first..=world.sent).filter(|n| *n > 0 && (!few || n % 3 == 0)).collect();
            prop_assert!(numbers.is_empty() || numbers == expected, "{numbers:?}");
            prop_assert!(!numbers.is_empty() || expected.is_empty() || few);
        }
    }
}

#[test]
fn another_container_goes_on_in_the_same_stream() {
    let mut world = World::settled(3);
    let socket = world.enter(1, 2_000, LogOptions::default());
    world.lines(2_010, 2);
    let by: LogIdentity = serde_json::from_value(json!({
        "deviceUuid": id().device, "deviceName": "host", "containerId": "ba9876543210",
        "name": "web", "image": "x",
    }))
    .unwrap();
    let now = world.now(2_050);
    world.stream.recreated(&by, 2, None, now, wall(2_050));
    // Somebody comes by the new name, and the first goes on by the old one.
    let other = SocketId::from_raw(2);
    world.stream.enter(
        &by.stream(),
        other,
        access(DeviceScope::All),
        LogOptions::default(),
        now,
        wall(2_050),
    );
    world.lines(2_060, 2);
    world.tick(2_400);
    assert_eq!(world.numbers(socket), (1..=8).collect::<Vec<_>>());
    assert_eq!(world.numbers(other), (1..=8).collect::<Vec<_>>());
    for (socket, name) in [(socket, id()), (other, by.stream())] {
        for (event, data) in &world.got[&socket] {
            assert_eq!(data["streamId"], json!(name), "{event}");
        }
    }
    let marker = world.got[&other][0].1["logs"][5].clone();
    assert_eq!(marker["marker"], "recreated");
    assert_eq!(marker["fields"], json!({ "containerId": "ba9876543210", "name": "web" }));
    // Leaving by one name leaves the other alone.
    world.stream.leave(&by.stream(), socket);
    assert!(!world.stream.is_unwatched());
    world.stream.leave(&by.stream(), other);
    world.stream.leave(&id(), socket);
    assert!(world.stream.is_unwatched());
}
