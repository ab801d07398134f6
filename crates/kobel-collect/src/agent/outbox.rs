//! What waits at the agent to be sent, and in which order it goes.
//!
//! Bounded however long the hub is away: of samples, figures and states the newest of each device
//! or container waits; numbered reports wait for at most an hour and within a budget of bytes, the
//! oldest go first and are counted; of a container, the newest change alone.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use kobel_wire::{
    Container, ContainerId, Engine, Facts, Sample, Summary, Timestamp,
    proto::{
        ContainerReport, EngineOfReport, FactsReport, Inventory, NumberedReport, Reports,
        StateReport, numbered_report::Body,
    },
};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};
use tokio::time::Instant;

use super::convert;

/// How long a numbered report waits for the hub.
const LONGEST: Duration = Duration::from_secs(3_600);

/// The most bytes of numbered reports that wait.
const BUDGET: usize = 64 << 20;

/// How large a message grows before the rest waits for the next; a single inventory may be larger.
const MESSAGE: usize = 256 << 10;

/// The most containers of one inventory; the hub takes no more.
pub(super) const INVENTORY: usize = 500;

/// What a numbered report is of: a newer one of the same takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Container(u32, ContainerId),
    Inventory(u32),
}

#[derive(Debug)]
struct Numbered {
    since: Instant,
    subject: Option<Subject>,
    /// The encoded [`NumberedReport`]; empty once a newer one took its place.
    bytes: Box<[u8]>,
    /// How far the clock was set since.
    clock_moved_ms: i64,
}

/// Reports, by what they are of, in the order in which their first came.
#[derive(Debug)]
struct Newest<K, V> {
    order: VecDeque<K>,
    values: HashMap<K, V>,
}

impl<K, V> Default for Newest<K, V> {
    fn default() -> Self {
        Self { order: VecDeque::new(), values: HashMap::new() }
    }
}

impl<K: Clone + Eq + std::hash::Hash, V> Newest<K, V> {
    /// True where it took the place of an older one.
    fn put(&mut self, key: K, value: V) -> bool {
        let replaced = self.values.insert(key.clone(), value).is_some();
        if !replaced {
            self.order.push_back(key);
        }
        replaced
    }

    fn take(&mut self) -> Option<(K, V)> {
        // What was forgotten has left its key behind.
        loop {
            let key = self.order.pop_front()?;
            if let Some(value) = self.values.remove(&key) {
                return Some((key, value));
            }
        }
    }

    fn forget(&mut self, mut which: impl FnMut(&K) -> bool) {
        self.order.retain(|key| !which(key));
        self.values.retain(|key, _| !which(key));
    }

    fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// What was put in and what became of it, since the begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Samples that were sent.
    pub samples: u64,
    /// Samples that a newer one replaced before they were sent.
    pub replaced: u64,
    /// Summaries that were put in.
    pub summaries: u64,
    /// Numbered reports that were given up.
    pub shed: u64,
}

/// What waits to be sent, of all devices of a link. A device is meant by its index.
#[derive(Debug)]
pub struct Outbox {
    /// Those that the hub has not acknowledged, their numbers without a gap.
    numbered: VecDeque<Numbered>,
    /// The number of the first of them, or of the next to come.
    first: u64,
    /// The last number that was sent on this connection.
    sent: u64,
    places: HashMap<Subject, u64>,
    bytes: usize,
    budget: usize,
    samples: Newest<u32, Sample>,
    figures: Newest<(u32, ContainerId), Container>,
    states: Newest<u32, (bool, Option<String>)>,
    facts: Newest<u32, Facts>,
    engines: Newest<u32, Engine>,
    passed: Passed,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            numbered: VecDeque::new(),
            first: 1,
            sent: 0,
            places: HashMap::new(),
            bytes: 0,
            budget: BUDGET,
            samples: Newest::default(),
            figures: Newest::default(),
            states: Newest::default(),
            facts: Newest::default(),
            engines: Newest::default(),
            passed: Passed::default(),
        }
    }
}

impl Outbox {
    #[cfg(test)]
    pub(super) fn with_budget(budget: usize) -> Self {
        Self { budget, ..Self::default() }
    }

    /// The newest sample of a device.
    pub fn sample(&mut self, device: u32, sample: Sample) {
        self.passed.replaced += u64::from(self.samples.put(device, sample));
    }

