//! The containers of this machine by their cgroups, for those who keep their engine to themselves.

use std::{fs, path::Path, sync::Arc, time::Duration};

use kobel_hub::ingest::Ingest;
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    CollectStats, Target,
    host::{
        cgroups::{self, Cgroups, Counters, FILES, News, Reading},
        memory, pressure,
    },
};

/// Where cgroups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// The hierarchies of version 1 that are read.
const CONTROLLERS: [&str; 4] = ["cpuacct", "memory", "pids", "blkio"];

/// Folders within folders, at most.
const DEPTH: usize = 16;

/// The source of this machine's containers by their cgroups: the engine's socket is never touched.
pub struct CgroupSource {
    target: Target,
    ingest: Ingest,
    period: Duration,
    stats: Arc<CollectStats>,
}

impl CgroupSource {
    /// A source that looks each `period`.
    pub fn new(target: Target, ingest: Ingest, period: Duration, stats: Arc<CollectStats>) -> Self {
        Self { target, ingest, period, stats }
    }

    /// Runs until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let device = self.target.device;
        self.ingest.engine(device, cgroups::engine());
        let mut tick = interval(self.period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut known = Cgroups::default();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = tick.tick() => {}
            }
            // Off the async threads: to read them may take a lock of the kernel's.
            let Ok(Some((uptime, memory, reading))) = spawn_blocking(look).await else {
                self.stats.sample_failed();
                continue;
            };
            match known.read(device, uptime, memory, reading) {
                News::All(containers) => self.ingest.inventory(device, containers),
                News::Each(containers) => {
                    containers.into_iter().for_each(|container| self.ingest.container(container));
                }
            }
        }
    }
}

fn look() -> Option<(f64, Option<u64>, Reading)> {
    let uptime = pressure::uptime(&fs::read_to_string("/proc/uptime").ok()?)?;
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory::parse(&meminfo).total;
    Some((uptime, memory, reading(Path::new(ROOT))))
}

/// What the cgroups below this folder say.
pub(crate) fn reading(root: &Path) -> Reading {
    let mut reading = Reading::new();
    if root.join("cgroup.controllers").exists() {
        walk(root, 0, &mut reading);
    } else {
        for controller in CONTROLLERS {
            walk(&root.join(controller), 0, &mut reading);
        }
    }
    reading
}

fn walk(folder: &Path, depth: usize, reading: &mut Reading) {
    if let Some(id) = folder.to_str().and_then(cgroups::container) {
        if reading.len() < cgroups::MOST || reading.contains_key(&id) {
            read(folder, reading.entry(id).or_default());
        }
        // What is inside of it is counted with it.
        return;
    }
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        // Not through links: no loop, and nothing outside.
        if depth < DEPTH && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), depth + 1, reading);
        }
    }
}

fn read(folder: &Path, counters: &mut Counters) {
    for file in FILES {
        let Ok(text) = fs::read_to_string(folder.join(file)) else { continue };
        text.lines().for_each(|line| counters.take(file, line));
    }
}

#[cfg(test)]
mod tests {
    use kobel_wire::{ContainerState, DeviceUuid};

    use super::*;

    #[test]
    fn containers_are_found_by_their_folders_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::write(root.join("cgroup.controllers"), "cpu").unwrap();
        let make = |path: &str, files: &[(&str, &str)]| {
            let at = root.join(path);
            fs::create_dir_all(&at).unwrap();
            for (file, text) in files {
                fs::write(at.join(file), text).unwrap();
            }
        };
        let (one, two) = ("a".repeat(64), "b".repeat(64));
        let files = [("cpu.stat", "usage_usec 5\nuser_usec 2\n"), ("pids.current", "4\n")];
        make(&format!("system.slice/docker-{one}.scope"), &files);
        make(&format!("system.slice/docker-{one}.scope/docker/{two}"), &files);
        make("system.slice/-rf $(reboot)\n'", &files);
        make(&format!("user.slice/x\n/libpod-{two}.scope"), &[("memory.current", "7\n")]);
        std::os::unix::fs::symlink(root, root.join("loop")).unwrap();
        let reading = reading(root);
        let ids: Vec<_> = reading.keys().map(ToString::to_string).collect();
        assert_eq!(ids, [one, two]);
        let News::All(told) = Cgroups::default().read(DeviceUuid::NIL, 1.0, Some(9), reading)
        else {
            panic!("it is the first")
        };
        assert_eq!((told[0].pids, told[0].memory), (Some(4), None));
        assert_eq!((told[1].memory, told[1].state), (Some(7), ContainerState::Running));
    }
}
