//! Which streams run, by the names of their containers.

use std::{collections::HashMap, sync::Arc};

use kobel_wire::{DeviceUuid, log::LogStreamId};
use tokio::sync::mpsc;

use super::{KnownContainer, LogRequest};
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
}

/// A stream that runs.
pub(super) struct Running {
    pub(super) requests: mpsc::Sender<ToStream>,
    names: Vec<LogStreamId>,
    /// What was known of its container, once that is gone.
    gone: Option<LogIdentity>,
}

/// The streams that run.
#[derive(Default)]
pub(super) struct Roster {
    numbers: HashMap<LogStreamId, u64>,
    running: HashMap<u64, Running>,
}

impl Roster {
    /// The stream of this container; also of one that is gone, while its stream goes on.
    pub(super) fn get(&self, id: &LogStreamId) -> Option<&Running> {
        self.running.get(self.numbers.get(id)?)
    }

    /// A stream runs.
    pub(super) fn insert(
        &mut self,
        id: LogStreamId,
        number: u64,
        requests: mpsc::Sender<ToStream>,
    ) {
        self.numbers.insert(id.clone(), number);
        self.running.insert(number, Running { requests, names: vec![id], gone: None });
    }

    /// The streams of a device, as it is followed now.
    pub(super) fn of_device(&self, device: DeviceUuid) -> impl Iterator<Item = &Running> {
        let is_of = move |id: &LogStreamId| id.device == device;
        self.running.values().filter(move |running| running.names.last().is_some_and(is_of))
    }

    /// How many run.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// A stream has ended.
    pub(super) fn ended(&mut self, number: u64) {
        for name in self.running.remove(&number).into_iter().flat_map(|running| running.names) {
            // Another one may have begun meanwhile.
            if self.numbers.get(&name) == Some(&number) {
                self.numbers.remove(&name);
            }
        }
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
    ) -> Option<&Running> {
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
        assert!(roster.get(&a.stream()).is_some() && roster.get(&b.stream()).is_some());
        roster.gone(&a.stream(), &a);
        assert!(!succeed(&mut roster, &identity('d', "web")), "the second is still there");
        roster.ended(1);
        assert!(roster.get(&a.stream()).is_none() && roster.get(&b.stream()).is_none());
    }

    #[test]
    fn the_name_that_compose_gives_meanwhile_is_known() {
        let old = identity('a', "shop-web-1");
        assert!(identity('b', "aaaaaaaaaaaa_shop-web-1").succeeds(&old));
        assert!(!identity('b', "bbbbbbbbbbbb_shop-web-1").succeeds(&old));
        assert!(!identity('b', "shop-web-2").succeeds(&old));
    }
}
