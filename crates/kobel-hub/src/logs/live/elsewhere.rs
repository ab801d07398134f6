//! A stream in a cluster: whether this node reads the log for all, or another one does.

use std::sync::Arc;

use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use super::{
    KnownContainer, TAIL,
    feed::Feed,
    task::{Task, Turn},
};
use crate::logs::{
    LogStart,
    queue::{self, Limits},
};

/// Other nodes want other logs.
pub(super) async fn changed(wanted: &mut Option<watch::Receiver<u64>>) {
    match wanted {
        Some(wanted) if wanted.has_changed().is_ok() => {
            let _ = wanted.changed().await;
        }
        _ => std::future::pending().await,
    }
}

impl Task {
    /// Tells other nodes what they were not told yet.
    pub(super) fn tell_others(&mut self) {
        let Some(bus) = self.bus.as_ref().filter(|_| !self.is_told) else { return };
        let now = Instant::now();
        self.stream.share(bus.is_wanted(&self.container), now);
        for (told, anew) in self.stream.take_told(now) {
            bus.tell(&self.container, told, anew);
        }
    }

    /// The device may be another node's now, or this one's.
    pub(super) fn moved(&mut self) {
        let source = self.sources.of(self.container.device);
        if let Some(is_told) = source.map(|source| source.is_told())
            && is_told != self.is_told
        {
            self.tell_others();
            (self.is_told, self.is_moving) = (is_told, true);
            self.this_turn.cancel();
        }
    }

    /// Begins in a cluster: where another node has read to.
    pub(super) async fn begin_among_others(mut self) -> (Self, LogStart) {
        let start = self.place().await;
        (self, start)
    }

    /// Where the source goes on: the stream is made ready for it.
    async fn place(&mut self) -> LogStart {
        let now = Instant::now();
        let source = self.sources.of(self.container.device);
        self.may_keep = source.is_some_and(|source| source.is_stored_unwatched());
        if self.is_told {
            self.stream.told_by_another(now);
            self.kept = false;
            return LogStart::Tail(TAIL);
        }
        let known = self.known.clone().filter(|known| known.stored);
        let stored = self.store.clone().zip(known);
        self.kept = stored.as_ref().is_some_and(|(_, known)| known.up) && self.may_keep;
        let resumed = match &self.bus {
            Some(bus) => bus.resume(self.container.clone()).await,
            None => None,
        };
        let identity = |known: &KnownContainer| Arc::new(known.identity.clone());
        if let Some(resumed) = resumed {
            let stored = stored.map(|(store, known)| (store, identity(&known)));
            self.stream.resume(&resumed, stored, now);
            return LogStart::After(resumed.position);
        }
        let epoch = uuid::Uuid::now_v7().simple().to_string().into();
        let Some((store, known)) = stored else {
            let start = LogStart::Tail(TAIL);
            self.stream.begin_anew(epoch, (start, None), Vec::new(), now);
            return start;
        };
        let before = store.resume(&self.container, TAIL as usize).await;
        let (start, history) = match before.position {
            Some(position) => (LogStart::After(position), before.history),
            None if known.fresh => (LogStart::All, Vec::new()),
            None => (LogStart::Tail(TAIL), Vec::new()),
        };
        let upto = self.stream.source_lines();
        let feed = Feed::new(store, identity(&known), start, upto);
        self.stream.begin_anew(epoch, (start, Some(feed)), history, now);
        start
    }

    /// Follows on, here or by another node; says where the end is told.
    pub(super) async fn begin_here_or_there(
        &mut self,
    ) -> Option<oneshot::Receiver<Result<(), String>>> {
        self.is_moving = false;
        let source = self.sources.of(self.container.device)?;
        // Meanwhile it may have moved back.
        self.is_told = source.is_told();
        let start = self.place().await;
        let (sink, lines) = queue::channel(Limits::default());
        (self.lines, self.seen) = (lines, queue::Volume::default());
        self.this_turn = self.following.child_token();
        self.volume.followed();
        let container = self.container.container.clone();
        let follow =
            source.follow(container, start, sink, self.poke.clone(), self.this_turn.clone());
        let (wrong, told) = oneshot::channel();
        // There is room: the follow before has ended.
        self.turns.send(Turn { follow, wrong }).await.ok()?;
        Some(told)
    }

    /// Says to other nodes that a container's log has ended.
    pub(super) fn tell_end(&mut self) {
        self.tell_others();
        if let (Some(bus), Some(last)) = (&self.bus, self.stream.last_told()) {
            bus.tell(&self.container, last, false);
        }
    }
}
