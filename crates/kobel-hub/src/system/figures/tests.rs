use super::*;

fn key(event: &str) -> (Arc<str>, Arc<str>) {
    ("/".into(), event.into())
}

fn events<const N: usize>(counts: [(&str, u64); N]) -> HashMap<(Arc<str>, Arc<str>), u64> {
    counts.into_iter().map(|(event, n)| (key(event), n)).collect()
}

fn errors<const N: usize>(
    counts: [(&str, &'static str, u64); N],
) -> HashMap<(Arc<str>, &'static str), u64> {
    counts.into_iter().map(|(ns, kind, n)| ((ns.into(), kind), n)).collect()
}

fn sizes(count: u64, sum: u64) -> HashMap<Arc<str>, Histogram> {
    [("/".into(), Histogram { buckets: [0, count, 0, 0, 0, 0], sum })].into()
}

fn of(fanout: Snapshot) -> Reading {
    Reading { fanout, ..Reading::default() }
}

fn after(interval: Duration) -> When<'static> {
    When {
        interval,
        uptime: Duration::from_secs(100),
        wall: Timestamp::from_millis(1_795_000_000_000),
        version: "1.2.3",
    }
}

fn told(before: &Reading, now: &Reading, seconds: f64) -> System {
    between(before, now, after(Duration::from_secs_f64(seconds))).unwrap()
}

/// Messages from clients and errors a second: (counter before, after, seconds) to a rate.
#[test]
fn a_rate_is_the_growth_over_the_time() {
    for (before, now, seconds, rate) in [
        (0, 0, 1.0, Some(0.0)),
        (10, 30, 1.0, Some(20.0)),
        (10, 30, 2.0, Some(10.0)),
        (10, 30, 0.5, Some(40.0)),
        // The process stood still for a day: the mean over all of it.
        (0, 86_400, 86_400.0, Some(1.0)),
        // A counter that went back says nothing.
        (30, 10, 1.0, None),
        (30, 0, 1.0, None),
        (0, u64::MAX, 1.0, Some(u64::MAX as f64)),
    ] {
        let reading = |n| {
            of(Snapshot {
                received: events([("subscribe", n)]),
                errors: errors([("/", "protocol", n)]),
                closed: [("protocol", n)].into(),
                conflated: n,
                dropped: n,
                ..Snapshot::default()
            })
        };
        let system = told(&reading(before), &reading(now), seconds);
        let case = format!("{before} to {now} in {seconds} s");
        assert_eq!(system.messages_per_second.received, rate, "{case}");
        assert_eq!(system.error_rate, rate, "{case}");
        assert_eq!(system.conflated_per_second, rate, "{case}");
        assert_eq!(system.dropped_per_second, rate, "{case}");
        let tally = Tally { per_second: rate, total: now };
        assert_eq!(system.errors["protocol"], tally, "{case}");
        assert_eq!(system.closed["protocol"], tally, "{case}");
        assert_eq!(system.messages_per_second.sent, Some(0.0), "{case}");
    }
}

#[test]
fn no_time_gives_no_figures() {
    let (before, now) =
        (of(Snapshot::default()), of(Snapshot { polling: 1, ..Snapshot::default() }));
    for interval in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(49)] {
        assert_eq!(between(&before, &now, after(interval)), None, "{interval:?}");
    }
    assert!(between(&before, &now, after(Duration::from_millis(50))).is_some());
}

#[test]
fn one_counter_of_a_family_that_went_back_or_is_gone_leaves_no_sum() {
    let before = of(Snapshot {
        received: events([("subscribe", 5), ("activity", 100)]),
        errors: errors([("/", "protocol", 5), ("/", "stalled", 1)]),
        ..Snapshot::default()
    });
    for received in
        [events([("subscribe", 1_000)]), events([("subscribe", 1_000), ("activity", 99)])]
    {
        let now = of(Snapshot {
            received,
            errors: errors([("/", "protocol", 9), ("/", "stalled", 0)]),
            ..Snapshot::default()
        });
        let system = told(&before, &now, 1.0);
        assert_eq!(system.messages_per_second.received, None);
        // What is known by itself is told.
        assert_eq!(system.error_rate, None);
        assert_eq!(system.errors["protocol"].per_second, Some(4.0));
        assert_eq!(system.errors["stalled"], Tally { per_second: None, total: 0 });
        let top: Vec<_> = system.top_events.iter().map(|e| e.event.as_str()).collect();
        assert_eq!(top, ["subscribe"]);
    }
}

