//! What the kernel says of this process.

use kobel_hub::system::ProcessReading;
use rustix::{
    param::page_size,
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// Reads the figures; what cannot be read is absent.
pub(crate) fn read() -> ProcessReading {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name may hold anything; the fields begin after its last parenthesis, with the third.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    // The clock of the process, not /proc's ticks of 10 ms: of a second they would be whole percents.
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    ProcessReading {
        cpu_seconds: Some(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9),
        memory_bytes: field(24).map(|pages| pages * page_size() as u64),
        open_files: open_files(),
        open_files_limit: getrlimit(Resource::Nofile).current,
        threads: field(20),
    }
}

/// Counting the entries would cost milliseconds where there are thousands of sockets. Linux tells
/// their number as the folder's size since 6.2; before, that is 0.
fn open_files() -> Option<u64> {
    let folder = "/proc/self/fd";
    match std::fs::metadata(folder).ok()?.len() {
        0 => Some(std::fs::read_dir(folder).ok()?.count() as u64),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_figures() {
        let process = super::read();
        assert!(process.memory_bytes.unwrap() > 100_000);
        assert!(process.open_files.unwrap() >= 3);
        assert!(process.threads.unwrap() >= 1);
        assert!(process.cpu_seconds.unwrap() > 0.0 && process.cpu_seconds.unwrap() < 10_000.0);
    }
}
