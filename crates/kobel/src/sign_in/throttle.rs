//! Failed sign-ins are made slow.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use tokio::time::Instant;

/// Failures that an address may save up.
const BURST: f64 = 10.0;

/// How long until one more is allowed.
const REFILL: Duration = Duration::from_secs(6);

/// Addresses remembered; beyond it those with most left are forgotten, which costs nothing.
const MOST: usize = 10_000;

/// Counts failures by address; IPv6 by its /64, which is one customer's.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    addresses: HashMap<IpAddr, (f64, Instant)>,
}

impl Throttle {
    /// Whether an address may try now.
    ///
    /// # Errors
    /// How long it has to wait.
    pub(crate) fn check(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let left = self.left(network(address), now);
        if left >= 1.0 { Ok(()) } else { Err(REFILL.mul_f64(1.0 - left)) }
    }

    /// An address failed.
    pub(crate) fn failed(&mut self, address: IpAddr, now: Instant) {
        let network = network(address);
        let left = self.left(network, now);
        if self.addresses.len() >= MOST && !self.addresses.contains_key(&network) {
            self.forget(now);
        }
        self.addresses.insert(network, ((left - 1.0).max(0.0), now));
    }

    fn left(&self, network: IpAddr, now: Instant) -> f64 {
        self.addresses.get(&network).map_or(BURST, |(left, at)| {
            let gained = now.saturating_duration_since(*at).as_secs_f64() / REFILL.as_secs_f64();
            (left + gained).min(BURST)
        })
    }

    fn forget(&mut self, now: Instant) {
        let mut all: Vec<_> =
            self.addresses.keys().map(|network| (self.left(*network, now), *network)).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (_, network) in all.iter().take(MOST / 2) {
            self.addresses.remove(network);
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_then_one_each_six_seconds() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let bad: IpAddr = "2001:db8::1".parse().unwrap();
        for _ in 0..10 {
            throttle.check(bad, start).unwrap();
            throttle.failed(bad, start);
        }
        assert_eq!(throttle.check(bad, start), Err(REFILL));
        // Its neighbour in the /64 is the same customer; others are not concerned.
        assert!(throttle.check("2001:db8::2".parse().unwrap(), start).is_err());
        throttle.check("2001:db8:0:1::1".parse().unwrap(), start).unwrap();
        throttle.check("192.0.2.1".parse().unwrap(), start).unwrap();
        assert!(throttle.check(bad, at(5)).is_err());
        throttle.check(bad, at(6)).unwrap();
        throttle.failed(bad, at(6));
        assert!(throttle.check(bad, at(7)).is_err());
        throttle.check(bad, at(600)).unwrap();
    }

    #[test]
    fn memory_is_bounded() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..30_000_u32 {
            throttle.failed(IpAddr::from(n.to_be_bytes()), now);
        }
        assert!(throttle.addresses.len() <= MOST);
    }
}
