//! Figures of this process, by the names that Prometheus' client libraries use.

use rustix::{
    param::page_size,
    process::{Resource, getrlimit},
};

/// What /proc says of this process; what cannot be read is absent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Process {
    /// Processor time, seconds.
    pub cpu_seconds: Option<f64>,
    /// Resident memory, bytes.
    pub resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// The most of them.
    pub max_fds: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

/// Reads them.
pub(crate) fn read() -> Process {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name may hold anything; the fields begin after its last parenthesis, with the third.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    Process {
        cpu_seconds: field(14).zip(field(15)).map(|(user, system)| (user + system) as f64 / ticks),
        resident_bytes: field(24).map(|pages| pages * page_size() as u64),
        open_fds: std::fs::read_dir("/proc/self/fd").ok().map(|dir| dir.count() as u64),
        max_fds: getrlimit(Resource::Nofile).current,
        threads: field(20),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_figures() {
        let process = super::read();
        assert!(process.resident_bytes.unwrap() > 100_000);
        assert!(process.open_fds.unwrap() >= 3);
        assert!(process.threads.unwrap() >= 1);
        assert!(process.cpu_seconds.unwrap() < 10_000.0);
    }
}
