//! Disk traffic: /proc/diskstats.

use std::collections::{HashMap, HashSet};

use procfs_core::DiskStat;

/// The kernel's unit in /proc/diskstats, whatever the disk's own sector size (kernel doc
/// `admin-guide/iostats.rst`).
const SECTOR: u64 = 512;

/// The most lines that are looked at.
const MAX_LINES: usize = 10_000;

/// Bytes that a disk moved since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskCounters {
    /// Read.
    pub read: u64,
    /// Written.
    pub written: u64,
}

/// The disks in /proc/diskstats, by name. Partitions are left out, for their disk counts them; so
/// are loop and RAM disks, and what is stacked on disks (device mapper, md, bcache, ZFS volumes),
/// for the disks below count the same bytes. A volume's traffic thus counts once, where it meets
/// the hardware.
pub fn parse(diskstats: &str) -> HashMap<String, DiskCounters> {
    let lines = diskstats.lines().take(MAX_LINES);
    let stats: Vec<DiskStat> = lines.filter_map(|line| DiskStat::from_line(line).ok()).collect();
    let names: HashSet<&str> = stats.iter().map(|disk| disk.name.as_str()).collect();
    stats
        .iter()
        .filter(|disk| !is_stacked(&disk.name) && !is_partition(&disk.name, &names))
        .map(|disk| {
            let bytes = |sectors: u64| sectors.saturating_mul(SECTOR);
            let counters = DiskCounters {
                read: bytes(disk.sectors_read),
                written: bytes(disk.sectors_written),
            };
            (disk.name.clone(), counters)
        })
        .collect()
}

fn is_stacked(name: &str) -> bool {
    const PREFIXES: [&str; 9] = ["loop", "ram", "zram", "dm-", "md", "bcache", "zd", "drbd", "fd"];
    let numbered = |prefix: &&str| {
        let rest = name.strip_prefix(*prefix).unwrap_or_default();
        rest.starts_with(|c: char| c.is_ascii_digit())
    };
    PREFIXES.iter().any(numbered) || is_nvme_path(name)
}

/// `nvme0c1n1`: one path to a multipath namespace that `nvme0n1` counts.
fn is_nvme_path(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    name.strip_prefix("nvme")
        .and_then(|rest| rest.split_once('c'))
        .and_then(|(controller, rest)| Some((controller, rest.split_once('n')?)))
        .is_some_and(|(a, (b, c))| is_number(a) && is_number(b) && is_number(c))
}

/// `sda1` is a partition if there is an `sda`, `nvme0n1p2` if there is an `nvme0n1`. Some clouds
/// give a bare `xvda1` and no `xvda`: that one is a disk.
fn is_partition(name: &str, names: &HashSet<&str>) -> bool {
    let disk = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if disk.len() == name.len() || disk.is_empty() {
        return false;
    }
    match disk.strip_suffix('p') {
        Some(disk) if disk.ends_with(|c: char| c.is_ascii_digit()) => names.contains(disk),
        _ => names.contains(disk),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listed: &[&str]) -> Vec<String> {
        let text: String =
            listed.iter().map(|name| format!("   8 0 {name} 1 0 8 0 1 0 16 0 0 0 0\n")).collect();
        let mut names: Vec<_> = parse(&text).into_keys().collect();
        names.sort();
        names
    }

    #[test]
    fn each_byte_counts_once() {
        for (listed, disks) in [
            (&["sda", "sda1", "sda15", "sdb"][..], &["sda", "sdb"][..]),
            (&["nvme0n1", "nvme0n1p1", "nvme1n1", "nvme0c1n1"], &["nvme0n1", "nvme1n1"]),
            (&["mmcblk0", "mmcblk0p1", "mmcblk0boot0"], &["mmcblk0", "mmcblk0boot0"]),
            (&["vda", "dm-0", "dm-1", "md0", "md127", "loop0", "ram3", "zram0", "zd16"], &["vda"]),
            (&["xvda1", "xvdb"], &["xvda1", "xvdb"]),
            (&["sdp", "sdp1", "sda"], &["sda", "sdp"]),
        ] {
            assert_eq!(names(listed), disks, "{listed:?}");
        }
    }

    #[test]
    fn sectors_are_512_bytes_whatever_the_kernel_adds_behind() {
        // 2.6 has 11 figures, 4.18 has 15, 5.5 has 17.
        for tail in ["", " 1 2 3 4", " 1 2 3 4 5 6"] {
            let text = format!("   8       0 sda 10 1 100 5 20 2 300 6 0 7 8{tail}\n");
            assert_eq!(parse(&text)["sda"], DiskCounters { read: 51_200, written: 153_600 });
        }
    }

    #[test]
    fn a_bad_line_is_skipped() {
        let text = "garbage\n 8 0 sda x\n\n 8 16 sdb 1 0 8 0 1 0 8 0 0 0 0\n 8 0 p 1 0 18446744073709551615 0 1 0 8 0 0 0 0\n";
        let disks = parse(text);
        assert_eq!(disks.len(), 2);
        assert_eq!(disks["p"].read, u64::MAX);
    }
}