    /// What a device did while nobody watched.
    pub fn summary(&mut self, device: u32, summary: &Summary, now: Instant) {
        self.passed.summaries += 1;
        self.number(None, Body::Summary(convert::summary(device, summary)), now);
    }

    /// A container that is new, changed or (with the state `removed`) gone.
    pub fn container(&mut self, device: u32, container: &Container, now: Instant) {
        let id = &container.container_id;
        self.figures.values.remove(&(device, id.clone()));
        let body = Body::Container(convert::container(device, container));
        self.number(Some(Subject::Container(device, id.clone())), body, now);
    }

    /// All containers of a device. Takes the place of every change of them that still waits.
    pub fn inventory(&mut self, device: u32, containers: &[Container], now: Instant) {
        self.figures.forget(|(of, _)| *of == device);
        let of_device = |subject: &Subject| match subject {
            Subject::Container(of, _) | Subject::Inventory(of) => *of == device,
        };
        let replaced: Vec<_> = self.places.keys().filter(|s| of_device(s)).cloned().collect();
        for subject in replaced {
            self.give_place(&subject);
        }
        let containers = &containers[..containers.len().min(INVENTORY)];
        let containers = containers.iter().map(|c| convert::container(device, c)).collect();
        let body = Body::Inventory(Inventory { device, containers });
        self.number(Some(Subject::Inventory(device)), body, now);
    }

    /// The newest figures of a container that did not change otherwise.
    pub fn figures(&mut self, device: u32, container: Container) {
        self.figures.put((device, container.container_id.clone()), container);
    }

    /// Whether a device can be read, and if not, why.
    pub fn state(&mut self, device: u32, reachable: bool, reason: Option<String>) {
        self.states.put(device, (reachable, reason));
    }

    /// What a host says of itself, where it is new.
    pub fn facts(&mut self, device: u32, facts: Facts) {
        self.facts.put(device, facts);
    }

    /// The state of a host's container engine, where it is new.
    pub fn engine(&mut self, device: u32, engine: Engine) {
        self.engines.put(device, engine);
    }

    /// What became of everything so far.
    pub fn passed(&self) -> Passed {
        self.passed
    }

    /// Bytes of numbered reports that wait for the hub.
    pub fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets what waits of a device, that the hub does not take from this agent.
    pub(super) fn forget(&mut self, device: u32) {
        self.samples.forget(|of| *of == device);
        self.figures.forget(|(of, _)| *of == device);
        self.states.forget(|of| *of == device);
        self.facts.forget(|of| *of == device);
        self.engines.forget(|of| *of == device);
    }

    fn number(&mut self, subject: Option<Subject>, body: Body, now: Instant) {
        let number = self.first + self.numbered.len() as u64;
        if let Some(subject) = &subject {
            self.give_place(subject);
            self.places.insert(subject.clone(), number);
        }
        let report = NumberedReport { number, body: Some(body), clock_moved_ms: 0 };
        let bytes = report.encode_to_vec().into_boxed_slice();
        self.bytes += bytes.len();
        self.numbered.push_back(Numbered { since: now, subject, bytes, clock_moved_ms: 0 });
        self.shed(now);
    }

    /// The clock was set by so much: the times of what waits are by the clock before.
    pub(super) fn clock_moved(&mut self, ms: i64) {
        for report in &mut self.numbered {
            report.clock_moved_ms = report.clock_moved_ms.saturating_add(ms);
        }
    }

    /// Numbered reports that wait for the hub.
    pub fn waiting(&self) -> usize {
        self.numbered.iter().filter(|report| !report.bytes.is_empty()).count()
    }

    /// A newer report takes the place of the one that waits.
    fn give_place(&mut self, subject: &Subject) {
        let Some(number) = self.places.remove(subject) else { return };
        let Some(place) = number.checked_sub(self.first) else { return };
        if let Some(older) = self.numbered.get_mut(place as usize) {
            self.bytes -= older.bytes.len();
            older.bytes = Box::default();
            older.subject = None;
        }
    }

