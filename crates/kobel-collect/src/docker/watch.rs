//! What is known of an engine's containers, and what follows from its events. No I/O.
//!
//! An event that says enough changes what is known at once; in any case the container is inspected
//! afterwards. Of a container at most one inspect is under way: what happens meanwhile makes its
//! answer old, so it is thrown away and asked for again.

use std::collections::{HashMap, HashSet};

use bollard::models::{ContainerInspectResponse, EventMessage};
use kobel_wire::{Container, ContainerId, ContainerState, DeviceUuid, Timestamp};

use super::{
    describe::{Described, health_in},
    figures::Figures,
};
use crate::text::clean;

/// The most containers of one engine.
pub(super) const MAX_CONTAINERS: usize = 10_000;

/// What the session has to do.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Tell the hub.
    Report(Box<Container>),
    /// Ask the engine about a container.
    Inspect(ContainerId),
    /// Read its figures, from now on.
    Measure(ContainerId),
    /// No more.
    StopMeasuring(ContainerId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The answer is on its way and will be right.
    Fresh,
    /// Something happened since.
    Old,
}

/// The containers of one engine.
#[derive(Debug)]
pub(super) struct Watch {
    device: DeviceUuid,
    known: HashMap<ContainerId, Described>,
    /// Inspects under way, also of containers that are not known yet.
    asked: HashMap<ContainerId, Asked>,
    measured: HashSet<ContainerId>,
    /// Events from before this, nanoseconds since 1970, are in the inventory already.
    taken_stock: i64,
}

impl Watch {
    /// Nothing is known. Stock is taken from `now` on.
    pub(super) fn new(device: DeviceUuid, now: Timestamp) -> Self {
        Self {
            device,
            known: HashMap::new(),
            asked: HashMap::new(),
            measured: HashSet::new(),
            taken_stock: now.as_millis().saturating_mul(1_000_000),
        }
    }

    /// Takes stock: what these inspects say is all there is. Gives the containers for the hub, and
    /// what to do.
    pub(super) fn stock(
        &mut self,
        inspected: Vec<ContainerInspectResponse>,
        now: Timestamp,
    ) -> (Vec<Container>, Vec<Action>) {
        self.known = inspected
            .into_iter()
            .filter_map(|inspect| Described::of(self.device, inspect))
            .take(MAX_CONTAINERS)
            .map(|mut described| {
                described.renew_status(now);
                (described.container.container_id.clone(), described)
            })
            .collect();
        self.taken_stock = now.as_millis().saturating_mul(1_000_000);
        let ids: Vec<_> = self.known.keys().cloned().collect();
        let actions = ids.iter().filter_map(|id| self.measure(id)).collect();
        (self.known.values().map(|d| d.container.clone()).collect(), actions)
    }

    /// Something happened.
    pub(super) fn event(&mut self, event: &EventMessage, now: Timestamp) -> Vec<Action> {
        let Some(action) = event.action.as_deref() else {
            return Vec::new();
        };
        // Health checks run by exec: their events come all the time and say nothing.
        let says_nothing =
            ["exec_", "attach", "detach", "top", "resize", "copy", "archive", "export"];
        if says_nothing.iter().any(|word| action.starts_with(word)) {
            return Vec::new();
        }
        let Some(actor) = &event.actor else { return Vec::new() };
        let Some(id) = actor.id.as_deref().and_then(|id| id.parse::<ContainerId>().ok()) else {
            return Vec::new();
        };
        if matches!(action, "destroy" | "remove") {
            return self.gone(&id);
        }
        let mut actions = Vec::new();
        // One from before the inventory may be about a state that is long past.
        if event.time_nano.is_none_or(|at| at >= self.taken_stock) {
            let attribute = |name: &str| actor.attributes.as_ref()?.get(name).map(String::as_str);
            if self.apply(&id, action, attribute, now) {
                actions.extend(self.report(&id, now));
                actions.extend(self.measure(&id));
            }
        }
        actions.extend(self.inspect(&id));
        actions
    }

