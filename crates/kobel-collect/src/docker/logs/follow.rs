//! The task that follows one container's log.

use std::{fmt::Write, sync::Arc, time::Duration};

use http_body_util::BodyExt;
use kobel_hub::logs::{LogPosition, LogSink, Poke, RawLine, SourceEvent, stamp};
use kobel_wire::{
    ContainerId,
    log::{LogMarker, LogTime},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Dial,
    demux::FrameError,
    lines::{Framing, Parts},
    request::{RequestError, get, json},
    resume::{Resume, Verdict},
};
use crate::text::clean;

/// How long until a broken stream is asked for again: from the first to the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often a container that does not run is looked at, if nobody says that it started.
const LOOK: Duration = Duration::from_secs(2);

/// How long after a restart a container says nothing until the restart is told without its lines.
const QUIET: Duration = Duration::from_millis(500);

/// What of the log to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The newest lines, so many.
    Tail(u32),
    /// Everything from this time on, that time included.
    Since(LogTime),
    /// Everything after what was read before.
    After(LogPosition),
}

/// How a follow ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was cancelled.
    Cancelled,
    /// The container is gone; all that could be read was given.
    Removed,
    /// The engine cannot give the log, and will not later; in its words. So with the log driver
    /// `none`.
    Refused(String),
}

/// Follows the log of one container, whatever breaks: the connection, the engine, the container
/// itself. Each line comes once; what the engine threw away meanwhile is marked
/// [`LogMarker::Lost`], starts and ends of the container are marked, too.
pub struct Follower {
    dial: Arc<dyn Dial>,
    container: ContainerId,
    sink: Arc<dyn LogSink>,
    start: Start,
    poke: Poke,
    resume: Resume,
    /// Lines that were read before and come again, and the newest time of any of them.
    before: Option<(u64, LogTime)>,
    /// Of the last look: when it was started, while it runs.
    run: Option<Run>,
    /// What happened to the container, to be told in its place between the lines.
    marks: Vec<Mark>,
    /// Lines and events on their way; empty between two calls.
    lines: Vec<RawLine>,
    events: Vec<SourceEvent>,
}

/// A container, as the engine describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    tty: bool,
    running: bool,
    started_at: String,
    finished_at: String,
}

/// Something that happened to the container.
#[derive(Debug, Clone, Copy)]
struct Mark {
    marker: LogMarker,
    at: LogTime,
    /// From which line on it is told, at the latest.
    before: Option<LogTime>,
}

/// How a stream ended.
enum Break {
    /// As streams end: the container stopped, or the engine does.
    Closed,
    Failed(String),
}

