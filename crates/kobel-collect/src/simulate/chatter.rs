//! What containers that do not exist write: every line a function of the seed, the container and
//! the time, so that a log can be read again from any place, after a break of whatever kind.
//!
//! A minute has as many lines as the rate says; within it they crowd where the host has a spike and
//! in bursts of the container's own, and there are none while it is down. Each has a number, `n`,
//! that counts from when the container was made: what is missing shows.

use std::{fmt::Write, future::Future, pin::Pin, sync::Arc, time::Duration};

use kobel_hub::logs::{
    LogSink, LogStart, Poke, RawLine, SourceEvent, live::LogSource, queue::LogSender,
};
use kobel_wire::{
    ContainerId, Timestamp,
    log::{LogMarker, LogOutput, LogTime},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{containers::Nature, host::Host, noise::Key};

const SECOND: i64 = 1_000_000_000;

/// Seconds that share a count of lines.
const MINUTE: u64 = 60;

/// How far back a log reaches: its engine has thrown away what is older.
const KEPT: u64 = 6 * 3_600;

/// How often it is looked for new lines.
const LOOK: Duration = Duration::from_millis(100);

/// The containers of one host, for who wants their logs.
pub(super) struct Chatter {
    pub(super) host: Arc<Host>,
    pub(super) natures: Vec<Nature>,
    /// Lines a second of each container.
    pub(super) rate: f64,
}

/// One container that writes.
struct Writer {
    host: Arc<Host>,
    nature: Nature,
    key: Key,
    rate: f64,
    /// When it was made and when it will be made anew, seconds since 1970.
    made: u64,
    end: u64,
}

impl LogSource for Chatter {
    fn follow(
        &self,
        container: ContainerId,
        start: LogStart,
        sink: LogSender,
        _poke: Poke,
        cancel: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let now = now();
        let writer = self.natures.iter().find_map(|nature| {
            let (made, end) = nature.life_of(&container, (now / SECOND) as u64)?;
            let (host, key) = (Arc::clone(&self.host), nature.key().part(60));
            Some(Writer { host, nature: *nature, key, rate: self.rate, made, end })
        });
        Box::pin(async move {
            // It was made anew long ago: nothing of it is left.
            let Some(writer) = writer else { return Ok(()) };
            tokio::select! {
                () = cancel.cancelled() => {}
                () = writer.write(start, &sink) => {}
            }
            Ok(())
        })
    }
}

fn now() -> i64 {
    Timestamp::now().as_millis().max(0).saturating_mul(1_000_000)
}

impl Writer {
    async fn write(self, start: LogStart, sink: &LogSender) {
        let begun = now();
        let (mut upto, mut skip) = self.begin(start, begun);
        let mut was_up = self.is_up((begun / SECOND) as u64);
        loop {
            let now = now().min(self.end as i64 * SECOND - 1);
            // A second at a time: years of lines would not fit.
            while upto < now {
                let second = (upto + 1) / SECOND;
                let to = now.min((second + 1) * SECOND - 1);
                let mut lines = Vec::new();
                self.second(second as u64, &mut lines);
                lines.retain(|line| (upto + 1..=to).contains(&line.at.as_nanos()));
                let known = lines.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
                skip -= known as u64;
                let mut events: Vec<_> = lines.drain(known..).map(SourceEvent::Line).collect();
                let up = self.is_up(second as u64);
                if up != std::mem::replace(&mut was_up, up) && second * SECOND >= begun {
                    let marker = if up { LogMarker::Started } else { LogMarker::Stopped };
                    let at = LogTime::from_nanos(second * SECOND);
                    events.insert(0, SourceEvent::Marker(marker, at));
                }
                if !events.is_empty() {
                    sink.take(&mut events);
                    tokio::task::yield_now().await;
                }
                upto = to;
            }
            if now / SECOND >= self.end as i64 - 1 && now >= self.end as i64 * SECOND - 1 {
                let stopped = SourceEvent::Marker(LogMarker::Stopped, LogTime::from_nanos(now));
                return sink.take(&mut vec![stopped]);
            }
            sleep(LOOK).await;
        }
    }

    /// Up to when nothing is given, nanoseconds since 1970, and how many of the lines behind it are
    /// known.
    fn begin(&self, start: LogStart, now: i64) -> (i64, u64) {
        let t = (now / SECOND) as u64;
        let oldest = self.made.max(t.saturating_sub(KEPT)) as i64 * SECOND - 1;
        match start {
            LogStart::All => (oldest, 0),
            LogStart::After(position) if position.since > oldest => {
                (position.since - 1, position.seen)
            }
            LogStart::After(_) => (oldest, 0),
            LogStart::Tail(0) => (now, 0),
            LogStart::Tail(wanted) => {
                let (mut second, mut lines) = (t + 1, 0);
                while second > 0 && second as i64 * SECOND > oldest && lines < wanted as usize {
                    second -= 1;
                    let mut of_second = Vec::new();
                    self.second(second, &mut of_second);
                    lines += of_second.iter().filter(|line| line.at.as_nanos() <= now).count();
                }
                let more = lines.saturating_sub(wanted as usize) as u64;
                ((second as i64 * SECOND - 1).max(oldest), more)
            }
        }
    }

    fn is_up(&self, t: u64) -> bool {
        self.host.is_up(t) && self.nature.is_up(t)
    }

    /// How much it has to say in a second.
    fn weight(&self, t: u64) -> f64 {
        if !self.is_up(t) {
            return 0.0;
        }
        let burst = if self.key.part(t / 7).unit() < 0.04 { 5.0 } else { 0.0 };
        1.0 + burst + 8.0 * self.host.spike(t as f64)
    }

    /// The numbers of the lines of a second: from the first to before the last.
    fn numbers(&self, t: u64) -> (u64, u64) {
        let minute = t / MINUTE;
        let at = |minute: u64| ((minute * MINUTE) as f64 * self.rate) as u64;
        let (first, total) = (at(minute), (at(minute + 1) - at(minute)) as f64);
        let (mut before, mut all, mut with) = (0.0, 0.0, 0.0);
        for second in minute * MINUTE..(minute + 1) * MINUTE {
            let weight = self.weight(second);
            all += weight;
            before += if second < t { weight } else { 0.0 };
            with += if second <= t { weight } else { 0.0 };
        }
        if all == 0.0 {
            return (first, first);
        }
        let upto = |part: f64| first + (total * part / all) as u64;
        (upto(before), upto(with))
    }

    /// Adds the lines of a second.
    fn second(&self, t: u64, lines: &mut Vec<RawLine>) {
        if t < self.made {
            return;
        }
        let (from, to) = self.numbers(t);
        let base = ((self.made / MINUTE * MINUTE) as f64 * self.rate) as u64;
        for number in from..to {
            let key = self.key.part(1).part(number);
            let within = (number - from) as i64 * SECOND + key.below(SECOND as u64) as i64;
            let at = LogTime::from_nanos(t as i64 * SECOND + within / (to - from) as i64);
            self.line(number + 1 - base.min(number), at, key, lines);
        }
    }

    fn line(&self, number: u64, at: LogTime, key: Key, lines: &mut Vec<RawLine>) {
        let path = key.part(1).pick(&["/api/cart", "/api/orders", "/login", "/search", "/health"]);
        let ms = 1 + (key.part(2).unit().powi(4) * 900.0) as u64;
        let (level, stream, what) = match key.below(100) {
            0..2 => ("error", LogOutput::Stderr, "the payment service does not answer"),
            2..8 => ("warn", LogOutput::Stderr, "slow query"),
            8..25 => ("debug", LogOutput::Stdout, "cache miss"),
            _ => ("info", LogOutput::Stdout, "request served"),
        };
        let trace = level == "error" && key.part(3).below(2) == 0;
        let mut text = String::new();
        // Writing to a String never fails.
        let _ = match self.nature.key().part(61).below(3) {
            0 => write!(
                text,
                r#"{{"time":"{at}","level":"{level}","msg":"{what}","n":{number},"path":"{path}","ms":{ms}}}"#
            ),
            1 => write!(
                text,
                r#"time={at} level={level} msg="{what}" n={number} path={path} ms={ms}"#
            ),
            _ => {
                write!(text, "{at} {} {what} n={number} path={path} ms={ms}", level.to_uppercase())
            }
        };
        lines.push(RawLine { at, stream, text, cut: 0 });
        if trace {
            for frame in ["checkout.Pay(pay.java:88)", "cart.Close(cart.java:41)"] {
                lines.push(RawLine { at, stream, text: format!("    at com.{frame}"), cut: 0 });
            }
        }
    }
}

#[cfg(test)]
mod tests;
