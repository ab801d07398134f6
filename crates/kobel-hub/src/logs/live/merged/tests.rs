//! The rules of a view, with real streams before it and a fan-out that is only a table.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicBool, Ordering},
};

use kobel_wire::{Role, log::LogOutput};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    access::DeviceScope,
    logs::{
        RawLine, Redaction, SourceEvent,
        live::{
            stream::Stream,
            tap::{Look, Tap, TapMaker, TapReceiver, taps},
        },
        queue::{Dropped, Taken},
    },
};

/// A policy that refuses one device while it is switched.
#[derive(Clone, Default)]
struct Switch(Arc<AtomicBool>);

fn device(n: u64) -> DeviceUuid {
    format!("0198c0de-0000-7000-8000-{n:012x}").parse().unwrap()
}

impl Policy for Switch {
    fn may_see(&self, _: &Access, subject: Subject) -> bool {
        subject != Subject::Device(device(1)) || !self.0.load(Ordering::Relaxed)
    }
}

fn id(n: u64) -> LogStreamId {
    LogStreamId { device: device(n), container: format!("{n:012x}").parse().unwrap() }
}

fn wall(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + ms as i64)
}

fn at(ms: u64) -> LogTime {
    wall(ms).into()
}

struct World {
    streams: Vec<Stream>,
    merged: Merged,
    maker: TapMaker,
    taps: TapReceiver,
    start: Instant,
    rooms: HashMap<Room, HashSet<SocketId>>,
    got: HashMap<SocketId, Vec<(String, Value)>>,
    newcomers: u64,
    /// What streams are asked and have not answered, since when.
    asked: Vec<(usize, Look)>,
    asked_at: u64,
    /// How many lines each stream was given.
    sent: Vec<u64>,
    switch: Switch,
}

impl World {
    /// Of so many streams whose lines before, none, are there.
    fn new(streams: u64) -> Self {
        let (start, switch) = (Instant::now(), Switch::default());
        let access = Arc::new(Access { role: Role::Viewer, devices: DeviceScope::All });
        let merged = Merged::new("tag:x", 99, access, Arc::new(switch.clone()));
        let (maker, receiver) = taps();
        let mut world = Self {
            streams: Vec::new(),
            merged,
            maker,
            taps: receiver,
            start,
            rooms: HashMap::new(),
            got: HashMap::new(),
            newcomers: 0,
            asked: Vec::new(),
            asked_at: 0,
            sent: Vec::new(),
            switch,
        };
        for _ in 0..streams {
            world.stream(None);
        }
        for stream in &mut world.streams {
            stream.tick(start + Duration::from_secs(2), wall(2_000));
        }
        world
    }

    fn stream(&mut self, from: Option<LogTime>) {
        let n = self.streams.len() as u64;
        let redaction = Arc::new(Redaction::none());
        let policy = Arc::new(self.switch.clone());
        let mut stream = Stream::new(id(n), n, "e".into(), policy, redaction, self.start);
        let to = self.maker.sender(n);
        stream.tap(Tap { view: 99, id: Arc::new(id(n)), from, to });
        self.streams.push(stream);
        self.sent.push(0);
    }

