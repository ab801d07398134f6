//! The task of a merged view, and what the log streams know of it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use kobel_fanout::{Server, SocketId};
use kobel_wire::{Timestamp, log::LogStreamId};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    LogOptions,
    merged::Merged,
    tap::{TapMaker, TapReceiver},
    task::carry_out,
    volume::LogVolume,
};

/// What a view's task is told.
#[derive(Debug)]
pub(super) enum ToView {
    /// A viewer came; these streams are asked for the lines before, under this number.
    Enter { socket: SocketId, newcomer: u64, options: LogOptions, asked: BTreeSet<u64> },
    /// A viewer wants no more.
    Leave(SocketId),
}

/// A stream that a view is told of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tapping {
    /// The stream's number.
    pub(super) stream: u64,
    /// The number of the way from it to the view.
    pub(super) tap: u64,
}

/// A view that runs. Its task ends when this is dropped.
pub(super) struct View {
    pub(super) number: u64,
    pub(super) requests: mpsc::Sender<ToView>,
    pub(super) maker: TapMaker,
    pub(super) sockets: HashSet<SocketId>,
    pub(super) taps: HashMap<LogStreamId, Tapping>,
    /// Members whose containers are gone, and when that was told: their last lines may still come,
    /// and another container may take their place.
    pub(super) parting: Vec<(Instant, LogStreamId)>,
}

/// A view's task.
pub(super) struct ViewTask {
    pub(super) merged: Merged,
    pub(super) requests: mpsc::Receiver<ToView>,
    pub(super) taps: TapReceiver,
    pub(super) server: Server,
    pub(super) volume: Arc<LogVolume>,
}

impl ViewTask {
    /// Runs until nobody holds its other end, or cancelled.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        loop {
            let deadline = self.merged.deadline();
            tokio::select! {
                // What waits must not keep from being sent what has waited.
                biased;
                () = cancel.cancelled() => return,
                request = self.requests.recv() => match request {
                    None => return,
                    Some(request) => self.request(request),
                },
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.merged.tick(Instant::now(), Timestamp::now());
                }
                told = self.taps.take() => {
                    // Whoever is answered here came before.
                    while let Ok(request) = self.requests.try_recv() {
                        self.request(request);
                    }
                    for (tap, told) in told {
                        self.merged.take(tap, told, Instant::now(), Timestamp::now());
                        self.carry_out().await;
                        tokio::task::yield_now().await;
                    }
                }
            }
            self.carry_out().await;
        }
    }

    fn request(&mut self, request: ToView) {
        match request {
            ToView::Enter { socket, newcomer, options, asked } => {
                self.merged.enter(socket, newcomer, options, asked, Instant::now());
            }
            ToView::Leave(socket) => self.merged.leave(socket),
        }
    }

    async fn carry_out(&mut self) {
        self.volume.passed(self.merged.take_passes());
        carry_out(&self.server, self.merged.take_out()).await;
    }
}