    /// Gives up what is too old or too much.
    fn shed(&mut self, now: Instant) {
        while let Some(oldest) = self.numbered.front() {
            let old = now.saturating_duration_since(oldest.since) >= LONGEST;
            if !old && self.bytes <= self.budget && !oldest.bytes.is_empty() {
                break;
            }
            // One that was sent may have arrived; its answer is then on the way.
            self.passed.shed += u64::from(!oldest.bytes.is_empty());
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some(gone) = self.numbered.pop_front() else { return };
        self.bytes -= gone.bytes.len();
        if let Some(subject) = gone.subject
            && self.places.get(&subject) == Some(&self.first)
        {
            self.places.remove(&subject);
        }
        self.first += 1;
        self.sent = self.sent.max(self.first - 1);
    }

    /// The hub has everything up to this number.
    pub(super) fn acked(&mut self, number: u64) {
        while self.first <= number && !self.numbered.is_empty() {
            self.drop_first();
        }
    }

    /// On a new connection: the hub has everything up to this number; what is behind it is sent
    /// (again).
    pub(super) fn rewind(&mut self, last: u64) {
        self.acked(last);
        self.sent = self.first - 1;
    }

    /// Whether anything is to be sent.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_numbered()
            && self.samples.is_empty()
            && self.figures.is_empty()
            && self.states.is_empty()
            && self.facts.is_empty()
            && self.engines.is_empty()
    }

    fn has_numbered(&self) -> bool {
        self.sent + 1 < self.first + self.numbered.len() as u64
    }

    /// The next `AgentMessage` of reports; `None` when nothing waits.
    pub(crate) fn next(&mut self, wall: Timestamp, now: Instant) -> Option<Vec<u8>> {
        self.shed(now);
        if self.is_empty() {
            return None;
        }
        let mut numbered: Vec<u8> = Vec::new();
        // Half of a message: what is new goes on while a long outage is made up for.
        while self.has_numbered() && numbered.len() < MESSAGE / 2 {
            let place = (self.sent + 1 - self.first) as usize;
            let Some(report) = self.numbered.get(place) else { break };
            if !report.bytes.is_empty() {
                // A field of what is encoded already.
                let moved = NumberedReport {
                    clock_moved_ms: report.clock_moved_ms,
                    ..NumberedReport::default()
                };
                let length = report.bytes.len() + moved.encoded_len();
                encode_key(1, WireType::LengthDelimited, &mut numbered);
                encode_varint(length as u64, &mut numbered);
                numbered.extend_from_slice(&report.bytes);
                // A `Vec` always has room.
                let _ = moved.encode(&mut numbered);
            }
            self.sent += 1;
        }
        let mut rest = Reports { shed: self.passed.shed, ..Reports::default() };
        let mut size = numbered.len();
        while size < MESSAGE
            && let Some((device, sample)) = self.samples.take()
        {
            let sample = convert::sample(device, &sample);
            size += sample.encoded_len();
            self.passed.samples += 1;
            rest.samples.push(sample);
        }
        while size < MESSAGE
            && let Some((device, (reachable, reason))) = self.states.take()
        {
            size += 64;
            rest.states.push(StateReport { device, reachable, reason });
        }
        while size < MESSAGE
            && let Some((device, facts)) = self.facts.take()
        {
            size += 256;
            rest.facts.push(FactsReport { device, facts: Some(convert::facts(&facts)) });
        }
        while size < MESSAGE
            && let Some((device, engine)) = self.engines.take()
        {
            size += 256;
            rest.engines.push(EngineOfReport { device, engine: Some(convert::engine(&engine)) });
        }
        // Figures are whole containers: behind the changes before them, or they would be undone.
        while size < MESSAGE
            && !self.has_numbered()
            && let Some(((device, _), container)) = self.figures.take()
        {
            let report: ContainerReport = convert::container(device, &container);
            size += report.encoded_len();
            rest.figures.push(report);
        }
        Some(message(wall, &numbered, &rest))
    }
}

/// `AgentMessage {sent_at_ms, reports}`, of which the numbered reports are encoded already.
fn message(wall: Timestamp, numbered: &[u8], rest: &Reports) -> Vec<u8> {
    let length = numbered.len() + rest.encoded_len();
    let mut bytes = Vec::with_capacity(length + 24);
    prost::encoding::int64::encode(1, &wall.as_millis(), &mut bytes);
    encode_key(4, WireType::LengthDelimited, &mut bytes);
    encode_varint(length as u64, &mut bytes);
    bytes.extend_from_slice(numbered);
    // A `Vec` always has room.
    let _ = rest.encode(&mut bytes);
    bytes
}
