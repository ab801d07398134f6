//! The loops that run on a host while it is read.
//!
//! Each runs in one exec channel, `exec sh -c '…'`, and answers requests: a line `seq what` brings
//! `@B seq`, what was asked for, and `@E seq`. One line of script without a quote, so that any login
//! shell (sh, bash, fish, csh) hands it to sh as it is; only what BusyBox has, too.

/// What a request asks for, each a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// The files that each sample takes. With `sensors` what hwmon and the thermal zones say, too.
    Tick { sensors: bool },
    /// Which interfaces are bridges and bonds.
    Roles,
    /// What the host says of itself.
    Facts,
    /// Mounted filesystems and their sizes. Without `remote` only those of the host itself.
    Mounts { remote: bool },
    /// Processes.
    Processes,
    /// The cgroups of containers. With `look` they are looked for anew.
    Cgroups { look: bool },
}

impl Ask {
    fn word(self) -> &'static str {
        match self {
            Self::Tick { sensors: false } => "f",
            Self::Tick { sensors: true } => "ft",
            Self::Roles => "r",
            Self::Facts => "i",
            Self::Mounts { remote: true } => "d",
            Self::Mounts { remote: false } => "l",
            Self::Processes => "p",
            Self::Cgroups { look: true } => "nc",
            Self::Cgroups { look: false } => "c",
        }
    }
}

/// The line that asks.
pub(super) fn request(seq: u64, asked: &[Ask]) -> String {
    let words: String = asked.iter().map(|ask| ask.word()).collect();
    format!("{seq} {words}\n")
}

/// The command of the loop of what may hang or take long: a filesystem of a server that is gone
/// holds df for ever.
pub(super) fn slow() -> String {
    format!("exec sh -c '{HEAD}{MOUNTS}{PROCESSES}{TAIL}'")
}

/// The command of the loop of samples. It can do what the other does, too: some hosts allow one
/// session only.
pub(super) fn samples() -> String {
    format!(
        "exec sh -c '{HEAD}{FAST}{SENSORS}{ROLES}{FACTS}{MOUNTS}{PROCESSES}{LOOK}{CGROUPS}{TAIL}'"
    )
}

const HEAD: &str = "LC_ALL=C; export LC_ALL; exec 2>/dev/null; \
    while read -r s w; do echo \"@B $s\"; ";

const TAIL: &str = "echo \"@E $s\"; done";

/// One grep for all: it survives files that are not there, and names each line's file. Lines that
/// nobody reads, and that are most of the bytes, are left out.
const FAST: &str = "case $w in *f*) grep -svE \"^(intr|softirq|ctxt|(Active|Inactive|Huge|Direct|\
    Vmalloc|Anon|File|Shmem[HP]|Commit|NFS|Bounce|Write|KReclaim|Percpu|Page|Kernel|SecPage|\
    Unevict|Mlock|Mapped|CmaT|CmaF|Unacc|Balloon|Hardware|Zsw|SUnre|Dirty|SwapCached|full )|\
    [ ]*[0-9]+ +[0-9]+ (loop|ram|sr|fd|zram)[0-9])\" /proc/stat /proc/meminfo /proc/net/dev \
    /proc/diskstats /proc/loadavg /proc/uptime /proc/pressure/cpu /proc/pressure/memory \
    /proc/pressure/io;; esac; ";

const SENSORS: &str = "case $w in *t*) grep -s \"\" /sys/class/hwmon/hwmon*/name \
    /sys/class/hwmon/hwmon*/temp*_input /sys/class/hwmon/hwmon*/temp*_label \
    /sys/class/thermal/thermal_zone*/type /sys/class/thermal/thermal_zone*/temp;; esac; ";

const ROLES: &str = "case $w in *r*) echo /bridges: /sys/class/net/*/bridge; \
    grep -s \"\" /dev/null /sys/class/net/*/bonding/slaves;; esac; ";

