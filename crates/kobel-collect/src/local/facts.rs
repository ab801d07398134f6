//! What this machine says of itself.

use std::fs;

use kobel_wire::{Facts, Timestamp};

use crate::{host::facts as parse, text::clean};

/// Reads what this machine says of itself, once. What it does not say is absent.
pub fn facts() -> Facts {
    let uname = rustix::system::uname();
    let text = |name: &std::ffi::CStr| clean(&name.to_string_lossy(), 128);
    let os_release = ["/etc/os-release", "/usr/lib/os-release"];
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Facts {
        hostname: text(uname.nodename()),
        os: os_release.iter().find_map(|path| parse::os_name(&fs::read_to_string(path).ok()?)),
        kernel: Some(format!("{} {}", text(uname.sysname()), text(uname.release()))),
        arch: Some(text(uname.machine())),
        cpu_model: parse::cpu_model(&cpuinfo),
        cpu_count: std::thread::available_parallelism().ok().and_then(|n| n.get().try_into().ok()),
        booted_at: booted_at(),
    }
}

/// The `btime` of /proc/stat: when the kernel began, by the clock of people.
fn booted_at() -> Option<Timestamp> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    let seconds: i64 = seconds.trim().parse().ok()?;
    Some(Timestamp::from_millis(seconds.saturating_mul(1000)))
}

/// What tells this installation from another, by machine-id(5).
pub fn machine_id() -> Option<String> {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .find_map(|path| parse::machine_id(&fs::read_to_string(path).ok()?))
}
