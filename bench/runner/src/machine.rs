//! Where it was measured, and whether it can be.

use std::fs;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Open files that the largest setting needs in one process.
const FILES: u64 = 19_500;

/// The machine in a line. Raises the limit of open files, which the servers inherit.
///
/// # Errors
/// When there are too few cores or files.
pub(crate) fn describe() -> Result<String, String> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Told below if it is not enough.
    let _ = setrlimit(Resource::Nofile, limit);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if files < FILES {
        return Err(format!(
            "{files} open files are allowed; {FILES} are needed: ulimit -n {FILES}"
        ));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        return Err("a core for the server and one for its clients are needed".into());
    }
    let field = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map_or("", |(_, value)| value).trim().to_owned()
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    Ok(format!(
        "{} × {}, {} memory, Linux {}, {files} open files; load before the bench {}",
        cores,
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default(),
    ))
}
