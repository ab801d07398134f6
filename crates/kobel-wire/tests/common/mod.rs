//! A made-up fleet, the same from the same seed, for tests and the bench of the encodings.

// Each test program uses a part of it.
#![allow(dead_code, unreachable_pub)]

use kobel_wire::{
    DeviceId, DeviceUuid, Interface, Mount, Pressure, Sample, Timestamp, metr::Record,
};

/// A generator of random numbers: splitmix64 (Steele, Lea, Flood, 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to 1.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About normal, with a deviation of 1: Irwin and Hall's sum.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.share()).sum::<f64>() - 6.0
    }
}

/// A host of the fleet.
struct Host {
    sample: Sample,
    random: Random,
    /// What its processor tends to, percent.
    load: f64,
    /// Its usual traffic, B/s.
    traffic: (f64, f64),
    /// When in a second it is read, ms.
    phase: i64,
}

/// Hosts that are read each second: processors that move by some percent, memory slowly, disks
/// seldom, temperatures by half a degree, traffic by tens of percent.
pub struct Fleet {
    hosts: Vec<Host>,
    now: i64,
}

impl Fleet {
    pub const START: i64 = 1_795_000_000_000;

    pub fn new(size: usize, seed: u64) -> Self {
        let hosts = (0..size).map(|n| Host::new(n as u64 + 1, seed)).collect();
        Self { hosts, now: Self::START }
    }

    /// The readings of the next second, and when it ends.
    pub fn tick(&mut self) -> (Timestamp, Vec<Sample>) {
        self.now += 1_000;
        let now = self.now;
        let samples = self.hosts.iter_mut().map(|host| host.read(now)).collect();
        (Timestamp::from_millis(now), samples)
    }
}

impl Host {
    fn new(id: u64, seed: u64) -> Self {
        let mut random = Random(seed ^ id.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let uuid = format!("0198c0de-{:04x}-7000-8000-{id:012x}", random.next() as u16);
        let uuid: DeviceUuid = uuid.parse().expect("a UUID");
        let mut sample = Sample::empty(uuid, DeviceId(id), Timestamp::from_millis(Fleet::START));
        let cores = 1usize << (1 + random.next() % 5);
        let total = 1u64 << (31 + random.next() % 6);
        let disk = (20.0 + 70.0 * random.share()) * 1e9;
        let load = 2.0 + 60.0 * random.share() * random.share();
        sample.cpu = Some(load);
        sample.cores = vec![load; cores];
        sample.memory_total = Some(total);
        sample.memory_used = Some((total as f64 * (0.1 + 0.8 * random.share())) as u64);
        sample.swap = random.next().is_multiple_of(3).then_some(0.0);
        sample.mounts = vec![
            Mount {
                path: "/".into(),
                fs: Some("ext4".into()),
                used: disk as u64,
                total: 100_000_000_000,
            },
            Mount {
                path: "/boot".into(),
                fs: Some("ext4".into()),
                used: 210_000_000,
                total: 990_000_000,
            },
        ];
        // A virtual machine has no thermometer.
        sample.temperature =
            (!random.next().is_multiple_of(4)).then(|| 35.0 + 30.0 * random.share());
        sample.uptime = Some((random.share() * 1e7).round());
        sample.pressure = Some(Pressure { cpu: Some(0.0), memory: Some(0.0), io: Some(0.0) });
        let traffic =
            (10f64.powf(3.0 + 4.0 * random.share()), 10f64.powf(3.0 + 4.0 * random.share()));
        let phase = (random.next() % 1000) as i64;
        Self { sample, random, load, traffic, phase }
    }

    fn read(&mut self, now: i64) -> Sample {
        let (sample, random) = (&mut self.sample, &mut self.random);
        let hundredths = |value: f64| (value * 100.0).round() / 100.0;
        // Read when it is due, give or take what a timer does.
        let late = (random.normal().abs() * 2.0) as i64;
        sample.sampled_at = Timestamp::from_millis(now - 1_000 + self.phase + late);

        let before = sample.cpu.unwrap_or(self.load);
        let cpu = before + 0.3 * (self.load - before) + 2.5 * random.normal();
        let cpu = hundredths(cpu.clamp(0.0, 100.0));
        sample.cpu = Some(cpu);
        for core in &mut sample.cores {
            *core = hundredths((cpu + 8.0 * random.normal()).clamp(0.0, 100.0));
        }
        sample.iowait = Some(hundredths((0.4 * random.normal()).max(0.0)));
        sample.steal = Some(0.0);
        let load = cpu / 100.0 * sample.cores.len() as f64;
        sample.load = Some([load, load * 0.9, load * 0.8].map(hundredths));

        let total = sample.memory_total.unwrap_or(1) as f64;
        let used = sample.memory_used.unwrap_or(0) as f64 + total * 2e-4 * random.normal();
        sample.memory_used = Some(used.clamp(total * 0.05, total) as u64);
        sample.memory = Some(used.clamp(total * 0.05, total) / total * 100.0);
        if random.next().is_multiple_of(20) {
            sample.mounts[0].used += random.next() % 20_000_000;
        }
        sample.disk = Some(sample.mounts[0].used as f64 / sample.mounts[0].total as f64 * 100.0);
        sample.disk_read = Some((random.share() * random.share() * 2e6).round());
        sample.disk_write = Some((random.share() * 3e6).round());
        if let Some(temperature) = &mut sample.temperature {
            let drift = 0.05 * (45.0 + cpu / 4.0 - *temperature);
            *temperature = hundredths(*temperature + drift + 0.5 * random.normal());
        }
        let mut noisy = |usual: f64| hundredths(usual * (0.3 * random.normal()).exp());
        let (received, sent) = (noisy(self.traffic.0), noisy(self.traffic.1));
        (sample.network_in, sample.network_out) = (Some(received), Some(sent));
        sample.interfaces = vec![Interface { name: "eth0".into(), received, sent }];
        sample.uptime = sample.uptime.map(|uptime| uptime + 1.0);
        sample.clone()
    }
}

/// The records of these samples.
pub fn records(samples: &[Sample]) -> Vec<Record> {
    samples.iter().map(Record::from).collect()
}
