use proptest::prelude::*;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn read(cgroups: &mut Cgroups, uptime: f64, files: &[(&str, &str)]) -> News {
    let mut counters = Counters::default();
    for (file, line) in files {
        counters.take(file, line);
    }
    let reading = Reading::from([(ID.parse().unwrap(), counters)]);
    cgroups.read(DeviceUuid::NIL, uptime, Some(8_000), reading)
}

fn one(news: News) -> Container {
    match news {
        News::All(told) | News::Each(told) => told.into_iter().next().unwrap(),
    }
}

#[test]
fn the_names_of_engines_are_known_and_no_others() {
    for good in [
        "/sys/fs/cgroup/system.slice/docker-ID.scope",
        "/sys/fs/cgroup/docker/ID",
        "/sys/fs/cgroup/cpu,cpuacct/docker/ID",
        "/sys/fs/cgroup/machine.slice/libpod-ID.scope",
        "/sys/fs/cgroup/libpod_parent/libpod-ID",
        "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
        "/sys/fs/cgroup/kubepods.slice/kubepods-pod1_2.slice/cri-containerd-ID.scope",
        "/sys/fs/cgroup/kubepods/burstable/pod1-2/ID",
        "/x/crio-ID.scope/",
    ] {
        let path = good.replace("ID", ID);
        assert_eq!(container(&path).map(|id| id.to_string()).as_deref(), Some(ID), "{good}");
    }
    let short = &ID[1..];
    for bad in [
        "",
        "/",
        "/system.slice/ssh.service",
        "/machine.slice/libpod-conmon-ID.scope",
        "/docker/ID/init",
        "/docker/ID/docker/ID",
        "/system.slice/docker-ID.scope/system.slice/docker-ID.scope",
        "/docker/SHORT",
        "/docker/--ID",
        "/docker/$(reboot)-ID",
        "/docker/docker-ID.scope.scope",
        "/docker/xID",
    ] {
        let path = bad.replace("ID", ID).replace("SHORT", short);
        assert_eq!(container(&path), None, "{bad}");
    }
}

#[test]
fn version_2_gives_figures() {
    let mut cgroups = Cgroups::default();
    let files = |usec: &'static str, io: &'static str| {
        [
            ("cpu.stat", usec),
            ("memory.current", "5000"),
            ("memory.max", "max"),
            ("memory.stat", "inactive_file 1000"),
            ("pids.current", "3"),
            ("io.stat", io),
            ("io.stat", "8:16 rbytes=0 wbytes=1 rios=0"),
        ]
    };
    let first =
        one(read(&mut cgroups, 10.0, &files("usage_usec 1000000", "8:0 rbytes=10 wbytes=20")));
    assert_eq!((first.name.as_str(), first.state), (&ID[..12], ContainerState::Running));
    assert_eq!((first.memory, first.memory_limit), (Some(4_000), Some(8_000)));
    assert_eq!((first.pids, first.cpu, first.block_read), (Some(3), None, None));
    let next = files("usage_usec 2000000", "8:0 rbytes=1010 wbytes=20");
    let News::Each(told) = read(&mut cgroups, 12.0, &next) else { panic!("not the first") };
    assert_eq!(told[0].cpu, Some(50.0));
    assert_eq!((told[0].block_read, told[0].block_write), (Some(500.0), Some(0.0)));
}

#[test]
fn version_1_gives_the_same() {
    let mut cgroups = Cgroups::default();
    let files = |nanos: &'static str| {
        [
            ("cpuacct.usage", nanos),
            ("memory.usage_in_bytes", "5000"),
            ("memory.limit_in_bytes", "6000"),
            ("memory.stat", "inactive_file 1"),
            ("memory.stat", "total_inactive_file 1000"),
            ("memory.stat", "inactive_file 1"),
            ("pids.current", "3"),
            ("blkio.throttle.io_service_bytes", "8:0 Read 4096"),
            ("blkio.throttle.io_service_bytes", "8:0 Write 10"),
            ("blkio.throttle.io_service_bytes", "Total 4106"),
        ]
    };
    read(&mut cgroups, 10.0, &files("1000000000"));
    let told = one(read(&mut cgroups, 11.0, &files("1250000000")));
    assert_eq!((told.cpu, told.memory, told.memory_limit), (Some(25.0), Some(4_000), Some(6_000)));
    assert_eq!((told.pids, told.block_read), (Some(3), Some(0.0)));
}

#[test]
fn what_disappears_is_removed_and_a_restart_makes_no_rate() {
    let mut cgroups = Cgroups::default();
    let usage = |usec| [("cpu.stat", usec)];
    assert!(matches!(read(&mut cgroups, 100.0, &usage("usage_usec 900")), News::All(_)));
    // The host started anew, and so did the counters.
    assert_eq!(one(read(&mut cgroups, 5.0, &usage("usage_usec 9000"))).cpu, None);
    assert_eq!(one(read(&mut cgroups, 6.0, &usage("usage_usec 10"))).cpu, None);
    let gone = cgroups.read(DeviceUuid::NIL, 7.0, None, Reading::new());
    assert_eq!(one(gone).state, ContainerState::Removed);
    assert_eq!(cgroups.read(DeviceUuid::NIL, 8.0, None, Reading::new()), News::Each(Vec::new()));
}

proptest! {
    #[test]
    fn any_lines_give_credible_figures(
        lines in prop::collection::vec((0..FILES.len(), "(usage_usec |inactive_file |8:0 Read |8:0 rbytes=)?[0-9a-z.-]{0,22}"), 0..20),
        at in prop::collection::vec(any::<f64>(), 1..4),
        path in ".{0,90}",
    ) {
        let _ = container(&path);
        let mut cgroups = Cgroups::default();
        for uptime in at {
            let files: Vec<_> = lines.iter().map(|(n, line)| (FILES[*n], line.as_str())).collect();
            let told = one(read(&mut cgroups, uptime, &files));
            prop_assert!(told.cpu.is_none_or(|cpu| (0.0..=100_000.0).contains(&cpu)));
            prop_assert!(told.block_read.is_none_or(|rate| rate >= 0.0 && rate.is_finite()));
        }
    }
}
