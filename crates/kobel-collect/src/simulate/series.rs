//! How hosts that do not exist fare: every value a function of the seed, the host and the time, so
//! that a host costs nothing between two samples.
//!
//! A day's wave by the host's own clock, a calmer weekend, noise of several speeds, spikes, memory
//! that leaks until a service restarts, disks that fill until they are tidied, and a temperature
//! that follows the processor.

use std::f64::consts::TAU;

use kobel_wire::{Interface, Mount, Pressure, SERIES, Sample, Timestamp};

use super::host::Host;
use crate::Target;

/// Within this time there is at most one spike.
const SPIKES_EACH: f64 = 600.0;

/// The values of a host at one instant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values {
    cpu: f64,
    iowait: f64,
    steal: Option<f64>,
    load: [f64; 3],
    memory: f64,
    swap: Option<f64>,
    disk: f64,
    data: f64,
    disk_read: f64,
    disk_write: f64,
    temperature: Option<f64>,
    network_in: f64,
    network_out: f64,
    pressure: [f64; 3],
}

impl Host {
    /// How busy its users are, about 0 to 1, by the time of its day.
    fn day(&self, t: f64) -> f64 {
        let local = t + self.offset;
        let hour = local.rem_euclid(86_400.0) / 3_600.0;
        // Least at four in the morning, most at four in the afternoon.
        let wave = 0.5 - 0.5 * ((hour - 4.0) / 24.0 * TAU).cos();
        // 1970 began on a Thursday.
        let weekday = ((local / 86_400.0).floor() as i64 + 3).rem_euclid(7);
        let weekend = if weekday >= 5 { 0.6 } else { 1.0 };
        (wave * weekend + 0.08 * self.key.part(20).noise(t, 900.0)).clamp(0.0, 1.0)
    }

    /// What a spike adds, 0 to 1: seldom, for a minute or so.
    pub(super) fn spike(&self, t: f64) -> f64 {
        let cell = (t / SPIKES_EACH).floor();
        let key = self.key.part(21).part(cell as u64);
        if key.unit() > 0.06 {
            return 0.0;
        }
        let length = 20.0 + key.part(1).unit() * 100.0;
        let from = cell * SPIKES_EACH + key.part(2).unit() * (SPIKES_EACH - length);
        let (since, left) = (t - from, from + length - t);
        if since < 0.0 || left < 0.0 {
            return 0.0;
        }
        (since / 4.0).min(left / 8.0).min(1.0) * (0.5 + key.part(3).unit() / 2.0)
    }

    /// Processor time without its fastest noise, percent.
    fn calm_cpu(&self, t: f64) -> f64 {
        let (night, day) = self.role.cpu;
        let wave = night + day * self.day(t) * self.busy;
        let key = self.key.part(22);
        let noise = 1.0 + 0.22 * key.noise(t, 45.0) + 0.12 * key.part(1).noise(t, 9.0);
        wave * noise + 55.0 * self.spike(t)
    }

    /// The values at this time, seconds since 1970.
    pub(super) fn values(&self, t: f64) -> Values {
        let key = self.key;
        let day = self.day(t);
        let cpu = (self.calm_cpu(t) + 2.5 * key.part(23).noise(t, 1.0)).clamp(0.3, 100.0);
        let io = (0.5 + day) * (1.0 + 0.5 * key.part(24).noise(t, 3.0));
        let iowait = (self.role.disk.1 / 4e6 * io * (1.0 - cpu / 120.0)).clamp(0.0, 40.0);
        let steal = self
            .is_virtual
            .then(|| (0.4 + 0.6 * key.part(25).noise(t, 30.0) + cpu / 80.0).clamp(0.0, 20.0));
        let load = [5.0, 60.0, 300.0].map(|scale| {
            let slow = self.calm_cpu(t - scale / 2.0) + 1.5 * key.part(26).noise(t, scale);
            (f64::from(self.cores) * slow.max(0.2) / 100.0 * 1.1).max(0.0)
        });
        let memory = self.memory_at(t, day);
        let swap = self.swap.then(|| ((memory - 70.0) * 1.5).clamp(0.0, 100.0));
        let traffic = |part: u64, at_noon: f64| {
            let key = key.part(part);
            // Tens of percent from second to second, as traffic does.
            let noise = (0.35 * key.noise(t, 20.0) + 0.3 * key.part(1).noise(t, 1.5)).exp();
            at_noon * (0.12 + day * self.busy) * (1.0 + 2.0 * self.spike(t)) * noise
        };
        let temperature = (!self.is_virtual)
            .then(|| 34.0 + 0.42 * self.calm_cpu(t - 4.0) + 0.6 * key.part(30).noise(t, 6.0));
        Values {
            cpu,
            iowait,
            steal,
            load,
            memory,
            swap,
            disk: self.fill(t, 31),
            data: self.fill(t, 32),
            disk_read: traffic(33, self.role.disk.0),
            disk_write: traffic(34, self.role.disk.1),
            temperature: temperature.map(|at| at.min(97.0)),
            network_in: traffic(35, self.role.network.0),
            network_out: traffic(36, self.role.network.1),
            pressure: [(cpu - 55.0).max(0.0) * 0.6, (memory - 85.0).max(0.0) * 0.8, iowait * 0.9],
        }
    }

