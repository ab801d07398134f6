//! The protocol, from the hub's side, for one connection: messages in, messages and requests to the
//! store out. What was reported goes to the ingest, which never makes anybody wait.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use kobel_hub::{demand::Need, ingest::Ingest, logs::live::LogSource, store::StoredDevice};
use kobel_wire::{
    Container, ContainerState, Device, DeviceState, DeviceUuid, SourceKind, Timestamp,
    proto::{
        AgentHello, ClaimsAnswer, ContainerReport, DeviceClaims, HubAck, HubMessage, HubRefusal,
        HubWelcome, LogAck, LogStop, Needs, NumberedReport, RefusalCode, RefusedClaim, Released,
        Reports, SourceKind as WireSource, agent_message, hub_message, numbered_report,
    },
};
use tokio::time::Instant;

use super::{
    Claim, MAX_DEVICES, VERSIONS,
    admit::{self, Admit},
    identity,
    logs::{Command, LogRelay, TooOld},
    outbox::INVENTORY,
    registry::{LinkId, Progress, Registry, RunName},
    stats::{AgentStats, RefusedReason},
};
use crate::{Target, text::clean};

/// The most containers of a device, known at the same time.
const CONTAINERS: usize = 1_000;

/// The most devices of one portion of claims.
const PORTION: usize = 2_000;

/// What follows from a message.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing.
    Nothing,
    /// This is said to the agent.
    Say(HubMessage),
    /// The store must say which devices these are; [`Session::claimed`] goes on.
    Claim(Claims),
}

/// What an agent claims, while the store is asked.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) source: SourceKind,
    /// The agent's index of each and what it is known by in the store.
    pub(super) devices: Vec<(u32, String, Claim)>,
    refused: Vec<RefusedClaim>,
}

/// What follows from claims.
pub(super) struct Admitted {
    /// Devices that the hub must know before the answer goes.
    pub(super) devices: Vec<Device>,
    pub(super) answer: HubMessage,
}

struct Speaking {
    link: LinkId,
    instance: String,
    software: String,
    source: SourceKind,
    logs: bool,
    run: Arc<RunName>,
    progress: Arc<Mutex<Progress>>,
}

struct Spoken {
    target: Target,
    containers: Arc<Mutex<HashSet<u64>>>,
}

/// The hub's side of one connection.
pub(super) struct Session {
    registry: Registry,
    ingest: Ingest,
    stats: Arc<AgentStats>,
    link: LinkId,
    speaking: Option<Speaking>,
    devices: HashMap<u32, Spoken>,
    indexes: HashMap<DeviceUuid, u32>,
    logs: LogRelay,
    /// Bytes of lines that were taken in, and of those that the agent knows of.
    lines: u64,
    lines_acked: u64,
}

impl Session {
    pub(super) fn new(
        registry: Registry,
        ingest: Ingest,
        stats: Arc<AgentStats>,
        link: LinkId,
        logs: LogRelay,
    ) -> Self {
        Self {
            registry,
            ingest,
            stats,
            link,
            speaking: None,
            devices: HashMap::new(),
            indexes: HashMap::new(),
            logs,
            lines: 0,
            lines_acked: 0,
        }
    }

    /// Who speaks, for logs; empty before the hello.
    pub(super) fn name(&self) -> (&str, &str) {
        self.speaking.as_ref().map_or(("", ""), |s| (&s.instance, &s.software))
    }

    /// Whether the agent has said who it is.
    pub(super) fn has_begun(&self) -> bool {
        self.speaking.is_some()
    }

    /// How many devices it speaks for.
    pub(super) fn device_count(&self) -> usize {
        self.devices.len()
    }

