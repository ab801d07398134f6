//! What this machine says of itself.

use std::fs;

use kobel_wire::{Facts, Timestamp};

use crate::{
    host::{cpu, facts as parse},
    text::clean,
};

/// Reads what this machine says of itself, once. What it does not say is absent.
pub fn facts() -> Facts {
    let uname = rustix::system::uname();
    let text = |name: &std::ffi::CStr| clean(&name.to_string_lossy(), 128);
    let os_release = ["/etc/os-release", "/usr/lib/os-release"];
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let stat = fs::read_to_string("/proc/stat").ok().and_then(|stat| cpu::parse(&stat));
    // By the clock of people; 0 where the kernel does not say.
    let boot = stat.as_ref().map(|stat| stat.boot_time).filter(|seconds| *seconds > 0);
    let booted_at = boot.and_then(|seconds| i64::try_from(seconds).ok());
    Facts {
        hostname: text(uname.nodename()),
        os: os_release.iter().find_map(|path| parse::os_name(&fs::read_to_string(path).ok()?)),
        kernel: Some(format!("{} {}", text(uname.sysname()), text(uname.release()))),
        arch: Some(text(uname.machine())),
        cpu_model: parse::cpu_model(&cpuinfo),
        // The host's, not how many this process may use.
        cpu_count: stat.and_then(|s| u32::try_from(s.cores.len()).ok()).filter(|n| *n > 0),
        booted_at: booted_at.map(|s| Timestamp::from_millis(s.saturating_mul(1000))),
    }
}

/// What tells this installation from another, by machine-id(5).
pub fn machine_id() -> Option<String> {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .find_map(|path| parse::machine_id(&fs::read_to_string(path).ok()?))
}
