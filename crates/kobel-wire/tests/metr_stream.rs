//! A stream of METR version 2 against a plain model, with frames lost, devices that come and
//! leave, and viewers that come late.

use std::{collections::BTreeMap, time::Duration};

use kobel_wire::{
    DeviceId, DeviceState, Timestamp,
    metr::{Error, Frame, KeyedEncoder, Reader, Record},
};
use proptest::prelude::*;

const START: i64 = 1_795_000_000_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

/// Whether a reading came back to the precision that docs/metr.md promises. `frame` is the earliest
/// frame that had it: a sample from after a frame is said there to be as old as the frame.
fn agrees(read: &Record, truth: &Record, frame: Timestamp) -> bool {
    let close = |read: Option<f64>, truth: Option<f64>, off: fn(f64) -> f64| match (read, truth) {
        (None, None) => true,
        (Some(read), Some(truth)) => (read - truth).abs() <= off(truth) + 1e-9,
        _ => false,
    };
    let hundredth = |_: f64| 0.005;
    let tenth = |_: f64| 0.05;
    let rate = |truth: f64| 0.5f64.max(0.004 * truth);
    let least = truth.sampled_at.min(frame).as_millis() - 9;
    let sampled = least..=truth.sampled_at.as_millis();
    (read.id, read.state) == (truth.id, truth.state)
        && sampled.contains(&read.sampled_at.as_millis())
        && close(read.cpu, truth.cpu, hundredth)
        && close(read.memory, truth.memory, hundredth)
        && close(read.disk, truth.disk, hundredth)
        && close(read.temperature, truth.temperature, tenth)
        && close(read.network_in, truth.network_in, rate)
        && close(read.network_out, truth.network_out, rate)
}

/// What happens between two frames, and to the frame.
#[derive(Debug, Clone)]
struct Tick {
    pause_ms: i64,
    records: Vec<Record>,
    remove: Option<u64>,
    force: bool,
    lost: bool,
    /// A viewer comes after the frame.
    newcomer: bool,
}

fn record() -> impl Strategy<Value = Record> {
    let state = prop_oneof![
        8 => Just(DeviceState::Online),
        1 => Just(DeviceState::Stale),
        1 => Just(DeviceState::HostKeyChanged),
    ];
    let percent = || prop::option::weighted(0.9, 0.0..=100.0f64);
    let rate = || prop::option::weighted(0.9, prop_oneof![0.0..300.0f64, 0.0..2e10f64]);
    (
        prop_oneof![5 => 0..8u64, 1 => Just(u64::MAX), 1 => any::<u64>()],
        state,
        prop_oneof![5 => -2_000..0i64, 1 => -4_000_000_000..100i64],
        (percent(), percent(), percent()),
        prop::option::weighted(0.7, -60.0..130.0f64),
        (rate(), rate()),
    )
        .prop_map(
            |(id, state, age, (cpu, memory, disk), temperature, (network_in, network_out))| {
                Record {
                    id: DeviceId(id),
                    state,
                    // The age until the frame is known.
                    sampled_at: at(age),
                    cpu,
                    memory,
                    disk,
                    temperature,
                    network_in,
                    network_out,
                }
            },
        )
}

fn tick() -> impl Strategy<Value = Tick> {
    (
        prop_oneof![8 => 0..3_000i64, 1 => Just(40_000), 1 => -5_000..0i64],
        prop::collection::vec(record(), 0..8),
        prop::option::weighted(0.05, 0..8u64),
        prop::bool::weighted(0.05),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(pause_ms, records, remove, force, lost, newcomer)| Tick {
            pause_ms,
            records,
            remove,
            force,
            lost,
            newcomer,
        })
}

/// A viewer and what it has seen.
#[derive(Default)]
struct Viewer {
    reader: Reader,
    seen: BTreeMap<u64, Record>,
    /// A frame was lost since the last key frame.
    missed: bool,
}

impl Viewer {
    fn take(&mut self, frame: Frame) {
        if frame.is_key {
            self.seen.clear();
            self.missed = false;
        }
        self.seen.extend(frame.records.into_iter().map(|record| (record.id.0, record)));
    }
}

type Truth = BTreeMap<u64, (Record, Timestamp)>;

/// The viewer knows each device's newest state, and if it missed nothing all of it.
fn check(viewer: &Viewer, truth: &Truth) {
    assert!(viewer.seen.keys().eq(truth.keys()), "{:?} {truth:?}", viewer.seen);
    for ((truth, frame), seen) in truth.values().zip(viewer.seen.values()) {
        assert_eq!(seen.state, truth.state);
        assert!(viewer.missed || agrees(seen, truth, *frame), "{seen:?} {truth:?}");
    }
}

