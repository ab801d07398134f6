//! The live line on a terminal; elsewhere one now and then.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use tokio::time::Instant;

/// How often a line is written where it cannot be written over.
const RARELY: Duration = Duration::from_secs(10);

/// Says on standard error how it stands.
pub(crate) struct Progress {
    terminal: bool,
    said: Instant,
    /// Events by then, to make a rate of.
    messages: u64,
    rated: Instant,
    rate: f64,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let terminal = io::stderr().is_terminal();
        Self { terminal, said: now, messages: 0, rated: now, rate: 0.0 }
    }

    /// How it stands; `p99` in µs.
    pub(crate) fn say(&mut self, what: &str, live: u32, of: u32, messages: u64, p99: u64) {
        let now = Instant::now();
        let passed = now.duration_since(self.rated);
        if passed >= Duration::from_secs(1) {
            self.rate = messages.saturating_sub(self.messages) as f64 / passed.as_secs_f64();
            (self.messages, self.rated) = (messages, now);
        }
        let often = if self.terminal { Duration::from_millis(200) } else { RARELY };
        if now.duration_since(self.said) < often {
            return;
        }
        self.said = now;
        let p99 = p99 as f64 / 1000.0;
        let rate = self.rate;
        let line = format!("{what}: {live} of {of} connected, {rate:.0} events/s, p99 {p99:.2} ms");
        let (before, after) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        // Nobody sees it: then nobody misses it.
        let _ = write!(io::stderr(), "{before}{line}{after}").and_then(|()| io::stderr().flush());
    }

    /// Takes the line away.
    pub(crate) fn done(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K").and_then(|()| io::stderr().flush());
        }
    }
}
