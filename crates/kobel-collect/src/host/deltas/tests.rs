use std::time::Duration;

use kobel_wire::DeviceId;
use proptest::prelude::*;

use super::*;
use crate::host::{HostText, network::NetworkRoles};

const HEAD: &str = "Inter-| Receive | Transmit\n face |bytes packets|bytes packets\n";

fn target() -> Target {
    let device = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
    Target { device, id: DeviceId(1) }
}

/// A host that has worked `busy` ticks, idled `idle`, and moved `bytes` on its disk and network.
fn text(uptime: &str, busy: u64, idle: u64, bytes: u64) -> HostText {
    HostText {
        stat: format!(
            "cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 {busy} 0 0 {idle} 0 0 0 0 0 0\nbtime 1\n"
        ),
        meminfo: "MemTotal: 1000 kB\nMemAvailable: 250 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
            .into(),
        loadavg: "0.50 0.25 0.10 1/100 999\n".into(),
        uptime: format!("{uptime} 1.0\n"),
        net_dev: format!(
            "{HEAD}    lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n  eth0: {bytes} 0 0 0 0 0 0 0 {} 0 0 0 0 0 0 0\n",
            bytes * 2
        ),
        diskstats: format!("8 0 sda 1 0 {} 0 1 0 {} 0 0 0 0\n", bytes / 512, bytes / 256),
        pressure_cpu: "some avg10=1.25 avg60=0.00 avg300=0.00 total=1\n".into(),
        ..HostText::default()
    }
}

fn reading(text: &HostText) -> Reading {
    Reading::parse(text, &NetworkRoles::default())
}

struct Host {
    deltas: Deltas,
    now: Instant,
}

impl Host {
    fn new() -> Self {
        Self { deltas: Deltas::default(), now: Instant::now() }
    }

    fn read(&mut self, after: f64, text: &HostText) -> Sample {
        self.now += Duration::from_secs_f64(after);
        self.deltas.sample(target(), reading(text), self.now, Timestamp::from_millis(0))
    }
}

#[tokio::test]
async fn the_first_reading_has_levels_and_no_rates() {
    let sample = Host::new().read(0.0, &text("100.00", 100, 100, 0));
    assert_eq!((sample.memory, sample.memory_used), (Some(75.0), Some(750 * 1024)));
    assert_eq!((sample.swap, sample.load), (None, Some([0.5, 0.25, 0.1])));
    assert_eq!(sample.uptime, Some(100.0));
    let pressure = sample.pressure.unwrap();
    assert_eq!((pressure.cpu, pressure.memory), (Some(1.25), None));
    assert_eq!((sample.cpu, sample.network_in, sample.disk_read), (None, None, None));
    assert!(sample.cores.is_empty() && sample.interfaces.is_empty());
}

#[tokio::test]
async fn rates_are_over_the_host_s_own_time() {
    let mut host = Host::new();
    host.read(0.0, &text("100.00", 100, 100, 0));
    // Our clock says 2.5 s, the host's says 2 s: the host's counts.
    let sample = host.read(2.5, &text("102.00", 150, 250, 1_024_000));
    assert_eq!((sample.cpu, sample.cores.clone()), (Some(25.0), vec![25.0]));
    assert_eq!((sample.network_in, sample.network_out), (Some(512_000.0), Some(1_024_000.0)));
    assert_eq!((sample.disk_read, sample.disk_write), (Some(512_000.0), Some(1_024_000.0)));
    assert_eq!(sample.interfaces.len(), 1);
    // Without an uptime, ours has to do.
    let mut host = Host::new();
    host.read(0.0, &text("", 100, 100, 0));
    assert_eq!(host.read(2.0, &text("", 150, 250, 2_048)).network_in, Some(1_024.0));
}

#[tokio::test]
async fn a_pause_spreads_over_its_length() {
    let mut host = Host::new();
    host.read(0.0, &text("100.00", 100, 100, 0));
    // A suspended machine: our clock stood still, the host's uptime counts the sleep.
    let sample = host.read(1.0, &text("3700.00", 160, 140, 3_600_000));
    assert_eq!((sample.cpu, sample.network_in), (Some(60.0), Some(1_000.0)));
    // A collector that was held up.
    let sample = host.read(60.0, &text("3760.00", 220, 200, 3_660_000));
    assert_eq!((sample.cpu, sample.network_in), (Some(50.0), Some(1_000.0)));
}

#[tokio::test]
async fn a_reboot_starts_anew() {
    for (label, before, after, ours) in [
        ("the uptime went back", "5000.00", "12.00", 40.0),
        ("the uptime went on, but much less than our clock", "20.00", "30.00", 300.0),
    ] {
        let mut host = Host::new();
        host.read(0.0, &text(before, 1000, 1000, 500));
        // All counters are higher than before: only the time can tell.
        let sample = host.read(ours, &text(after, 2000, 2000, 90_000));
        assert_eq!(
            (sample.cpu, sample.network_in, sample.disk_read),
            (None, None, None),
            "{label}"
        );
        let next = format!("{:.2}", after.parse::<f64>().unwrap() + 1.0);
        let sample = host.read(1.0, &text(&next, 2050, 2050, 91_000));
        assert_eq!((sample.cpu, sample.network_in), (Some(50.0), Some(1_000.0)), "{label}");
    }
}

