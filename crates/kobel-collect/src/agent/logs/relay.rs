//! The hub's side: whose log is wanted, how far each was read, and which link it comes by.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kobel_hub::logs::{
    LogProgress, LogSink, LogStart, Poke, SourceEvent,
    live::{LogSource, NoLogs},
    queue::LogSender,
};
use kobel_wire::{
    ContainerId, DeviceUuid, SourceKind,
    proto::{LogChunk, LogFollow},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    super::registry::{LinkId, Mailbox},
    message::{event, to_follow},
};
use crate::text::clean;

/// What an agent that gives no logs is told to be.
pub(in super::super) struct TooOld;

impl TooOld {
    /// The source of the devices of such an agent.
    pub(in super::super) fn source() -> Arc<dyn LogSource> {
        Arc::new(NoLogs("the agent on this host is too old to give logs: update it"))
    }
}

/// What a link's task is to say to its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Command {
    /// Ask for the log of this follow.
    Follow(u64),
    /// It is not wanted any more.
    Stop(u64),
}

struct Follow {
    device: DeviceUuid,
    container: ContainerId,
    start: LogStart,
    progress: LogProgress,
    /// Lines are missing before the next one: what it says of the position counts alone.
    lost: bool,
    sink: LogSender,
    /// By which link it comes.
    link: Option<LinkId>,
    end: Option<oneshot::Sender<Result<(), String>>>,
}

struct Speaker {
    link: LinkId,
    mailbox: Arc<Mailbox>,
}

#[derive(Default)]
struct Table {
    follows_made: u64,
    follows: HashMap<u64, Follow>,
    of_device: HashMap<DeviceUuid, Vec<u64>>,
    speakers: HashMap<DeviceUuid, Speaker>,
}

/// The logs of all agents' devices. Cloned freely; held for a look into a table, and while a message
/// of lines goes into its queue, which waits for nothing.
#[derive(Clone, Default)]
pub struct LogRelay(Arc<Mutex<Table>>);

impl LogRelay {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The source of a device that is read so.
    pub(in super::super) fn source(
        &self,
        device: DeviceUuid,
        kind: SourceKind,
    ) -> Arc<dyn LogSource> {
        Arc::new(OfDevice { relay: self.clone(), device, kind })
    }

    /// A link speaks for a device from now on: what is followed of it comes by this link.
    pub(in super::super) fn attach(
        &self,
        device: DeviceUuid,
        link: LinkId,
        mailbox: &Arc<Mailbox>,
    ) {
        let mut table = self.table();
        let Table { follows, of_device, speakers, .. } = &mut *table;
        speakers.insert(device, Speaker { link, mailbox: Arc::clone(mailbox) });
        for id in of_device.get(&device).into_iter().flatten() {
            if let Some(follow) = follows.get_mut(id) {
                follow.link = Some(link);
                mailbox.put(|letters| letters.logs.push(Command::Follow(*id)));
            }
        }
    }

    /// A link does not speak for a device any more: what is followed waits for the next.
    pub(in super::super) fn detach(&self, device: DeviceUuid, link: LinkId) {
        let mut table = self.table();
        let Table { follows, of_device, speakers, .. } = &mut *table;
        if speakers.get(&device).is_none_or(|speaker| speaker.link != link) {
            return;
        }
        speakers.remove(&device);
        for id in of_device.get(&device).into_iter().flatten() {
            if let Some(follow) = follows.get_mut(id) {
                follow.link = None;
            }
        }
    }

    /// What is said to ask for a log, from where it was read to; `None` where it is not wanted by
    /// this link any more.
    pub(in super::super) fn message(
        &self,
        id: u64,
        link: LinkId,
        device: impl FnOnce(DeviceUuid) -> Option<u32>,
    ) -> Option<LogFollow> {
        let table = self.table();
        let follow = table.follows.get(&id).filter(|follow| follow.link == Some(link))?;
        let start = follow.progress.position().map_or(follow.start, LogStart::After);
        Some(to_follow(id, device(follow.device)?, &follow.container, start))
    }

    /// Takes what an agent tells of a log. What is not wanted by this link any more is dropped.
    pub(in super::super) fn take(&self, link: LinkId, chunk: LogChunk) {
        let mut table = self.table();
        let Some(follow) = table.follows.get_mut(&chunk.follow) else { return };
        if follow.link != Some(link) {
            return;
        }
        let mut events: Vec<_> = chunk.records.into_iter().filter_map(event).collect();
        for event in &events {
            match event {
                SourceEvent::Line(line) => {
                    if std::mem::take(&mut follow.lost) {
                        follow.progress.lost();
                    }
                    follow.progress.line(line.at);
                }
                SourceEvent::Missing(_) => follow.lost = true,
                SourceEvent::Marker(..) | SourceEvent::Told(_) => {}
            }
        }
        follow.sink.take(&mut events);
        if let Some(ended) = chunk.end
            && let Some(end) = follow.end.take()
        {
            let _ = end.send(match ended.wrong {
                None => Ok(()),
                Some(wrong) => Err(clean(&wrong, 300)),
            });
        }
    }

    fn add(
        &self,
        device: DeviceUuid,
        container: ContainerId,
        start: LogStart,
        sink: LogSender,
    ) -> (Wanted, oneshot::Receiver<Result<(), String>>) {
        let mut table = self.table();
        table.follows_made += 1;
        let id = table.follows_made;
        let progress = match start {
            LogStart::After(position) => LogProgress::from(position),
            LogStart::All => LogProgress::whole(),
            LogStart::Tail(_) => LogProgress::default(),
        };
        let (end, ended) = oneshot::channel();
        let link = table.speakers.get(&device).map(|speaker| {
            speaker.mailbox.put(|letters| letters.logs.push(Command::Follow(id)));
            speaker.link
        });
        let follow =
            Follow { device, container, start, progress, lost: false, sink, link, end: Some(end) };
        table.follows.insert(id, follow);
        table.of_device.entry(device).or_default().push(id);
        (Wanted { relay: self.clone(), id }, ended)
    }

    fn remove(&self, id: u64) {
        let mut table = self.table();
        let Some(follow) = table.follows.remove(&id) else { return };
        if let Some(of_device) = table.of_device.get_mut(&follow.device) {
            of_device.retain(|other| *other != id);
            if of_device.is_empty() {
                table.of_device.remove(&follow.device);
            }
        }
        // An agent that said itself that it ended needs not be told.
        if let (Some(_), Some(_), Some(speaker)) =
            (follow.link, &follow.end, table.speakers.get(&follow.device))
        {
            speaker.mailbox.put(|letters| letters.logs.push(Command::Stop(id)));
        }
    }
}

/// A follow that is wanted until this is dropped.
struct Wanted {
    relay: LogRelay,
    id: u64,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.relay.remove(self.id);
    }
}

struct OfDevice {
    relay: LogRelay,
    device: DeviceUuid,
    kind: SourceKind,
}

impl LogSource for OfDevice {
    fn follow(
        &self,
        container: ContainerId,
        start: LogStart,
        sink: LogSender,
        // The agent's own engine tells it of starts.
        _poke: Poke,
        cancel: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let (relay, device) = (self.relay.clone(), self.device);
        Box::pin(async move {
            let (_wanted, ended) = relay.add(device, container, start, sink);
            tokio::select! {
                () = cancel.cancelled() => Ok(()),
                ended = ended => ended.unwrap_or(Ok(())),
            }
        })
    }

    fn is_stored_unwatched(&self) -> bool {
        self.kind != SourceKind::Simulated
    }
}
