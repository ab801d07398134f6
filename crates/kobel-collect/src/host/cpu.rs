//! Processor time: /proc/stat.

use procfs_core::{CpuTime, ExplicitSystemInfo, FromBufReadSI, KernelStats};

use super::percent;

/// The most cores that are reported one by one. More than any host has.
const MAX_CORES: usize = 4096;

/// Time since boot by use, in ticks. What runs guests is within `user` and `nice` already
/// (proc(5)), so it is not here again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuTimes {
    /// In user mode.
    pub user: u64,
    /// In user mode, niced.
    pub nice: u64,
    /// In the kernel.
    pub system: u64,
    /// Idle.
    pub idle: u64,
    /// Idle with I/O outstanding; since Linux 2.5.41.
    pub iowait: Option<u64>,
    /// In interrupts, hard and soft.
    pub interrupts: u64,
    /// Taken by the hypervisor for others; since Linux 2.6.11.
    pub steal: Option<u64>,
}

/// What /proc/stat tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuCounters {
    /// All cores together.
    pub total: CpuTimes,
    /// Each core that is online, by its number.
    pub cores: Vec<(u32, CpuTimes)>,
    /// When the host booted, seconds since 1970; 0 where it does not say.
    pub boot_time: u64,
}

/// Shares between two readings, percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuShares {
    /// Neither idle nor waiting for I/O.
    pub used: f64,
    /// Waiting for I/O.
    pub iowait: Option<f64>,
    /// Taken by the hypervisor.
    pub steal: Option<f64>,
}

