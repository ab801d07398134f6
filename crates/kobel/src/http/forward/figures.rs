//! What was passed on, counted; and log lines that do not come one upon the other.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{ForwardError, word::NoWord};

/// How far log lines of one kind are apart. A node that does not answer fails thousands of requests
/// in a second, and anybody can send a header that is not taken.
const SELDOM: Duration = Duration::from_secs(10);

/// Figures at one instant.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    /// Requests for other nodes, by what became of them.
    pub results: Vec<(&'static str, u64)>,
    /// Headers that named a client and were not taken, by the reason.
    pub no_words: Vec<(&'static str, u64)>,
    /// WebSockets that go through this node to another one now.
    pub tunnels: u64,
}

/// Counts; written from everywhere.
#[derive(Debug, Default)]
pub(super) struct Counts {
    ok: AtomicU64,
    errors: [AtomicU64; ForwardError::ALL.len()],
    no_words: [AtomicU64; NoWord::ALL.len()],
    tunnels: AtomicU64,
}

impl Counts {
    pub(super) fn result(&self, error: Option<ForwardError>) {
        let count = error.map_or(&self.ok, |error| &self.errors[error as usize]);
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn no_word(&self, why: NoWord) {
        self.no_words[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a tunnel for as long as what it gives is held.
    pub(super) fn tunnel(&self) -> Tunnel<'_> {
        self.tunnels.fetch_add(1, Ordering::Relaxed);
        Tunnel(&self.tunnels)
    }

    pub(super) fn read(&self) -> Figures {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let errors = ForwardError::ALL.into_iter().zip(&self.errors);
        let errors = errors.map(|(error, count)| (error.as_str(), read(count)));
        let no_words = NoWord::ALL.into_iter().zip(&self.no_words);
        Figures {
            results: std::iter::once(("ok", read(&self.ok))).chain(errors).collect(),
            no_words: no_words.map(|(why, count)| (why.as_str(), read(count))).collect(),
            tunnels: read(&self.tunnels),
        }
    }
}

/// One of the tunnels.
pub(super) struct Tunnel<'a>(&'a AtomicU64);

impl Drop for Tunnel<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Says when a log line of one kind is due.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    /// When the last one was. Held for a look.
    last: Mutex<Option<Instant>>,
    left_out: AtomicU64,
}

impl Seldom {
    /// How many were left out since the last one, if one is due now.
    pub(super) fn due(&self) -> Option<u64> {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| now.duration_since(last) < SELDOM) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *last = Some(now);
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_result_counts_under_its_name() {
        let counts = Counts::default();
        counts.result(None);
        for error in ForwardError::ALL {
            counts.result(Some(error));
        }
        for why in NoWord::ALL {
            counts.no_word(why);
        }
        let held = counts.tunnel();
        let figures = counts.read();
        assert!(figures.results.iter().chain(&figures.no_words).all(|(_, count)| *count == 1));
        assert_eq!(figures.tunnels, 1);
        drop(held);
        assert_eq!(counts.read().tunnels, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_left_out_and_counted() {
        let seldom = Seldom::default();
        assert_eq!([seldom.due(), seldom.due(), seldom.due()], [Some(0), None, None]);
        tokio::time::advance(SELDOM).await;
        assert_eq!([seldom.due(), seldom.due()], [Some(2), None]);
    }
}
