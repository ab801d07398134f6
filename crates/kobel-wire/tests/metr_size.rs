//! How small METR version 2 is on a plausible fleet: the figures that the design asks for.

mod common;

use common::{Fleet, records};
use kobel_wire::metr::{HEADER_LEN, KeyedEncoder};

#[test]
fn frames_are_as_small_as_asked() {
    let devices = 1_000;
    let mut fleet = Fleet::new(devices, 7);
    let mut encoder = KeyedEncoder::new(1);
    let (mut keys, mut deltas, mut json) = (Vec::new(), Vec::new(), 0);
    for _ in 0..60 {
        let (now, samples) = fleet.tick();
        let encoded = encoder.encode(now, &records(&samples));
        if encoded.is_key { &mut keys } else { &mut deltas }.push(encoded.bytes.len());
        json += samples.iter().map(|s| serde_json::to_vec(s).unwrap().len()).sum::<usize>();
    }
    let mean =
        |sizes: &[usize]| sizes.iter().sum::<usize>() as f64 / sizes.len() as f64 / devices as f64;
    let (key, delta, json) = (mean(&keys), mean(&deltas), json as f64 / 60.0 / devices as f64);
    println!("bytes per device: JSON {json:.1}, key {key:.2}, delta {delta:.2}");
    assert_eq!(keys.len(), 2, "one each 30 s");
    assert!(key <= 20.0 && json / key >= 15.0, "key frames: {key} of {json} B");
    assert!(delta <= 8.0 && json / delta >= 30.0, "delta frames: {delta} of {json} B");
}

#[test]
fn a_fleet_that_stands_still_costs_a_byte_a_device() {
    let mut fleet = Fleet::new(1_000, 7);
    let (now, samples) = fleet.tick();
    let mut encoder = KeyedEncoder::new(1);
    encoder.encode(now, &records(&samples));
    let again = encoder.encode(now, &records(&samples));
    assert!(!again.is_key);
    // Gap, "as before", age and six values: a bit each, of which a thermometer may be missing.
    assert!(again.bytes.len() <= HEADER_LEN + 1_000 * 9 / 8, "{}", again.bytes.len());
    let nothing = encoder.encode(now, &[]);
    assert_eq!(nothing.bytes.len(), HEADER_LEN);
}
