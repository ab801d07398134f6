use kobel_wire::{DeviceId, DeviceUuid, SERIES, Timestamp};
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn target() -> Target {
    let device: DeviceUuid = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
    Target { device, id: DeviceId(1) }
}

fn sample(second: u64, cpu: Option<f64>) -> Sample {
    let at = Timestamp::from_millis(1_795_000_000_000 + second as i64 * 1_000);
    Sample { cpu, ..Sample::empty(target().device, target().id, at) }
}

fn second_of(at: Timestamp) -> u64 {
    (at.as_millis() - 1_795_000_000_000) as u64 / 1_000
}

/// What an edge sends of a device that is read each second, with needs that change.
fn run(seconds: u64, needs: &[(u64, Need)]) -> Vec<(u64, Shaped)> {
    run_with(Duration::ZERO, seconds, needs)
}

fn run_with(phase: Duration, seconds: u64, needs: &[(u64, Need)]) -> Vec<(u64, Shaped)> {
    let start = Instant::now();
    let mut edge = Edge::new(target(), phase);
    let mut sent = Vec::new();
    for second in 0..seconds {
        let now = start + SECOND * second as u32;
        sent.push((second, edge.sample(sample(second, Some(second as f64)), now)));
        // Between two samples.
        for (_, need) in needs.iter().filter(|(at, _)| *at == second) {
            sent.push((second, edge.set_need(*need)));
        }
    }
    sent.retain(|(_, shaped)| *shaped != Shaped::default());
    sent
}

fn every(seconds: u64) -> Need {
    Need::Every(Duration::from_secs(seconds))
}

fn samples(sent: &[(u64, Shaped)]) -> Vec<(u64, u64)> {
    let of =
        |(at, shaped): &(u64, Shaped)| Some((*at, second_of(shaped.sample.as_ref()?.sampled_at)));
    sent.iter().filter_map(of).collect()
}

fn summaries(sent: &[(u64, Shaped)]) -> Vec<(u64, u64, u64, u32)> {
    let of = |(at, shaped): &(u64, Shaped)| {
        let summary = shaped.summary.as_ref()?;
        Some((*at, second_of(summary.from), second_of(summary.to), summary.samples))
    };
    sent.iter().filter_map(of).collect()
}

#[test]
fn what_nobody_watches_comes_as_a_summary_each_30_seconds_with_the_newest_sample() {
    let sent = run(91, &[]);
    assert_eq!(samples(&sent), [(0, 0), (30, 30), (60, 60), (90, 90)]);
    assert_eq!(
        summaries(&sent),
        [(0, 0, 0, 1), (30, 1, 30, 30), (60, 31, 60, 30), (90, 61, 90, 30)]
    );
    let spread = sent[1].1.summary.as_ref().unwrap().series[0].unwrap();
    assert_eq!((spread.min, spread.mean, spread.max), (1.0, 15.5, 30.0));
}

#[test]
fn each_nth_sample_is_sent_while_somebody_watches() {
    let sent = run(20, &[(3, every(1)), (6, every(5))]);
    // Second 3 at once when the need goes up, then each, then each fifth after the need went down.
    assert_eq!(samples(&sent), [(0, 0), (3, 3), (4, 4), (5, 5), (6, 6), (11, 11), (16, 16)]);
    // What was gathered before is not lost.
    assert_eq!(summaries(&sent), [(0, 0, 0, 1), (3, 1, 3, 3)]);
}

#[test]
fn nothing_is_sent_twice_when_the_need_goes_up() {
    // Second 5 was sent as it came: there is nothing newer to send at once.
    let sent = run(8, &[(2, every(5)), (2, every(1)), (5, every(2)), (5, every(1))]);
    assert_eq!(samples(&sent), [(0, 0), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7)]);
}

#[test]
fn devices_that_are_left_at_once_are_summarised_in_turn() {
    for phase in [0, 1, 17, 29, 30 + 17] {
        let needs = [(0, every(1)), (9, Need::Unwatched)];
        let sent = run_with(Duration::from_secs(phase), 100, &needs);
        let first = 9 + 30 - phase % 30;
        let summaries: Vec<_> = summaries(&sent).iter().map(|(at, ..)| *at).collect();
        assert_eq!(summaries, [0, first, first + 30, first + 60][..summaries.len()], "{phase}");
        assert!(summaries.len() >= 3);
    }
}

