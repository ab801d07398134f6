//! Logs between nodes: what the owner of a device reads of its containers' logs is told the others.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use kobel_wire::{ContainerId, DeviceUuid, log::LogStreamId};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Link, LinkState, Message, ReplicasHandle, StewardHandle,
    link::BusError,
    report::{pack, unpack},
    rooms::Names,
    scripts,
    wants::Wants,
};
use crate::logs::{
    LogSink, LogStart, Poke, SourceEvent, ToldLines,
    live::{LogBus, LogSource, Resumed},
    queue::LogSender,
};

/// What waits to be told. Full: it is dropped; numbers tell that something is missing.
const WAITING: usize = 4_096;

/// Messages of one log that wait. Full: they are dropped, and read from what is kept.
const HEARD: usize = 1_024;

/// So many numbers are kept.
const KEPT: u64 = 1_000;

/// How long what was read is of use to who goes on with it, s.
const USE: u64 = 600;

/// What is to be told.
struct Telling {
    stream: LogStreamId,
    told: ToldLines,
    anew: bool,
}

/// The logs of other nodes. Cloned freely.
#[derive(Clone)]
pub struct Logs(Arc<Shared>);

struct Shared {
    link: Link,
    names: Names,
    wants: Wants,
    replicas: ReplicasHandle,
    telling: mpsc::Sender<Telling>,
    dropped: AtomicU64,
}

/// Tells.
pub(super) struct LogTeller {
    link: Link,
    names: Names,
    steward: StewardHandle,
    telling: mpsc::Receiver<Telling>,
}

impl Logs {
    pub(super) fn new(
        link: Link,
        names: Names,
        steward: StewardHandle,
        wants: Wants,
        replicas: ReplicasHandle,
    ) -> (Self, LogTeller) {
        let (send, telling) = mpsc::channel(WAITING);
        let teller = LogTeller { link: link.clone(), names: names.clone(), steward, telling };
        let dropped = AtomicU64::new(0);
        (Self(Arc::new(Shared { link, names, wants, replicas, telling: send, dropped })), teller)
    }

    /// The source of the logs of a device that another node owns.
    pub fn of(&self, device: DeviceUuid) -> Arc<dyn LogSource> {
        Arc::new(ToldLogs { logs: self.clone(), device })
    }

    /// Lines that could not be told, since Redis was too slow.
    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Relaxed)
    }
}

impl LogBus for Logs {
    fn is_wanted(&self, stream: &LogStreamId) -> bool {
        self.0.wants.log(stream)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.wants.changes()
    }

    fn tell(&self, stream: &LogStreamId, told: ToldLines, anew: bool) {
        let lines = told.lines.len() as u64;
        let telling = Telling { stream: stream.clone(), told, anew };
        if self.0.telling.try_send(telling).is_err() {
            self.0.dropped.fetch_add(lines, Relaxed);
        }
    }

    fn resume(
        &self,
        stream: LogStreamId,
    ) -> Pin<Box<dyn Future<Output = Option<Resumed>> + Send + '_>> {
        Box::pin(async move {
            match kept(&self.0.link, &self.0.names.log(&stream)).await {
                Ok(all) => resumed(&all),
                Err(error) => {
                    tracing::debug!(%error, "cannot read how far a log was read");
                    None
                }
            }
        })
    }
}

/// Where the log goes on of which this was told.
fn resumed(all: &[ToldLines]) -> Option<Resumed> {
    let epoch = &all.last()?.epoch;
    let of_epoch = all.iter().filter(|told| told.epoch == *epoch);
    let at = of_epoch.clone().rev().find(|told| told.position.is_some() && !told.ended)?;
    let lines = of_epoch.flat_map(|told| &told.lines);
    Some(Resumed {
        epoch: Arc::clone(epoch),
        seq: at.seq,
        position: at.position?,
        lines: lines.filter(|line| line.seq <= at.seq).cloned().collect(),
    })
}

/// What is kept of a log, oldest first.
async fn kept(link: &Link, log: &str) -> Result<Vec<ToldLines>, BusError> {
    let mut cmd = redis::cmd("XRANGE");
    cmd.arg(log).arg("-").arg("+");
    let entries: Vec<(String, Vec<Vec<u8>>)> = link.command(&cmd).await?;
    let payloads = entries.into_iter().filter_map(|(_, fields)| fields.into_iter().nth(3));
    payloads.map(|payload| unpack(&payload)).collect()
}

