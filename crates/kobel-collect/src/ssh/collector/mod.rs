//! Reads a host's metrics over its connection: requests to loops that run there, and their answers.

mod answer;
mod framing;
mod requests;
mod script;
mod slow;

use std::{sync::Arc, time::Duration};

use kobel_wire::{Facts, Sample, Timestamp};
use tokio::time::Instant;

use self::{
    requests::Requests,
    script::Ask,
    slow::{Slow, Wanted},
};
use super::remote::Remote;
use crate::{
    Target,
    host::{Deltas, Reading, network::NetworkRoles, processes::Units, thermal},
};

pub(crate) use requests::LoopError;

/// How long an answer may take until the connection is given up. The device is shown as stale
/// long before.
const LIMIT: Duration = Duration::from_secs(30);

/// Sensors are read in each so many-th sample: some are slow.
const SENSORS_EACH: u64 = 5;

/// Which interfaces are bridges and bonds is looked up in each so many-th sample.
const ROLES_EACH: u64 = 30;

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
        };
        Ok((collector, Introduced { facts: host.facts, lacks }))
    }

    /// Reads the host once. `watched`: somebody looks at it this closely.
    pub(crate) async fn sample(&mut self, watched: bool) -> Result<Sample, LoopError> {
        let (sensors, roles) =
            (self.number.is_multiple_of(SENSORS_EACH), self.number.is_multiple_of(ROLES_EACH));
        self.number += 1;
        let mut asked = vec![Ask::Tick { sensors }];
        if roles {
            asked.push(Ask::Roles);
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
        sample.processes = if watched { self.slow.busiest(self.units) } else { None };
        Ok(sample)
    }
}
