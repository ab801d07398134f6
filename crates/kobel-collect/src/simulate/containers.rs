//! Containers that do not exist: their lives as functions of the seed, the host and the time.
//!
//! A life is a row of equal cycles. Each begins with a short time down, then the container comes
//! up, is soon healthy, and at the end of some cycles is not. After some cycles it is made anew,
//! with another id, as a deployment does.

use kobel_wire::{Container, ContainerId, ContainerState, Health, Timestamp};

use super::{host::Host, noise::Key};
use crate::Target;

/// A Compose service: name, image, whether it has a health check, MB of memory.
type Service = (&'static str, &'static str, bool, u64);

/// Compose projects and their services.
const PROJECTS: &[(&str, &[Service])] = &[
    (
        "shop",
        &[
            ("web", "registry.example.com/shop/web:2.41", true, 180),
            ("api", "registry.example.com/shop/api:2.41", true, 420),
            ("worker", "registry.example.com/shop/api:2.41", false, 350),
            ("redis", "redis:8.2-alpine", true, 90),
            ("postgres", "postgres:18", true, 900),
        ],
    ),
    (
        "observe",
        &[
            ("agent", "grafana/alloy:v1.11", false, 150),
            ("node-exporter", "prom/node-exporter:v1.10", false, 25),
            ("vector", "timberio/vector:0.50-alpine", true, 110),
        ],
    ),
    (
        "media",
        &[
            ("ingest", "registry.example.com/media/ingest:1.9", true, 260),
            ("transcode", "registry.example.com/media/transcode:1.9", false, 1_400),
            ("nginx", "nginx:1.29", true, 40),
        ],
    ),
];

/// What kind of life a container has.
#[derive(Debug, Clone, Copy)]
struct Life {
    /// Seconds of a cycle, and how far into one 1970 began.
    period: u64,
    phase: u64,
    /// Cycles until it is made anew.
    cycles: u64,
    /// Seconds down at the begin of a cycle; then seconds until it is healthy.
    down: u64,
    warm: u64,
    /// Seconds at the end of a cycle in which its health check fails.
    ill: u64,
    /// It crashes, and the engine restarts it.
    crashes: bool,
    /// It does not run.
    stopped: bool,
}

/// What a container does at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Down,
    Warming,
    Well,
    Ill,
}

/// One of a host's containers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nature {
    key: Key,
    number: u16,
    life: Life,
    project: &'static str,
    service: Service,
}

/// Where a life is at one time.
#[derive(Debug, Clone, Copy)]
struct At {
    generation: u64,
    /// Of this generation.
    cycle: u64,
    /// When the generation and the cycle began, seconds since 1970; the first may have before.
    made: u64,
    begun: u64,
    stage: Stage,
    /// When the stage ends.
    until: u64,
}

impl Nature {
    /// The container of this number on a host.
    pub(super) fn of(host: &Host, number: u16) -> Self {
        let key = host.key.part(10_000 + u64::from(number));
        let first = host.key.part(9_999).below(PROJECTS.len() as u64) as usize;
        // Projects in turn, each whole before the next.
        let (mut project, mut service) = (first, usize::from(number));
        while service >= PROJECTS[project].1.len() {
            service -= PROJECTS[project].1.len();
            project = (project + 1) % PROJECTS.len();
        }
        let (project, services) = PROJECTS[project];
        Self { key, number, life: Life::new(key.part(1)), project, service: services[service] }
    }

    fn at(&self, t: u64) -> At {
        let life = &self.life;
        let (whole, part) = ((t + life.phase) / life.period, (t + life.phase) % life.period);
        let begun = t - part.min(t);
        let (generation, cycle) = (whole / life.cycles, whole % life.cycles);
        let made = begun.saturating_sub(cycle * life.period);
        let ill_from = life.period - life.ill;
        let (stage, end) = match part {
            part if part < life.down => (Stage::Down, life.down),
            part if part < life.down + life.warm => (Stage::Warming, life.down + life.warm),
            part if part < ill_from => (Stage::Well, ill_from),
            _ => (Stage::Ill, life.period),
        };
        At { generation, cycle, made, begun, stage, until: t + (end - part) }
    }

    /// What decides over it.
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// Whether it runs.
    pub(super) fn is_up(&self, t: u64) -> bool {
        !self.life.stopped && self.at(t).stage != Stage::Down
    }

