//! The test of a device: each step on the way to it, told as it ends, with what to do.

use kobel_collect::ssh::{Checked, HostKey, SshSpec, Step, check};
use serde::Serialize;
use tokio::{sync::mpsc, time::Instant};

/// Steps that wait for whoever reads them; there are never so many, so it is never full.
pub(crate) const WAITING: usize = 32;

/// Every step, in order.
const STEPS: [Step; 7] = [
    Step::Resolve,
    Step::Connect,
    Step::HostKey,
    Step::SignIn,
    Step::Shell,
    Step::Metrics,
    Step::Docker,
];

/// A step that has ended.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Told {
    /// Which one.
    pub(crate) step: Step,
    /// What came of it.
    pub(crate) state: Outcome,
    /// In words.
    pub(crate) message: String,
    /// What to do, where it is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
    /// Of [`Step::HostKey`]: the key.
    #[serde(flatten)]
    pub(crate) key: Option<ShownKey>,
    /// How long it took.
    pub(crate) ms: u64,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// It is as it should be.
    Ok,
    /// The device can be read, and something is missing.
    Warning,
    /// It ends here.
    Failed,
    /// Not tried.
    Skipped,
}

/// A host's key, and what is thought of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ShownKey {
    /// Whose: `host:port`, that of a jump host where it is one.
    pub(crate) host: String,
    /// As `ssh-keygen -l` shows it.
    pub(crate) fingerprint: String,
    /// `pinned`, `new` (taken by accept-new), `unknown` or `changed`.
    pub(crate) known: &'static str,
    /// Those that are pinned, where it is another one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) pinned: Vec<String>,
}

/// What came of a test.
#[derive(Debug, Default)]
pub(crate) struct Probed {
    /// Whether the device can be read.
    pub(crate) reads: bool,
    /// Host keys that were taken for the first time.
    pub(crate) new_keys: Vec<HostKey>,
}

/// Tries a device. Dropping it ends it.
pub(crate) async fn probe(spec: &SshSpec, told: mpsc::Sender<Told>) -> Probed {
    let (send, mut checked) = mpsc::channel::<Checked>(WAITING);
    let telling = async {
        let mut telling =
            Telling { told, host: spec.host.to_string(), last: Instant::now(), done: 0 };
        let mut reads = false;
        while let Some(step) = checked.recv().await {
            reads |= step.step == Step::Metrics && step.ok;
            telling.tell(step);
        }
        telling.pass(STEPS.len(), "not tried");
        reads
    };
    // The sender goes with it, which ends the telling.
    let checking = async move { check(spec, &send).await };
    let (new_keys, reads) = tokio::join!(checking, telling);
    Probed { reads, new_keys }
}

struct Telling {
    told: mpsc::Sender<Told>,
    host: String,
    last: Instant,
    /// Steps that were told.
    done: usize,
}

impl Telling {
    fn tell(&mut self, checked: Checked) {
        let Checked { step, ok, message, remedy, host_key } = checked;
        let place = STEPS.iter().position(|known| *known == step).unwrap_or(0);
        self.pass(place, "done by the host before it");
        self.done = place + 1;
        let now = Instant::now();
        let ms = u64::try_from((now - self.last).as_millis()).unwrap_or(u64::MAX);
        self.last = now;
        let state = match (ok, step) {
            (true, _) => Outcome::Ok,
            // A host without containers is a good one.
            (false, Step::Docker) => Outcome::Warning,
            (false, _) => Outcome::Failed,
        };
        let key = match host_key {
            Some(key) => Some(ShownKey {
                known: if key.pinned.is_empty() { "unknown" } else { "changed" },
                host: key.host,
                fingerprint: key.fingerprint,
                pinned: key.pinned,
            }),
            None if step == Step::HostKey && ok => Some(ShownKey {
                host: self.host.clone(),
                fingerprint: message.split(' ').next().unwrap_or_default().to_owned(),
                known: if message.contains("(new") { "new" } else { "pinned" },
                pinned: Vec::new(),
            }),
            None => None,
        };
        self.send(Told { step, state, message, remedy, key, ms });
    }

    /// The steps before this one were not tried, or were somebody else's.
    fn pass(&mut self, place: usize, why: &str) {
        for step in STEPS.iter().take(place).skip(self.done) {
            let (step, message) = (*step, why.to_owned());
            let state = Outcome::Skipped;
            self.send(Told { step, state, message, remedy: None, key: None, ms: 0 });
        }
        self.done = self.done.max(place);
    }

    fn send(&self, told: Told) {
        // Whoever asked may have gone.
        let _ = self.told.try_send(told);
    }
}
