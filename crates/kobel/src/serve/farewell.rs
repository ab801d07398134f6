//! What viewers are told at the end.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use kobel_fanout::{Frame, Policy, SocketId};
use kobel_hub::gate::NAMESPACE;
use serde_json::json;

/// The delay that viewers are told is this on the whole, ms.
const AROUND: u32 = 5_000;

/// And at most so much more or less.
const SPREAD: u32 = 3_000;

/// A `serverShutdown` for each socket, with delays spread evenly, so that they do not all come
/// back in the same instant.
pub(super) fn spread() -> impl Fn(SocketId) -> Option<Arc<Frame>> + Send + Sync + 'static {
    let told = AtomicU32::new(0);
    move |_| {
        let delay = delay(told.fetch_add(1, Ordering::Relaxed));
        let data = json!({ "message": "Server is restarting", "reconnectDelay": delay });
        // Plain data always encodes.
        Frame::event(NAMESPACE, "serverShutdown", &data, Policy::Deliver).ok()
    }
}

fn delay(number: u32) -> u32 {
    // Steps of the golden ratio (Weyl's sequence): any run of them is spread over the whole.
    let part = u64::from(number.wrapping_mul(2_654_435_769));
    let width = u64::from(2 * SPREAD + 1);
    AROUND - SPREAD + ((part * width) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_spread_evenly_around_five_seconds() {
        let mut seconds = [0; 7];
        for number in 0..10_000 {
            let delay = delay(number);
            assert!((2_000..=8_000).contains(&delay), "{delay}");
            seconds[(delay as usize - 2_000) / 1_000] += 1;
        }
        assert!(seconds[..6].iter().all(|n| (1_600..1_740).contains(n)), "{seconds:?}");
    }
}