    /// Memory, percent: a level, what the day adds, and a leak until a restart.
    fn memory_at(&self, t: f64, day: f64) -> f64 {
        let key = self.key.part(40);
        let leaks = key.part(1).unit() < 0.25;
        let leak = if leaks {
            let period = 3_600.0 * (3.0 + key.part(2).unit() * 60.0);
            let phase = key.part(3).unit() * period;
            (t + phase) % period / period * (100.0 - self.role.memory) * 0.75
        } else {
            0.0
        };
        let level = self.role.memory * (0.85 + 0.3 * key.part(4).unit());
        let noise = 0.8 * key.noise(t, 120.0) + 0.1 * key.part(5).noise(t, 5.0);
        (level + 6.0 * day + leak + noise).clamp(2.0, 98.5)
    }

    /// How full a filesystem is, percent: it fills for days until it is tidied.
    fn fill(&self, t: f64, part: u64) -> f64 {
        let key = self.key.part(part);
        let period = 86_400.0 * (4.0 + key.unit() * 30.0);
        let phase = key.part(1).unit() * period;
        let (least, most) = (20.0 + key.part(2).unit() * 35.0, 8.0 + key.part(3).unit() * 35.0);
        (least + most * ((t + phase) % period / period)).min(99.0)
    }

    /// A sample at this time.
    pub(super) fn sample(&self, target: Target, at: Timestamp) -> Sample {
        let t = at.as_millis() as f64 / 1_000.0;
        let values = self.values(t);
        let [
            cpu,
            iowait,
            steal,
            _,
            memory,
            swap,
            disk,
            disk_read,
            disk_write,
            temperature,
            network_in,
            network_out,
            ..,
        ] = values.series();
        let part = |total: u64, percent: f64| (total as f64 * percent / 100.0) as u64;
        let mount = |path: &str, total: u64, percent: f64| Mount {
            path: path.to_owned(),
            fs: Some("ext4".to_owned()),
            used: part(total, percent),
            total,
        };
        let mut mounts = vec![mount("/", self.disks.0, values.disk)];
        mounts.extend(self.disks.1.map(|total| mount("/srv", total, values.data)));
        let core = |n: u32| {
            let key = self.key.part(1_000 + u64::from(n));
            let own = 0.6 + 0.8 * key.unit() + 0.4 * key.noise(t, 2.0);
            hundredths((values.cpu * own).clamp(0.0, 100.0))
        };
        let [cpu_waits, memory_waits, io_waits] = values.pressure.map(|p| Some(hundredths(p)));
        Sample {
            cpu,
            cores: (0..self.cores).map(core).collect(),
            iowait,
            steal,
            load: Some(values.load.map(hundredths)),
            memory,
            memory_used: Some(part(self.memory, values.memory)),
            memory_total: Some(self.memory),
            swap,
            disk,
            mounts,
            disk_read,
            disk_write,
            temperature,
            network_in,
            network_out,
            interfaces: vec![Interface {
                name: if self.is_virtual { "ens5" } else { "eno1" }.to_owned(),
                received: network_in.unwrap_or_default(),
                sent: network_out.unwrap_or_default(),
            }],
            pressure: Some(Pressure { cpu: cpu_waits, memory: memory_waits, io: io_waits }),
            uptime: Some(hundredths(self.uptime(t))),
            ..Sample::empty(target.device, target.id, at)
        }
    }
}

