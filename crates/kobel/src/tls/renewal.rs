//! A certificate that is renewed while the hub runs.

use std::{sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::files::{Files, Stamp};

/// How often the files are looked at.
const EACH: Duration = Duration::from_secs(2);

/// Puts a new certificate into use.
pub(crate) struct Renewal {
    files: Files,
    changes: Changes,
    /// Read by every handshake.
    renewed: watch::Sender<Arc<ServerConfig>>,
}

/// When files that were seen so and so are to be read again.
struct Changes {
    /// How they were when they were read last, whether or not they could be used.
    read: Stamp,
    /// How they were at the last look.
    seen: Stamp,
}

impl Changes {
    /// Whether to read them now: they changed, and are as they were at the look before. Both
    /// files are written one after the other, and between the two they do not match.
    fn due(&mut self, now: Stamp) -> bool {
        let settled = std::mem::replace(&mut self.seen, now) == now;
        let due = settled && now != self.read;
        if due {
            self.read = now;
        }
        due
    }
}

impl Renewal {
    pub(super) fn new(
        files: Files,
        stamp: Stamp,
        renewed: watch::Sender<Arc<ServerConfig>>,
    ) -> Self {
        Self { files, changes: Changes { read: stamp, seen: stamp }, renewed }
    }

    /// Looks at the files until cancelled. What cannot be used is told once, and the certificate
    /// before it stays in use. Connections live on with the one that they began with.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let mut tick = interval(EACH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = tick.tick() => {}
            }
            // The folder may be on a disk that sleeps, or on a network.
            let files = self.files.clone();
            let Ok(now) = spawn_blocking(move || files.stamp()).await else { continue };
            if !self.changes.due(now) {
                continue;
            }
            let files = self.files.clone();
            let Ok(loaded) = spawn_blocking(move || files.load()).await else { continue };
            match loaded {
                Ok(config) => {
                    self.renewed.send_replace(Arc::new(config));
                    tracing::info!(
                        file = %self.files.cert.display(),
                        "the certificate was renewed; new connections get it"
                    );
                }
                Err(error) => {
                    tracing::error!(%error, "the certificate in use stays: the new one is no good");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_once_they_are_at_rest() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files { cert: folder.path().join("c"), key: folder.path().join("k") };
        let write = |path, text: &str| std::fs::write(path, text).unwrap();
        write(&files.cert, "1");
        write(&files.key, "1");
        let stamp = files.stamp();
        let mut changes = Changes { read: stamp, seen: stamp };
        assert!(!changes.due(files.stamp()));
        write(&files.cert, "22");
        assert!(!changes.due(files.stamp()), "its key may not be there yet");
        write(&files.key, "22");
        assert!(!changes.due(files.stamp()));
        assert!(changes.due(files.stamp()));
        assert!(!changes.due(files.stamp()), "once");
        // A rename over it, with the same length and time.
        write(&folder.path().join("new"), "33");
        std::fs::rename(folder.path().join("new"), &files.cert).unwrap();
        assert!(!changes.due(files.stamp()));
        assert!(changes.due(files.stamp()));
        std::fs::remove_file(&files.key).unwrap();
        assert!(!changes.due(files.stamp()));
        assert!(changes.due(files.stamp()), "one that is gone is a change, too");
    }
}