    /// Changes what is known by an event that says enough; false where it does not.
    fn apply<'a>(
        &mut self,
        id: &ContainerId,
        action: &str,
        attribute: impl Fn(&str) -> Option<&'a str>,
        now: Timestamp,
    ) -> bool {
        let Some(described) = self.known.get_mut(id) else {
            return false;
        };
        let container = &mut described.container;
        match action {
            // Podman says "died" where it does not speak as Docker.
            "die" | "died" => {
                container.state = ContainerState::Exited;
                container.exit_code = attribute("exitCode")
                    .or_else(|| attribute("containerExitCode"))
                    .and_then(|code| code.parse().ok());
                container.health = None;
                described.finished_at = Some(now);
            }
            "start" => {
                container.state = ContainerState::Running;
                container.exit_code = None;
                container.started_at = Some(now);
            }
            "pause" => container.state = ContainerState::Paused,
            "unpause" => container.state = ContainerState::Running,
            "rename" => match attribute("name") {
                Some(name) => container.name = clean(name.trim_start_matches('/'), 255),
                None => return false,
            },
            other => match health_in(other) {
                Some(health) => container.health = Some(health),
                None => return false,
            },
        }
        if container.state != ContainerState::Running {
            set(container, Figures::default());
        }
        true
    }

    /// The engine answered an inspect. `None`: there is no such container.
    pub(super) fn inspected(
        &mut self,
        id: &ContainerId,
        inspect: Option<ContainerInspectResponse>,
        now: Timestamp,
    ) -> Vec<Action> {
        if self.asked.remove(id) == Some(Asked::Old) {
            return self.inspect(id).into_iter().collect();
        }
        let Some(inspect) = inspect else {
            return self.gone(id);
        };
        let Some(mut described) = Described::of(self.device, inspect) else {
            return Vec::new();
        };
        if described.container.container_id != *id
            || (!self.known.contains_key(id) && self.known.len() >= MAX_CONTAINERS)
        {
            return Vec::new();
        }
        if let Some(known) = self.known.get(id)
            && described.container.state == ContainerState::Running
        {
            set(&mut described.container, figures_of(&known.container));
        }
        self.known.insert(id.clone(), described);
        let mut actions: Vec<_> = self.report(id, now).into_iter().collect();
        actions.extend(self.measure(id));
        actions
    }

    /// The inspect failed for another reason: what is known stays, and it is asked again. Whoever
    /// carries that out waits before it says so here.
    pub(super) fn not_inspected(&mut self, id: &ContainerId) -> Option<Action> {
        self.asked.remove(id);
        self.inspect(id)
    }

    /// Asks about a container that taking stock could not inspect.
    pub(super) fn ask(&mut self, id: &ContainerId) -> Option<Action> {
        self.inspect(id)
    }

    /// New figures of a container.
    pub(super) fn figures(
        &mut self,
        id: &ContainerId,
        figures: Figures,
        now: Timestamp,
    ) -> Option<Action> {
        let described = self.known.get_mut(id)?;
        // The engine's last words on a container that has ended meanwhile.
        if described.container.state != ContainerState::Running {
            return None;
        }
        set(&mut described.container, figures);
        self.report(id, now)
    }

    /// The stream of a container's figures ended.
    pub(super) fn not_measured(&mut self, id: &ContainerId) -> Option<Action> {
        self.measured.remove(id);
        // If it still runs, the inspect begins it again.
        self.known.contains_key(id).then(|| self.inspect(id)).flatten()
    }

    /// Renews what people read of those that do not report by themselves.
    pub(super) fn renew(&mut self, now: Timestamp) -> Vec<Action> {
        let changed = self.known.values_mut().filter_map(|described| {
            let changed = described.renew_status(now);
            changed.then(|| Action::Report(Box::new(described.container.clone())))
        });
        changed.collect()
    }

    /// The connection is gone: figures are no longer those of now.
    pub(super) fn lost(&mut self) -> Vec<Container> {
        let blank = self.known.values_mut().filter_map(|described| {
            let known = figures_of(&described.container);
            set(&mut described.container, Figures::default());
            (known != Figures::default()).then(|| described.container.clone())
        });
        blank.collect()
    }

    fn gone(&mut self, id: &ContainerId) -> Vec<Action> {
        if let Some(asked) = self.asked.get_mut(id) {
            *asked = Asked::Old;
        }
        let Some(mut described) = self.known.remove(id) else {
            return Vec::new();
        };
        described.container.state = ContainerState::Removed;
        set(&mut described.container, Figures::default());
        let mut actions = vec![Action::Report(Box::new(described.container))];
        actions.extend(self.measured.remove(id).then(|| Action::StopMeasuring(id.clone())));
        actions
    }

    fn inspect(&mut self, id: &ContainerId) -> Option<Action> {
        match self.asked.get_mut(id) {
            Some(asked) => {
                *asked = Asked::Old;
                None
            }
            None => {
                self.asked.insert(id.clone(), Asked::Fresh);
                Some(Action::Inspect(id.clone()))
            }
        }
    }

    fn report(&mut self, id: &ContainerId, now: Timestamp) -> Option<Action> {
        let described = self.known.get_mut(id)?;
        described.renew_status(now);
        Some(Action::Report(Box::new(described.container.clone())))
    }

    /// Begins or ends the reading of figures, as the state asks for.
    fn measure(&mut self, id: &ContainerId) -> Option<Action> {
        let runs = self.known.get(id)?.container.state == ContainerState::Running;
        if runs && self.measured.insert(id.clone()) {
            Some(Action::Measure(id.clone()))
        } else if !runs && self.measured.remove(id) {
            Some(Action::StopMeasuring(id.clone()))
        } else {
            None
        }
    }
}

fn figures_of(container: &Container) -> Figures {
    Figures {
        cpu: container.cpu,
        memory: container.memory,
        memory_limit: container.memory_limit,
        network_in: container.network_in,
        network_out: container.network_out,
        block_read: container.block_read,
        block_write: container.block_write,
        pids: container.pids,
    }
}

fn set(container: &mut Container, figures: Figures) {
    container.cpu = figures.cpu;
    container.memory = figures.memory;
    container.memory_limit = figures.memory_limit;
    container.network_in = figures.network_in;
    container.network_out = figures.network_out;
    container.block_read = figures.block_read;
    container.block_write = figures.block_write;
    container.pids = figures.pids;
}

#[cfg(test)]
mod tests;
