use std::collections::{HashMap, HashSet};

use kobel_wire::proto::{
    AgentMessage, ContainerState, Reports, agent_message, numbered_report::Body,
};
use prost::Message;

use super::{super::host::hosts, *};

const NOW: i64 = 1_795_000_000_000;

/// A part on a clock that the test moves.
struct Clock {
    part: Part,
    outbox: Outbox,
    start: Instant,
    ms: i64,
}

impl Clock {
    fn new(devices: u32, containers: u16) -> Self {
        let start = Instant::now();
        let part =
            Part::new(hosts(1, devices), containers, 1.0, Timestamp::from_millis(NOW), start);
        Self { part, outbox: Outbox::default(), start, ms: 0 }
    }

    fn now(&self) -> (Timestamp, Instant) {
        let now = self.start + Duration::from_millis(self.ms as u64);
        (Timestamp::from_millis(NOW + self.ms), now)
    }

    /// Lets time pass; gives what is sent meanwhile, each message with its time.
    fn pass(&mut self, ms: i64) -> Vec<(i64, Reports)> {
        let (end, mut sent) = (self.ms + ms, Vec::new());
        while self.ms < end {
            self.ms += 50;
            let (wall, now) = self.now();
            self.part.fill(&mut self.outbox, wall, now);
            sent.extend(self.sent());
        }
        sent
    }

    fn event(&mut self, event: Event) -> Vec<(i64, Reports)> {
        let (wall, now) = self.now();
        self.part.event(event, &mut self.outbox, wall, now);
        self.sent()
    }

    fn sent(&mut self) -> Vec<(i64, Reports)> {
        let (wall, now) = self.now();
        let mut sent = Vec::new();
        while let Some(bytes) = self.outbox.next(wall, now) {
            let message = AgentMessage::decode(&bytes[..]).unwrap();
            let Some(agent_message::Body::Reports(reports)) = message.body else { panic!() };
            sent.push((self.ms, reports));
        }
        sent
    }
}

fn samples(sent: &[(i64, Reports)], device: u32) -> Vec<i64> {
    let of = |(at, reports): &(i64, Reports)| {
        reports.samples.iter().any(|s| s.device == device).then_some(*at)
    };
    sent.iter().filter_map(of).collect()
}

fn summaries(sent: &[(i64, Reports)], device: u32) -> Vec<(i64, u32)> {
    let mut found = Vec::new();
    for (at, reports) in sent {
        for report in &reports.numbered {
            if let Some(Body::Summary(summary)) = &report.body
                && summary.device == device
            {
                found.push((*at, summary.samples));
            }
        }
    }
    found
}

fn every(seconds: u64) -> Need {
    Need::Every(Duration::from_secs(seconds))
}

#[test]
fn unwatched_hosts_are_summarised_in_turn() {
    let mut clock = Clock::new(600, 0);
    let first = clock.pass(1_000);
    let shown: HashSet<_> =
        first.iter().flat_map(|(_, r)| r.samples.iter().map(|s| s.device)).collect();
    let up = clock.part.hosts.iter().filter(|h| h.is_up(NOW as u64 / 1_000)).count();
    assert_eq!(shown.len(), up, "each is shown within a second");
    let sent = clock.pass(60_000);
    for device in 0..600 {
        if !(0..61).all(|s| clock.part.hosts[device as usize].is_up(NOW as u64 / 1_000 + s)) {
            continue;
        }
        let summaries = summaries(&sent, device);
        assert_eq!(summaries.len(), 2, "{device}");
        assert_eq!(summaries[1].0 - summaries[0].0, 30_000);
        assert_eq!(summaries[1].1, 30, "of each second");
        assert_eq!(samples(&sent, device).len(), 2, "and the newest sample with each");
    }
    // 600 in 30 s are 20 in a second; never all at once.
    let mut each_second = HashMap::<i64, usize>::new();
    for (at, reports) in &sent {
        *each_second.entry(at / 1_000).or_default() += reports.samples.len();
    }
    assert!(each_second.values().all(|n| (5..45).contains(n)), "{each_second:?}");
}

#[test]
fn a_watched_host_comes_each_second_and_at_once() {
    let mut clock = Clock::new(10, 0);
    clock.pass(10_000);
    let device = 0;
    let sent = clock.event(Event::Need(device, every(1)));
    assert_eq!(samples(&sent, device), [10_000], "at once");
    assert_eq!(summaries(&sent, device).len(), 1, "with what it did before");
    let sent = clock.pass(10_000);
    let times = samples(&sent, device);
    assert!((9..=10).contains(&times.len()), "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 1_000), "{times:?}");
    assert!(summaries(&sent, device).is_empty());

    clock.event(Event::Need(device, every(5)));
    let times = samples(&clock.pass(20_000), device);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 5_000), "{times:?}");
    // Something faster is wanted: at once again.
    clock.pass(2_000);
    assert_eq!(samples(&clock.event(Event::Need(device, every(1))), device).len(), 1);
    clock.event(Event::Need(device, Need::Unwatched));
    let sent = clock.pass(65_000);
    let summaries = summaries(&sent, device);
    assert_eq!(samples(&sent, device), summaries.iter().map(|s| s.0).collect::<Vec<_>>());
    assert_eq!(summaries[1].1, 30, "{summaries:?}");
}

