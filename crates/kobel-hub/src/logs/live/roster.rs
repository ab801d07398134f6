//! Which streams run, by the names of their containers.

use std::{collections::HashMap, sync::Arc};

use kobel_wire::{DeviceUuid, log::LogStreamId};
use tokio::sync::mpsc;

use super::{
    KnownContainer, LogRequest,
    tap::{Look, Tap},
};
use crate::logs::store::LogIdentity;

/// So many containers may take each other's place in one stream; the next one has its own.
const NAMES: usize = 1_000;

/// What a stream's task is told.
#[derive(Debug)]
pub(super) enum ToStream {
    Request(LogRequest),
    /// This container took the place of the one that was followed, which is gone. With a number that
    /// names it among those of the process.
    Recreated(Arc<KnownContainer>, u64),
    /// Another node reads the log of its container now, or this one does.
    Moved,
    /// A view wants to be told what comes.
    Tap(Tap),
    /// The view of this number wants no more.
    Untap(u64),
    /// A view wants the lines before.
    Look(Look),
}

/// A stream that runs.
pub(super) struct Running {
    requests: mpsc::Sender<ToStream>,
    /// What it is told while it ends; whoever comes next is told it. As much as comes within the
    /// moment that this takes.
    late: Vec<ToStream>,
    names: Vec<LogStreamId>,
    /// What was known of its container, once that is gone.
    gone: Option<LogIdentity>,
}

impl Running {
    /// Tells the stream something; waits while too much waits for it.
    pub(super) async fn tell(&mut self, told: ToStream) {
        if let Err(back) = self.requests.send(told).await {
            self.late.push(back.0);
        }
    }
}

/// The streams that run.
#[derive(Default)]
pub(super) struct Roster {
    numbers: HashMap<LogStreamId, u64>,
    running: HashMap<u64, Running>,
}

impl Roster {
    /// The stream of this container; also of one that is gone, while its stream goes on.
    pub(super) fn get_mut(&mut self, id: &LogStreamId) -> Option<&mut Running> {
        self.running.get_mut(self.numbers.get(id)?)
    }

    /// Its number among those of the process.
    pub(super) fn number(&self, id: &LogStreamId) -> Option<u64> {
        self.numbers.get(id).copied()
    }

    /// A stream runs.
    pub(super) fn insert(
        &mut self,
        id: LogStreamId,
        number: u64,
        requests: mpsc::Sender<ToStream>,
    ) {
        self.numbers.insert(id.clone(), number);
        self.running
            .insert(number, Running { requests, late: Vec::new(), names: vec![id], gone: None });
    }

    /// The streams of a device, as it is followed now.
    pub(super) fn of_device_mut(
        &mut self,
        device: DeviceUuid,
    ) -> impl Iterator<Item = &mut Running> {
        let is_of = move |id: &LogStreamId| id.device == device;
        self.running.values_mut().filter(move |running| running.names.last().is_some_and(is_of))
    }

    /// How many run.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// A stream has ended. Its names, and what it was told meanwhile, oldest first.
    pub(super) fn ended(&mut self, number: u64) -> (Vec<LogStreamId>, Vec<ToStream>) {
        let Some(ended) = self.running.remove(&number) else { return Default::default() };
        for name in &ended.names {
            self.numbers.remove(name);
        }
        (ended.names, ended.late)
    }

    /// A container is gone.
    pub(super) fn gone(&mut self, id: &LogStreamId, identity: &LogIdentity) {
        let running = self.numbers.get(id).and_then(|number| self.running.get_mut(number));
        // One that is gone already has a successor in its stream, or waits for one.
        if let Some(running) = running.filter(|running| running.names.last() == Some(id)) {
            running.gone = Some(identity.clone());
        }
    }

    /// The stream whose container is gone and has this one for its successor, where `succeeds` says
    /// so: it is this one's from now on.
    pub(super) fn succeed(
        &mut self,
        id: &LogStreamId,
        succeeds: impl Fn(&LogIdentity) -> bool,
    ) -> Option<&mut Running> {
        if self.numbers.contains_key(id) {
            return None;
        }
        let (number, running) = self.running.iter_mut().find(|(_, running)| {
            running.names.len() < NAMES
                && !running.requests.is_closed()
                && running.gone.as_ref().is_some_and(&succeeds)
        })?;
        running.gone = None;
        running.names.push(id.clone());
        self.numbers.insert(id.clone(), *number);
        Some(running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(id: char, name: &str) -> LogIdentity {
        serde_json::from_value(serde_json::json!({
            "deviceUuid": "0198c0de-0000-7000-8000-0000000000ab", "deviceName": "host",
            "containerId": id.to_string().repeat(64), "name": name, "image": "x",
        }))
        .unwrap()
    }

    #[test]
    fn a_stream_goes_on_with_the_successor_of_one_that_is_gone() {
        let (mut roster, (send, _requests)) = (Roster::default(), mpsc::channel(1));
        let [a, b, c] = [identity('a', "web"), identity('b', "web"), identity('c', "db")];
        roster.insert(a.stream(), 1, send);
        let succeed = |roster: &mut Roster, by: &LogIdentity| {
            roster.succeed(&by.stream(), |gone| by.succeeds(gone)).is_some()
        };
        assert!(!succeed(&mut roster, &b), "the first is still there");
        roster.gone(&a.stream(), &a);
        assert!(!succeed(&mut roster, &c), "another name");
        assert!(succeed(&mut roster, &b));
        assert!(!succeed(&mut roster, &identity('d', "web")), "only one has its place");
        // Both names lead to it until it ends.
        assert!(roster.number(&a.stream()).is_some() && roster.number(&b.stream()).is_some());
        roster.gone(&a.stream(), &a);
        assert!(!succeed(&mut roster, &identity('d', "web")), "the second is still there");
        roster.ended(1);
        assert!(roster.number(&a.stream()).is_none() && roster.number(&b.stream()).is_none());
    }

    #[test]
    fn the_name_that_compose_gives_meanwhile_is_known() {
        let old = identity('a', "shop-web-1");
        assert!(identity('b', "aaaaaaaaaaaa_shop-web-1").succeeds(&old));
        assert!(!identity('b', "bbbbbbbbbbbb_shop-web-1").succeeds(&old));
        assert!(!identity('b', "shop-web-2").succeeds(&old));
    }
}
