//! What the loops' answers say. No I/O.

use std::collections::BTreeMap;

use kobel_wire::{ContainerId, Facts, Mount, Timestamp};

use crate::{
    host::{
        HostText,
        cgroups::{self, Reading},
        cpu, facts,
        mounts::{self, Blocks},
        network::NetworkRoles,
        pressure,
        processes::{ProcessCounters, Units},
        thermal::{self, Sensor},
    },
    text::clean,
};

/// The most sensors, bridges and bonds that are kept.
const MANY: usize = 256;

/// What the host says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) facts: Facts,
    pub(super) units: Units,
    /// The name of its kernel, such as `Linux`.
    pub(super) system: String,
}

/// Each line with the file that it is of.
fn lines(answer: &str) -> impl Iterator<Item = (&str, &str)> {
    answer.lines().filter_map(|line| line.split_once(':'))
}

/// The files of a tick, as they would be read here.
pub(super) fn text(answer: &str) -> HostText {
    let mut text = HostText::default();
    for (file, line) in lines(answer) {
        let of = match file {
            "/proc/stat" => &mut text.stat,
            "/proc/meminfo" => &mut text.meminfo,
            "/proc/net/dev" => &mut text.net_dev,
            "/proc/diskstats" => &mut text.diskstats,
            "/proc/loadavg" => &mut text.loadavg,
            "/proc/uptime" => &mut text.uptime,
            "/proc/pressure/cpu" => &mut text.pressure_cpu,
            "/proc/pressure/memory" => &mut text.pressure_memory,
            "/proc/pressure/io" => &mut text.pressure_io,
            _ => continue,
        };
        of.push_str(line);
        of.push('\n');
    }
    text
}

/// The sensors of a tick. Absent if it has none in it.
pub(super) fn sensors(answer: &str) -> Vec<Sensor> {
    let find = |wanted: &str| {
        lines(answer).find(|(file, _)| *file == wanted).map(|(_, value)| value.trim().to_owned())
    };
    let mut found = Vec::new();
    for (file, value) in lines(answer) {
        let Ok(millidegrees) = value.trim().parse() else { continue };
        let Some((folder, name)) = file.rsplit_once('/') else { continue };
        let (chip, label) = if folder.starts_with("/sys/class/hwmon/") {
            let Some(sensor) = name.strip_suffix("_input") else { continue };
            let label = find(&format!("{folder}/{sensor}_label")).unwrap_or_default();
            (find(&format!("{folder}/name")), label)
        } else if folder.starts_with("/sys/class/thermal/") && name == "temp" {
            (find(&format!("{folder}/type")), String::new())
        } else {
            continue;
        };
        let Some(chip) = chip.filter(|chip| thermal::rank(chip).is_some()) else { continue };
        found.push(Sensor { chip, label, millidegrees });
        if found.len() == MANY {
            break;
        }
    }
    found
}

/// Which interfaces are bridges, and which a bond counts.
pub(super) fn roles(answer: &str) -> NetworkRoles {
    let mut roles = NetworkRoles::default();
    for (file, line) in lines(answer) {
        if file == "/bridges" {
            let names = line
                .split_whitespace()
                .filter_map(|path| path.strip_prefix("/sys/class/net/")?.strip_suffix("/bridge"));
            roles.bridges.extend(names.filter(|name| *name != "*").take(MANY).map(str::to_owned));
        } else if file.ends_with("/bonding/slaves") && roles.bond_slaves.len() < MANY {
            roles.add_bond(line);
        }
    }
    roles
}

/// What the host says of itself.
pub(super) fn host(answer: &str) -> Host {
    let all = |wanted: &str| -> String {
        let of = lines(answer).filter(|(file, _)| *file == wanted);
        of.flat_map(|(_, line)| [line, "\n"]).collect()
    };
    let one = |wanted: &str| all(wanted).trim().to_owned();
    let uname = one("/uname");
    let mut words = uname.split(':').map(|word| clean(word.trim(), 128));
    let mut word = || words.next().unwrap_or_default();
    let (system, hostname, release, arch) = (word(), word(), word(), word());
    let units = one("/units");
    let mut units = units.split(':').map(|number| number.trim().parse::<u64>().ok());
    let mut unit = |usual: u64| units.next().flatten().filter(|n| *n > 0).unwrap_or(usual);
    let stat = cpu::parse(&all("/boot"));
    let boot = stat.as_ref().map(|stat| stat.boot_time).filter(|seconds| *seconds > 0);
    let booted_at = boot.and_then(|seconds| i64::try_from(seconds).ok());
    let cores = stat.and_then(|s| u32::try_from(s.cores.len()).ok()).filter(|n| *n > 0);
    let said = |text: String| (!text.is_empty()).then_some(text);
    Host {
        facts: Facts {
            hostname,
            os: ["/etc/os-release", "/usr/lib/os-release"]
                .iter()
                .find_map(|file| facts::os_name(&all(file))),
            kernel: said(format!("{system} {release}").trim().to_owned()),
            arch: said(arch),
            cpu_model: facts::cpu_model(&all("/proc/cpuinfo")),
            cpu_count: cores,
            booted_at: booted_at.map(|s| Timestamp::from_millis(s.saturating_mul(1000))),
        },
        units: Units { ticks_per_second: unit(100), page_size: unit(4096) },
        system,
    }
}