    /// Takes a message.
    ///
    /// # Errors
    /// Why the link must end, in words for the agent.
    pub(super) fn receive(
        &mut self,
        bytes: &Bytes,
        wall: Timestamp,
        now: Instant,
    ) -> Result<Step, HubRefusal> {
        self.stats.received(bytes.len());
        let message = admit::read(bytes).map_err(|error| self.protocol(&error.to_string()))?;
        let admit = Admit::new(message.sent_at_ms, wall);
        match (message.body, &self.speaking) {
            (Some(agent_message::Body::Hello(hello)), None) => self.hello(&hello, now),
            (Some(agent_message::Body::Hello(_)), Some(_)) => Err(self.protocol("a second hello")),
            (_, None) => Err(self.protocol("the first message must be the hello")),
            (Some(agent_message::Body::Claims(claims)), Some(_)) => self.claims(claims, admit),
            (Some(agent_message::Body::Reports(reports)), Some(_)) => self.reports(reports, admit),
            (Some(agent_message::Body::Log(chunk)), Some(_)) => {
                self.logs.take(self.link, chunk);
                Ok(self.took_lines(bytes.len()))
            }
            // Something that a later version says beside the rest.
            (None, Some(_)) => Ok(Step::Nothing),
        }
    }

    /// The agent is told of every quarter of its window.
    fn took_lines(&mut self, bytes: usize) -> Step {
        self.lines += bytes as u64;
        if self.lines - self.lines_acked < super::logs::WINDOW / 4 {
            return Step::Nothing;
        }
        self.lines_acked = self.lines;
        Step::Say(say(hub_message::Body::LogAck(LogAck { bytes: self.lines })))
    }

    /// Where the logs of its devices come from.
    pub(super) fn log_source(&self, device: DeviceUuid) -> Option<Arc<dyn LogSource>> {
        let speaking = self.speaking.as_ref()?;
        Some(if speaking.logs {
            self.logs.source(device, speaking.source)
        } else {
            TooOld::source()
        })
    }

    /// What is said to have a log, or to have it no more.
    pub(super) fn log_command(&self, command: Command) -> Option<HubMessage> {
        Some(say(match command {
            Command::Follow(follow) => {
                let index = |device| self.indexes.get(&device).copied();
                hub_message::Body::LogFollow(self.logs.message(follow, self.link, index)?)
            }
            Command::Stop(follow) => hub_message::Body::LogStop(LogStop { follow }),
        }))
    }

    fn protocol(&self, what: &str) -> HubRefusal {
        self.stats.refused(RefusedReason::Protocol, 1);
        refusal(RefusalCode::Protocol, format!("{what}; is this an agent of Kobel?"), false)
    }

    fn hello(&mut self, hello: &AgentHello, now: Instant) -> Result<Step, HubRefusal> {
        let software = clean(&hello.software, 64);
        let Some(version) = version(hello.min_version, hello.max_version) else {
            self.stats.refused(RefusedReason::Version, 1);
            return Err(no_version(hello, &software));
        };
        if !identity::is_name(&hello.instance) || !identity::is_name(&hello.run) {
            let what = "instance and run must have 1 to 64 letters, digits, '-', '_' or '.'";
            return Err(self.protocol(what));
        }
        let source = match hello.source() {
            WireSource::Agent => SourceKind::Agent,
            WireSource::Simulated => SourceKind::Simulated,
            WireSource::Unspecified => return Err(self.protocol("the hello names no source")),
        };
        let message = "the same agent has connected anew".to_owned();
        let replaced = refusal(RefusalCode::Replaced, message, true);
        let name = (hello.instance.clone(), hello.run.clone());
        let (run, progress) = self.registry.begin_run(self.link, name, replaced, now);
        let last_number = lock(&progress).last;
        let instance = hello.instance.clone();
        let link = self.link;
        let logs = hello.logs;
        self.speaking = Some(Speaking { link, instance, software, source, logs, run, progress });
        let software = format!("kobel {}", env!("CARGO_PKG_VERSION"));
        let welcome = HubWelcome { version, software, last_number };
        Ok(Step::Say(say(hub_message::Body::Welcome(welcome))))
    }