const FACTS: &str = "case $w in *i*) echo \"/uname:$(uname -s):$(uname -n):$(uname -r):$(uname -m)\"; \
    echo \"/units:$(getconf CLK_TCK):$(getconf PAGESIZE)\"; \
    grep -s \"\" /dev/null /etc/os-release /usr/lib/os-release /etc/machine-id; \
    grep -sE \"^(btime|cpu[0-9]* )\" /proc/stat | while read -r x; do echo \"/boot:$x\"; done; \
    grep -s -m 1 -E \"^(model name|Hardware|cpu model|Processor)\" /dev/null /proc/cpuinfo;; esac; ";

const MOUNTS: &str = "case $w in *d*) grep -s \"\" /dev/null /proc/self/mountinfo; df -Pk | \
    while read -r x; do echo \"/df:$x\"; done;; \
    *l*) grep -s \"\" /dev/null /proc/self/mountinfo; df -Pkl | while read -r x; do \
    echo \"/df:$x\"; done;; esac; ";

/// Of each process: its id, name, ticks in user mode and in the kernel, start, and resident pages.
const PROCESSES: &str = "case $w in *p*) grep -s \"\" /dev/null /proc/uptime; sed -nE \"s/^([0-9]+) (\\(.*\\)) . ([-0-9]+ ){10}\
    ([0-9]+ [0-9]+) ([-0-9]+ ){6}([0-9]+) [0-9]+ ([-0-9]+) .*/\\/ps:\\1 \\2 \\4 \\6 \\7/p\" \
    /proc/[0-9]*/stat;; esac; ";

/// Looks for the cgroups of containers, and keeps them for the requests after this one. Whoever may
/// make cgroups may name them anything: what has more in it than plain letters is left out, so that
/// each name is one word to the shell, and begins with the folder's.
const LOOK: &str = "case $w in *n*) if [ -e /sys/fs/cgroup/cgroup.controllers ]; then \
    r=/sys/fs/cgroup; else r=\"/sys/fs/cgroup/cpuacct/ /sys/fs/cgroup/memory/ \
    /sys/fs/cgroup/pids/ /sys/fs/cgroup/blkio/\"; fi; k=$(find $r -type d | \
    grep -E \"^/sys/fs/cgroup/[-A-Za-z0-9_./@,]*[-/][0-9a-f]{64}(.scope)?$\" | head -n 4000); \
    for d in $k; do echo /cgroup:$d; done;; esac; ";

/// What those cgroups say; each line with 16 digits of the id, which are enough to know it by.
const CGROUPS: &str = "case $w in *c*) for d in $k; do echo $d/cpu.stat $d/memory.current \
    $d/memory.max $d/memory.stat $d/io.stat $d/pids.current $d/cpuacct.usage \
    $d/memory.usage_in_bytes $d/memory.limit_in_bytes $d/blkio.throttle.io_service_bytes; done | \
    xargs grep -sE \"^(usage_usec|(total_)?inactive_file|max$|[0-9])\" /dev/null | \
    sed -E \"s,^[^:]*[-/]([0-9a-f]{16})[0-9a-f]{48}(.scope)?/,/c/\\1/,\";; esac; ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_login_shell_hands_the_scripts_on_as_they_are() {
        for script in [samples(), slow()] {
            let inner = script.strip_prefix("exec sh -c '").unwrap().strip_suffix('\'').unwrap();
            for bad in ['\'', '!', '\n'] {
                assert!(!inner.contains(bad), "{bad:?} in {inner}");
            }
            // In single quotes fish reads only these two as escapes.
            assert!(!inner.contains("\\\\") && !inner.contains("\\'"), "{inner}");
        }
    }

    #[test]
    fn requests() {
        assert_eq!(request(7, &[Ask::Tick { sensors: true }, Ask::Roles]), "7 ftr\n");
        assert_eq!(request(8, &[Ask::Mounts { remote: false }, Ask::Processes]), "8 lp\n");
    }
}