#[test]
fn an_early_timer_costs_no_second() {
    let start = Instant::now();
    let mut edge = Edge::new(target(), Duration::ZERO);
    edge.set_need(every(1));
    for second in 0..10_u32 {
        // A tenth early, a tenth late, in turn.
        let shift = Duration::from_millis(if second % 2 == 0 { 0 } else { 100 });
        let now = start + SECOND * (second + 1) - shift;
        let shaped = edge.sample(sample(second.into(), None), now);
        assert!(shaped.sample.is_some(), "second {second}");
    }
}

#[test]
fn absent_values_are_left_out_of_a_summary() {
    let mut window = Window::default();
    assert_eq!(window.take(target()), None);
    let mut values = [None; SERIES.len()];
    let at = Timestamp::from_millis;
    window.add(at(1_000), &values);
    values[1] = Some(4.0);
    window.add(at(2_000), &values);
    values[1] = Some(f64::NAN);
    values[2] = Some(f64::INFINITY);
    window.add(at(3_000), &values);
    values[1] = Some(8.0);
    window.add(at(4_000), &values);
    let summary = window.take(target()).unwrap();
    assert_eq!((summary.samples, summary.from, summary.to), (4, at(1_000), at(4_000)));
    assert_eq!(summary.series[1], Some(kobel_wire::Spread { min: 4.0, mean: 6.0, max: 8.0 }));
    assert!(summary.series.iter().enumerate().all(|(n, s)| n == 1 || s.is_none()));
    assert_eq!(window.take(target()), None);
}

#[test]
fn a_leap_of_the_time_begins_a_summary_anew() {
    let mut window = Window::default();
    let series = [Some(1.0); SERIES.len()];
    let at = |second: i64| Timestamp::from_millis(1_795_000_000_000 + second * 1_000);
    for (leap, kept) in [(86_400, 1), (-86_400, 1), (121, 1), (60, 11), (-60, 11)] {
        (0..10).for_each(|second| window.add(at(second), &series));
        window.add(at(9 + leap), &series);
        let summary = window.take(target()).unwrap();
        assert_eq!(summary.samples, kept, "{leap}");
        assert!(summary.to.as_millis() - summary.from.as_millis() <= 120_000);
    }
}

proptest! {
    /// Whatever the needs: while nobody watches each sample is in exactly one summary, its values
    /// are within the summary's, and no sample is sent twice or out of order.
    #[test]
    fn nothing_is_lost_while_nobody_watches(
        needs in prop::collection::vec((0_u64..200, 0_u64..=30), 0..12), phase in 0_u64..40
    ) {
        let needs: Vec<_> = needs
            .into_iter()
            .map(|(at, seconds)| (at, if seconds == 0 { Need::Unwatched } else { every(seconds) }))
            .collect();
        let sent = run_with(Duration::from_secs(phase), 200, &needs);
        let samples = samples(&sent);
        prop_assert!(samples.windows(2).all(|pair| pair[0].1 < pair[1].1), "{samples:?}");
        // A sample that comes at once is never older than a second.
        prop_assert!(samples.iter().all(|(at, of)| at == of), "{samples:?}");
        let mut covered = 0;
        for (at, from, to, count) in summaries(&sent) {
            prop_assert!(from <= to && to <= at);
            prop_assert!(u64::from(count) <= to - from + 1 && count <= 31);
            covered += u64::from(count);
        }
        // A model: which seconds were read while nobody watched, and are due by now.
        let mut unwatched = 0;
        let mut need = Need::Unwatched;
        for second in 0..200 {
            unwatched += u64::from(need == Need::Unwatched);
            for (_, newer) in needs.iter().filter(|(at, _)| *at == second) {
                need = *newer;
            }
        }
        prop_assert!(covered <= unwatched && unwatched - covered <= 30, "{covered} of {unwatched}");
        for (_, shaped) in &sent {
            for spread in shaped.summary.iter().flat_map(|summary| summary.series).flatten() {
                prop_assert!(spread.min <= spread.mean && spread.mean <= spread.max);
            }
        }
    }
}
