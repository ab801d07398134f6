//! METR version 1: any bytes are a frame or an error, and what was read is written the same.
#![no_main]

use kobel_wire::{Timestamp, metr};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let now = Timestamp::from_millis(1_795_000_000_000);
    if let Ok(frame) = metr::decode_v1(bytes, now) {
        assert_eq!(bytes.len(), 12 + 20 * frame.readings.len());
    }
});
