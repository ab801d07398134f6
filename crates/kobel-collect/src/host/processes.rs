//! The busiest processes: `/proc/PID/stat`.

use std::collections::HashMap;

use kobel_wire::Process;
use procfs_core::{FromRead, process::Stat};

use super::round2;
use crate::text::clean;

/// How many processes are reported.
pub const TOP: usize = 10;

/// The most processes that are remembered between two readings.
const MAX_PROCESSES: usize = 100_000;

/// What the numbers of `/proc/PID/stat` are counted in on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units {
    /// Ticks a second (`getconf CLK_TCK`).
    pub ticks_per_second: u64,
    /// Bytes a page (`getconf PAGESIZE`).
    pub page_size: u64,
}

/// One process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessCounters {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Ticks of processor time that it used, its threads included.
    pub ticks: u64,
    /// When it started, ticks after boot. With the process id it names a process for good: ids are
    /// used again.
    pub started: u64,
    /// Resident pages.
    pub pages: u64,
}

/// Reads one `/proc/PID/stat`.
pub fn parse(stat: &str) -> Option<ProcessCounters> {
    // `Stat` slices around the parentheses without a look at what is there.
    let stat = stat.trim();
    let open = stat.find('(')?;
    let close = stat.rfind(')')?;
    if open == 0 || close <= open || !stat[close..].starts_with(") ") || !stat[..open].is_ascii() {
        return None;
    }
    let stat = Stat::from_read(stat.as_bytes()).ok()?;
    Some(ProcessCounters {
        pid: u32::try_from(stat.pid).ok()?,
        name: clean(&stat.comm, 64),
        ticks: stat.utime.saturating_add(stat.stime),
        started: stat.starttime,
        pages: stat.rss,
    })
}

type Ticks = HashMap<(u32, u64), u64>;

/// Remembers the last reading, for the difference.
#[derive(Debug, Default)]
pub struct ProcessTable {
    /// The uptime then, and each process's ticks by its id and start.
    before: Option<(f64, Ticks)>,
}

impl ProcessTable {
    /// The busiest processes since the last reading, busiest first, then the largest. Absent in the
    /// first reading and after a reboot. `uptime` is the host's, in seconds.
    pub fn busiest(
        &mut self,
        uptime: f64,
        processes: Vec<ProcessCounters>,
        units: Units,
    ) -> Option<Vec<Process>> {
        let ticks =
            processes.iter().take(MAX_PROCESSES).map(|p| ((p.pid, p.started), p.ticks)).collect();
        let (since, known) = self.before.replace((uptime, ticks))?;
        let seconds = uptime - since;
        if seconds < 0.05 || units.ticks_per_second == 0 {
            return None;
        }
        let hz = units.ticks_per_second as f64;
        let mut busiest: Vec<(u64, ProcessCounters)> = processes
            .into_iter()
            .filter_map(|process| {
                let before = match known.get(&(process.pid, process.started)) {
                    Some(ticks) => *ticks,
                    // Started since: all of its time counts. Otherwise it was not seen before.
                    None if process.started as f64 / hz >= since - 0.05 => 0,
                    None => return None,
                };
                Some((process.ticks.saturating_sub(before), process))
            })
            .collect();
        busiest.sort_by(|(a, p), (b, q)| b.cmp(a).then(q.pages.cmp(&p.pages)));
        busiest.truncate(TOP);
        let process = |(ticks, process): (u64, ProcessCounters)| Process {
            pid: process.pid,
            name: process.name,
            cpu: round2(ticks as f64 / hz / seconds * 100.0),
            memory: process.pages.saturating_mul(units.page_size),
        };
        Some(busiest.into_iter().map(process).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: Units = Units { ticks_per_second: 100, page_size: 4096 };

    fn process(pid: u32, started: u64, ticks: u64) -> ProcessCounters {
        ProcessCounters { pid, name: format!("p{pid}"), ticks, started, pages: u64::from(pid) }
    }

    #[test]
    fn reads_names_that_look_like_syntax() {
        let tail = "S 1 1 1 0 -1 4194560 1 2 3 4 30 12 0 0 20 0 1 0 777 1000 25 18446744073709551615 1 1 1 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0";
        let read = parse(&format!("42 (a) (b c)) {tail}\n")).unwrap();
        assert_eq!((read.pid, read.name.as_str()), (42, "a) (b c)"));
        assert_eq!((read.ticks, read.started, read.pages), (42, 777, 25));
        for bad in
            ["", "()", "(x) S 1", "1 (x)", "1 )x( S", "1 (x)y", "é(x) S", "1 (x) ", "-5 (x) S"]
        {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_busiest_come_first() {
        let mut table = ProcessTable::default();
        let first = vec![process(1, 5, 1000), process(2, 5, 10), process(3, 5, 0)];
        assert_eq!(table.busiest(100.0, first, UNITS), None);
        // 2 worked half of two seconds, 9 is new and worked a quarter, 3 is another process now.
        let second = vec![
            process(1, 5, 1000),
            process(2, 5, 110),
            process(3, 50, 5000),
            process(9, 10_100, 50),
        ];
        let busiest = table.busiest(102.0, second, UNITS).unwrap();
        let got: Vec<_> = busiest.iter().map(|p| (p.pid, p.cpu)).collect();
        assert_eq!(got, [(2, 50.0), (9, 25.0), (1, 0.0)]);
        assert_eq!(busiest[0].memory, 2 * 4096);
    }

    #[test]
    fn only_ten_and_nothing_after_a_reboot() {
        let mut table = ProcessTable::default();
        let many = || (1..50).map(|pid| process(pid, 5, 1)).collect::<Vec<_>>();
        table.busiest(100.0, many(), UNITS);
        assert_eq!(table.busiest(105.0, many(), UNITS).unwrap().len(), TOP);
        assert_eq!(table.busiest(3.0, many(), UNITS), None);
    }
}