/// Mounted filesystems with their sizes, by path. Where the host has no mountinfo(5), as BSD, what
/// df says is all that is known.
pub(super) fn filesystems(answer: &str) -> Vec<Mount> {
    let mountinfo: String = lines(answer)
        .filter(|(file, _)| *file == "/proc/self/mountinfo")
        .flat_map(|(_, line)| [line, "\n"])
        .collect();
    let sizes: Vec<(&str, Blocks)> = lines(answer)
        .filter(|(file, _)| *file == "/df")
        .filter_map(|(_, line)| size(line))
        .collect();
    let of = |path: &str| sizes.iter().find(|(at, _)| *at == path).map(|(_, blocks)| *blocks);
    let mut found: Vec<Mount> = mounts::parse(&mountinfo)
        .into_iter()
        .filter_map(|mounted| mounts::usage(&mounted, of(&mounted.path)?))
        .collect();
    if mountinfo.is_empty() {
        let devices = lines(answer).filter(|(file, _)| *file == "/df").map(|(_, line)| line);
        found = devices
            .filter(|line| line.starts_with('/'))
            .filter_map(size)
            .take(mounts::MAX_MOUNTS)
            .map(|(path, blocks)| Mount {
                path: clean(path, 256),
                fs: None,
                used: (blocks.total - blocks.free).saturating_mul(1024),
                total: (blocks.total - blocks.free)
                    .saturating_add(blocks.available)
                    .saturating_mul(1024),
            })
            .collect();
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// A line of `df -Pk` (POSIX): filesystem, kilobytes, used, available, capacity, mount point.
fn size(line: &str) -> Option<(&str, Blocks)> {
    // The first word may have spaces in it; the capacity has its sign.
    let (head, path) = line.split_once("% ")?;
    let mut words = head.split_ascii_whitespace().rev();
    let _capacity = words.next()?;
    let available = words.next()?.parse().ok()?;
    let used: u64 = words.next()?.parse().ok()?;
    let total: u64 = words.next()?.parse().ok()?;
    let free = total.checked_sub(used)?;
    Some((path, Blocks { size: 1024, total, free, available }))
}

/// Seconds since boot, as one of the answers says.
pub(super) fn uptime(answer: &str) -> Option<f64> {
    let (_, line) = lines(answer).find(|(file, _)| *file == "/proc/uptime")?;
    pressure::uptime(line)
}

/// Every process that was read.
pub(super) fn processes(answer: &str) -> Vec<ProcessCounters> {
    lines(answer).filter(|(file, _)| *file == "/ps").filter_map(|(_, line)| process(line)).collect()
}

fn process(line: &str) -> Option<ProcessCounters> {
    let (pid, rest) = line.split_once(" (")?;
    let (name, figures) = rest.rsplit_once(") ")?;
    let mut figures = figures.split_ascii_whitespace();
    let mut figure = || figures.next()?.parse::<u64>().ok();
    let (user, kernel) = (figure()?, figure()?);
    Some(ProcessCounters {
        pid: pid.parse().ok()?,
        name: clean(name, 64),
        ticks: user.saturating_add(kernel),
        started: figure()?,
        pages: figure()?,
    })
}

/// The containers that were looked for, by the 16 digits that stand for each.
pub(super) fn containers(answer: &str) -> BTreeMap<String, ContainerId> {
    let paths = lines(answer).filter(|(file, _)| *file == "/cgroup").map(|(_, path)| path);
    let ids = paths.filter_map(cgroups::container);
    ids.filter_map(|id| Some((id.as_str().get(..16)?.to_owned(), id)))
        .take(4 * cgroups::MOST)
        .collect()
}

/// What the cgroups of those containers say.
pub(super) fn cgroups(answer: &str, known: &BTreeMap<String, ContainerId>) -> Reading {
    let mut reading = Reading::new();
    for (file, line) in lines(answer) {
        let Some((short, file)) = file.strip_prefix("/c/").and_then(|f| f.split_once('/')) else {
            continue;
        };
        if let Some(id) = known.get(short)
            && (reading.len() < cgroups::MOST || reading.contains_key(id))
        {
            reading.entry(id.clone()).or_default().take(file, line);
        }
    }
    reading
}

#[cfg(test)]
mod tests;
