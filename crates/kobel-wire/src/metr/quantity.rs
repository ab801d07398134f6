//! How values become whole numbers and back: the precision of both versions.

use crate::{DeviceState, Timestamp};

/// Percent × 100, as a number that has room for [`PERCENT_MAX`].
///
/// Below zero is 0, beyond the greatest is the greatest; not a number is no value.
pub(super) fn percent(value: Option<f64>) -> Option<i32> {
    number(value).map(|value| (value * 100.0).round().clamp(0.0, PERCENT_MAX.into()) as i32)
}

/// 655.34 %: version 1 needs `0xFFFF` for what is absent.
pub(super) const PERCENT_MAX: i32 = 0xFFFE;

pub(super) fn percent_back(hundredths: i32) -> f64 {
    f64::from(hundredths) / 100.0
}

/// °C × 10, from −3276.7 to 3276.7: version 1 needs −32768 for what is absent.
pub(super) fn temperature(value: Option<f64>) -> Option<i32> {
    let limit = f64::from(TEMPERATURE_MAX);
    number(value).map(|value| (value * 10.0).round().clamp(-limit, limit) as i32)
}

pub(super) const TEMPERATURE_MAX: i32 = i16::MAX as i32;

pub(super) fn temperature_back(tenths: i32) -> f64 {
    f64::from(tenths) / 10.0
}

/// The bits of a rate's fraction: its step is at most 1/128 of it, and its error half a step.
const FRACTION: u32 = 7;

/// The code of the greatest rate, 255 × 2⁵⁶ B/s.
pub(super) const RATE_MAX: i32 = (57 << FRACTION) + 127;

/// A rate, bytes per second, as a small floating number: whole below 256, at most 0.4 % off above.
///
/// A code below 128 is the rate itself; else its low 7 bits are the fraction after a hidden one,
/// and the rest is the exponent plus one: `(128 + low) << (high - 1)`. Codes grow as rates do, so
/// the difference of two codes says how many times one rate is the other.
pub(super) fn rate(value: Option<f64>) -> Option<i32> {
    let value = number(value)?.clamp(0.0, rate_back(RATE_MAX));
    if value < 127.5 {
        return Some(value.round() as i32);
    }
    // Its power of two by its bits, and that value in steps of 1/128 of it: rounded once.
    let value = value.max(128.0);
    let exponent = (value.to_bits() >> 52) as i32 - 1023;
    let steps = (value / power_of_two(exponent - 7)).round() as i32;
    // 256 steps are 128 of the next power, and come out as its first code by themselves.
    Some(((exponent - 6) << FRACTION) + steps - 128)
}

pub(super) fn rate_back(code: i32) -> f64 {
    if code < 128 {
        return f64::from(code);
    }
    f64::from(128 + (code & 127)) * power_of_two((code >> FRACTION) - 1)
}

/// 2 to the power of `exponent`, -1022 to 1023, by its bits: exact, and cheap.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// Version 1's rate: whole bytes per second, at most 4294967295. It has no way to say that there
/// is none, and says 0.
pub(super) fn rate_v1(value: Option<f64>) -> u32 {
    // A float outside the range of u32 becomes the nearest end of it.
    number(value).unwrap_or(0.0).round() as u32
}

/// Version 2 tells time in steps of 10 ms.
pub(super) const STEP_MS: i64 = 10;

/// The step in which an instant is. Both ends of an age are cut to whole steps before they are
/// subtracted, so that the instant of a sample comes out the same from every frame that has it.
pub(super) fn step(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(STEP_MS)
}

/// The states, by their numbers in version 2.
pub(super) const STATES: [DeviceState; 6] = [
    DeviceState::Online,
    DeviceState::Slow,
    DeviceState::Stale,
    DeviceState::Unreachable,
    DeviceState::AuthFailed,
    DeviceState::HostKeyChanged,
];

pub(super) fn state(state: DeviceState) -> u8 {
    // In step with STATES; the compiler points here when a state is added.
    match state {
        DeviceState::Online => 0,
        DeviceState::Slow => 1,
        DeviceState::Stale => 2,
        DeviceState::Unreachable => 3,
        DeviceState::AuthFailed => 4,
        DeviceState::HostKeyChanged => 5,
    }
}

fn number(value: Option<f64>) -> Option<f64> {
    value.filter(|value| !value.is_nan())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percent_and_temperature_round_and_saturate() {
        for (value, expected) in [
            (Some(0.0), Some(0)),
            (Some(-0.0), Some(0)),
            (Some(12.345), Some(1235)),
            (Some(12.344), Some(1234)),
            (Some(100.0), Some(10_000)),
            (Some(655.34), Some(65_534)),
            (Some(655.35), Some(65_534)),
            (Some(f64::INFINITY), Some(65_534)),
            (Some(-1.0), Some(0)),
            (Some(f64::NEG_INFINITY), Some(0)),
            (Some(f64::NAN), None),
            (None, None),
        ] {
            assert_eq!(percent(value), expected, "{value:?}");
        }
        for (value, expected) in [
            (Some(-40.04), Some(-400)),
            (Some(61.26), Some(613)),
            (Some(1e9), Some(32_767)),
            (Some(-1e9), Some(-32_767)),
            (Some(f64::NAN), None),
            (None, None),
        ] {
            assert_eq!(temperature(value), expected, "{value:?}");
        }
    }

    #[test]
    fn rates_are_whole_when_small_and_end_where_u64_does() {
        for whole in 0..=256 {
            assert_eq!(rate_back(rate(Some(f64::from(whole))).unwrap()), f64::from(whole));
        }
        for (value, expected) in [
            (-5.0, 0.0),
            (0.4, 0.0),
            (257.0, 258.0),
            (511.0, 512.0),
            (f64::MAX, 255.0 * 2f64.powi(56)),
            (f64::INFINITY, 255.0 * 2f64.powi(56)),
        ] {
            assert_eq!(rate_back(rate(Some(value)).unwrap()), expected, "{value}");
        }
        assert_eq!(rate(Some(f64::INFINITY)), Some(RATE_MAX));
        assert_eq!(rate(Some(f64::NAN)), None);
    }

    #[test]
    fn every_rate_code_comes_back_as_itself() {
        for code in 0..=RATE_MAX {
            assert_eq!(rate(Some(rate_back(code))), Some(code));
        }
    }

    #[test]
    fn every_state_has_its_number() {
        for (number, one) in STATES.into_iter().enumerate() {
            assert_eq!(usize::from(state(one)), number);
        }
    }

    proptest! {
        #[test]
        fn a_rate_is_at_most_four_thousandths_off(exponent in 8.0..63.9f64) {
            let value = exponent.exp2().round();
            let back = rate_back(rate(Some(value)).unwrap());
            prop_assert!((back - value).abs() <= value / 256.0 , "{value} {back}");
        }

        #[test]
        fn rate_codes_grow_as_rates_do(a in 0.0..1e12f64, b in 0.0..1e12f64) {
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(rate(Some(low)) <= rate(Some(high)));
        }
    }
}