    /// When the container of this id was made and when it is made anew, where it is this one now or
    /// was before it was last made anew.
    pub(super) fn life_of(&self, id: &ContainerId, t: u64) -> Option<(u64, u64)> {
        let now = self.at(t);
        let length = self.life.period * self.life.cycles;
        let is = |generation| self.id(generation).is_some_and(|own| own == *id);
        if is(now.generation) {
            return Some((now.made, now.made + length));
        }
        is(now.generation.checked_sub(1)?).then(|| (now.made.saturating_sub(length), now.made))
    }

    /// When it changes next, seconds since 1970.
    pub(super) fn next_change(&self, t: u64) -> u64 {
        self.at(t).until
    }

    fn id(&self, generation: u64) -> Option<ContainerId> {
        let key = self.key.part(2).part(generation);
        let digits: Vec<_> = (0..4).map(|n| format!("{:016x}", key.part(n).bits())).collect();
        digits.concat().parse().ok()
    }

    /// The container that was made anew at this time, as it was before: it is gone.
    pub(super) fn gone(&self, target: Target, t: u64, host_memory: u64) -> Option<Container> {
        let now = self.at(t);
        let before = self.at(t.checked_sub(1)?);
        if before.generation == now.generation {
            return None;
        }
        let mut container = self.container(target, t - 1, host_memory)?;
        container.state = ContainerState::Removed;
        Some(container)
    }

    /// The container at this time; `host_memory` is its host's, bytes.
    pub(super) fn container(&self, target: Target, t: u64, host_memory: u64) -> Option<Container> {
        let at = self.at(t);
        let (service, image, has_check, megabytes) = self.service;
        let life = &self.life;
        let up_since = at.begun + life.down;
        let running = !life.stopped && at.stage != Stage::Down;
        let health = match at.stage {
            _ if !has_check || !running => None,
            Stage::Warming => Some(Health::Starting),
            Stage::Ill => Some(Health::Unhealthy),
            Stage::Well | Stage::Down => Some(Health::Healthy),
        };
        let exit_code = if life.crashes { 137 } else { 0 };
        let (state, status, since) = if running {
            let health = match health {
                Some(Health::Starting) => " (health: starting)",
                Some(Health::Healthy) => " (healthy)",
                Some(Health::Unhealthy) => " (unhealthy)",
                None => "",
            };
            let status = format!("Up {}{health}", spoken(t - up_since.min(t)));
            (ContainerState::Running, status, up_since)
        } else if life.crashes && !life.stopped {
            let status = format!("Restarting ({exit_code}) {} ago", spoken(t - at.begun));
            (ContainerState::Restarting, status, at.begun.saturating_sub(life.period))
        } else {
            let status = format!("Exited ({exit_code}) {} ago", spoken(t - at.begun));
            (ContainerState::Exited, status, at.begun.saturating_sub(life.period))
        };
        let time = |seconds: u64| Some(Timestamp::from_millis(seconds as i64 * 1_000));
        let mut container = Container {
            device_uuid: target.device,
            container_id: self.id(at.generation)?,
            name: format!("{}-{service}-{}", self.project, 1 + self.number / 11),
            image: image.to_owned(),
            project: Some(self.project.to_owned()),
            service: Some(service.to_owned()),
            state,
            status,
            health,
            exit_code: (!running).then_some(exit_code),
            created_at: time(at.made),
            started_at: time(since),
            restart_count: Some(if life.crashes { at.cycle } else { 0 }),
            logs: None,
            cpu: None,
            memory: None,
            memory_limit: None,
            network_in: None,
            network_out: None,
            block_read: None,
            block_write: None,
            pids: None,
        };
        if running {
            self.figures(&mut container, t as f64, megabytes, host_memory);
        }
        Some(container)
    }

    fn figures(&self, container: &mut Container, t: f64, megabytes: u64, host_memory: u64) {
        let key = self.key.part(3);
        let level = |part: u64| {
            let key = key.part(part);
            (0.5 * key.noise(t, 60.0) + 0.4 * key.part(1).noise(t, 4.0)).exp()
        };
        let busy = 2.0 + 28.0 * key.unit();
        let memory =
            (megabytes as f64 * 1_048_576.0 * (0.85 + 0.15 * key.part(1).noise(t, 300.0))) as u64;
        container.cpu = Some((busy * level(2) * 100.0).round() / 100.0);
        container.memory = Some(memory.min(host_memory));
        container.memory_limit = Some(host_memory);
        container.network_in = Some((40_000.0 * busy * level(3)).round());
        container.network_out = Some((70_000.0 * busy * level(4)).round());
        container.block_read = Some((2_000.0 * busy * level(5)).round());
        container.block_write = Some((9_000.0 * busy * level(6)).round());
        container.pids = Some(2 + key.part(7).below(40));
    }
}