fn run(ticks: Vec<Tick>) {
    let mut now = START;
    let mut truth = Truth::new();
    let mut encoder = KeyedEncoder::new(u32::MAX);
    let mut first = Viewer::default();
    let mut late: Vec<Viewer> = Vec::new();
    let mut has_key = false;
    for tick in ticks {
        now += tick.pause_ms;
        let frame_at = at(now);
        let mut must_be_key = truth.is_empty() && tick.records.is_empty();
        if let Some(id) = tick.remove {
            let was = truth.remove(&id).is_some();
            assert_eq!(encoder.remove(DeviceId(id)), was);
            must_be_key |= was;
        }
        if tick.force {
            encoder.force_key();
            must_be_key = true;
        }
        let mut records = tick.records;
        for record in &mut records {
            record.sampled_at = at(now + record.sampled_at.as_millis());
            must_be_key |= truth.insert(record.id.0, (*record, frame_at)).is_none();
        }

        for (_, frame) in truth.values_mut() {
            *frame = frame_at.min(*frame);
        }
        let encoded = encoder.encode(frame_at, &records);
        assert_eq!(encoder.devices(), truth.len());
        let empty_again = truth.is_empty();
        assert!(encoded.is_key || !must_be_key || empty_again);
        for viewer in &mut late {
            let frame = viewer.reader.apply(&encoded.bytes).expect("nothing was lost");
            viewer.take(frame);
            check(viewer, &truth);
        }

        if tick.lost {
            first.missed = true;
            has_key &= !encoded.is_key;
        } else {
            has_key |= encoded.is_key;
            match first.reader.apply(&encoded.bytes) {
                Ok(frame) => {
                    assert!(has_key, "a delta without its key frame was understood");
                    assert_eq!((frame.timestamp, frame.is_key), (frame_at, encoded.is_key));
                    for record in &frame.records {
                        let (truth, sampled) = &truth[&record.id.0];
                        assert!(agrees(record, truth, *sampled), "{record:?} {truth:?}");
                    }
                    first.take(frame);
                    check(&first, &truth);
                }
                Err(Error::NeedsKeyFrame { .. }) => assert!(!has_key),
                Err(error) => panic!("{error}"),
            }
        }

        if tick.newcomer {
            let mut viewer = Viewer::default();
            for frame in encoder.catch_up() {
                let frame = viewer.reader.apply(&frame).expect("frames to catch up with");
                viewer.take(frame);
            }
            check(&viewer, &truth);
            late.push(viewer);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_reader_is_right_or_says_that_it_needs_a_key_frame(
        ticks in prop::collection::vec(tick(), 1..30),
    ) {
        run(ticks);
    }
}

fn reading(id: u64, ms: i64, cpu: f64) -> Record {
    let mut record = Record::empty(DeviceId(id), at(ms));
    record.cpu = Some(cpu);
    record
}

/// Two devices, so that a delta of one is smaller than a key frame.
fn pair(ms: i64, cpu: f64) -> [Record; 2] {
    [reading(1, ms, cpu), reading(2, ms, cpu)]
}

#[test]
fn a_key_frame_comes_first_and_each_thirty_seconds_and_when_the_clock_is_set_back() {
    let mut encoder = KeyedEncoder::new(1);
    for (after, is_key) in [
        (0, true),
        (1_000, false),
        (29_999, false),
        (30_000, true),
        (59_999, false),
        (60_000, true),
        (59_999, true),
        (60_999, false),
    ] {
        let encoded = encoder.encode(at(START + after), &pair(START + after, 1.0));
        assert_eq!(encoded.is_key, is_key, "after {after} ms");
    }
    let mut often = KeyedEncoder::new(1).with_key_period(Duration::from_secs(5));
    assert!(often.encode(at(START), &pair(START, 1.0)).is_key);
    assert!(!often.encode(at(START + 4_999), &[]).is_key);
    assert!(often.encode(at(START + 5_000), &[]).is_key);
}

#[test]
fn a_key_frame_comes_when_asked_for_and_when_devices_come_or_leave() {
    let mut encoder = KeyedEncoder::new(1);
    let mut next = |change: &dyn Fn(&mut KeyedEncoder), records: &[Record]| {
        change(&mut encoder);
        encoder.encode(at(START), records).is_key
    };
    assert!(next(&|_| {}, &pair(START, 1.0)));
    assert!(!next(&|_| {}, &pair(START, 2.0)));
    assert!(next(&|encoder| encoder.force_key(), &[]));
    assert!(!next(&|_| {}, &[]));
    assert!(next(&|_| {}, &[reading(3, START, 1.0)]));
    assert!(next(&|encoder| assert!(encoder.remove(DeviceId(3))), &[]));
    assert!(!next(&|encoder| assert!(!encoder.remove(DeviceId(3))), &[]));
    assert!(next(&|encoder| encoder.retain(|id| id.0 == 1), &[]));
    assert!(!next(&|encoder| encoder.retain(|id| id.0 == 1), &[]));
}

#[test]
fn a_delta_as_big_as_a_key_frame_is_one() {
    let fleet = |scale: f64| -> Vec<Record> {
        let record = |id| {
            let mut record = reading(id, START, (id % 10) as f64 * scale);
            record.network_in = Some((id % 10) as f64 * 1e9 * scale);
            record
        };
        (0..100).map(record).collect()
    };
    let mut encoder = KeyedEncoder::new(1);
    assert!(encoder.encode(at(START), &fleet(0.0)).is_key);
    let jump = encoder.encode(at(START), &fleet(1.0));
    assert!(jump.is_key, "every value far from the key frame's");
    assert!(!encoder.encode(at(START), &fleet(1.0)).is_key);
}

#[test]
fn what_was_not_read_is_not_in_a_delta_and_what_was_read_is() {
    let mut encoder = KeyedEncoder::new(1);
    let mut reader = Reader::new();
    reader.apply(&encoder.encode(at(START), &pair(START, 1.0)).bytes).unwrap();
    let same = encoder.encode(at(START + 1_000), &[reading(2, START + 1_000, 1.0)]);
    let frame = reader.apply(&same.bytes).unwrap();
    assert_eq!(frame.records, [reading(2, START + 1_000, 1.0)]);
    assert!(
        reader.apply(&encoder.encode(at(START + 2_000), &[]).bytes).unwrap().records.is_empty()
    );
}

#[test]
fn a_state_is_repeated_until_the_next_key_frame() {
    let mut encoder = KeyedEncoder::new(1);
    let mut reader = Reader::new();
    reader.apply(&encoder.encode(at(START), &pair(START, 1.0)).bytes).unwrap();
    let mut gone = reading(1, START, 1.0);
    gone.state = DeviceState::Unreachable;
    let _lost = encoder.encode(at(START + 1_000), &[gone]);
    let frame = reader.apply(&encoder.encode(at(START + 2_000), &[]).bytes).unwrap();
    assert_eq!(frame.records, [gone]);
}

#[test]
fn the_instant_of_a_sample_is_the_same_in_every_frame() {
    let mut encoder = KeyedEncoder::new(1);
    let mut reader = Reader::new();
    let sampled = START + 987;
    let mut all = pair(sampled, 1.0);
    for (frame, ms) in [1_003, 1_004, 2_009, 2_010, 2_011].into_iter().enumerate() {
        all[0].state = if frame % 2 == 0 { DeviceState::Online } else { DeviceState::Slow };
        let bytes = encoder.encode(at(START + ms), &all).bytes;
        for record in reader.apply(&bytes).unwrap().records {
            assert_eq!(record.sampled_at, at(START + 980), "at {ms}");
        }
    }
}

#[test]
fn values_saturate() {
    let mut record = reading(u64::MAX, START - 100 * 365 * 86_400_000, 1e300);
    record.memory = Some(-5.0);
    record.disk = Some(f64::NAN);
    record.temperature = Some(f64::NEG_INFINITY);
    record.network_in = Some(f64::INFINITY);
    record.network_out = Some(-1e300);
    let bytes = KeyedEncoder::new(1).encode(at(START), &[record]).bytes;
    let frame = Reader::new().apply(&bytes).unwrap();
    let read = frame.records[0];
    assert_eq!(read.id, DeviceId(u64::MAX));
    assert_eq!((read.cpu, read.memory, read.disk), (Some(655.34), Some(0.0), None));
    assert_eq!(read.temperature, Some(-3276.7));
    let greatest = 255.0 * 2f64.powi(56);
    assert_eq!((read.network_in, read.network_out), (Some(greatest), Some(0.0)));
    // 497 days.
    assert_eq!(read.sampled_at, at(START - i64::from(u32::MAX) * 10));
}

#[test]
fn catching_up_takes_two_frames_at_most_and_is_made_once() {
    let mut encoder = KeyedEncoder::new(1);
    assert!(encoder.catch_up().is_empty());
    assert_eq!(encoder.key_frame(), None);
    let key = encoder.encode(at(START), &pair(START, 1.0)).bytes;
    assert_eq!(encoder.catch_up(), std::slice::from_ref(&key));
    encoder.encode(at(START + 1_000), &[reading(1, START + 1_000, 2.0)]);
    encoder.encode(at(START + 2_000), &[reading(2, START + 2_000, 3.0)]);
    let frames = encoder.catch_up();
    assert_eq!((&frames[0], frames.len()), (&key, 2));
    assert_eq!(frames[1].as_ptr(), encoder.catch_up()[1].as_ptr());
    let mut reader = Reader::new();
    reader.apply(&frames[0]).unwrap();
    let both = reader.apply(&frames[1]).unwrap();
    assert_eq!(both.records, [reading(1, START + 1_000, 2.0), reading(2, START + 2_000, 3.0)]);
    // While a key frame is due for other devices, there is nothing to be said against the old one.
    encoder.remove(DeviceId(1));
    assert_eq!(encoder.catch_up(), [key]);
}
