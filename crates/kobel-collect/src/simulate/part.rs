//! The hosts of one link, and when each is due.
//!
//! A host is looked at once a second, in its own twentieth of it, so that neither the samples of a
//! second nor the summaries of half a minute come all at once. What a host did since it was last
//! looked at is worked out then: between two looks it costs nothing.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
};

use kobel_hub::{demand::Need, logs::live::LogSource};
use kobel_wire::{DeviceId, DeviceUuid, Timestamp};
use tokio::time::{Instant, sleep_until};

use super::{chatter::Chatter, containers::Nature, host::Host};
use crate::{
    Target,
    agent::{Claim, Event, Feed, Outbox},
    edge::Window,
};

/// Twentieths of a second.
const SLOTS: u64 = 20;
const SLOT_MS: u64 = 1_000 / SLOTS;

/// Seconds of a summary.
const SUMMARY: u64 = 30;

/// While somebody watches a host, figures of its containers in so many seconds.
const FIGURES: u64 = 5;

/// How far behind the clock looks are made up for; beyond it (the machine slept) they are left out.
const BEHIND: u64 = SLOTS * 5;

/// How much of inventories may wait for the hub before the next host's is put behind.
const WAITING: usize = 2 << 20;

/// When a host is due, and what was said of it.
#[derive(Debug)]
struct Due {
    /// A sample in so many seconds; 0: nobody watches.
    period: u8,
    /// When it is summarised, in seconds of half a minute: each in its own, also when somebody
    /// leaves all of them at once.
    phase: u64,
    /// Whether the hub takes it from us.
    taken: bool,
    /// Whether the hub was told that it can be reached.
    reachable: bool,
    /// When it was sampled last, and up to when it is summarised; seconds since 1970.
    sampled: u64,
    summarised: u64,
    /// When its containers' figures were sent last.
    figured: u64,
}

/// The hosts of one link.
pub(super) struct Part {
    hosts: Vec<Arc<Host>>,
    natures: Vec<Vec<Nature>>,
    /// Lines a second of each container that is followed.
    log_rate: f64,
    due: Vec<Due>,
    slots: Vec<Vec<u32>>,
    /// The next slot to look at, since 1970, and when.
    slot: u64,
    at: Instant,
    /// When containers change next: seconds since 1970, host, container.
    changes: BinaryHeap<Reverse<(u64, u32, u16)>>,
    /// Hosts whose inventory the hub waits for.
    inventories: VecDeque<u32>,
}

impl Part {
    /// The hosts with so many containers each, from now on.
    pub(super) fn new(
        hosts: Vec<Host>,
        containers: u16,
        log_rate: f64,
        wall: Timestamp,
        now: Instant,
    ) -> Self {
        let wall_ms = wall.as_millis().max(0) as u64;
        let t = wall_ms / 1_000;
        let mut slots = vec![Vec::new(); SLOTS as usize];
        let mut due = Vec::with_capacity(hosts.len());
        let mut natures = Vec::with_capacity(hosts.len());
        let mut changes = BinaryHeap::new();
        for (n, host) in hosts.iter().enumerate() {
            slots[host.key.part(50).below(SLOTS) as usize].push(n as u32);
            // The first samples come at once: until then the hub has nothing to show.
            due.push(Due {
                period: 0,
                phase: host.key.part(51).below(SUMMARY),
                taken: true,
                reachable: true,
                sampled: 0,
                summarised: t,
                figured: t,
            });
            let own: Vec<_> = (0..containers).map(|number| Nature::of(host, number)).collect();
            for (number, nature) in own.iter().enumerate() {
                changes.push(Reverse((nature.next_change(t), n as u32, number as u16)));
            }
            natures.push(own);
        }
        Self {
            hosts: hosts.into_iter().map(Arc::new).collect(),
            log_rate,
            natures,
            due,
            slots,
            slot: wall_ms / SLOT_MS + 1,
            at: now,
            changes,
            inventories: VecDeque::new(),
        }
    }

    /// Looks at every host of a slot.
    fn look(&mut self, slot: u64, outbox: &mut Outbox, now: Instant) {
        let at_ms = slot * SLOT_MS;
        let of_slot = std::mem::take(&mut self.slots[(slot % SLOTS) as usize]);
        for &device in &of_slot {
            self.look_at(device, at_ms, outbox, now);
        }
        self.slots[(slot % SLOTS) as usize] = of_slot;
        self.change(at_ms / 1_000, outbox, now);
    }

    fn look_at(&mut self, device: u32, at_ms: u64, outbox: &mut Outbox, now: Instant) {
        let t = at_ms / 1_000;
        let (host, due) = (&self.hosts[device as usize], &mut self.due[device as usize]);
        if !due.taken {
            return;
        }
        let up = host.is_up(t);
        if up != std::mem::replace(&mut due.reachable, up) {
            let reason = "The host does not answer (this is a simulation).".to_owned();
            outbox.state(device, up, (!up).then_some(reason));
            if up {
                due.sampled = 0;
                due.summarised = t;
                self.inventories.push_back(device);
            }
        }
        if !up {
            due.summarised = t;
            return;
        }
        let watched = due.period > 0;
        let its_turn = t % SUMMARY == due.phase || t >= due.summarised + SUMMARY;
        let summary_due = !watched && its_turn && t > due.summarised;
        let first = due.sampled == 0;
        if summary_due {
            self.summarise(device, t, at_ms % 1_000, outbox, now);
        }
        let due = &mut self.due[device as usize];
        if first || summary_due || (watched && t >= due.sampled + u64::from(due.period)) {
            due.sampled = t;
            let sample = self.hosts[device as usize].sample(NOBODY, timestamp(at_ms));
            outbox.sample(device, sample);
        }
        if summary_due || (watched && t >= due.figured + FIGURES.max(due.period.into())) {
            due.figured = t;
            self.figures(device, t, outbox);
        }
    }