impl Values {
    /// In the order of [`SERIES`], as [`Sample::series`] gives them.
    pub(super) fn series(&self) -> [Option<f64>; SERIES.len()] {
        let [cpu, memory, io] = self.pressure;
        [
            Some(hundredths(self.cpu)),
            Some(hundredths(self.iowait)),
            self.steal.map(hundredths),
            Some(hundredths(self.load[0])),
            Some(hundredths(self.memory)),
            self.swap.map(hundredths),
            Some(hundredths(self.disk)),
            Some(self.disk_read.round()),
            Some(self.disk_write.round()),
            self.temperature.map(|at| (at * 10.0).round() / 10.0),
            Some(self.network_in.round()),
            Some(self.network_out.round()),
            Some(hundredths(cpu)),
            Some(hundredths(memory)),
            Some(hundredths(io)),
        ]
    }
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use kobel_wire::{DeviceId, DeviceUuid};

    use super::{super::host::hosts, *};

    const NOW: f64 = 1_795_000_000.0;

    #[test]
    fn values_are_those_of_a_host() {
        for host in hosts(3, 300) {
            for n in 0..200 {
                let t = NOW + f64::from(n) * 977.0;
                let series = host.values(t).series();
                for (name, value) in SERIES.iter().zip(series) {
                    let Some(value) = value else { continue };
                    let most = match *name {
                        "load1" => 200.0,
                        "diskRead" | "diskWrite" | "networkIn" | "networkOut" => 1.25e9,
                        _ => 100.0,
                    };
                    assert!((0.0..=most).contains(&value), "{name} {value} of {}", host.name);
                }
                assert_eq!(series[2].is_some(), host.is_virtual);
                assert_eq!(series[9].is_some(), !host.is_virtual);
            }
        }
    }

    #[test]
    fn a_sample_says_the_same_as_its_series_each_time() {
        let host = &hosts(3, 5)[4];
        let target = Target { device: DeviceUuid::generate(), id: DeviceId(1) };
        let at = Timestamp::from_millis(NOW as i64 * 1_000 + 500);
        let sample = host.sample(target, at);
        assert_eq!(sample, hosts(3, 5)[4].sample(target, at));
        assert_eq!(sample.series(), host.values(NOW + 0.5).series());
        assert_eq!(sample.cores.len(), host.cores as usize);
        let mean = sample.cores.iter().sum::<f64>() / sample.cores.len() as f64;
        assert!((mean / sample.cpu.unwrap() - 1.0).abs() < 0.5);
    }

    #[test]
    fn days_are_busier_than_nights_and_hosts_move_each_second() {
        let all = hosts(3, 200);
        let mean = |t: f64| all.iter().map(|h| h.values(t - h.offset).cpu).sum::<f64>() / 200.0;
        // A Wednesday, by each host's own clock.
        let midnight = (NOW / 86_400.0).floor() * 86_400.0;
        assert!(mean(midnight + 16.0 * 3_600.0) > 1.5 * mean(midnight + 4.0 * 3_600.0));
        let moved = all
            .iter()
            .filter(|h| h.values(NOW).series()[0] != h.values(NOW + 1.0).series()[0])
            .count();
        assert!(moved > 190, "{moved}");
        // But not wildly: a second is not a day.
        let jumps = all.iter().map(|h| (h.values(NOW).cpu - h.values(NOW + 1.0).cpu).abs());
        assert!(jumps.sum::<f64>() / 200.0 < 4.0);
    }

    #[test]
    fn memory_leaks_until_a_restart() {
        let drops = |host: &Host| {
            let at = |n: i32| host.values(NOW + f64::from(n) * 60.0).memory;
            (1..8_000).filter(|n| at(n - 1) - at(*n) > 5.0).count()
        };
        let leaking = hosts(3, 40).iter().filter(|host| drops(host) > 0).count();
        assert!((3..20).contains(&leaking), "{leaking}");
    }
}