#[test]
fn errors_of_all_namespaces_count_together() {
    let before = of(Snapshot { errors: errors([("/", "protocol", 1)]), ..Snapshot::default() });
    let now = of(Snapshot {
        errors: errors([("/", "protocol", 3), ("/a", "protocol", 4), ("/a", "backlog", 1)]),
        ..Snapshot::default()
    });
    let system = told(&before, &now, 2.0);
    assert_eq!(system.error_rate, Some(3.5));
    assert_eq!(system.errors["protocol"], Tally { per_second: Some(3.0), total: 7 });
    assert_eq!(system.errors["backlog"], Tally { per_second: Some(0.5), total: 1 });
}

#[test]
fn the_mean_size_is_of_the_messages_between() {
    for (before, now, mean) in [
        ((0, 0), (0, 0), None),
        ((10, 5_000), (10, 5_000), None),
        ((10, 5_000), (12, 5_600), Some(300.0)),
        ((10, 5_000), (2, 600), None),
        ((10, 5_000), (12, 600), None),
    ] {
        let reading =
            |(count, sum)| of(Snapshot { sent_size: sizes(count, sum), ..Snapshot::default() });
        let system = told(&reading(before), &reading(now), 1.0);
        assert_eq!(system.average_message_size.sent, mean, "{before:?} to {now:?}");
        assert_eq!(system.average_message_size.received, None);
    }
}

#[test]
fn the_ten_busiest_events_come_first_and_silent_ones_not_at_all() {
    let names: Vec<String> = (0..15).map(|n| format!("e{n:02}")).collect();
    let sent = |times: u64| -> HashMap<_, _> {
        names.iter().enumerate().map(|(n, name)| (key(name), n as u64 / 2 * times)).collect()
    };
    let mut now =
        Snapshot { sent: sent(4), received: events([("e14", 14)]), ..Snapshot::default() };
    // The same event in another namespace is the same event.
    now.sent.insert(("/b".into(), "e00".into()), 100);
    let before = Snapshot { sent: sent(2), ..Snapshot::default() };
    let top = told(&of(before), &of(now), 2.0).top_events;
    let told: Vec<_> = top.iter().map(|e| (e.event.as_str(), e.direction, e.per_second)).collect();
    let out = Direction::Out;
    assert_eq!(
        told,
        [
            ("e00", out, 50.0),
            ("e14", Direction::In, 7.0),
            ("e14", out, 7.0),
            ("e12", out, 6.0),
            ("e13", out, 6.0),
            ("e10", out, 5.0),
            ("e11", out, 5.0),
            ("e08", out, 4.0),
            ("e09", out, 4.0),
            ("e06", out, 3.0),
        ]
    );
}

#[test]
fn who_is_connected_is_counted_now() {
    let mut now = of(Snapshot {
        active: [("/".into(), 7), ("/admin".into(), 2)].into(),
        polling: 3,
        websocket: 6,
        backlog_bytes: 99,
        ..Snapshot::default()
    });
    now.subscriptions = [1, 2, 3, 5, 4, 0];
    let system = told(&of(Snapshot::default()), &now, 1.0);
    assert_eq!(system.total_connections, 9);
    assert_eq!(system.connections_by_namespace, [("/".into(), 7), ("/admin".into(), 2)].into());
    assert_eq!(system.backlog_bytes, 99);
    let clients = &system.client_distribution;
    assert_eq!(clients.by_transport, [("polling".into(), 3), ("websocket".into(), 6)].into());
    assert_eq!(clients.by_room_type["device"], 1);
    assert_eq!(clients.by_room_type["system"], 4);
    assert_eq!((system.uptime, system.interval, &*system.version), (100.0, 1.0, "1.2.3"));
}

#[test]
fn processor_time_is_percent_of_one_core() {
    for (before, now, seconds, cpu) in [
        (Some(10.0), Some(10.5), 1.0, Some(50.0)),
        (Some(10.0), Some(14.0), 2.0, Some(200.0)),
        (Some(10.0), Some(10.0), 1.0, Some(0.0)),
        (Some(10.0), Some(9.0), 1.0, None),
        (None, Some(9.0), 1.0, None),
        (Some(9.0), None, 1.0, None),
    ] {
        let reading = |cpu_seconds| Reading {
            process: ProcessReading { cpu_seconds, threads: Some(4), ..ProcessReading::default() },
            ..Reading::default()
        };
        let process = told(&reading(before), &reading(now), seconds).process;
        assert_eq!(process.cpu, cpu, "{before:?} to {now:?}");
        assert_eq!((process.threads, process.memory_bytes), (Some(4), None));
    }
}
