//! Load, uptime and pressure: /proc/loadavg, /proc/uptime, /proc/pressure/*.

use procfs_core::{FromRead, LoadAverage, Uptime, parse_pressure_record};

use super::round2;

/// Load averages over 1, 5 and 15 minutes, from /proc/loadavg.
pub fn load(loadavg: &str) -> Option<[f64; 3]> {
    let load = LoadAverage::from_read(loadavg.as_bytes()).ok()?;
    let load = [load.one, load.five, load.fifteen].map(f64::from);
    // "nan" reads as a number.
    load.iter().all(|l| l.is_finite() && *l >= 0.0).then(|| load.map(round2))
}

/// Seconds since boot, time asleep included, from /proc/uptime.
pub fn uptime(uptime: &str) -> Option<f64> {
    let seconds = Uptime::from_read(uptime.as_bytes()).ok()?.uptime;
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
}

/// The share of the last 10 seconds in which some task waited, percent, from one file of
/// /proc/pressure. `/proc/pressure/cpu` has no `full` line before Linux 5.13, so only the `some`
/// line is read.
pub fn some_avg10(pressure: &str) -> Option<f64> {
    // The parser slices behind the word without a look at what is there.
    let line = pressure.lines().find(|line| line.starts_with("some ") && line.is_ascii())?;
    let share = f64::from(parse_pressure_record(line).ok()?.avg10);
    share.is_finite().then(|| round2(share.clamp(0.0, 100.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_load() {
        assert_eq!(load("0.52 1.05 10.99 2/512 12345\n"), Some([0.52, 1.05, 10.99]));
        for bad in ["", "a b c 1/2 3", "nan nan nan 1/2 3", "-1 0 0 1/2 3", "1 2 3"] {
            assert_eq!(load(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn reads_uptime() {
        assert_eq!(uptime("2578790.61 1999230.98\n"), Some(2_578_790.61));
        for bad in ["", "x y", "inf 1", "-5.0 1.0", "5"] {
            assert_eq!(uptime(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn reads_pressure_with_and_without_full() {
        let some = "some avg10=4.50 avg60=0.91 avg300=0.00 total=681245\n";
        assert_eq!(some_avg10(some), Some(4.5));
        let full = format!("{some}full avg10=2.10 avg60=0.12 avg300=0.00 total=391926\n");
        assert_eq!(some_avg10(&full), Some(4.5));
        for bad in ["", "some", "some ", "somé", "some avg10=x", "some é"] {
            assert_eq!(some_avg10(bad), None, "{bad:?}");
        }
        let high = "some avg10=1e30 avg60=0.91 avg300=0.00 total=681245\n";
        assert_eq!(some_avg10(high), Some(100.0));
    }
}
