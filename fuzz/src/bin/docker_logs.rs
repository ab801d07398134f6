//! Docker's log stream: any bytes in any pieces are lines or an error, and lines are bounded.
#![no_main]

use kobel_collect::docker::logs::{Framing, LINE_BYTES, Parts};
use kobel_wire::log::LogTime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let mut framing =
        Framing::new(mode & 1 == 1, if mode & 2 == 2 { Parts::Alike } else { Parts::Apart });
    let mut lines = Vec::new();
    for piece in kobel_fuzz::pieces(bytes) {
        if framing.feed(LogTime::default(), piece, &mut lines).is_err() {
            return;
        }
    }
    // A byte that is no UTF-8 becomes three.
    assert!(lines.iter().all(|line| line.text.len() <= 3 * LINE_BYTES));
});