    fn claims(&mut self, claims: DeviceClaims, mut admit: Admit) -> Result<Step, HubRefusal> {
        let Some(speaking) = &self.speaking else { return Ok(Step::Nothing) };
        if claims.devices.len() > PORTION {
            return Err(self.protocol(&format!("more than {PORTION} devices in one portion")));
        }
        let (mut devices, mut refused) = (Vec::with_capacity(claims.devices.len()), Vec::new());
        let mut seen = HashSet::new();
        for claim in claims.devices {
            let device = claim.device;
            let taken = self.devices.contains_key(&device) || !seen.insert(device);
            let reason = if device >= MAX_DEVICES {
                Some(format!("a link has at most {MAX_DEVICES} devices"))
            } else if taken {
                Some("its index is another device's on this connection".to_owned())
            } else {
                match admit.claim(claim) {
                    Err(reason) => Some(reason.to_owned()),
                    Ok(claim) => {
                        let key = format!("{}/{}", speaking.instance, claim.key);
                        devices.push((device, key, claim));
                        None
                    }
                }
            };
            refused.extend(reason.map(|reason| RefusedClaim { device, reason }));
        }
        Ok(Step::Claim(Claims { source: speaking.source, devices, refused }))
    }

    /// Goes on with claims once the store has said which devices they are; `None` where the agent
    /// may not speak for the device.
    pub(super) fn claimed(
        &mut self,
        claims: Claims,
        stored: Vec<Option<StoredDevice>>,
        wall: Timestamp,
    ) -> Admitted {
        let Claims { source, devices: asked, mut refused } = claims;
        let (mut devices, mut inventory) = (Vec::with_capacity(asked.len()), Vec::new());
        for ((device, _, claim), stored) in asked.into_iter().zip(stored) {
            let reason = match (&self.speaking, stored) {
                (Some(_), Some(stored)) if self.indexes.contains_key(&stored.uuid) => {
                    "it was claimed by another index of this connection"
                }
                (Some(speaking), Some(stored)) => {
                    let target = Target { device: stored.uuid, id: stored.id };
                    let speech = self.registry.own(speaking.link, &speaking.run, stored.uuid);
                    if speech.is_new {
                        inventory.push(device);
                    }
                    self.indexes.insert(stored.uuid, device);
                    let containers = speech.containers;
                    self.devices.insert(device, Spoken { target, containers });
                    devices.push(Device {
                        device_uuid: stored.uuid,
                        id: stored.id,
                        name: stored.name,
                        tags: stored.tags,
                        group: stored.group,
                        source,
                        state: DeviceState::Online,
                        state_reason: None,
                        state_since: wall,
                        facts: claim.facts,
                        engine: claim.engine,
                    });
                    continue;
                }
                _ => {
                    "the token or key is limited to other devices, or this one was deleted on the \
                     hub; is this a copy of another machine?"
                }
            };
            refused.push(RefusedClaim { device, reason: reason.to_owned() });
        }
        self.stats.refused(RefusedReason::Claim, refused.len() as u64);
        let answer = ClaimsAnswer { refused, inventory };
        Admitted { devices, answer: say(hub_message::Body::Claimed(answer)) }
    }

