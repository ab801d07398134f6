//! `kobel.v1.Metrics`: no more devices than the reader allows.
#![no_main]

use kobel_wire::proto::decode_metrics;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(metrics) = decode_metrics(bytes, 100) {
        assert!(metrics.devices.len() <= 100);
    }
});