impl Follower {
    /// Follows `container`, whose engine `dial` reaches; gives to `sink`.
    pub fn new(
        dial: Arc<dyn Dial>,
        container: ContainerId,
        sink: Arc<dyn LogSink>,
        start: Start,
    ) -> Self {
        let before = match start {
            Start::After(position) => Some((position.seen, LogTime::from_nanos(position.newest))),
            Start::Tail(_) | Start::Since(_) => None,
        };
        Self {
            dial,
            container,
            sink,
            start,
            before,
            poke: Poke::default(),
            resume: Resume::default(),
            run: None,
            marks: Vec::new(),
            lines: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Woken by this when it waits.
    pub fn poked_by(mut self, poke: Poke) -> Self {
        self.poke = poke;
        self
    }

    /// Follows until cancelled, or until there is nothing more to come.
    pub async fn run(mut self, cancel: CancellationToken) -> Ended {
        tokio::select! {
            () = cancel.cancelled() => Ended::Cancelled,
            ended = self.follow() => ended,
        }
    }

    async fn follow(&mut self) -> Ended {
        let (mut wait, mut failing) = (AGAIN.0, false);
        // The stream that has ended, and how far it was read.
        let mut before: Option<Framing> = None;
        loop {
            let failed = match self.look().await {
                Ok(run) => {
                    let known = self.run.replace(run.clone());
                    if let Some(known) = known {
                        self.changed(&known, &run, before.take());
                    }
                    self.resume.broke();
                    // A stopped one is read, too: it may have run unseen, and its last words may
                    // have been written after the stream was closed.
                    let (framing, ended) = self.read(run.tty).await;
                    match ended {
                        Ok(Break::Closed) => {
                            if run.running {
                                before = Some(framing);
                            } else {
                                self.finish(framing);
                                self.mark(None);
                                self.give();
                            }
                            (wait, failing) = (AGAIN.0, false);
                            let pause = if run.running { AGAIN.0 } else { LOOK };
                            self.pause(pause).await;
                            continue;
                        }
                        Ok(Break::Failed(reason)) => {
                            // It was read for a while: what breaks now is news.
                            (wait, failing) = (AGAIN.0, false);
                            reason
                        }
                        Err(error) => match self.fatal(error, framing) {
                            Ok(ended) => return ended,
                            Err(reason) => reason,
                        },
                    }
                }
                Err(error) => {
                    let rest = before.take_if(|_| error.is_not_found());
                    let rest = rest.unwrap_or_else(|| Framing::new(false, Parts::Alike));
                    match self.fatal(error, rest) {
                        Ok(ended) => return ended,
                        Err(reason) => reason,
                    }
                }
            };
            if !std::mem::replace(&mut failing, true) {
                let reason = clean(&failed, 300);
                tracing::warn!(container = %self.container, reason, "a log broke off; again");
            }
            self.pause(wait).await;
            wait = (wait * 2).min(AGAIN.1);
        }
    }

    async fn look(&self) -> Result<Run, RequestError> {
        let path = format!("/containers/{}/json", self.container);
        let inspect = json(&*self.dial, &path).await?;
        let text = |pointer| {
            clean(inspect.pointer(pointer).and_then(|text| text.as_str()).unwrap_or_default(), 64)
        };
        let flag = |pointer| inspect.pointer(pointer).and_then(|flag| flag.as_bool());
        Ok(Run {
            tty: flag("/Config/Tty").unwrap_or(false),
            running: flag("/State/Running").unwrap_or(false),
            started_at: text("/State/StartedAt"),
            finished_at: text("/State/FinishedAt"),
        })
    }

    /// Notes what happened to the container since the last look.
    fn changed(&mut self, known: &Run, run: &Run, before: Option<Framing>) {
        let restarted = known.started_at != run.started_at;
        let ended = known.running && (restarted || !run.running);
        // Its output is over: what has no line feed will get none.
        if (ended || restarted)
            && let Some(framing) = before
        {
            self.finish(framing);
        }
        let time = |text: &str| stamp::rfc3339(text.as_bytes()).map_or(now(), LogTime::from_nanos);
        let (started, finished) = (time(&run.started_at), time(&run.finished_at));
        let stopped = Mark { marker: LogMarker::Stopped, at: finished, before: None };
        if ended {
            self.marks.push(stopped);
        }
        if restarted {
            self.marks.push(Mark {
                marker: LogMarker::Started,
                at: started,
                before: Some(between(finished, started)),
            });
            if !run.running {
                self.marks.push(stopped);
            }
        }
    }

    /// Tells what was noted, before a line of this time; all of it for `None`.
    fn mark(&mut self, line: Option<LogTime>) {
        let due = |mark: &Mark| line.is_none_or(|at| mark.before.is_some_and(|from| from <= at));
        let upto = self.marks.iter().rposition(due).map_or(0, |last| last + 1);
        let marks = self.marks.drain(..upto);
        self.events.extend(marks.map(|mark| SourceEvent::Marker(mark.marker, mark.at)));
    }

    /// Reads the log until it breaks.
    async fn read(&mut self, tty: bool) -> (Framing, Result<Break, RequestError>) {
        let mut answer = match get(&*self.dial, &self.path()).await {
            Ok(answer) => answer,
            Err(error) => return (Framing::new(tty, Parts::Alike), Err(error)),
        };
        let podman = answer.response.headers().contains_key("libpod-api-version");
        let mut framing = Framing::new(tty, if podman { Parts::Apart } else { Parts::Alike });
        let body = answer.response.body_mut();
        loop {
            let frame = if self.marks.is_empty() {
                body.frame().await
            } else {
                match timeout(QUIET, body.frame()).await {
                    Ok(frame) => frame,
                    Err(_) => {
                        self.mark(None);
                        self.give();
                        continue;
                    }
                }
            };
            let Some(frame) = frame else { return (framing, Ok(Break::Closed)) };
            let bytes = match frame.map(|frame| frame.into_data()) {
                Ok(Ok(bytes)) => bytes,
                // Trailers.
                Ok(Err(_)) => continue,
                Err(error) => return (framing, Ok(Break::Failed(error.to_string()))),
            };
            let read = framing.feed(now(), &bytes, &mut self.lines);
            self.sift();
            self.give();
            match read {
                Ok(()) => {}
                Err(error @ (FrameError::NotAHeader(_) | FrameError::Engine(_))) => {
                    return (framing, Ok(Break::Failed(error.to_string())));
                }
            }
        }
    }

    fn path(&self) -> String {
        let id = &self.container;
        let mut path = format!("/containers/{id}/logs?follow=1&stdout=1&stderr=1&timestamps=1");
        let since = |at: i64| {
            let at = at.max(0);
            format!("&since={}.{:09}&tail=all", at / 1_000_000_000, at % 1_000_000_000)
        };
        let part = match (self.resume.since(), self.start) {
            (Some(at), _) => since(at),
            (None, Start::Since(at)) => since(at.as_nanos()),
            (None, Start::After(position)) => since(position.since),
            (None, Start::Tail(lines)) => format!("&tail={lines}"),
        };
        // Never fails on a String.
        let _ = path.write_str(&part);
        path
    }

    /// The end of the follow, where the error is one; else what to say of it.
    fn fatal(&mut self, error: RequestError, before: Framing) -> Result<Ended, String> {
        if error.is_not_found() {
            self.finish(before);
            self.mark(None);
            if self.run.as_ref().is_some_and(|run| run.running) {
                self.events.push(SourceEvent::Marker(LogMarker::Stopped, now()));
            }
            self.give();
            return Ok(Ended::Removed);
        }
        match error {
            RequestError::Refused { message, .. }
                if message.contains("does not support reading") =>
            {
                Ok(Ended::Refused(message))
            }
            error => Err(error.to_string()),
        }
    }

    fn finish(&mut self, mut framing: Framing) {
        framing.finish(now(), &mut self.lines);
        self.sift();
        self.give();
    }

    /// Passes on what was not seen yet.
    fn sift(&mut self) {
        for line in std::mem::take(&mut self.lines) {
            match self.resume.line(&line) {
                Verdict::Seen => continue,
                Verdict::New if self.was_before(&line) => continue,
                Verdict::New => {}
                Verdict::NewAfterLoss => {
                    self.events.push(SourceEvent::Marker(LogMarker::Lost, line.at));
                }
            }
            if !self.marks.is_empty() {
                self.mark(Some(line.at));
            }
            self.events.push(SourceEvent::Line(line));
        }
    }

    /// Whether a line was read before this follow began.
    fn was_before(&mut self, line: &RawLine) -> bool {
        match &mut self.before {
            Some((left @ 1.., newest)) if line.at <= *newest => {
                *left -= 1;
                true
            }
            Some((left, _)) => {
                // The engine no longer had all of them: what else is missing nobody knows.
                if *left > 0 {
                    self.events.push(SourceEvent::Marker(LogMarker::Lost, line.at));
                }
                self.before = None;
                false
            }
            None => false,
        }
    }

    fn give(&mut self) {
        if !self.events.is_empty() {
            self.sink.take(&mut self.events);
            self.events.clear();
        }
    }

    async fn pause(&self, long: Duration) {
        // However often it is woken: never as fast as an engine can refuse.
        sleep(AGAIN.0.min(long)).await;
        let _ = timeout(long.saturating_sub(AGAIN.0), self.poke.poked()).await;
    }
}

/// Where one run's lines end and the next one's begin. The engine stamps the last lines of a run
/// after the run's end, if it is busy, and the first of the next before that one's start: it notes
/// when a process was started after it was.
fn between(finished: LogTime, started: LogTime) -> LogTime {
    let gap = started.as_nanos().saturating_sub(finished.as_nanos());
    LogTime::from_nanos(started.as_nanos().saturating_sub(gap.max(0) / 2))
}

fn now() -> LogTime {
    kobel_wire::Timestamp::now().into()
}
