//! Bytes of METR with what they say, for the decoders in other languages: tests/vectors is written
//! from here (`KOBEL_WRITE_VECTORS=1 cargo test -p kobel-wire --test metr_vectors`), and read by
//! the tests of the page and of `examples/metr.py`. A change of a file is a change of the format.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

mod common;

use std::{fs, path::PathBuf, process::Command};

use common::{Fleet, records};
use kobel_wire::{
    DeviceId, DeviceState, Timestamp,
    metr::{Error, KeyedEncoder, Reader, Record, decode_v1, encode_v1},
};
use serde_json::{Map, Value, json};

const START: i64 = 1_795_000_000_000;
/// The greatest number that JavaScript holds exactly.
const LAST_ID: u64 = (1 << 53) - 1;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn code(error: &Error) -> String {
    let debug = format!("{error:?}");
    debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// The two devices of docs/metr.md.
fn worked(ms: i64) -> [Record; 2] {
    let mut first = Record::empty(DeviceId(1), at(ms - 250));
    (first.cpu, first.memory, first.disk) = (Some(12.34), Some(61.0), Some(40.5));
    (first.temperature, first.network_in, first.network_out) =
        (Some(48.5), Some(1_000_000.0), Some(250_000.0));
    let mut second = Record::empty(DeviceId(7), at(ms - 400));
    (second.cpu, second.memory, second.disk) = (Some(3.0), Some(75.25), Some(40.5));
    (second.network_in, second.network_out) = (Some(2_000.0), Some(90.0));
    [first, second]
}

/// The same a second later: the first has a busier processor and more traffic.
fn worked_later(ms: i64) -> [Record; 2] {
    let [mut first, second] = worked(ms);
    (first.cpu, first.temperature) = (Some(15.04), Some(49.0));
    (first.network_in, first.network_out) = (Some(1_250_000.0), Some(255_000.0));
    [first, second]
}

fn extremes() -> Vec<Record> {
    let mut least = Record::empty(DeviceId(0), at(START - 10_000_000_000_000));
    least.state = DeviceState::HostKeyChanged;
    (least.cpu, least.memory, least.disk) = (Some(-1.0), Some(0.0), Some(0.004));
    (least.temperature, least.network_in, least.network_out) = (Some(-1e9), Some(-5.0), Some(0.0));
    let mut greatest = Record::empty(DeviceId(LAST_ID), at(START + 5_000));
    greatest.state = DeviceState::AuthFailed;
    (greatest.cpu, greatest.memory, greatest.disk) = (Some(1e9), Some(655.34), Some(100.0));
    (greatest.temperature, greatest.network_in, greatest.network_out) =
        (Some(1e9), Some(f64::INFINITY), Some(6e9));
    vec![least, Record::empty(DeviceId(2), at(START)), greatest]
}

fn values(fields: [(&str, Option<f64>); 6]) -> Map<String, Value> {
    let present = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    present.map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

fn v1() -> Value {
    let case = |name: &str, now: i64, bytes: &[u8]| {
        let mut case = json!({"name": name, "now": now, "hex": hex(bytes)});
        match decode_v1(bytes, at(now)) {
            Ok(frame) => {
                case["timestamp"] = json!(frame.timestamp.as_millis());
                let record = |reading: &kobel_wire::metr::ReadingV1| {
                    let mut record = values([
                        ("cpu", reading.cpu),
                        ("memory", reading.memory),
                        ("disk", reading.disk),
                        ("temperature", reading.temperature),
                        ("networkIn", Some(reading.network_in.into())),
                        ("", None),
                    ]);
                    record.insert("id".to_owned(), json!(reading.id));
                    record
                };
                case["records"] = frame.readings.iter().map(record).collect();
            }
            Err(error) => case["error"] = json!(code(&error)),
        }
        case
    };
    let good = encode_v1(at(START), &worked(START));
    let mut magic = good.to_vec();
    magic[3] = b'N';
    let mut many = good.to_vec();
    many[4..8].fill(0xFF);
    json!([
        case("worked", START + 1_000, &good),
        case("extremes", START, &encode_v1(at(START), &extremes())),
        case("empty", START, &encode_v1(at(START), &[])),
        case("a clock 20 days behind", START - 20 * 86_400_000, &good),
        case("a clock 20 days ahead", START + 20 * 86_400_000, &good),
        case("nothing", START, &[]),
        case("half a header", START, &good[..11]),
        case("a record cut short", START, &good[..51]),
        case("a byte too much", START, &[&good[..], &[0]].concat()),
        case("another magic", START, &magic),
        case("a count of 4 billion", START, &many),
    ])
}

fn v2() -> Value {
    let stream = |name: &str, frames: &[Vec<u8>]| {
        let mut reader = Reader::new();
        let frame = |bytes: &Vec<u8>| {
            let mut case = json!({"hex": hex(bytes)});
            match reader.apply(bytes) {
                Ok(frame) => {
                    case["timestamp"] = json!(frame.timestamp.as_millis());
                    case["isKey"] = json!(frame.is_key);
                    let record = |record: &Record| {
                        let mut fields = values([
                            ("cpu", record.cpu),
                            ("memory", record.memory),
                            ("disk", record.disk),
                            ("temperature", record.temperature),
                            ("networkIn", record.network_in),
                            ("networkOut", record.network_out),
                        ]);
                        fields.insert("id".to_owned(), json!(record.id));
                        fields.insert("state".to_owned(), json!(record.state));
                        let sampled_at = record.sampled_at.as_millis();
                        fields.insert("sampledAt".to_owned(), json!(sampled_at));
                        fields
                    };
                    case["records"] = frame.records.iter().map(record).collect();
                }
                Err(error) => case["error"] = json!(code(&error)),
            }
            case
        };
        json!({"name": name, "frames": frames.iter().map(frame).collect::<Vec<_>>()})
    };

    let mut encoder = KeyedEncoder::new(1);
    let key = encoder.encode(at(START), &worked(START)).bytes.to_vec();
    let delta = encoder.encode(at(START + 1_000), &worked_later(START + 1_000)).bytes.to_vec();
    let one = encoder.encode(at(START + 2_000), &worked(START + 2_000)[1..]).bytes.to_vec();
    let still = encoder.encode(at(START + 3_000), &[]).bytes.to_vec();
    encoder.remove(DeviceId(1));
    let fewer = encoder.encode(at(START + 4_000), &[]).bytes.to_vec();

    let mut encoder = KeyedEncoder::new(u32::MAX);
    let edge = encoder.encode(at(START), &extremes()).bytes.to_vec();
    let mut changed = extremes();
    changed[0].state = DeviceState::Slow;
    changed[1].cpu = Some(1.0);
    changed[2].network_in = None;
    let edge_delta = encoder.encode(at(START + 1_000), &changed).bytes.to_vec();

    let mut fleet = Fleet::new(40, 3);
    let mut encoder = KeyedEncoder::new(100);
    let ticks: Vec<Vec<u8>> = (0..4)
        .map(|_| {
            let (now, samples) = fleet.tick();
            encoder.encode(now, &records(&samples)).bytes.to_vec()
        })
        .collect();

    let patched = |frame: &[u8], place: usize, bytes: &[u8]| {
        let mut frame = frame.to_vec();
        frame[place..place + bytes.len()].copy_from_slice(bytes);
        frame
    };
    json!([
        stream("worked", &[key.clone(), delta.clone(), one, still, fewer]),
        stream("extremes", &[edge, edge_delta]),
        stream("a fleet", &ticks),
        stream("a lost delta", &[key.clone(), ticks[0].clone(), ticks[2].clone()]),
        stream(
            "a lost key frame",
            &[delta.clone(), ticks[0].clone(), delta.clone(), key.clone(), delta.clone()],
        ),
        stream(
            "wrong bytes",
            &[
                key.clone(),
                vec![],
                key[..27].to_vec(),
                delta[..delta.len() - 1].to_vec(),
                [&delta[..], &[0]].concat(),
                patched(&key, 0, b"RTEM"),
                patched(&key, 4, &[3]),
                patched(&key, 5, &[2]),
                patched(&key, 6, &[1]),
                patched(&key, 8, &[0xFF; 7]),
                patched(&key, 20, &[0xFF; 4]),
                patched(&key, 20, &[1]),
                // State 6; age below 0; the place after the last.
                [&patched(&key, 20, &[1, 0, 0, 0, 0, 0, 0, 0])[..28], &[0b0001_1010, 0, 0]]
                    .concat(),
                [&patched(&key, 20, &[1, 0, 0, 0, 0, 0, 0, 0])[..28], &[0b0000_0100, 0, 0]]
                    .concat(),
                [&patched(&delta, 20, &[1, 0, 0, 0, 0, 0, 0, 0])[..28], &[0b0000_0011, 0]].concat(),
                delta,
            ],
        ),
    ])
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn check(name: &str, vectors: &Value) {
    let path = folder().join(name);
    let text = serde_json::to_string_pretty(vectors).unwrap() + "\n";
    if std::env::var_os("KOBEL_WRITE_VECTORS").is_some() {
        fs::write(&path, text).unwrap();
    } else {
        let kept = fs::read_to_string(&path).unwrap();
        assert!(kept == text, "{name} is another: is the change of the format meant?");
    }
}

#[test]
fn the_bytes_are_those_that_others_read() {
    check("metr-v1.json", &v1());
    check("metr-v2.json", &v2());
}

/// The examples that docs/metr.md takes apart are in the vectors, byte for byte.
#[test]
fn the_document_shows_the_worked_bytes() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let document = fs::read_to_string(root.join("docs/metr.md")).unwrap();
    // Of the indented lines, the bytes without the words after them.
    let byte = |token: &&str| token.len() == 2 && token.bytes().all(|b| b.is_ascii_hexdigit());
    let lines = document.lines().filter(|line| line.starts_with("    "));
    let dense: String = lines.flat_map(|line| line.split_whitespace().take_while(byte)).collect();
    let frames = [&v1()[0], &v2()[0]["frames"][0], &v2()[0]["frames"][1]];
    for frame in frames {
        let hex = frame["hex"].as_str().unwrap();
        assert!(dense.contains(hex), "docs/metr.md lacks {hex}");
    }
}

/// `examples/metr.py`, and the short readers in docs/metr.md, read the vectors alike.
#[test]
fn python_reads_the_same() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let status = Command::new("python3")
        .arg(root.join("examples/metr.py"))
        .arg("--check")
        .arg(folder())
        .arg("--document")
        .arg(root.join("docs/metr.md"))
        .status()
        .expect("python3 is needed for this test: install it");
    assert!(status.success());
}
