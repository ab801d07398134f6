//! The protocol, from the agent's side: messages in, messages and events out. It outlives a
//! connection, since what waits does.

use std::{collections::HashSet, time::Duration};

use kobel_hub::{
    demand::{Need, UNWATCHED},
    logs::LogStart,
};
use kobel_wire::{
    ContainerId, SourceKind, Timestamp,
    proto::{
        AgentHello, AgentMessage, DeviceClaims, HubMessage, HubRefusal, HubWelcome, RefusalCode,
        agent_message, hub_message,
    },
};
use prost::Message;
use tokio::time::Instant;

use super::{Claim, Outbox, VERSIONS, clock::ClockWatch, convert, identity, logs};

/// How many devices are claimed in one message. The next portion goes when this one is answered.
const PORTION: usize = 500;

/// Who the agent is.
#[derive(Debug, Clone)]
pub struct Hello {
    /// What lasts of it: the keys of its devices are its own under this. 1 to 64 letters, digits,
    /// `-`, `_`, `.`.
    pub instance: String,
    /// What speaks, for logs, such as `kobel 0.1.0`.
    pub software: String,
    /// How its devices are read.
    pub source: SourceKind,
    /// Whether it gives the logs of containers.
    pub logs: bool,
}

/// What a [`super::Feed`] must hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What the hub needs of a device from now on.
    Need(u32, Need),
    /// The connection ended: until the hub says otherwise, nobody needs anything.
    NobodyWatches,
    /// The hub asks for all containers of a device.
    Inventory(u32),
    /// The hub does not take a device from this agent (any longer); the reason, for people.
    Released(u32, String),
    /// Something about logs. The link sees to it itself.
    Logs(LogEvent),
}

/// What the hub says of logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// It wants the log of a container, by this number from now on.
    Follow {
        /// The number.
        follow: u64,
        /// The device.
        device: u32,
        /// The container.
        container: ContainerId,
        /// From where on.
        start: LogStart,
    },
    /// It does not want it any more.
    Stop(u64),
    /// It took in so many bytes, since the connection began.
    Ack(u64),
}

/// Why the hub does not go on with the agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It said so.
    #[error("the hub refuses: {message}")]
    ByHub {
        /// What is wrong and what to do.
        message: String,
        /// Whether trying later may help.
        retry: bool,
        /// Whether it is the token that holds no longer.
        unauthorized: bool,
    },
    /// It said something that it may not.
    #[error("the hub sent something that this agent does not understand: {0}")]
    Protocol(String),
}