    /// One summary of each second since the last.
    fn summarise(&mut self, device: u32, t: u64, part_ms: u64, outbox: &mut Outbox, now: Instant) {
        let (host, due) = (&self.hosts[device as usize], &mut self.due[device as usize]);
        let mut window = Window::default();
        let from = (due.summarised + 1).max((t + 1).saturating_sub(2 * SUMMARY));
        for second in from..=t {
            let at_ms = second * 1_000 + part_ms;
            window.add(timestamp(at_ms), &host.values(at_ms as f64 / 1_000.0).series());
        }
        due.summarised = t;
        if let Some(summary) = window.take(NOBODY) {
            outbox.summary(device, &summary, now);
        }
    }

    fn figures(&self, device: u32, t: u64, outbox: &mut Outbox) {
        let memory = self.hosts[device as usize].memory;
        for nature in &self.natures[device as usize] {
            if let Some(container) = nature.container(NOBODY, t, memory)
                && container.cpu.is_some()
            {
                outbox.figures(device, container);
            }
        }
    }

    /// Tells of the containers that changed up to this second.
    fn change(&mut self, t: u64, outbox: &mut Outbox, now: Instant) {
        while let Some(&Reverse((at, device, number))) = self.changes.peek() {
            if at > t {
                break;
            }
            self.changes.pop();
            let nature = self.natures[device as usize][usize::from(number)];
            self.changes.push(Reverse((nature.next_change(t), device, number)));
            let (host, due) = (&self.hosts[device as usize], &self.due[device as usize]);
            if !due.taken || !due.reachable || !host.is_up(t) {
                continue;
            }
            if let Some(gone) = nature.gone(NOBODY, at, host.memory) {
                outbox.container(device, &gone, now);
            }
            if let Some(container) = nature.container(NOBODY, t, host.memory) {
                outbox.container(device, &container, now);
            }
        }
    }

    fn take_stock(&mut self, t: u64, outbox: &mut Outbox, now: Instant) {
        while outbox.waiting_bytes() < WAITING
            && let Some(device) = self.inventories.pop_front()
        {
            // Of a host that does not answer nothing is known: its containers come with it.
            if !self.hosts[device as usize].is_up(t) {
                outbox.inventory(device, &[], now);
                continue;
            }
            let memory = self.hosts[device as usize].memory;
            let all: Vec<_> = self.natures[device as usize]
                .iter()
                .filter_map(|nature| nature.container(NOBODY, t, memory))
                .collect();
            outbox.inventory(device, &all, now);
        }
    }
}

/// The link tells which device it is by its index; the hub puts in the identity.
const NOBODY: Target = Target { device: DeviceUuid::NIL, id: DeviceId(0) };

fn timestamp(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms as i64)
}

impl Feed for Part {
    fn claims(&mut self) -> Vec<Claim> {
        let wall = Timestamp::now();
        self.hosts.iter().map(|host| host.claim(wall)).collect()
    }

    fn logs(&self, device: u32) -> Option<Arc<dyn LogSource>> {
        let host = Arc::clone(self.hosts.get(device as usize)?);
        let natures = self.natures[device as usize].clone();
        Some(Arc::new(Chatter { host, natures, rate: self.log_rate }))
    }

    async fn ready(&mut self) {
        sleep_until(self.at).await;
    }

    fn fill(&mut self, outbox: &mut Outbox, wall: Timestamp, now: Instant) {
        let wall_ms = wall.as_millis().max(0) as u64;
        let newest = wall_ms / SLOT_MS;
        // A clock that was set back, or a machine that slept.
        if newest + BEHIND < self.slot || self.slot + BEHIND < newest {
            self.slot = newest;
        }
        while self.slot <= newest {
            self.look(self.slot, outbox, now);
            self.slot += 1;
        }
        self.take_stock(wall_ms / 1_000, outbox, now);
        let wait = (self.slot * SLOT_MS).saturating_sub(wall_ms);
        self.at = now + Duration::from_millis(wait);
    }

    fn event(&mut self, event: Event, outbox: &mut Outbox, wall: Timestamp, now: Instant) {
        let wall_ms = wall.as_millis().max(0) as u64;
        let t = wall_ms / 1_000;
        match event {
            Event::Need(device, need) => {
                let Some(due) = self.due.get_mut(device as usize) else { return };
                let period = match need {
                    Need::Unwatched => 0,
                    Need::Every(period) => period.as_secs().clamp(1, SUMMARY) as u8,
                };
                let before = std::mem::replace(&mut due.period, period);
                if period == before || !due.reachable {
                    return;
                }
                if before == 0 {
                    self.summarise(device, t, wall_ms % 1_000, outbox, now);
                } else if period == 0 {
                    due.summarised = t;
                }
                let more = period != 0 && (before == 0 || period < before);
                let due = &mut self.due[device as usize];
                if more && t > due.sampled {
                    due.sampled = t;
                    outbox.sample(device, self.hosts[device as usize].sample(NOBODY, wall));
                }
            }
            Event::NobodyWatches => {
                for due in &mut self.due {
                    if due.period > 0 {
                        (due.period, due.summarised) = (0, t);
                    }
                    // The next link speaks for it anew, and the hub must hear again if it is down.
                    (due.taken, due.reachable, due.sampled) = (true, true, 0);
                }
            }
            // The link's own business.
            Event::Logs(_) => {}
            Event::Inventory(device) => self.inventories.push_back(device),
            Event::Released(device, _) => {
                if let Some(due) = self.due.get_mut(device as usize) {
                    due.taken = false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
