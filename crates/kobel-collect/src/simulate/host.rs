//! Hosts that do not exist: what they are.

use kobel_wire::{Engine, EngineKind, EngineState, Facts, Timestamp};

use super::noise::Key;
use crate::agent::Claim;

/// What a host is for, which decides how it behaves.
#[derive(Debug, PartialEq)]
pub(super) struct Role {
    pub(super) name: &'static str,
    /// Of a hundred hosts so many.
    share: u64,
    /// Processor time of a quiet night, and what a day adds, percent.
    pub(super) cpu: (f64, f64),
    /// Memory, percent.
    pub(super) memory: f64,
    /// Received and sent at noon, bytes per second.
    pub(super) network: (f64, f64),
    /// Read and written at noon, bytes per second.
    pub(super) disk: (f64, f64),
    /// Whether it has a disk for its data.
    pub(super) data: bool,
    /// Cores to choose from.
    cores: &'static [u32],
    /// GB of memory for a core.
    memory_each: u64,
}

const MB: f64 = 1e6;

pub(super) const ROLES: &[Role] = &[
    Role {
        name: "web",
        share: 30,
        cpu: (6.0, 32.0),
        memory: 38.0,
        network: (3.0 * MB, 18.0 * MB),
        disk: (0.1 * MB, 0.6 * MB),
        data: false,
        cores: &[2, 4, 4, 8],
        memory_each: 2,
    },
    Role {
        name: "api",
        share: 18,
        cpu: (10.0, 38.0),
        memory: 52.0,
        network: (5.0 * MB, 8.0 * MB),
        disk: (0.1 * MB, 0.4 * MB),
        data: false,
        cores: &[4, 8, 8, 16],
        memory_each: 4,
    },
    Role {
        name: "db",
        share: 12,
        cpu: (12.0, 25.0),
        memory: 74.0,
        network: (6.0 * MB, 14.0 * MB),
        disk: (8.0 * MB, 14.0 * MB),
        data: true,
        cores: &[8, 16, 16, 32],
        memory_each: 8,
    },
    Role {
        name: "cache",
        share: 8,
        cpu: (5.0, 14.0),
        memory: 66.0,
        network: (20.0 * MB, 45.0 * MB),
        disk: (0.0, 0.2 * MB),
        data: false,
        cores: &[4, 8],
        memory_each: 8,
    },
    Role {
        name: "worker",
        share: 14,
        cpu: (35.0, 22.0),
        memory: 45.0,
        network: (4.0 * MB, 3.0 * MB),
        disk: (2.0 * MB, 3.0 * MB),
        data: false,
        cores: &[4, 8, 16],
        memory_each: 2,
    },
    Role {
        name: "queue",
        share: 5,
        cpu: (7.0, 16.0),
        memory: 41.0,
        network: (7.0 * MB, 7.0 * MB),
        disk: (0.5 * MB, 6.0 * MB),
        data: true,
        cores: &[4, 8],
        memory_each: 4,
    },
    Role {
        name: "ci",
        share: 5,
        cpu: (3.0, 60.0),
        memory: 35.0,
        network: (9.0 * MB, 2.0 * MB),
        disk: (6.0 * MB, 20.0 * MB),
        data: true,
        cores: &[16, 32, 64],
        memory_each: 4,
    },
    Role {
        name: "store",
        share: 4,
        cpu: (4.0, 8.0),
        memory: 48.0,
        network: (30.0 * MB, 40.0 * MB),
        disk: (35.0 * MB, 28.0 * MB),
        data: true,
        cores: &[8, 16],
        memory_each: 4,
    },
    Role {
        name: "edge",
        share: 4,
        cpu: (8.0, 20.0),
        memory: 29.0,
        network: (60.0 * MB, 62.0 * MB),
        disk: (0.0, 0.1 * MB),
        data: false,
        cores: &[4, 8],
        memory_each: 2,
    },
];

/// A region and how far its clock is from UTC, hours.
const REGIONS: &[(&str, f64)] =
    &[("eu-central", 1.0), ("us-east", -5.0), ("us-west", -8.0), ("ap-south", 5.5)];

const MODELS: &[(&str, bool)] = &[
    ("AMD EPYC 9454P", false),
    ("Intel Xeon Gold 6430", false),
    ("AMD EPYC 7763 (virtual)", true),
    ("Intel Xeon Platinum 8375C (virtual)", true),
];

const SYSTEMS: &[(&str, &str)] = &[
    ("Debian GNU/Linux 13 (trixie)", "Linux 6.12.48+deb13-amd64"),
    ("Debian GNU/Linux 12 (bookworm)", "Linux 6.1.0-40-amd64"),
    ("Ubuntu 24.04.3 LTS", "Linux 6.8.0-85-generic"),
    ("AlmaLinux 9.6", "Linux 5.14.0-570.el9.x86_64"),
];

/// How reliable a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Good,
    /// Goes away for a while, again and again: period and time away, seconds.
    Flaps(u64, u64),
    Dead,
}

/// A host.
#[derive(Debug)]
pub(super) struct Host {
    /// Its number in the fleet.
    pub(super) number: u32,
    pub(super) key: Key,
    pub(super) name: String,
    pub(super) role: &'static Role,
    region: &'static str,
    /// Of its clock from UTC, seconds.
    pub(super) offset: f64,
    pub(super) cores: u32,
    /// Bytes.
    pub(super) memory: u64,
    /// Bytes of the root filesystem and of that for data.
    pub(super) disks: (u64, Option<u64>),
    pub(super) swap: bool,
    /// A virtual machine: time is stolen from it, and it has no thermometer.
    pub(super) is_virtual: bool,
    /// How much busier or calmer it is than its likes.
    pub(super) busy: f64,
    /// How long until it is rebooted, seconds.
    reboots: u64,
    fate: Fate,
}

