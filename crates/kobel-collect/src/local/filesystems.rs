//! Sizes of the mounted filesystems.
//!
//! statvfs(3) on a server that is gone hangs in a state that no signal ends. So it is asked on a
//! thread of its own, which nobody waits for: while it hangs, the sizes known before stay, and the
//! rest of the sample is not concerned.

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use kobel_wire::Mount;

use crate::host::mounts::{self, Blocks, Mounted};

/// How often the sizes are asked.
const EACH: Duration = Duration::from_secs(5);

/// The newest sizes. The thread ends when this is dropped, or with the process if it hangs.
pub(super) struct Filesystems(Arc<Mutex<Vec<Mount>>>);

impl Filesystems {
    pub(super) fn start() -> Self {
        // The first answer comes before the first sample; remote ones must not hold it up.
        let newest = Arc::new(Mutex::new(sizes(false)));
        let known = Arc::downgrade(&newest);
        let thread = std::thread::Builder::new().name("filesystems".into());
        if let Err(error) = thread.spawn(move || keep_asking(&known)) {
            tracing::error!(%error, "no thread for the sizes of filesystems: they stay as they are");
        }
        Self(newest)
    }

    pub(super) fn newest(&self) -> Vec<Mount> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn keep_asking(known: &Weak<Mutex<Vec<Mount>>>) {
    loop {
        // Local ones first: a remote one that hangs must not make them old.
        for remote in [false, true] {
            let mut newest = sizes(remote);
            let Some(known) = known.upgrade() else { return };
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if !remote {
                let others =
                    known.iter().filter(|m| m.fs.as_deref().is_some_and(mounts::is_remote));
                newest.extend(others.cloned());
            }
            newest.sort_by(|a, b| a.path.cmp(&b.path));
            *known = newest;
        }
        std::thread::sleep(EACH);
    }
}

/// The sizes of local filesystems, or of all.
fn sizes(remote: bool) -> Vec<Mount> {
    let mountinfo = fs::read("/proc/self/mountinfo").unwrap_or_default();
    mounts::parse(&String::from_utf8_lossy(&mountinfo))
        .into_iter()
        .filter(|mounted| remote || !mounted.remote)
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
