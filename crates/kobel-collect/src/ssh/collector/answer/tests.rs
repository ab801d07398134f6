use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;
use crate::{
    host::Reading,
    ssh::collector::{
        framing::Framing,
        script::{self, Ask},
    },
};

/// Asks the script on this machine.
fn here(command: &str, asked: &[Ask]) -> String {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(
        &mut child.stdin.take().unwrap(),
        script::request(1, asked).as_bytes(),
    )
    .unwrap();
    let output = child.wait_with_output().unwrap();
    let mut framing = Framing::default();
    framing.expect(1);
    framing.feed(&output.stdout).unwrap().expect("a whole answer")
}

#[test]
fn the_scripts_say_of_this_machine_what_its_files_say() {
    {
        let command = script::samples();
        let answer = here(&command, &[Ask::Tick { sensors: true }, Ask::Roles, Ask::Facts]);
        let tick = here(&command, &[Ask::Tick { sensors: false }]);
        assert!(tick.len() < 6 << 10, "a tick is {} bytes:\n{tick}", tick.len());
        let reading = Reading::parse(&text(&tick), &roles(&answer));
        let local = crate::local::facts();
        let host = host(&answer);
        assert_eq!(
            Facts { cpu_model: None, ..host.facts.clone() },
            Facts { cpu_model: None, ..local }
        );
        assert_eq!(host.system, "Linux");
        assert!(host.units.ticks_per_second > 0 && host.units.page_size >= 4096);
        assert!(reading.uptime.is_some() && reading.load.is_some() && reading.cpu.is_some());
        assert!(reading.memory.used().is_some());
    }
    for command in [script::slow(), script::samples()] {
        let answer = here(&command, &[Ask::Mounts { remote: true }, Ask::Processes]);
        let mounts = filesystems(&answer);
        assert!(mounts.iter().any(|mount| mount.path == "/" && mount.used > 0), "{answer}");
        let me = std::process::id();
        let processes = processes(&answer);
        assert!(processes.iter().any(|process| process.pid == me && process.pages > 0));
        let local = here(&command, &[Ask::Mounts { remote: false }]);
        assert!(filesystems(&local).iter().any(|mount| mount.path == "/"));
    }
}

#[test]
fn the_files_are_told_apart() {
    let answer = "/proc/stat:cpu  1 2 3 4\n/proc/stat:btime 5\n/proc/uptime:12.5 3\n/etc/passwd:x\nrubbish\n\
                  /proc/net/dev:eth0: 1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n";
    let text = text(answer);
    assert_eq!(text.stat, "cpu  1 2 3 4\nbtime 5\n");
    assert_eq!(text.uptime, "12.5 3\n");
    assert_eq!(text.net_dev, "eth0: 1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n");
}

#[test]
fn sensors_find_their_names() {
    let answer = "/sys/class/hwmon/hwmon0/name:coretemp\n/sys/class/hwmon/hwmon1/name:nvme\n\
                  /sys/class/hwmon/hwmon0/temp1_input:55500\n/sys/class/hwmon/hwmon1/temp1_input:70000\n\
                  /sys/class/hwmon/hwmon0/temp1_label:Package id 0\n\
                  /sys/class/thermal/thermal_zone0/type:acpitz\n/sys/class/thermal/thermal_zone0/temp:27800\n";
    let sensors = sensors(answer);
    assert_eq!(sensors.len(), 2);
    assert_eq!(thermal::processor(&sensors), Some(55.5));
}

#[test]
fn bridges_and_bonds() {
    let none = roles("/bridges: /sys/class/net/*/bridge\n");
    assert_eq!(none, NetworkRoles::default());
    let roles = roles(
        "/bridges: /sys/class/net/br0/bridge /sys/class/net/vmbr1/bridge\n\
         /sys/class/net/bond0/bonding/slaves:eth0 eth1\n",
    );
    assert_eq!(roles.bridges, ["br0", "vmbr1"]);
    assert_eq!(roles.bond_slaves, ["eth0", "eth1"]);
}

#[test]
fn a_host_that_is_not_linux_says_what_it_has() {
    let answer = "/uname:FreeBSD:bsd-1:14.2-RELEASE:amd64\n/units:128:4096\n";
    let host = host(answer);
    assert_eq!((host.system.as_str(), host.facts.hostname.as_str()), ("FreeBSD", "bsd-1"));
    assert_eq!(host.facts.kernel.as_deref(), Some("FreeBSD 14.2-RELEASE"));
    assert_eq!(host.units.ticks_per_second, 128);
    let mounts = filesystems(
        "/df:Filesystem 1024-blocks Used Available Capacity Mounted on\n\
         /df:/dev/ada0p2 1000 250 670 27% /\n/df:devfs 1 1 0 100% /dev\n",
    );
    assert_eq!(mounts.len(), 1);
    assert_eq!((mounts[0].path.as_str(), mounts[0].used), ("/", 250 * 1024));
}

#[test]
fn names_that_look_like_syntax() {
    let read = processes("/ps:42 (a) (b c)) 30 12 777 25\n/ps:x (y) 1 2 3 4\n/ps:1 (z) 1 2 3 -4\n");
    assert_eq!(read.len(), 1);
    assert_eq!((read[0].name.as_str(), read[0].ticks, read[0].pages), ("a) (b c)", 42, 25));
    assert_eq!(size("//server/my share 100 40 60 40% /mnt/my share").unwrap().0, "/mnt/my share");
    for bad in ["", "a b c d e% /", "/dev/x 1 2 3 4% /", "% "] {
        assert!(size(bad).is_none(), "{bad}");
    }
}