/// The first hosts of the fleet of this seed. A larger fleet begins with the same ones.
pub(super) fn hosts(seed: u64, count: u32) -> Vec<Host> {
    let world = Key::new(seed);
    let mut numbers = [0_u32; ROLES.len()];
    (0..count)
        .map(|number| {
            let key = world.part(u64::from(number) + 1);
            let role = role(key.part(1));
            numbers[role] += 1;
            Host::new(number, key, &ROLES[role], numbers[role])
        })
        .collect()
}

fn role(key: Key) -> usize {
    let mut left = key.below(ROLES.iter().map(|role| role.share).sum());
    for (n, role) in ROLES.iter().enumerate() {
        match left.checked_sub(role.share) {
            Some(rest) => left = rest,
            None => return n,
        }
    }
    0
}

impl Host {
    fn new(number: u32, key: Key, role: &'static Role, of_role: u32) -> Self {
        let (region, hours) = key.part(2).pick(REGIONS);
        let cores = key.part(3).pick(role.cores);
        let (_, is_virtual) = key.part(4).pick(MODELS);
        let gb = 1_u64 << 30;
        let data = role.data.then(|| key.part(6).pick(&[500, 1_000, 2_000, 4_000, 8_000]) * gb);
        let fate = match key.part(7).below(1_000) {
            0..5 => Fate::Dead,
            5..15 => Fate::Flaps(600 + key.part(8).below(2_400), 45 + key.part(9).below(120)),
            _ => Fate::Good,
        };
        Self {
            number,
            key,
            name: format!("{}-{of_role:02}", role.name),
            role,
            region,
            offset: hours * 3_600.0,
            cores,
            memory: u64::from(cores) * role.memory_each * gb,
            disks: (key.part(5).pick(&[40, 80, 160]) * gb, data),
            swap: key.part(10).unit() < 0.4,
            is_virtual,
            busy: 0.5 + key.part(11).unit(),
            reboots: 86_400 * (10 + key.part(12).below(190)),
            fate,
        }
    }

    /// What the agent knows it by.
    pub(super) fn source_key(&self) -> String {
        format!("host-{}", self.number)
    }

    /// Whether it can be reached at this time, seconds since 1970.
    pub(super) fn is_up(&self, t: u64) -> bool {
        match self.fate {
            Fate::Good => true,
            Fate::Dead => false,
            Fate::Flaps(period, away) => (t + self.key.part(13).below(period)) % period >= away,
        }
    }

    /// How long it has been up since its last boot, seconds.
    pub(super) fn uptime(&self, t: f64) -> f64 {
        let phase = self.key.part(14).below(self.reboots) as f64;
        (t + phase) % self.reboots as f64
    }

    /// What is claimed of it.
    pub(super) fn claim(&self, wall: Timestamp) -> Claim {
        let (os, kernel) = self.key.part(15).pick(SYSTEMS);
        let (model, _) = self.key.part(4).pick(MODELS);
        let now = wall.as_millis();
        let up = (self.uptime((now / 1_000) as f64) * 1_000.0) as i64;
        let environment = if self.key.part(16).unit() < 0.85 { "prod" } else { "staging" };
        let tags = [self.role.name, self.region, environment];
        Claim {
            key: self.source_key(),
            name: self.name.clone(),
            tags: tags.map(str::to_owned).to_vec(),
            facts: Facts {
                hostname: self.name.clone(),
                os: Some(os.to_owned()),
                kernel: Some(kernel.to_owned()),
                arch: Some("x86_64".to_owned()),
                cpu_model: Some(model.to_owned()),
                cpu_count: Some(self.cores),
                booted_at: Some(Timestamp::from_millis(now - up)),
            },
            engine: Engine {
                state: EngineState::Connected,
                kind: Some(EngineKind::Docker),
                version: Some(self.key.part(17).pick(&["28.5.1", "27.5.1", "26.1.5"]).to_owned()),
                endpoint: Some("unix:///var/run/docker.sock".to_owned()),
                message: None,
                since: wall,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_larger_fleet_begins_with_the_same_hosts() {
        let (few, many) = (hosts(1, 20), hosts(1, 1_000));
        for (a, b) in few.iter().zip(&many) {
            assert_eq!((&a.name, a.memory, a.key), (&b.name, b.memory, b.key));
        }
        assert_ne!(hosts(2, 1)[0].key, few[0].key);
        let names: HashSet<_> = many.iter().map(|host| &host.name).collect();
        assert_eq!(names.len(), many.len());
        let web = many.iter().filter(|host| host.role.name == "web").count();
        assert!((250..350).contains(&web), "{web}");
    }

    #[test]
    fn some_are_dead_and_some_come_and_go() {
        let all = hosts(1, 10_000);
        let down = |t| all.iter().filter(|host| !host.is_up(t)).count();
        assert!((30..130).contains(&down(1_795_000_000)), "{}", down(1_795_000_000));
        let comes_back = |host: &&Host| {
            let ups: HashSet<_> = (0..4_000).map(|s| host.is_up(1_795_000_000 + s)).collect();
            ups.len() == 2
        };
        assert!(all.iter().filter(comes_back).count() > 50);
    }
}
