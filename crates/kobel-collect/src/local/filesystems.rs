//! Sizes of the mounted filesystems.
//!
//! statvfs(3) on a server that is gone hangs in a state that no signal ends. So filesystems are
//! asked on threads that nobody waits for: one for those of this machine and one for those that
//! depend on others, so that a server that is gone costs neither the sample nor the root's size.
//! Each thread asks again only after its last round ended, so at most one question a thread hangs.

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use kobel_wire::Mount;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use crate::host::mounts::{self, Blocks, Mounted};

/// How often the sizes are asked.
const EACH: Duration = Duration::from_secs(5);

/// When sizes are too old to be shown as those of now: then they are absent.
const TOO_OLD: Duration = Duration::from_secs(60);

/// How long the first sample waits for the sizes of this machine's own filesystems.
const PATIENCE: Duration = Duration::from_millis(250);

/// The newest sizes.
pub(super) struct Filesystems {
    local: Lane,
    remote: Lane,
}

/// What one thread found, and when. The thread ends when this is dropped, or with the process if
/// it hangs.
struct Lane(Arc<Newest>);

/// The last round of a thread: when it ended, and what it found.
type Newest = Mutex<Option<(Instant, Vec<Mount>)>>;

impl Filesystems {
    pub(super) async fn start() -> Self {
        let (local, first) = Lane::start("filesystems", EACH, || sizes(false));
        // Late or never: then the first samples are without.
        let _ = timeout(PATIENCE, first).await;
        let (remote, _) = Lane::start("remote-filesystems", EACH, || sizes(true));
        Self { local, remote }
    }

    /// The sizes, by path.
    pub(super) fn newest(&self, now: Instant) -> Vec<Mount> {
        let mut mounts = self.local.newest(now);
        mounts.extend(self.remote.newest(now));
        mounts.sort_by(|a, b| a.path.cmp(&b.path));
        mounts
    }
}

impl Lane {
    /// Begins to ask; the receiver hears of the first answer.
    fn start(
        name: &str,
        each: Duration,
        ask: impl Fn() -> Vec<Mount> + Send + 'static,
    ) -> (Self, oneshot::Receiver<()>) {
        let newest = Arc::new(Mutex::new(None));
        let known = Arc::downgrade(&newest);
        let (tell, first) = oneshot::channel();
        let thread = std::thread::Builder::new().name(name.into());
        if let Err(error) = thread.spawn(move || keep_asking(&known, each, ask, tell)) {
            tracing::error!(%error, name, "no thread for the sizes of filesystems: none are shown");
        }
        (Self(newest), first)
    }

    fn newest(&self, now: Instant) -> Vec<Mount> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |at: Instant| now.saturating_duration_since(at) <= TOO_OLD;
        known.as_ref().filter(|(at, _)| fresh(*at)).map(|(_, m)| m.clone()).unwrap_or_default()
    }
}

fn keep_asking(
    known: &Weak<Newest>,
    each: Duration,
    ask: impl Fn() -> Vec<Mount>,
    first: oneshot::Sender<()>,
) {
    let mut first = Some(first);
    loop {
        let newest = ask();
        let Some(known) = known.upgrade() else { return };
        *known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), newest));
        drop(known);
        if let Some(first) = first.take() {
            // Whoever waited may have given up.
            let _ = first.send(());
        }
        std::thread::sleep(each);
    }
}

/// The sizes of this machine's own filesystems, or of the others.
fn sizes(remote: bool) -> Vec<Mount> {
    let mountinfo = fs::read("/proc/self/mountinfo").unwrap_or_default();
    mounts::parse(&String::from_utf8_lossy(&mountinfo))
        .into_iter()
        .filter(|mounted| mounted.remote == remote)
        .filter_map(|mounted| mounts::usage(&mounted, blocks(&mounted)?))
        .collect()
}

fn blocks(mounted: &Mounted) -> Option<Blocks> {
    let stat = rustix::fs::statvfs(&mounted.path).ok()?;
    Some(Blocks {
        size: stat.f_frsize,
        total: stat.f_blocks,
        free: stat.f_bfree,
        available: stat.f_bavail,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn mount(path: &str, used: u64) -> Mount {
        Mount { path: path.into(), fs: None, used, total: 100 }
    }

    #[tokio::test]
    async fn a_server_that_is_gone_costs_only_its_own_sizes() {
        // The remote one hangs until the test ends; the local one answers whenever it may.
        let (_hold, hangs) = mpsc::channel::<()>();
        let (may, waits) = mpsc::sync_channel::<u64>(0);
        let (remote, _) = Lane::start("test-remote", Duration::ZERO, move || {
            let _ = hangs.recv();
            Vec::new()
        });
        let (local, first) = Lane::start("test-local", Duration::ZERO, move || {
            waits.recv().map(|used| vec![mount("/", used)]).unwrap_or_default()
        });
        may.send(1).unwrap();
        first.await.unwrap();
        let filesystems = Filesystems { local, remote };
        assert_eq!(filesystems.newest(Instant::now()), [mount("/", 1)]);
        may.send(2).unwrap();
        // A third is taken only once the second is kept.
        may.send(3).unwrap();
        assert!(filesystems.newest(Instant::now())[0].used >= 2);
    }

    #[tokio::test]
    async fn sizes_too_old_are_absent() {
        let (_hold, hangs) = mpsc::channel::<()>();
        let asked = std::sync::atomic::AtomicBool::new(false);
        let (lane, first) = Lane::start("test-old", Duration::ZERO, move || {
            if asked.swap(true, std::sync::atomic::Ordering::Relaxed) {
                let _ = hangs.recv();
            }
            vec![mount("/net", 1)]
        });
        first.await.unwrap();
        let now = Instant::now();
        assert_eq!(lane.newest(now).len(), 1);
        assert!(lane.newest(now + TOO_OLD + Duration::from_secs(1)).is_empty());
    }
}