proptest! {
    #[test]
    fn nothing_brings_it_down(answer in "(/proc/stat|/df|/ps|/uname|/units|/proc/self/mountinfo|/sys/class/hwmon/hwmon0/temp1_input)?:?[ -~]{0,80}\n") {
        text(&answer);
        sensors(&answer);
        roles(&answer);
        host(&answer);
        filesystems(&answer);
        processes(&answer);
    }
}

/// The script with another folder of cgroups.
fn below(root: &std::path::Path) -> String {
    script::samples().replace("/sys/fs/cgroup", root.to_str().unwrap())
}

#[test]
fn the_script_finds_containers_and_no_name_is_more_than_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::fs::write(root.join("cgroup.controllers"), "cpu").unwrap();
    let make = |path: &str| {
        let at = root.join(path);
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join("cpu.stat"), "usage_usec 5\nuser_usec 2\n").unwrap();
        std::fs::write(at.join("memory.max"), "max\n").unwrap();
        std::fs::write(at.join("memory.stat"), "anon 1\ninactive_file 2\n").unwrap();
    };
    let id = |digit: char| digit.to_string().repeat(64);
    make(&format!("system.slice/docker-{}.scope", id('a')));
    make(&format!("kubepods.slice/kubepods-pod1_2.slice/cri-containerd-{}.scope", id('b')));
    make(&format!("user.slice/user-1.slice/user@1.service/user.slice/libpod-{}.scope", id('c')));
    make(&format!("docker/{}", id('d')));
    // What is in a container belongs to it, and none of these is a container's.
    make(&format!("docker/{}/docker/{}", id('d'), id('e')));
    let told = folder.path().join("told");
    let touch = format!("$(touch {})", told.display());
    for hostile in [
        "x -f ",
        "-e",
        "a\nb",
        "*",
        "?",
        "`id`",
        "$IFS",
        "';id;'",
        "\"x\"",
        "a\\b",
        &touch.replace('/', "_"),
        "x --include=",
        "\u{1b}[31m",
        "ä",
    ] {
        make(&format!("{hostile}/docker-{}.scope", id('f')));
        make(&format!("docker-{}{hostile}", id('f')));
    }
    // A newline begins no other path.
    make(&format!("y\n/etc/docker-{}.scope", id('f')));
    let answer = here(&below(root), &[Ask::Cgroups { look: true }]);
    let answer = answer.replace(root.to_str().unwrap(), "/sys/fs/cgroup");
    let known = containers(&answer);
    let ids: Vec<_> = known.values().map(ToString::to_string).collect();
    // Below a folder that is named like an option it is a container all the same.
    assert_eq!(ids, [id('a'), id('b'), id('c'), id('d'), id('f')]);
    let lines = answer.lines().filter(|line| line.contains(&id('f')));
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [format!("/cgroup:/sys/fs/cgroup/-e/docker-{}.scope", id('f'))]
    );
    let said: Vec<_> = answer.lines().filter(|line| line.starts_with("/c/aa")).collect();
    assert_eq!(
        said,
        ["cpu.stat:usage_usec 5", "memory.max:max", "memory.stat:inactive_file 2"]
            .map(|line| format!("/c/{}/{line}", &id('a')[..16]))
    );
    let reading = cgroups(&answer, &known);
    assert_eq!(reading.len(), known.len());
    assert!(!told.exists());
    // Without a look those from before are read, which this loop has none of.
    assert_eq!(here(&below(root), &[Ask::Cgroups { look: false }]), "");
}

#[test]
fn a_host_with_version_1_or_without_cgroups_is_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let empty = here(&below(root), &[Ask::Cgroups { look: true }]);
    assert_eq!(empty, "");
    let id = "a".repeat(64);
    // As where one hierarchy has several names.
    for (controller, file, text) in [
        ("cpu,cpuacct", "cpuacct.usage", "7"),
        ("memory", "memory.usage_in_bytes", "9"),
        ("pids", "pids.current", "2"),
        ("blkio", "blkio.throttle.io_service_bytes", "8:0 Read 1\n8:0 Write 2\nTotal 3"),
        ("devices", "pids.current", "4"),
    ] {
        let at = root.join(controller).join("docker").join(&id);
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join(file), format!("{text}\n")).unwrap();
    }
    std::os::unix::fs::symlink("cpu,cpuacct", root.join("cpuacct")).unwrap();
    let answer = here(&below(root), &[Ask::Cgroups { look: true }]);
    let said: Vec<_> = answer.lines().filter(|line| line.starts_with("/c/")).collect();
    assert_eq!(said.len(), 5, "{answer}");
    let reading = cgroups(&answer, &containers(&answer));
    let mut all = crate::host::cgroups::Counters::default();
    all.take("cpuacct.usage", "7");
    all.take("memory.usage_in_bytes", "9");
    all.take("pids.current", "2");
    all.take("io.stat", "8:0 rbytes=1 wbytes=2");
    assert_eq!(reading.into_values().collect::<Vec<_>>(), [all]);
}
