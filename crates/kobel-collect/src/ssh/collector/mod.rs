//! Reads a host's metrics over its connection: requests to loops that run there, and their answers.

mod answer;
mod framing;
mod requests;
mod script;
mod slow;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kobel_wire::{ContainerId, Facts, Sample, Timestamp};
use tokio::time::Instant;

use self::{
    requests::Requests,
    script::Ask,
    slow::{Slow, Wanted},
};
use super::remote::Remote;
use crate::{
    Target,
    host::{
        Deltas, Reading,
        cgroups::{Cgroups, News},
        network::NetworkRoles,
        processes::Units,
        thermal,
    },
};

pub(crate) use requests::LoopError;

/// How long an answer may take until the connection is given up. The device is shown as stale
/// long before.
const LIMIT: Duration = Duration::from_secs(30);

/// Sensors are read in each so many-th sample: some are slow.
const SENSORS_EACH: u64 = 5;

/// Which interfaces are bridges and bonds is looked up in each so many-th sample.
const ROLES_EACH: u64 = 30;

/// New containers are looked for in each so many-th sample, where samples come fast.
const CONTAINERS_EACH: u64 = 3;

/// What a host's samples are made of.
pub(crate) struct Collector {
    target: Target,
    requests: Requests,
    slow: Slow,
    deltas: Deltas,
    roles: NetworkRoles,
    temperature: Option<f64>,
    units: Units,
    number: u64,
    containers: Option<Containers>,
}

/// Containers by their cgroups.
#[derive(Default)]
struct Containers {
    /// Those that were found last, by the digits that answers have for each.
    known: BTreeMap<String, ContainerId>,
    cgroups: Cgroups,
    news: Option<News>,
}

/// What the host says of itself, and what it cannot give.
pub(crate) struct Introduced {
    pub(crate) facts: Facts,
    /// Why it gives few metrics or none, where it does.
    pub(crate) lacks: Option<String>,
}

impl Collector {
    /// Starts the loops on a host.
    pub(crate) async fn start(
        target: Target,
        remote: Arc<dyn Remote>,
    ) -> Result<(Self, Introduced), LoopError> {
        let mut requests = Requests::open(&*remote, &script::samples()).await?;
        let answer = requests.ask(&[Ask::Facts, Ask::Roles], LIMIT).await?;
        let host = answer::host(&answer);
        let lacks = match host.system.as_str() {
            "Linux" => None,
            "" => Some("it does not say what it is (uname is missing)".to_owned()),
            other => Some(format!(
                "it runs {other}, and Kobel reads Linux: only its filesystems can be shown"
            )),
        };
        let collector = Self {
            target,
            requests,
            slow: Slow::start(remote),
            deltas: Deltas::default(),
            roles: answer::roles(&answer),
            temperature: None,
            units: host.units,
            number: 0,
            containers: None,
        };
        Ok((collector, Introduced { facts: host.facts, lacks }))
    }

    /// Reads containers with each sample, too, by their cgroups.
    pub(crate) fn with_containers(&mut self) {
        self.containers = Some(Containers::default());
    }

    /// What the last sample brought of containers.
    pub(crate) fn containers(&mut self) -> Option<News> {
        self.containers.as_mut()?.news.take()
    }

    /// Reads the host once. `watched`: somebody looks at it this closely.
    pub(crate) async fn sample(&mut self, watched: bool) -> Result<Sample, LoopError> {
        let (sensors, roles) =
            (self.number.is_multiple_of(SENSORS_EACH), self.number.is_multiple_of(ROLES_EACH));
        let look = !watched || self.number.is_multiple_of(CONTAINERS_EACH);
        self.number += 1;
        let mut asked = vec![Ask::Tick { sensors }];
        if roles {
            asked.push(Ask::Roles);
        }
        if self.containers.is_some() {
            asked.push(Ask::Cgroups { look });
        }
        let wanted = Wanted { processes: watched };
        let alone = self.slow.want(wanted);
        asked.extend(alone);
        let answer = self.requests.ask(&asked, LIMIT).await?;
        let (now, at) = (Instant::now(), Timestamp::now());
        if alone.is_some() {
            self.slow.answered(&answer, now);
        }
        if roles {
            self.roles = answer::roles(&answer);
        }
        if sensors {
            self.temperature = thermal::processor(&answer::sensors(&answer));
        }
        let reading = Reading::parse(&answer::text(&answer), &self.roles);
        let mut sample = self.deltas.sample(self.target, reading, now, at);
        sample.temperature = self.temperature;
        sample.mounts = self.slow.mounts(now);
        let root = sample.mounts.iter().find(|mount| mount.path == "/");
        sample.disk = root.and_then(|m| crate::host::percent(m.used as f64, m.total as f64));
        if let Some(containers) = &mut self.containers {
            containers.read(&answer, look, &sample);
        }
        sample.processes = if watched { self.slow.busiest(self.units) } else { None };
        Ok(sample)
    }
}

impl Containers {
    fn read(&mut self, answer: &str, look: bool, sample: &Sample) {
        if look {
            self.known = answer::containers(answer);
        }
        // Without the host's own time there are no rates, and it is no host that has cgroups.
        let Some(uptime) = sample.uptime else { return };
        let reading = answer::cgroups(answer, &self.known);
        self.news =
            Some(self.cgroups.read(sample.device_uuid, uptime, sample.memory_total, reading));
    }
}
