//! Memory: /proc/meminfo.

/// What /proc/meminfo tells, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// MemTotal.
    pub total: Option<u64>,
    /// MemAvailable; since Linux 3.14.
    pub available: Option<u64>,
    /// SwapTotal.
    pub swap_total: Option<u64>,
    /// SwapFree.
    pub swap_free: Option<u64>,
}

/// Reads /proc/meminfo.
///
/// Not by `procfs_core::Meminfo`: it wants 14 fields, some of which reduced kernels (gVisor, lxcfs)
/// do not print, and it slices names by bytes, which panics on hostile text.
pub fn parse(meminfo: &str) -> Memory {
    let mut memory = Memory::default();
    for line in meminfo.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let field = match name {
            "MemTotal" => &mut memory.total,
            "MemAvailable" => &mut memory.available,
            "SwapTotal" => &mut memory.swap_total,
            "SwapFree" => &mut memory.swap_free,
            _ => continue,
        };
        let number = value.trim().trim_end_matches("kB").trim_end();
        // "kB" in /proc/meminfo means 1024 bytes, always (proc(5)).
        *field = number.parse::<u64>().ok().and_then(|kib| kib.checked_mul(1024));
    }
    memory
}

impl Memory {
    /// Bytes in use: MemTotal − MemAvailable.
    pub fn used(&self) -> Option<u64> {
        Some(self.total?.saturating_sub(self.available?))
    }

    /// Bytes of swap in use; absent without swap.
    pub fn swap_used(&self) -> Option<(u64, u64)> {
        let total = self.swap_total.filter(|total| *total > 0)?;
        Some((total.saturating_sub(self.swap_free?), total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_there() {
        let now = parse(
            "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    400 kB\n\
             SwapTotal:       200 kB\nSwapFree:         50 kB\nHugePages_Total:       0\n",
        );
        assert_eq!(now.used(), Some(600 * 1024));
        assert_eq!(now.swap_used(), Some((150 * 1024, 200 * 1024)));
        // Before 3.14 the kernel cannot say what is available; without swap there is none in use.
        let old = parse("MemTotal: 1000 kB\nMemFree: 100 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n");
        assert_eq!((old.total, old.used(), old.swap_used()), (Some(1_024_000), None, None));
    }

    #[test]
    fn garbage_is_absent() {
        assert_eq!(parse("MemTotal: lots kB\nMemAvailable:\né 5\n:\n"), Memory::default());
        assert_eq!(parse("MemTotal: 18446744073709551615 kB\n"), Memory::default());
        let odd = parse("MemTotal: 1 kB\nMemAvailable: 9 kB\nSwapTotal: 1 kB\nSwapFree: 7 kB\n");
        assert_eq!((odd.used(), odd.swap_used()), (Some(0), Some((0, 1024))));
    }
}