impl Refused {
    /// Whether trying later may help.
    pub fn retry(&self) -> bool {
        match self {
            Self::ByHub { retry, .. } => *retry,
            // Another hub may stand behind the address by then.
            Self::Protocol(_) => true,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was said yet.
    Greeting,
    /// The hub's welcome is due.
    Greeted,
    /// Claims up to this device are answered.
    Claiming(usize),
    /// The answer to claims up to this device is due.
    Claimed(usize),
    /// Reports may go.
    Open,
}

/// The agent's side of one link.
#[derive(Debug)]
pub struct Client {
    hello: Hello,
    run: String,
    claims: Vec<Claim>,
    phase: Phase,
    /// Devices that the hub does not take from this agent, on this connection.
    released: HashSet<u32>,
    /// What waits to be sent.
    pub outbox: Outbox,
    clock: ClockWatch,
}

impl Client {
    /// An agent with these devices, which are meant by their place in the list.
    pub fn new(hello: Hello, claims: Vec<Claim>) -> Self {
        Self {
            hello,
            run: identity::new_run(),
            claims,
            phase: Phase::Greeting,
            released: HashSet::new(),
            outbox: Outbox::default(),
            clock: ClockWatch::default(),
        }
    }

    /// Whether reports may go.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// How many devices it speaks for.
    pub fn devices(&self) -> usize {
        self.claims.len() - self.released.len()
    }

    /// It is `wall` now, so long after the boot. Asked before anything is put into the outbox, so
    /// that what waits there is of before a clock was set; gives how far it was, milliseconds.
    pub fn clock(&mut self, wall: Timestamp, since_boot_ms: i64) -> Option<i64> {
        let moved = self.clock.set_by(wall, since_boot_ms)?;
        self.outbox.clock_moved(moved);
        Some(moved)
    }

    /// A new connection stands.
    pub fn connected(&mut self) {
        self.phase = Phase::Greeting;
        self.released.clear();
    }

    /// The next message, if one is to be sent now.
    pub fn next(&mut self, wall: Timestamp, now: Instant) -> Option<Vec<u8>> {
        let body = match self.phase {
            Phase::Greeted | Phase::Claimed(_) => return None,
            Phase::Open => {
                for device in &self.released {
                    self.outbox.forget(*device);
                }
                return self.outbox.next(wall, now);
            }
            Phase::Greeting => {
                self.phase = Phase::Greeted;
                agent_message::Body::Hello(AgentHello {
                    min_version: *VERSIONS.start(),
                    max_version: *VERSIONS.end(),
                    software: self.hello.software.clone(),
                    instance: self.hello.instance.clone(),
                    run: self.run.clone(),
                    source: convert::source(self.hello.source).into(),
                    logs: self.hello.logs,
                })
            }
            Phase::Claiming(from) => {
                let to = self.claims.len().min(from + PORTION);
                self.phase = Phase::Claimed(to);
                let portion = (from..to).zip(&self.claims[from..to]);
                let devices = portion.map(|(n, claim)| convert::claim(n as u32, claim)).collect();
                agent_message::Body::Claims(DeviceClaims { devices })
            }
        };
        let message = AgentMessage { sent_at_ms: wall.as_millis(), body: Some(body) };
        Some(message.encode_to_vec())
    }

    /// Takes a message of the hub.
    ///
    /// # Errors
    /// Why the link ends.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Vec<Event>, Refused> {
        let message =
            HubMessage::decode(bytes).map_err(|error| Refused::Protocol(error.to_string()))?;
        match message.body {
            Some(hub_message::Body::Welcome(welcome)) => self.welcome(&welcome),
            Some(hub_message::Body::Refusal(refusal)) => Err(refused(&refusal)),
            Some(hub_message::Body::Claimed(answer)) => {
                let Phase::Claimed(to) = self.phase else {
                    return Err(Refused::Protocol("an answer to no claim".into()));
                };
                self.phase = self.claim_from(to);
                let refused = answer.refused.into_iter().map(|r| (r.device, r.reason));
                let mut events: Vec<_> =
                    refused.filter_map(|(device, reason)| self.release(device, reason)).collect();
                let wanted = answer.inventory.into_iter().filter(|device| self.has(*device));
                events.extend(wanted.map(Event::Inventory));
                Ok(events)
            }
            Some(hub_message::Body::Needs(needs)) => {
                let needs = needs.devices.into_iter().zip(needs.seconds);
                Ok(needs
                    .filter(|(device, _)| self.has(*device))
                    .map(|(device, seconds)| Event::Need(device, need(seconds)))
                    .collect())
            }
            Some(hub_message::Body::Ack(ack)) => {
                self.outbox.acked(ack.number);
                Ok(Vec::new())
            }
            Some(hub_message::Body::Released(released)) => Ok(released
                .devices
                .into_iter()
                .filter_map(|device| self.release(device, released.reason.clone()))
                .collect()),
            Some(hub_message::Body::LogFollow(follow)) => {
                let (container, start) = logs::start_of(&follow)
                    .filter(|_| self.has(follow.device))
                    .ok_or_else(|| Refused::Protocol("a follow of no container".into()))?;
                let (device, follow) = (follow.device, follow.follow);
                Ok(vec![Event::Logs(LogEvent::Follow { follow, device, container, start })])
            }
            Some(hub_message::Body::LogStop(stop)) => {
                Ok(vec![Event::Logs(LogEvent::Stop(stop.follow))])
            }
            Some(hub_message::Body::LogAck(ack)) => Ok(vec![Event::Logs(LogEvent::Ack(ack.bytes))]),
            // Something that a later version says beside the rest.
            None => Ok(Vec::new()),
        }
    }

    fn welcome(&mut self, welcome: &HubWelcome) -> Result<Vec<Event>, Refused> {
        if self.phase != Phase::Greeted || !VERSIONS.contains(&welcome.version) {
            return Err(Refused::Protocol(format!("a welcome to version {}", welcome.version)));
        }
        self.outbox.rewind(welcome.last_number);
        self.phase = self.claim_from(0);
        Ok(Vec::new())
    }

    fn claim_from(&self, from: usize) -> Phase {
        if from < self.claims.len() { Phase::Claiming(from) } else { Phase::Open }
    }

    fn has(&self, device: u32) -> bool {
        (device as usize) < self.claims.len()
    }

    fn release(&mut self, device: u32, reason: String) -> Option<Event> {
        let known = self.has(device) && self.released.insert(device);
        known.then_some(Event::Released(device, reason))
    }
}

fn need(seconds: u32) -> Need {
    match seconds {
        0 => Need::Unwatched,
        seconds => Need::Every(Duration::from_secs(seconds.into()).min(UNWATCHED)),
    }
}

fn refused(refusal: &HubRefusal) -> Refused {
    let retry = refusal.retry && refusal.code() != RefusalCode::Version;
    let message = crate::text::clean(&refusal.message, 500);
    let unauthorized = refusal.code() == RefusalCode::Unauthorized;
    Refused::ByHub { message, retry, unauthorized }
}