    fn reports(&mut self, reports: Reports, mut admit: Admit) -> Result<Step, HubRefusal> {
        let Some(speaking) = &self.speaking else { return Ok(Step::Nothing) };
        let progress = Arc::clone(&speaking.progress);
        // Held while the message is taken in, which waits for nothing: a newer link of the same run
        // begins behind it.
        let mut progress = lock(&progress);
        if progress.link != self.link {
            let message = "the same agent has connected anew".to_owned();
            return Err(refusal(RefusalCode::Replaced, message, true));
        }
        let before = progress.last;
        let (mut unknown, mut summaries) = (0, 0);
        let samples = reports.samples.len() as u64;
        let numbered_any = !reports.numbered.is_empty();
        for report in reports.numbered {
            // What came before is here already.
            if report.number <= progress.last {
                continue;
            }
            progress.last = report.number;
            summaries += u64::from(matches!(report.body, Some(numbered_report::Body::Summary(_))));
            unknown += u64::from(!self.numbered(report, &mut admit));
        }
        for sample in reports.samples {
            match self.devices.get(&sample.device) {
                Some(spoken) => self.ingest.sample(admit.sample(spoken.target, sample)),
                None => unknown += 1,
            }
        }
        for report in reports.figures {
            unknown += u64::from(!self.container(report, &mut admit));
        }
        for report in reports.states {
            let Some(spoken) = self.devices.get(&report.device) else {
                unknown += 1;
                continue;
            };
            let state =
                if report.reachable { DeviceState::Online } else { DeviceState::Unreachable };
            self.ingest.state(spoken.target.device, state, admit.reason(report.reason));
        }
        for report in reports.facts {
            match (self.devices.get(&report.device), report.facts) {
                (Some(spoken), Some(facts)) => {
                    self.ingest.facts(spoken.target.device, admit.facts(facts));
                }
                _ => unknown += 1,
            }
        }
        for report in reports.engines {
            match (self.devices.get(&report.device), report.engine) {
                (Some(spoken), Some(engine)) => {
                    self.ingest.engine(spoken.target.device, admit.engine(engine));
                }
                _ => unknown += 1,
            }
        }
        self.stats.took(samples, summaries);
        let shed = reports.shed.saturating_sub(progress.shed);
        if shed > 0 {
            progress.shed = reports.shed;
            self.stats.shed(shed);
            let instance = self.name().0;
            tracing::warn!(
                instance,
                shed,
                "an agent gave up reports: the hub was away for too long"
            );
        }
        self.stats.refused(RefusedReason::UnknownDevice, unknown);
        self.stats.refused(RefusedReason::BadValue, admit.bad_values);
        self.stats.refused(RefusedReason::TooMany, admit.too_many);
        let last = progress.last;
        if numbered_any || last != before {
            return Ok(Step::Say(say(hub_message::Body::Ack(HubAck { number: last }))));
        }
        Ok(Step::Nothing)
    }

    /// False where it is of a device that the agent does not speak for.
    fn numbered(&mut self, report: NumberedReport, admit: &mut Admit) -> bool {
        admit.moved(report.clock_moved_ms);
        let spoken = self.numbered_body(report.body, admit);
        admit.moved(0);
        spoken
    }

    fn numbered_body(&mut self, body: Option<numbered_report::Body>, admit: &mut Admit) -> bool {
        match body {
            Some(numbered_report::Body::Summary(summary)) => {
                let Some(spoken) = self.devices.get(&summary.device) else { return false };
                if let Some(summary) = admit.summary(spoken.target, &summary) {
                    self.ingest.summary(summary);
                }
                true
            }
            Some(numbered_report::Body::Container(report)) => self.container(report, admit),
            Some(numbered_report::Body::Inventory(inventory)) => {
                let Some(spoken) = self.devices.get(&inventory.device) else { return false };
                let mut reports = inventory.containers;
                if reports.len() > INVENTORY {
                    admit.too_many += (reports.len() - INVENTORY) as u64;
                    reports.truncate(INVENTORY);
                }
                let mut containers: Vec<Container> = Vec::with_capacity(reports.len());
                let mut known = lock(&spoken.containers);
                known.clear();
                for report in reports {
                    let Some(container) = admit.container(spoken.target, report) else { continue };
                    if container.state != ContainerState::Removed && known.insert(hash(&container))
                    {
                        containers.push(container);
                    }
                }
                self.ingest.inventory(spoken.target.device, containers);
                true
            }
            // Something that a later version says.
            None => true,
        }
    }