/// Reads /proc/stat, with or without its long `intr` line.
pub fn parse(stat: &str) -> Option<CpuCounters> {
    // Only what is used: the rest is long, and one bad line would lose the whole.
    let mut kept = String::with_capacity(stat.len().min(64 * 1024));
    let mut numbers = Vec::new();
    let (mut has_total, mut boot_time) = (false, 0);
    for line in stat.lines() {
        // Labels begin their line; what is indented the parser below would not take for one.
        let (label, rest) = line.split_once(' ').unwrap_or((line, ""));
        if label == "cpu" && line.starts_with("cpu ") {
            has_total = true;
        } else if let Some(number) = label.strip_prefix("cpu").and_then(|n| n.parse().ok()) {
            if numbers.len() == MAX_CORES || !is_times(line) {
                continue;
            }
            numbers.push(number);
        } else {
            if label == "btime" {
                boot_time = rest.trim().parse().unwrap_or_default();
            }
            continue;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    if !has_total {
        return None;
    }
    // `KernelStats` insists on these three; nothing here uses what it makes of them.
    kept.push_str("ctxt 0\nbtime 0\nprocesses 0\n");
    // Ticks cancel out in shares, so their length does not matter.
    let system = ExplicitSystemInfo {
        boot_time_secs: 0,
        ticks_per_second: 100,
        page_size: 4096,
        is_little_endian: true,
    };
    let stats = KernelStats::from_buf_read(kept.as_bytes(), &system).ok()?;
    // It forgets the cores' numbers, and a core may go offline: they were noted in the same order.
    let cores = numbers.into_iter().zip(stats.cpu_time.iter().map(times)).collect();
    Some(CpuCounters { total: times(&stats.total), cores, boot_time })
}

/// Whether a `cpuN` line has the four numbers that all kernels give, and nothing but numbers.
fn is_times(line: &str) -> bool {
    let mut fields = line.split_whitespace().skip(1).peekable();
    fields.clone().count() >= 4 && fields.all(|field| field.parse::<u64>().is_ok())
}

fn times(time: &CpuTime) -> CpuTimes {
    CpuTimes {
        user: time.user,
        nice: time.nice,
        system: time.system,
        idle: time.idle,
        iowait: time.iowait,
        interrupts: time.irq.unwrap_or_default().saturating_add(time.softirq.unwrap_or_default()),
        steal: time.steal,
    }
}

impl CpuTimes {
    /// The shares of the time since `before`; absent if no time passed or the counters were reset.
    ///
    /// Idle and iowait may go back a little (proc(5) says so of iowait): what goes back counts as
    /// no time. Work that goes back is a reset.
    pub fn shares_since(&self, before: &Self) -> Option<CpuShares> {
        let work = self.work().checked_sub(before.work())? as f64;
        let idle = self.idle.saturating_sub(before.idle) as f64;
        let part = |after: Option<u64>, before: Option<u64>| -> Option<f64> {
            Some(after?.saturating_sub(before?) as f64)
        };
        let iowait = part(self.iowait, before.iowait);
        let steal = part(self.steal, before.steal);
        let used = work + steal.unwrap_or_default();
        let all = used + idle + iowait.unwrap_or_default();
        Some(CpuShares {
            used: percent(used, all)?,
            iowait: iowait.and_then(|t| percent(t, all)),
            steal: steal.and_then(|t| percent(t, all)),
        })
    }

    /// Ticks of work done, whoever's.
    fn work(&self) -> u128 {
        [self.user, self.nice, self.system, self.interrupts].into_iter().map(u128::from).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(text: &str) -> CpuTimes {
        parse(text).unwrap().total
    }

    #[test]
    fn reads_kernels_old_and_new() {
        // 2.4: four fields. 2.6.9: seven. Now: ten, with `intr`, `softirq` and an offline core.
        let old = parse("cpu  1 2 3 4\ncpu0 1 2 3 4\npage 1 2\n").unwrap();
        assert_eq!(old.total, CpuTimes { user: 1, nice: 2, system: 3, idle: 4, ..old.total });
        assert_eq!((old.total.iowait, old.total.steal, old.boot_time), (None, None, 0));
        let middle = total("cpu  1 2 3 4 5 6 7\nctxt 5\nbtime 77\nprocesses 9\n");
        assert_eq!((middle.iowait, middle.interrupts, middle.steal), (Some(5), 13, None));
        let new = parse(
            "cpu  10 0 10 80 1 0 0 5 9 9\ncpu0 5 0 5 40 1 0 0 2 4 4\ncpu3 5 0 5 40 0 0 0 3 5 5\n\
             intr 99 1 2 3\nctxt 1\nbtime 1795550000\nprocesses 3\nprocs_running 1\n",
        )
        .unwrap();
        assert_eq!(new.cores.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 3]);
        assert_eq!((new.total.steal, new.boot_time), (Some(5), 1_795_550_000));
    }

    #[test]
    fn garbage_is_absent() {
        for bad in
            ["", "cpu", "cpu \n", "cpu  a b c d", "cpu  1 2 3", "cpux 1 2 3 4", "cpu0 1 2 3 4"]
        {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        let some = parse("cpu  1 2 3 4\ncpu0 1 2\ncpu1 x y z w\ncpu2 1 2 3 4\n").unwrap();
        assert_eq!(some.cores.len(), 1);
        assert_eq!(some.cores[0].0, 2);
    }

    #[test]
    fn lines_that_are_indented_are_not_the_kernel_s() {
        let odd = "\u{2003}\u{2003} btime 5\n cpu7 1 1 1 1\ncpu  1 2 3 4\ncpu0 5 6 7 8\n";
        let read = parse(odd).unwrap();
        assert_eq!(read.boot_time, 0);
        assert_eq!(read.cores.iter().map(|(n, t)| (*n, t.user)).collect::<Vec<_>>(), [(0, 5)]);
    }

    #[test]
    fn shares_add_up() {
        let before = total("cpu  100 0 100 800 0 0 0 0\n");
        let after = total("cpu  110 5 115 850 10 2 3 5 10 5\n");
        // 35 of work, 5 stolen, 50 idle, 10 waiting: 100 ticks. Guest time is within user.
        let shares = after.shares_since(&before).unwrap();
        assert_eq!((shares.used, shares.iowait, shares.steal), (40.0, Some(10.0), Some(5.0)));
    }

    #[test]
    fn iowait_that_goes_back_counts_as_none() {
        let before = total("cpu  100 0 0 100 50 0 0 0\n");
        let after = total("cpu  150 0 0 150 20 0 0 0\n");
        let shares = after.shares_since(&before).unwrap();
        assert_eq!((shares.used, shares.iowait), (50.0, Some(0.0)));
    }

    #[test]
    fn a_reset_and_no_time_are_absent() {
        let one = total("cpu  100 0 0 100 0 0 0 0\n");
        let two = total("cpu  50 0 0 900 0 0 0 0\n");
        assert_eq!(two.shares_since(&one), None);
        assert_eq!(one.shares_since(&one), None);
    }
}
