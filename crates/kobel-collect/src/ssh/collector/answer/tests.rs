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