impl LogTeller {
    /// Tells until cancelled.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let owned = self.steward.owned();
        // What could not be told is missing there: what is kept begins anew with the next.
        let mut failed: HashMap<LogStreamId, ()> = HashMap::new();
        loop {
            let telling = tokio::select! {
                () = cancel.cancelled() => return,
                telling = self.telling.recv() => telling,
            };
            let Some(Telling { stream, told, anew }) = telling else { return };
            let Some(token) = owned.borrow().get(&stream.device).copied() else { continue };
            let anew = anew || failed.remove(&stream).is_some();
            if let Err(error) = self.tell(&stream, token, &told, anew).await {
                tracing::debug!(%error, "cannot tell other nodes of a log");
                failed.insert(stream, ());
            }
        }
    }

    async fn tell(
        &self,
        stream: &LogStreamId,
        token: u64,
        told: &ToldLines,
        anew: bool,
    ) -> Result<(), BusError> {
        let payload = pack(told)?;
        let (owner, log) = (self.names.owner(stream.device), self.names.log(stream));
        self.link.traffic().bytes_out.fetch_add(payload.len() as u64, Relaxed);
        let _written: i64 = self
            .link
            .script(&scripts::TELL_LOG, &[&owner, &log], |call| {
                call.arg(token)
                    .arg(self.link.publish_command())
                    .arg(told.seq.max(1))
                    .arg(&*told.epoch)
                    .arg(payload)
                    .arg(u8::from(anew))
                    .arg(KEPT)
                    .arg(USE);
            })
            .await?;
        Ok(())
    }
}

/// The logs of a device that another node owns.
struct ToldLogs {
    logs: Logs,
    device: DeviceUuid,
}

impl LogSource for ToldLogs {
    fn follow(
        &self,
        container: ContainerId,
        _start: LogStart,
        sink: LogSender,
        _poke: Poke,
        cancel: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let logs = self.logs.clone();
        let stream = LogStreamId { device: self.device, container };
        Box::pin(async move {
            let channel = logs.0.names.log(&stream);
            logs.0.replicas.log(stream.to_string(), true).await;
            logs.hear(&channel, &sink, &cancel).await;
            logs.0.replicas.log(stream.to_string(), false).await;
            logs.0.link.forget(&[channel]).await;
            Ok(())
        })
    }

    fn is_stored_unwatched(&self) -> bool {
        false
    }

    fn is_told(&self) -> bool {
        true
    }
}

impl Logs {
    /// Hands on what is told of a log, until cancelled or its end.
    async fn hear(&self, channel: &str, sink: &LogSender, cancel: &CancellationToken) {
        let (to, mut messages) = mpsc::channel::<Message>(HEARD);
        let mut link = self.0.link.state();
        let mut heard_on = LinkState::Down;
        loop {
            let state = *link.borrow_and_update();
            if state != heard_on {
                heard_on = state;
                if state != LinkState::Down {
                    if self.0.link.listen(&[channel.to_owned()], &to).await.is_err() {
                        heard_on = LinkState::Down;
                    }
                    // What came before, or while nothing was heard. What is known is left out.
                    match kept(&self.0.link, channel).await {
                        Ok(all) => {
                            let mut events: Vec<_> = all.into_iter().map(event).collect();
                            sink.take(&mut events);
                        }
                        Err(error) => tracing::debug!(%error, "cannot read a log's last lines"),
                    }
                }
            }
            let message = tokio::select! {
                () = cancel.cancelled() => return,
                changed = link.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                message = messages.recv() => message,
            };
            let Some(message) = message else { return };
            let mut events = Vec::new();
            let mut ended = false;
            for message in
                std::iter::once(message).chain(std::iter::from_fn(|| messages.try_recv().ok()))
            {
                match read(&message.payload) {
                    Ok(told) => {
                        ended = told.ended;
                        events.push(event(told));
                    }
                    Err(error) => tracing::debug!(%error, "what is told of a log cannot be read"),
                }
            }
            sink.take(&mut events);
            if ended {
                return;
            }
        }
    }
}

fn read(payload: &Bytes) -> Result<ToldLines, BusError> {
    unpack(payload)
}

fn event(told: ToldLines) -> SourceEvent {
    SourceEvent::Told(Box::new(told))
}

#[cfg(test)]
mod tests {
    use crate::logs::LogPosition;

    use super::*;

    fn told(epoch: &str, lines: std::ops::RangeInclusive<u64>, position: Option<i64>) -> ToldLines {
        let line = |seq| {
            let line = serde_json::json!({
                "seq": seq, "timestamp": "2026-11-18T12:00:00Z", "message": "x", "stream": "stdout",
            });
            Arc::new(serde_json::from_value(line).unwrap())
        };
        let position = position.map(|since| LogPosition { since, seen: 1, newest: since });
        let (seq, lines) = (*lines.end(), lines.map(line).collect());
        ToldLines { epoch: epoch.into(), seq, lines, position, ended: false }
    }

    #[test]
    fn a_log_goes_on_where_it_is_known_how_far_it_was_read() {
        assert!(resumed(&[]).is_none());
        assert!(resumed(&[told("a", 1..=3, None)]).is_none());
        let all = [
            told("a", 1..=9, Some(1)),
            told("b", 1..=3, Some(2)),
            told("b", 4..=6, Some(3)),
            // An entry of it was held back.
            told("b", 7..=8, None),
        ];
        let resumed = resumed(&all).unwrap();
        assert_eq!((&*resumed.epoch, resumed.seq, resumed.position.since), ("b", 6, 3));
        assert_eq!(resumed.lines.iter().map(|l| l.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    }
}
