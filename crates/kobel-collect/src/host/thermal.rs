//! Temperature of the processor, from what hwmon and the thermal zones say.

use super::round2;

/// One reading of a sensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sensor {
    /// Who measures: `name` of a hwmon chip, `type` of a thermal zone.
    pub chip: String,
    /// What it measures: `tempN_label`; empty where it has none.
    pub label: String,
    /// Thousandths of °C, as the kernel prints them.
    pub millidegrees: i64,
}

/// Who knows the processor's temperature, best first: the processors' own sensors, then the
/// boards' (kernel doc `hwmon/` and `driver-api/thermal/`).
const CHIPS: [&str; 12] = [
    "coretemp",
    "k10temp",
    "cpu_thermal",
    "cpu-thermal",
    "zenpower",
    "k8temp",
    "via_cputemp",
    "soc_thermal",
    "soc-thermal",
    "cpu0-thermal",
    "x86_pkg_temp",
    "acpitz",
];

/// How good a chip is as a source: less is better; `None` if it does not measure the processor.
pub fn rank(chip: &str) -> Option<usize> {
    CHIPS.iter().position(|known| *known == chip.trim())
}

/// The processor's temperature, °C: of the best chip that gives a credible value, the hottest
/// package if it names packages, else the hottest of all. Not credible is what is not above 0 and
/// what is above 150.
pub fn processor(sensors: &[Sensor]) -> Option<f64> {
    let credible = |s: &&Sensor| s.millidegrees > 0 && s.millidegrees <= 150_000;
    let best = sensors.iter().filter(credible).filter_map(|s| rank(&s.chip)).min()?;
    let of_best = || sensors.iter().filter(credible).filter(|s| rank(&s.chip) == Some(best));
    // Tctl of some AMD processors is Tdie plus an offset for fans, so Tdie is the better one.
    let labels: [fn(&str) -> bool; 3] =
        [|l| l.starts_with("Package"), |l| l == "Tdie", |l| l == "Tctl"];
    let hottest = |wanted: fn(&str) -> bool| {
        of_best().filter(|s| wanted(s.label.trim())).map(|s| s.millidegrees).max()
    };
    let millidegrees =
        labels.into_iter().find_map(hottest).or_else(|| of_best().map(|s| s.millidegrees).max())?;
    Some(round2(millidegrees as f64 / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hottest(sensors: &[(&str, &str, i64)]) -> Option<f64> {
        let sensors: Vec<_> = sensors
            .iter()
            .map(|(chip, label, millidegrees)| Sensor {
                chip: (*chip).into(),
                label: (*label).into(),
                millidegrees: *millidegrees,
            })
            .collect();
        processor(&sensors)
    }

    #[test]
    fn the_processor_s_own_sensor_wins() {
        for (sensors, expected) in [
            (&[][..], None),
            (&[("nvme", "Composite", 40_000)], None),
            (&[("acpitz", "", 27_800), ("nvme", "", 60_000)], Some(27.8)),
            (
                &[
                    ("acpitz", "", 90_000),
                    ("coretemp", "Core 0", 60_000),
                    ("coretemp", "Package id 0", 55_500),
                ],
                Some(55.5),
            ),
            (
                &[("coretemp", "Package id 0", 50_000), ("coretemp", "Package id 1", 65_000)],
                Some(65.0),
            ),
            (&[("k10temp", "Tctl", 70_000), ("k10temp", "Tdie", 60_125)], Some(60.13)),
            (&[("cpu_thermal\n", "", 48_312)], Some(48.31)),
            (
                &[
                    ("coretemp", "Core 0", 0),
                    ("coretemp", "Core 1", -5_000),
                    ("acpitz", "", 30_000),
                ],
                Some(30.0),
            ),
            (&[("coretemp", "", 150_001)], None),
            (&[("coretemp", "", i64::MAX), ("coretemp", "", i64::MIN)], None),
        ] {
            assert_eq!(hottest(sensors), expected, "{sensors:?}");
        }
    }
}