#[test]
fn hosts_that_are_left_at_once_are_summarised_in_turn() {
    let mut clock = Clock::new(300, 0);
    (0..300).for_each(|device| drop(clock.event(Event::Need(device, every(1)))));
    clock.pass(5_000);
    (0..300).for_each(|device| drop(clock.event(Event::Need(device, Need::Unwatched))));
    let sent = clock.pass(60_000);
    let mut each_second = HashMap::<i64, usize>::new();
    for (at, reports) in &sent {
        *each_second.entry(at / 1_000).or_default() += reports.numbered.len();
    }
    assert!(each_second.len() > 55 && each_second.values().all(|n| *n < 30), "{each_second:?}");
}

#[test]
fn a_lost_connection_is_made_up_for_by_summaries() {
    let mut clock = Clock::new(3, 0);
    clock.event(Event::Need(0, every(1)));
    clock.pass(5_000);
    clock.event(Event::NobodyWatches);
    let sent = clock.pass(60_000);
    assert!((1..=2).contains(&summaries(&sent, 0).len()));
    assert!(samples(&sent, 0).len() <= 3, "no second's sample for nobody");
}

#[test]
fn hosts_that_go_away_say_so_and_say_nothing_else() {
    let mut clock = Clock::new(600, 2);
    let t = NOW as u64 / 1_000;
    let dead: Vec<_> = (0..600_u32)
        .filter(|n| (0..100).all(|s| !clock.part.hosts[*n as usize].is_up(t + s)))
        .collect();
    assert!(!dead.is_empty());
    let sent = clock.pass(40_000);
    for device in dead {
        assert!(samples(&sent, device).is_empty() && summaries(&sent, device).is_empty());
        let states: Vec<_> =
            sent.iter().flat_map(|(_, r)| &r.states).filter(|s| s.device == device).collect();
        assert_eq!(states.len(), 1);
        assert!(!states[0].reachable && states[0].reason.is_some());
    }
    let flaps = (0..600_u32).find(|n| {
        let host = &clock.part.hosts[*n as usize];
        host.is_up(t + 41) && (41..3_000).any(|s| !host.is_up(t + s))
    });
    let flaps = flaps.unwrap();
    let mut states = Vec::new();
    for _ in 0..400 {
        for (_, reports) in clock.pass(10_000) {
            states.extend(reports.states.iter().filter(|s| s.device == flaps).map(|s| s.reachable));
        }
        if states.len() >= 2 {
            break;
        }
    }
    assert!(states.windows(2).all(|pair| pair[0] != pair[1]) && states.len() >= 2, "{states:?}");
}

#[test]
fn containers_are_counted_when_asked_and_their_changes_told() {
    let mut clock = Clock::new(40, 10);
    for device in 0..40 {
        clock.event(Event::Inventory(device));
    }
    let mut known = HashMap::new();
    let mut inventories = 0;
    let mut changes = 0;
    for _ in 0..60 {
        for (_, reports) in clock.pass(10_000) {
            for report in reports.numbered {
                match report.body {
                    Some(Body::Inventory(inventory)) => {
                        inventories += 1;
                        for c in inventory.containers {
                            known.insert((c.device, c.container_id.clone()), c);
                        }
                    }
                    Some(Body::Container(c)) => {
                        changes += 1;
                        if c.state() == ContainerState::Removed {
                            assert!(known.remove(&(c.device, c.container_id)).is_some());
                        } else {
                            known.insert((c.device, c.container_id.clone()), c);
                        }
                    }
                    _ => {}
                }
            }
            for c in reports.figures {
                let told = &known[&(c.device, c.container_id.clone())];
                assert_eq!((told.state, told.health), (c.state, c.health), "{}", c.name);
            }
        }
    }
    assert!(inventories >= 39 && changes > 10, "{inventories} {changes}");
    // What was told is what is there.
    let t = (NOW + clock.ms) as u64 / 1_000;
    for (n, natures) in clock.part.natures.iter().enumerate() {
        let host = &clock.part.hosts[n];
        if !(0..700).all(|s| host.is_up(t - s)) {
            continue;
        }
        let there = known.keys().filter(|(device, _)| *device as usize == n).count();
        assert_eq!(there, natures.len(), "{}", host.name);
    }
}

#[test]
fn of_a_dead_host_no_containers_are_told() {
    let mut clock = Clock::new(600, 3);
    for device in 0..600 {
        clock.part.event(
            Event::Inventory(device),
            &mut clock.outbox,
            Timestamp::from_millis(NOW),
            clock.start,
        );
    }
    let t = NOW as u64 / 1_000;
    let down: HashSet<u32> = (0..600).filter(|n| !clock.part.hosts[*n as usize].is_up(t)).collect();
    assert!(!down.is_empty());
    let sent = clock.pass(1_000);
    let told: HashSet<u32> = sent
        .iter()
        .flat_map(|(_, reports)| &reports.numbered)
        .filter_map(|report| match &report.body {
            Some(Body::Inventory(inventory)) if !inventory.containers.is_empty() => {
                Some(inventory.device)
            }
            _ => None,
        })
        .collect();
    assert!(told.len() > 500 && told.is_disjoint(&down), "{} told", told.len());
}
