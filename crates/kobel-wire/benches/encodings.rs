//! What a reading costs in each encoding: bytes, and time to encode and decode.
//!
//! `cargo bench -p kobel-wire --bench encodings` prints a table; after `--`:
//! `--devices N` (1000), `--seconds N` of the fleet (60), `--json` in place of the table, and
//! `--frames FILE` to write the METR frames for the bench of the page's reader
//! (`node web/scripts/bench-metr.mjs FILE`).

#![allow(clippy::unwrap_used, reason = "a bench fails as a test does")]
// No tokio here, and no clock to be paused: this measures.
#![allow(clippy::disallowed_types, reason = "it measures real time")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{fs, hint::black_box, io::Write, time::Instant};

use common::{Fleet, records};
use flate2::{Compression, write::DeflateEncoder};
use kobel_wire::{
    Sample, Timestamp,
    metr::{KeyedEncoder, Reader, Record, decode_v1, encode_v1},
    proto,
};
use serde_json::json;

/// Each figure is the best of so many runs over all of the ticks.
const RUNS: usize = 5;

struct Tick {
    at: Timestamp,
    samples: Vec<Sample>,
    records: Vec<Record>,
}

struct Row {
    name: &'static str,
    /// Bytes of a device's reading, headers shared out.
    bytes: f64,
    /// Nanoseconds for a device's reading.
    encode: Option<f64>,
    decode: Option<f64>,
}

/// The fields of a reading that METR and the table of the fleet have, as JSON.
fn brief(sample: &Sample) -> serde_json::Value {
    json!({
        "deviceUuid": sample.device_uuid, "id": sample.id, "sampledAt": sample.sampled_at,
        "state": sample.state, "cpu": sample.cpu, "memory": sample.memory, "disk": sample.disk,
        "temperature": sample.temperature, "networkIn": sample.network_in,
        "networkOut": sample.network_out,
    })
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Nanoseconds for each of `count` things, in the best run.
fn best(count: usize, mut run: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..RUNS).map(time).min().unwrap().as_nanos() as f64 / count as f64
}

/// A row of an encoding that makes a tick's bytes of the tick alone.
fn row(
    name: &'static str,
    ticks: &[Tick],
    encode: impl Fn(&Tick) -> Vec<u8>,
    decode: impl Fn(&Tick, &[u8]),
) -> Row {
    let readings = ticks.iter().map(|tick| tick.samples.len()).sum::<usize>();
    let encoded: Vec<Vec<u8>> = ticks.iter().map(&encode).collect();
    let encode_time = best(readings, || {
        for tick in ticks {
            black_box(encode(tick));
        }
    });
    let decode_time = best(readings, || {
        for (tick, bytes) in ticks.iter().zip(&encoded) {
            decode(tick, bytes);
        }
    });
    let bytes = encoded.iter().map(Vec::len).sum::<usize>() as f64 / readings as f64;
    Row { name, bytes, encode: Some(encode_time), decode: Some(decode_time) }
}

/// The size alone.
fn sized(name: &'static str, ticks: &[Tick], encode: impl Fn(&Tick) -> usize) -> Row {
    let readings = ticks.iter().map(|tick| tick.samples.len()).sum::<usize>();
    let bytes = ticks.iter().map(encode).sum::<usize>() as f64 / readings as f64;
    Row { name, bytes, encode: None, decode: None }
}

/// Version 2, with key frames alone or as it comes: without the key frames then, which come each
/// 30 s.
fn version_2(name: &'static str, ticks: &[Tick], keys: bool) -> (Row, Vec<Vec<u8>>) {
    let devices = ticks[0].records.len();
    let stream = || {
        let mut encoder = KeyedEncoder::new(1);
        let frame = |tick: &Tick| {
            if keys {
                encoder.force_key();
            }
            encoder.encode(tick.at, &tick.records)
        };
        ticks.iter().map(frame).collect::<Vec<_>>()
    };
    let frames = stream();
    let readings = ticks.len() * devices;
    let encode = best(readings, || drop(black_box(stream())));
    let decode = best(readings, || {
        let mut reader = Reader::new();
        for frame in &frames {
            black_box(reader.apply(&frame.bytes).unwrap());
        }
    });
    let counted: Vec<_> = frames.iter().filter(|frame| frame.is_key == keys).collect();
    let bytes = counted.iter().map(|frame| frame.bytes.len()).sum::<usize>() as f64;
    let row = Row {
        name,
        bytes: bytes / (counted.len() * devices) as f64,
        encode: Some(encode),
        decode: Some(decode),
    };
    (row, frames.into_iter().map(|frame| frame.bytes.to_vec()).collect())
}

