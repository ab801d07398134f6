//! What the server costs, read from /proc (proc(5)): only where it runs on this machine.

mod find;

use std::{fs, time::Duration};

pub(crate) use find::listening_on;

/// Processor time of some processes, and what they have in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Reading {
    /// Seconds.
    pub(crate) user: f64,
    /// Seconds. On a loopback it has most of the network's work in it, but not all: see [`core`].
    pub(crate) system: f64,
    /// Bytes.
    pub(crate) resident: u64,
}

/// The processes together; `None` when one of them is not there.
pub(crate) fn read(pids: &[u32]) -> Option<Reading> {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let page = rustix::param::page_size() as u64;
    let mut sum = Reading::default();
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (user, system, pages) = stat_of(&stat)?;
        sum.user += user as f64 / ticks;
        sum.system += system as f64 / ticks;
        sum.resident += pages * page;
    }
    (!pids.is_empty()).then_some(sum)
}

/// User ticks, system ticks and resident pages. The name before them may hold anything, brackets
/// and spaces too.
fn stat_of(stat: &str) -> Option<(u64, u64, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<_> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse().ok();
    Some((field(14)?, field(15)?, field(24)?))
}

/// Seconds that a core was busy as a server makes it: user, nice, system, irq and softirq.
/// What the network's work costs is counted as softirq of the core, not as time of a process.
pub(crate) fn core(core: u32) -> Option<f64> {
    core_of(&fs::read_to_string("/proc/stat").ok()?, core)
}

fn core_of(stat: &str, core: u32) -> Option<f64> {
    let name = format!("cpu{core}");
    let line = stat.lines().find(|line| line.split(' ').next() == Some(&name))?;
    let ticks: Vec<u64> =
        line.split_ascii_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    let busy = [0, 1, 2, 5, 6].iter().map(|field| ticks.get(*field)).sum::<Option<u64>>()?;
    Some(busy as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// What a core does by itself: busy seconds a second over some time.
pub(crate) async fn idle_core(number: u32, over: Duration) -> Option<f64> {
    let before = core(number)?;
    tokio::time::sleep(over).await;
    Some((core(number)? - before).max(0.0) / over.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_of_a_process_with_a_nasty_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 1 1 20 0 3 0 9 1000 42 18446";
        assert_eq!(stat_of(stat), Some((250, 50, 42)));
        for bad in ["", "7 (a", "7 (a) S 1", "7 (a) S x x x x x x x x x x y z"] {
            assert_eq!(stat_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_right_core_is_read() {
        let stat =
            "cpu  9 9 9 9 9 9 9 0 0 0\ncpu1 100 1 100 5000 7 1 98 0 0 0\ncpu10 1 1 1 1 1 1 1 0\n";
        assert_eq!(core_of(stat, 1), Some(3.0));
        assert_eq!(core_of(stat, 2), None);
    }

    #[test]
    fn this_process_costs_something() {
        let reading = read(&[std::process::id()]).unwrap();
        assert!(reading.resident > 100_000);
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[std::process::id(), u32::MAX]), None);
    }
}