#[tokio::test]
async fn a_counter_reset_is_absent_once() {
    let mut host = Host::new();
    host.read(0.0, &text("100.00", 100, 100, 50_000));
    // The interface and the disk were plugged in again; the processor went on.
    let sample = host.read(1.0, &text("101.00", 150, 150, 1_024));
    assert_eq!((sample.network_in, sample.disk_read), (None, None));
    assert_eq!(sample.cpu, Some(50.0));
    let sample = host.read(1.0, &text("102.00", 200, 200, 2_048));
    assert_eq!((sample.network_in, sample.disk_read), (Some(1_024.0), Some(1_024.0)));
}

#[tokio::test]
async fn readings_too_close_together_wait_for_more() {
    let mut host = Host::new();
    host.read(0.0, &text("100.00", 100, 100, 0));
    assert_eq!(host.read(0.01, &text("100.01", 101, 100, 100)).cpu, None);
    // The difference is still to the first reading.
    assert_eq!(host.read(0.99, &text("101.00", 150, 150, 1_000)).network_in, Some(1_000.0));
}

#[tokio::test]
async fn cores_go_by_their_number() {
    let stat = |lines: &str| HostText {
        stat: format!("cpu  1 0 0 1\n{lines}"),
        uptime: "1.0 1\n".into(),
        ..HostText::default()
    };
    let mut host = Host::new();
    host.read(0.0, &stat("cpu0 0 0 0 0\ncpu1 500 0 0 500\ncpu2 0 0 0 0\n"));
    let mut after = stat("cpu0 25 0 0 75\ncpu2 75 0 0 25\ncpu3 9 0 0 9\n");
    after.stat = after.stat.replace("cpu  1 0 0 1", "cpu  101 0 0 101");
    after.uptime = "2.0 1\n".into();
    // Core 1 went offline, core 3 came.
    assert_eq!(host.read(1.0, &after).cores, [25.0, 75.0, 0.0]);
}

fn anything() -> impl Strategy<Value = String> {
    prop_oneof![
        // Noise.
        "\\PC{0,200}",
        // What looks like the real thing, with numbers of any size.
        prop::collection::vec(
            (
                prop::sample::select(vec![
                    "cpu ",
                    "cpu0",
                    "cpu7",
                    "some avg10=",
                    "MemTotal:",
                    "MemAvailable:",
                    "eth0:",
                    "SwapTotal:",
                    "SwapFree:",
                    "8 0 sda",
                    "é",
                    "(",
                    ")",
                    "1 (x) S",
                    "\\040",
                    "btime",
                ]),
                prop::collection::vec(any::<u64>(), 0..18),
            ),
            0..12
        )
        .prop_map(|lines| {
            lines
                .into_iter()
                .map(|(word, numbers)| {
                    let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
                    format!("{word} {}\n", numbers.join(" "))
                })
                .collect()
        }),
    ]
}

fn any_text() -> impl Strategy<Value = HostText> {
    (prop::collection::vec(anything(), 6), any::<f64>()).prop_map(|(parts, uptime)| {
        let part = |i: usize| parts[i].clone();
        HostText {
            stat: part(0),
            meminfo: part(1),
            loadavg: part(2),
            uptime: format!("{uptime} 1\n"),
            net_dev: format!("\n\n{}", part(3)),
            diskstats: part(4),
            pressure_cpu: part(5),
            pressure_memory: part(0),
            pressure_io: part(1),
        }
    })
}

proptest! {
    /// Whatever a host prints, nothing panics, percentages stay within 0 and 100, and every number
    /// is one that JSON can carry.
    #[test]
    fn garbage_in_gives_a_sound_sample(texts in prop::collection::vec(any_text(), 1..5)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _guard = runtime.enter();
        let mut host = Host::new();
        for text in &texts {
            let s = host.read(1.0, text);
            let percents = [s.cpu, s.iowait, s.steal, s.memory, s.swap]
                .into_iter()
                .flatten()
                .chain(s.cores.iter().copied());
            for value in percents {
                prop_assert!((0.0..=100.0).contains(&value), "{value}");
            }
            let rates = [s.network_in, s.network_out, s.disk_read, s.disk_write, s.uptime];
            for value in rates.into_iter().flatten() {
                prop_assert!(value.is_finite() && value >= 0.0, "{value}");
            }
        }
    }

    #[test]
    fn garbage_in_the_slow_files_gives_nothing(text in anything()) {
        let _ = crate::host::mounts::parse(&text);
        let _ = crate::host::processes::parse(&text);
        let _ = crate::host::facts::os_name(&text);
        let _ = crate::host::facts::cpu_model(&text);
        let _ = crate::host::facts::machine_id(&text);
    }
}