    fn container(&mut self, report: ContainerReport, admit: &mut Admit) -> bool {
        let Some(spoken) = self.devices.get(&report.device) else { return false };
        let Some(container) = admit.container(spoken.target, report) else { return true };
        let mut known = lock(&spoken.containers);
        if container.state == ContainerState::Removed {
            known.remove(&hash(&container));
        } else if known.len() < CONTAINERS {
            known.insert(hash(&container));
        } else if !known.contains(&hash(&container)) {
            admit.too_many += 1;
            return true;
        }
        self.ingest.container(container);
        true
    }

    /// What is said when the hub needs other things than before.
    pub(super) fn needs(&self, changed: Vec<(DeviceUuid, Need)>) -> Option<HubMessage> {
        let mut needs = Needs::default();
        for (uuid, need) in changed {
            let Some(device) = self.indexes.get(&uuid) else { continue };
            needs.devices.push(*device);
            needs.seconds.push(match need {
                Need::Unwatched => 0,
                Need::Every(period) => (period.as_secs() as u32).clamp(1, 30),
            });
        }
        (!needs.devices.is_empty()).then(|| say(hub_message::Body::Needs(needs)))
    }

    /// What is said when other links speak for devices of this one; they are no longer its own.
    pub(super) fn lost(&mut self, devices: Vec<DeviceUuid>) -> Option<HubMessage> {
        let mut indexes = Vec::with_capacity(devices.len());
        for uuid in devices {
            self.logs.detach(uuid, self.link);
            if let Some(device) = self.indexes.remove(&uuid) {
                self.devices.remove(&device);
                indexes.push(device);
            }
        }
        let reason = "another agent claimed it later; does it run twice, or on a cloned machine?";
        let released = Released { devices: indexes, reason: reason.to_owned() };
        (!released.devices.is_empty()).then(|| say(hub_message::Body::Released(released)))
    }

    /// The connection has ended; the reason, for people, stands with its devices.
    pub(super) fn end(&mut self, reason: &str, now: Instant) {
        let run = self.speaking.as_ref().map(|speaking| &speaking.run);
        for device in self.indexes.keys() {
            self.logs.detach(*device, self.link);
        }
        let devices = self.indexes.keys().copied();
        for device in self.registry.leave(self.link, run, devices, now) {
            self.ingest.state(device, DeviceState::Unreachable, Some(reason.to_owned()));
        }
    }
}

/// Held while a report is taken in.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hash(container: &Container) -> u64 {
    let mut hasher = DefaultHasher::new();
    container.container_id.hash(&mut hasher);
    hasher.finish()
}

/// The newest version that both speak.
fn version(min: u32, max: u32) -> Option<u32> {
    let newest = max.min(*VERSIONS.end());
    (min <= max && newest >= min && newest >= *VERSIONS.start()).then_some(newest)
}

fn no_version(hello: &AgentHello, software: &str) -> HubRefusal {
    let (min, max) = (hello.min_version, hello.max_version);
    let (ours_min, ours_max) = (VERSIONS.start(), VERSIONS.end());
    let hub = env!("CARGO_PKG_VERSION");
    let message = if min > *ours_max {
        format!(
            "this hub (kobel {hub}) is too old for the agent ({software}): it speaks the agent \
             link's versions {ours_min} to {ours_max}, the agent {min} to {max}; update the hub, or \
             run an older agent"
        )
    } else {
        format!(
            "the agent ({software}) is too old for this hub (kobel {hub}): it speaks the agent \
             link's versions {min} to {max}, the hub {ours_min} to {ours_max}; update the agent"
        )
    };
    refusal(RefusalCode::Version, message, false)
}

pub(super) fn refusal(code: RefusalCode, message: String, retry: bool) -> HubRefusal {
    HubRefusal { code: code.into(), message, retry }
}

pub(super) fn say(body: hub_message::Body) -> HubMessage {
    HubMessage { body: Some(body) }
}
