//! METR version 2: a reader of any frames, one after another, keeps no more devices than it may.
#![no_main]

use kobel_wire::metr::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::with_max_devices(1_000);
    for frame in kobel_fuzz::pieces(bytes) {
        if let Ok(frame) = reader.apply(frame) {
            assert!(frame.records.len() <= 1_000);
        }
        assert!(reader.devices().len() <= 1_000);
    }
});