    fn now(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// A stream says so many lines, each a millisecond after the other, the first at this time.
    fn says(&mut self, n: usize, ms: u64, first: u64, count: u64) {
        let events = (0..count)
            .map(|k| {
                self.sent[n] += 1;
                let (number, at) = (self.sent[n], at(first + k));
                let text =
                    format!("{} {n}:{number}", if number % 3 == 0 { "INFO" } else { "DEBUG" });
                SourceEvent::Line(RawLine { at, stream: LogOutput::Stdout, text, cut: 0 })
            })
            .collect();
        let now = self.now(ms);
        self.streams[n].take(Taken { dropped: None, events }, now, wall(ms));
    }

    fn asks(&mut self, socket: u64, ms: u64, filter: &Value) -> SocketId {
        let socket = self.asks_slow_ones(socket, ms, filter);
        self.answers();
        socket
    }

    fn asks_slow_ones(&mut self, socket: u64, ms: u64, filter: &Value) -> SocketId {
        self.newcomers += 1;
        let (newcomer, socket) = (self.newcomers, SocketId::from_raw(socket));
        let filter = LogFilter::from_json(filter).unwrap();
        let options = LogOptions { tail: 1_000, since: None, filter: filter.clone() };
        let asked = (0..self.streams.len() as u64).collect();
        self.merged.enter(socket, newcomer, options, asked, self.now(ms));
        self.asked_at = ms;
        for stream in 0..self.streams.len() {
            let filter = filter.clone();
            self.asked.push((stream, Look { view: 99, newcomer, tail: 1_000, filter }));
        }
        socket
    }

    /// The streams answer what they were asked.
    fn answers(&mut self) {
        for (stream, look) in std::mem::take(&mut self.asked) {
            self.streams[stream].look(look);
        }
    }

    /// One stream does.
    fn one_answers(&mut self, n: usize) {
        for (stream, look) in self.asked.extract_if(.., |(stream, _)| *stream == n) {
            self.streams[stream].look(look);
        }
    }

    /// What the streams told comes to the view, and time passes there.
    fn passes(&mut self, ms: u64) {
        let now = self.now(ms);
        for (tap, told) in self.taps.take_now() {
            self.merged.take(tap, told, now, wall(ms));
        }
        self.merged.tick(now, wall(ms));
        for out in self.merged.take_out() {
            match out {
                Out::Publish(room, frame) => {
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

    /// What a stream told by this way, not given to the view: whose, and its number.
    fn maker_told(&self, tap: u64) -> Vec<(LogStreamId, Seq)> {
        let told = self.taps.take_now().into_iter().filter(|(number, _)| *number == tap);
        told.flat_map(|(_, told)| told)
            .filter_map(|item| match item {
                Tapped::Line(id, line) => Some((LogStreamId::clone(&id), line.seq)),
                _ => None,
            })
            .collect()
    }

    fn events(&self, socket: SocketId) -> Vec<&str> {
        self.got.get(&socket).into_iter().flatten().map(|(event, _)| event.as_str()).collect()
    }

    /// The lines that a socket got, as stream and number.
    fn lines(&self, socket: SocketId) -> Vec<(usize, u64)> {
        let got = self.got.get(&socket).into_iter().flatten();
        let logs = got.filter_map(|(_, data)| data["logs"].as_array()).flatten();
        logs.map(|line| {
            let message = line["message"].as_str().unwrap();
            let (stream, number) = message.rsplit_once(' ').unwrap().1.split_once(':').unwrap();
            let (stream, number) = (stream.parse().unwrap(), number.parse().unwrap());
            assert_eq!(line["streamId"], json!(id(stream as u64)));
            assert_eq!(line["seq"].as_u64(), Some(number));
            (stream, number)
        })
        .collect()
    }
}

fn read(frame: &Frame) -> (String, Value) {
    let packet: Value = serde_json::from_str(frame.data()).unwrap();
    (packet[0].as_str().unwrap().to_owned(), packet[1].clone())
}

#[test]
fn lines_of_several_come_by_their_time() {
    let mut world = World::new(2);
    world.says(0, 1_000, 100, 3);
    world.says(1, 1_000, 101, 1);
    world.passes(1_000);
    world.passes(1_300);
    let socket = world.asks(1, 2_010, &json!({}));
    world.passes(2_010);
    assert_eq!(world.lines(socket), [(0, 1), (0, 2), (1, 1), (0, 3)]);
    let history = &world.got[&socket][0];
    assert_eq!(history.0, "logHistory");
    assert_eq!(
        (&history.1["room"], &history.1["streamId"], &history.1["complete"]),
        (&json!("logs:tag:x"), &json!("tag:x"), &json!(true))
    );
    world.got.clear();
    // What was said before comes late, and still before what was said after it.
    world.says(0, 2_100, 2_100, 2);
    world.passes(2_100);
    world.says(1, 2_250, 2_050, 1);
    world.passes(2_250);
    assert_eq!(world.lines(socket), []);
    assert_eq!(world.merged.deadline(), Some(world.now(2_400)));
    world.passes(2_400);
    assert_eq!(world.lines(socket), [(1, 2), (0, 4), (0, 5)]);
    // Too late is shown when it comes.
    world.says(1, 2_500, 2_060, 1);
    world.passes(2_500);
    world.passes(2_800);
    assert_eq!(world.lines(socket).last(), Some(&(1, 3)));
    assert_eq!(world.events(socket), ["logBatch", "logBatch"]);
}

#[test]
fn a_containers_own_lines_keep_their_order() {
    let mut world = World::new(1);
    // To the second by their own word, and one by the engine's.
    for (n, first) in [2_000, 2_350, 2_000, 60_000, 2_400].into_iter().enumerate() {
        world.says(0, 2_010 + n as u64, first, 1);
    }
    world.passes(2_020);
    world.passes(2_330);
    let socket = world.asks(1, 2_400, &json!({}));
    world.passes(2_400);
    // But for a time that is far off.
    assert_eq!(world.lines(socket), [(0, 1), (0, 2), (0, 3), (0, 5), (0, 4)]);
}

#[test]
fn equal_filters_share_frames_and_passes() {
    let mut world = World::new(2);
    let few = json!({ "level": "info" });
    let sockets: Vec<_> = (0..40)
        .map(|n| world.asks(n, 2_000, if n % 2 == 0 { &few } else { &Value::Null }))
        .collect();
    world.passes(2_000);
    world.merged.take_passes();
    world.says(0, 2_010, 2_010, 30);
    world.says(1, 2_010, 2_010, 30);
    world.passes(2_010);
    world.passes(2_400);
    assert_eq!(world.merged.take_passes(), 2 * 60, "each line once by each filter");
    assert_eq!(world.lines(sockets[0]).len(), 20);
    assert_eq!(world.lines(sockets[39]).len(), 60);
    // Another filter takes the place of the one before.
    world.asks(0, 2_500, &json!({ "text": "1:30" }));
    world.passes(2_500);
    assert_eq!(world.lines(sockets[0])[20..], [(1, 30)]);
    world.says(0, 2_510, 2_510, 3);
    world.passes(2_510);
    world.passes(2_900);
    assert_eq!(world.lines(sockets[0]).len(), 21);
}

#[test]
fn what_may_not_be_seen_any_more_is_not_delivered() {
    let mut world = World::new(2);
    let socket = world.asks(1, 2_000, &json!({}));
    world.says(0, 2_010, 2_010, 1);
    world.says(1, 2_010, 2_010, 1);
    world.passes(2_010);
    world.switch.0.store(true, Ordering::Relaxed);
    let gap = Taken { dropped: Some(Dropped { from: 2, to: 3 }), events: vec![] };
    let now = world.now(2_020);
    world.streams[1].take(gap, now, wall(2_020));
    world.streams[1].ended(Some("broken"), now, wall(2_020));
    let late = world.asks(2, 2_030, &json!({}));
    world.passes(2_400);
    world.passes(2_800);
    for socket in [socket, late] {
        assert_eq!(world.lines(socket), [(0, 1)]);
        assert!(
            world
                .events(socket)
                .iter()
                .all(|event| event.starts_with("logHistory") || *event == "logBatch")
        );
    }
}

#[test]
fn a_member_that_comes_later_brings_what_it_said_since() {
    let mut world = World::new(1);
    let socket = world.asks(1, 2_000, &json!({}));
    world.passes(2_000);
    // It says some before it is known to have said all that it had to.
    world.stream(Some(at(2_000)));
    world.says(1, 2_100, 1_000, 2);
    world.says(1, 2_100, 2_090, 2);
    let second = world.asks(2, 2_110, &json!({}));
    world.passes(2_110);
    let now = world.now(2_300);
    world.streams[1].tick(now, wall(2_300));
    world.passes(2_310);
    world.passes(2_700);
    assert_eq!(world.lines(socket), [(1, 3), (1, 4)]);
    assert_eq!(world.lines(second), [(1, 1), (1, 2), (1, 3), (1, 4)]);
}

#[test]
fn who_takes_a_members_place_brings_its_own_lines_only() {
    let mut world = World::new(1);
    world.streams[0].untap(99);
    world.says(0, 2_000, 2_000, 3);
    // The view asks by the name of the next container while the one before is still read.
    let by: crate::logs::store::LogIdentity = serde_json::from_value(json!({
        "deviceUuid": device(7), "deviceName": "host", "containerId": "ba9876543210",
        "name": "web", "image": "x",
    }))
    .unwrap();
    let (to, id) = (world.maker.sender(7), Arc::new(by.stream()));
    world.streams[0].tap(Tap { view: 99, id, from: Some(at(1_000)), to });
    world.says(0, 2_010, 2_010, 1);
    assert!(!world.streams[0].is_unwatched());
    let now = world.now(2_020);
    world.streams[0].recreated(&by, 9, None, now, wall(2_020));
    world.says(0, 2_030, 2_030, 2);
    let told: Vec<_> = world.maker_told(7);
    assert_eq!(told, [5, 6, 7].map(|seq| (by.stream(), seq)), "the marker, then its own");
}

#[test]
fn who_waits_for_a_stream_in_vain_gets_the_others() {
    let mut world = World::new(1);
    world.says(0, 2_000, 2_000, 2);
    world.stream(None);
    world.passes(2_000);
    world.passes(2_300);
    let socket = world.asks(1, 2_310, &json!({}));
    world.passes(2_310);
    assert_eq!(world.events(socket), Vec::<&str>::new());
    world.passes(5_320);
    assert_eq!(world.lines(socket), [(0, 1), (0, 2)]);
    assert_eq!(world.got[&socket][0].1["complete"], false);
    // One that ends is not waited for.
    let other = world.asks(2, 5_330, &json!({}));
    world.streams.pop();
    world.passes(5_340);
    assert_eq!(world.lines(other), [(0, 1), (0, 2)]);
}

proptest! {
    /// Whoever comes, filters and goes: what a viewer gets is every line that its filter lets pass,
    /// of each container once and in order.
    #[test]
    fn each_line_once_of_each_container(
        steps in prop::collection::vec((0u8..6, 0u64..4, 0u64..60), 1..80),
    ) {
        let mut world = World::new(3);
        let mut ms = 2_000;
        let mut viewers: HashMap<u64, bool> = HashMap::new();
        for (step, who, count) in steps {
            ms += count;
            if ms > world.asked_at + 1_000 {
                // Before anybody waits for too long.
                world.answers();
            }
            match step {
                0 => {
                    let few = count % 2 == 0;
                    let filter = if few { json!({ "level": "info" }) } else { json!({}) };
                    world.answers();
                    world.got.remove(&SocketId::from_raw(who));
                    world.asks_slow_ones(who, ms, &filter);
                    viewers.insert(who, few);
                }
                1 => world.passes(ms),
                3 => world.one_answers(who as usize % 3),
                2 if count % 9 == 0 => {
                    world.merged.leave(SocketId::from_raw(who));
                    viewers.remove(&who);
                }
                // Some of their times are earlier than what was said before.
                _ => world.says(who as usize % 3, ms, ms - (count % 7) * 20, count % 11),
            }
        }
        world.answers();
        world.passes(ms + 1);
        world.passes(ms + 1_000);
        for (socket, few) in viewers {
            let lines = world.lines(SocketId::from_raw(socket));
            for stream in 0..3 {
                let own: Vec<_> =
                    lines.iter().filter(|line| line.0 == stream).map(|line| line.1).collect();
                let all: Vec<_> = (1..=world.sent[stream]).filter(|n| !few || n % 3 == 0).collect();
                prop_assert_eq!(own, all, "{} of {}", socket, stream);
            }
        }
    }
}