fn json_of(samples: &[Sample]) -> Vec<u8> {
    serde_json::to_vec(samples).unwrap()
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (mut devices, mut seconds, mut as_json, mut frames_file) = (1_000, 60, false, None);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse().ok()).expect("a number");
        match arg.as_str() {
            "--devices" => devices = number(),
            "--seconds" => seconds = number(),
            "--json" => as_json = true,
            "--frames" => frames_file = Some(args.next().expect("a file")),
            // Cargo's own.
            "--bench" => {}
            other => panic!("unknown option {other}; see the head of this file"),
        }
    }
    assert!(devices > 0 && seconds > 1, "--devices from 1, --seconds from 2");

    let mut fleet = Fleet::new(devices, 1);
    let ticks: Vec<Tick> = (0..seconds)
        .map(|_| {
            let (at, samples) = fleet.tick();
            let records = records(&samples);
            Tick { at, samples, records }
        })
        .collect();

    let (keys, key_frames) = version_2("METR v2, key frames", &ticks, true);
    let (deltas, delta_frames) = version_2("METR v2, delta frames", &ticks, false);
    let rows = [
        row(
            "JSON, the whole sample",
            &ticks,
            |tick| json_of(&tick.samples),
            |_, bytes| drop(black_box(serde_json::from_slice::<Vec<Sample>>(bytes).unwrap())),
        ),
        sized("the same, deflated by frame", &ticks, |tick| {
            deflated(&json_of(&tick.samples)).len()
        }),
        sized("JSON, METR's fields", &ticks, |tick| {
            let brief: Vec<_> = tick.samples.iter().map(brief).collect();
            serde_json::to_vec(&brief).unwrap().len()
        }),
        sized("the same, deflated by frame", &ticks, |tick| {
            let brief: Vec<_> = tick.samples.iter().map(brief).collect();
            deflated(&serde_json::to_vec(&brief).unwrap()).len()
        }),
        row(
            "Protocol Buffers",
            &ticks,
            |tick| proto::encode_metrics(tick.at, tick.samples.iter()),
            |_, bytes| drop(black_box(proto::decode_metrics(bytes, 100_000).unwrap())),
        ),
        row(
            "METR v1",
            &ticks,
            |tick| encode_v1(tick.at, &tick.records).to_vec(),
            |tick, bytes| drop(black_box(decode_v1(bytes, tick.at).unwrap())),
        ),
        keys,
        deltas,
    ];

    let plain = rows[0].bytes;
    if as_json {
        let row = |row: &Row| {
            json!({
                "encoding": row.name, "bytesPerReading": row.bytes, "below": plain / row.bytes,
                "encodeNs": row.encode, "decodeNs": row.decode,
            })
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        println!("{}", json!({"devices": devices, "seconds": seconds, "rows": rows}));
    } else {
        println!(
            "| {devices} devices, {seconds} s | B/reading | below JSON | encode ns | decode ns |"
        );
        println!("| --- | ---: | ---: | ---: | ---: |");
        for Row { name, bytes, encode, decode } in &rows {
            let time = |time: &Option<f64>| time.map_or("".into(), |time| format!("{time:.0}"));
            println!(
                "| {name} | {bytes:.1} | {:.0} × | {} | {} |",
                plain / bytes,
                time(encode),
                time(decode)
            );
        }
    }

    if let Some(file) = frames_file {
        let hex = |frames: &[Vec<u8>]| -> Vec<String> {
            let hex = |frame: &Vec<u8>| frame.iter().map(|byte| format!("{byte:02x}")).collect();
            frames.iter().map(hex).collect()
        };
        let v1: Vec<_> =
            ticks.iter().map(|tick| encode_v1(tick.at, &tick.records).to_vec()).collect();
        let brief_json = |tick: &Tick| {
            let all: Vec<_> = tick.samples.iter().map(brief).collect();
            serde_json::to_string(&all).unwrap()
        };
        let json: Vec<_> = ticks.iter().map(brief_json).collect();
        let frames = json!({
            "devices": devices, "v1": hex(&v1), "keys": hex(&key_frames),
            "deltas": hex(&delta_frames), "json": json,
        });
        fs::write(file, frames.to_string()).unwrap();
    }
}