impl Life {
    fn new(key: Key) -> Self {
        const HOUR: u64 = 3_600;
        let one = |part: u64, from: u64, to: u64| from + key.part(part).below(to - from);
        let phase = key.part(9).bits() >> 32;
        let quiet = Self {
            period: one(1, 6 * HOUR, 96 * HOUR),
            phase,
            cycles: one(2, 1, 8),
            down: one(3, 2, 6),
            warm: one(4, 5, 20),
            ill: if key.part(5).unit() < 0.1 { one(6, 60, 300) } else { 0 },
            crashes: false,
            stopped: false,
        };
        match key.below(1_000) {
            0..20 => Self { stopped: true, ..quiet },
            // In a crash loop: until somebody mends it, which is days.
            20..35 => Self {
                period: one(1, 90, 240),
                cycles: one(2, 400, 2_000),
                down: one(3, 5, 25),
                ill: one(6, 5, 20),
                crashes: true,
                ..quiet
            },
            // Short jobs and what is deployed all the time.
            35..120 => Self { period: one(1, 600, 3_000), cycles: one(2, 1, 3), ..quiet },
            _ => quiet,
        }
    }
}

/// A length of time in the words of `docker ps`.
fn spoken(seconds: u64) -> String {
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3_600 => format!("{} minutes", seconds / 60),
        3_600..7_200 => "About an hour".to_owned(),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use kobel_wire::{DeviceId, DeviceUuid};

    use super::{super::host::hosts, *};

    const NOW: u64 = 1_795_000_000;

    fn target() -> Target {
        let device: DeviceUuid = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
        Target { device, id: DeviceId(1) }
    }

    #[test]
    fn nothing_but_figures_changes_between_two_changes() {
        let comparable = |mut container: Container| {
            container.status = container.status.split_whitespace().next().unwrap().to_owned();
            (container.cpu, container.memory, container.memory_limit) = (None, None, None);
            (container.network_in, container.network_out) = (None, None);
            (container.block_read, container.block_write, container.pids) = (None, None, None);
            container
        };
        for host in hosts(5, 30) {
            for number in 0..10 {
                let nature = Nature::of(&host, number);
                let mut t = NOW;
                for _ in 0..20 {
                    let next = nature.next_change(t);
                    assert!(next > t);
                    let at = |t| comparable(nature.container(target(), t, host.memory).unwrap());
                    for between in [t + 1, (t + next) / 2, next - 1] {
                        assert_eq!(at(t), at(between.clamp(t, next - 1)));
                    }
                    let gone = nature.gone(target(), t, host.memory);
                    assert!(gone.is_none_or(|gone| gone.container_id != at(t).container_id));
                    t = next;
                }
            }
        }
    }

    #[test]
    fn most_run_and_some_do_not() {
        let mut states: Vec<_> = Vec::new();
        let mut ids = HashSet::new();
        let (mut restarts, mut changes) = (0, 0);
        for host in hosts(5, 200) {
            for number in 0..10 {
                let nature = Nature::of(&host, number);
                let container = nature.container(target(), NOW, host.memory).unwrap();
                assert!(ids.insert(container.container_id.clone()));
                assert!(container.memory.is_none_or(|m| m <= host.memory));
                restarts += container.restart_count.unwrap();
                changes += u32::from(nature.next_change(NOW) < NOW + 600);
                states.push(container.state);
            }
        }
        let running = states.iter().filter(|s| **s == ContainerState::Running).count();
        assert!((1_800..1_990).contains(&running), "{running}");
        assert!(states.contains(&ContainerState::Exited) && restarts > 100);
        assert!(changes > 50, "{changes} change within ten minutes");
    }

    #[test]
    fn a_host_s_containers_have_names_of_their_own() {
        for host in hosts(5, 50) {
            let names: HashSet<_> = (0..60)
                .map(|n| Nature::of(&host, n).container(target(), NOW, 1).unwrap().name)
                .collect();
            assert_eq!(names.len(), 60, "{names:?}");
        }
    }

    #[test]
    fn time_is_spoken_as_docker_does() {
        for (seconds, said) in [
            (0, "Less than a second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (7_199, "About an hour"),
            (90_000, "25 hours"),
        ] {
            assert_eq!(spoken(seconds), said);
        }
    }
}
