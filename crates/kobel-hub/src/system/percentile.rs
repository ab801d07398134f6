//! Percentiles of a histogram of latencies.

use kobel_fanout::Latency;
use kobel_wire::system::Delivery;

/// The percentiles of what was delivered between two readings; absent where that is nothing, or a
/// counter went back.
pub(super) fn between(before: &Latency, after: &Latency) -> Delivery {
    let mut buckets = Vec::with_capacity(after.buckets.len());
    for (before, after) in before.buckets.iter().zip(after.buckets) {
        let Some(count) = after.checked_sub(*before) else { return Delivery::default() };
        buckets.push(count);
    }
    let bounds: Vec<f64> = Latency::bounds().collect();
    let at = |share| percentile(&bounds, &buckets, share);
    Delivery { p50: at(0.5), p99: at(0.99) }
}

/// The value that this share of the observations does not exceed. Within a bucket they are taken
/// as evenly spread; in the last, which has no upper bound, all as at its lower one.
fn percentile(bounds: &[f64], buckets: &[u64], share: f64) -> Option<f64> {
    let all: u64 = buckets.iter().sum();
    if all == 0 {
        return None;
    }
    let rank = share * all as f64;
    let mut below = 0.0;
    let mut lower = 0.0;
    for (bound, count) in bounds.iter().zip(buckets) {
        let count = *count as f64;
        if count > 0.0 && below + count >= rank {
            return Some(lower + (bound - lower) * (rank - below) / count);
        }
        below += count;
        lower = *bound;
    }
    Some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_lies_within_its_bucket() {
        let bounds = [1.0, 2.0, 4.0];
        for (buckets, share, expected) in [
            ([0, 0, 0, 0], 0.5, None),
            ([10, 0, 0, 0], 0.5, Some(0.5)),
            ([10, 0, 0, 0], 1.0, Some(1.0)),
            ([5, 5, 0, 0], 0.5, Some(1.0)),
            ([0, 0, 10, 0], 0.5, Some(3.0)),
            ([99, 0, 1, 0], 0.99, Some(1.0)),
            ([98, 0, 2, 0], 0.99, Some(3.0)),
            // Over the last bound nothing is known but that.
            ([1, 0, 0, 99], 0.5, Some(4.0)),
        ] {
            assert_eq!(percentile(&bounds, &buckets, share), expected, "{buckets:?} {share}");
        }
    }

    #[test]
    fn only_what_came_between_counts() {
        let (mut before, mut after) = (Latency::default(), Latency::default());
        before.buckets[14] = 1_000;
        after.buckets[14] = 1_000;
        assert_eq!(between(&before, &after), Delivery::default());
        after.buckets[0] = 10;
        let told = between(&before, &after);
        assert_eq!(told, Delivery { p50: Some(0.000_05), p99: Some(0.000_099) });
        // A counter that went back says nothing.
        assert_eq!(between(&after, &before), Delivery::default());
    }
}
