//! Both sides' rules against each other, over a connection that may break after any message; and
//! the hub's side against agents that mean harm.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use kobel_hub::{
    access::{Access, CredentialId, DeviceScope},
    demand::Need,
    ingest::{self, Inbox, Ingest},
    store::StoredDevice,
};
use kobel_wire::{
    Container, ContainerState, DeviceId, DeviceState, DeviceUuid, Engine, Facts, Role, SERIES,
    Sample, SourceKind, Spread, Summary, Timestamp,
    proto::{
        AgentHello, AgentMessage, ContainerReport, DeviceClaim, DeviceClaims, HostProcesses,
        HostSample, HostSummary, HubMessage, HubRefusal, Inventory, NumberedReport, RefusalCode,
        Reports, SourceKind as WireSource, agent_message, hub_message, numbered_report::Body,
    },
};
use proptest::prelude::*;
use prost::Message;
use tokio::time::Instant;

use super::{
    Claim, Client, Event, Hello, MAX_MESSAGE, Outbox, RefusedReason, VERSIONS,
    client::Refused,
    registry::Registry,
    session::{Session, Step},
    stats::AgentStats,
};
use crate::Target;

mod outage;

const NOW: i64 = 1_795_000_000_000;

fn wall() -> Timestamp {
    Timestamp::from_millis(NOW)
}

fn uuid(n: u64) -> DeviceUuid {
    format!("0198c0de-0000-7000-8000-{n:012x}").parse().unwrap()
}

fn claim(n: u32) -> Claim {
    Claim {
        key: format!("host-{n}"),
        name: format!("web-{n}"),
        tags: vec!["web".to_owned()],
        facts: Facts { hostname: format!("web-{n}"), ..Facts::default() },
        engine: Engine::unknown(wall()),
    }
}

fn summary(n: u32) -> Summary {
    let mut series = [None; SERIES.len()];
    let value = n as f32;
    series[11] = Some(Spread { min: value, mean: value, max: value });
    let at = Timestamp::from_millis(NOW - 1_000);
    let (device_uuid, id) = (DeviceUuid::NIL, DeviceId(0));
    Summary { device_uuid, id, from: at, to: at, samples: 30, series }
}

fn container(n: u32, restarts: u64) -> Container {
    Container {
        device_uuid: DeviceUuid::NIL,
        container_id: format!("{n:064x}").parse().unwrap(),
        name: format!("c{n}"),
        image: "busybox".into(),
        project: Some("shop".into()),
        service: None,
        state: ContainerState::Running,
        status: "Up 3 minutes".into(),
        health: None,
        exit_code: None,
        created_at: Some(Timestamp::from_millis(NOW - 60_000)),
        started_at: None,
        restart_count: Some(restarts),
        logs: None,
        cpu: Some(12.5),
        memory: Some(1 << 20),
        memory_limit: None,
        network_in: None,
        network_out: None,
        block_read: None,
        block_write: None,
        pids: None,
    }
}

fn hello() -> Hello {
    Hello {
        instance: "host".into(),
        software: "kobel test".into(),
        source: SourceKind::Agent,
        logs: true,
    }
}

/// The hub's side, without sockets and store.
struct Hub {
    registry: Registry,
    ingest: Ingest,
    inbox: Inbox,
    stats: Arc<AgentStats>,
    access: Arc<Access>,
}

impl Hub {
    fn new() -> Self {
        let (ingest, inbox) = ingest::channel();
        let access = Arc::new(Access { role: Role::Agent, devices: DeviceScope::All });
        Self { registry: Registry::default(), ingest, inbox, stats: Arc::default(), access }
    }

    fn session(&self) -> Session {
        let seat = self.registry.enter(CredentialId::Token(1), Arc::clone(&self.access));
        let (registry, ingest) = (self.registry.clone(), self.ingest.clone());
        Session::new(
            registry,
            ingest,
            Arc::clone(&self.stats),
            seat.link,
            super::LogRelay::default(),
        )
    }

    fn refused(&self, reason: RefusedReason) -> u64 {
        self.stats.snapshot(0).refused[reason as usize]
    }

    async fn taken(&self) -> HashMap<DeviceUuid, ingest::DeviceUpdate> {
        // What waits, if anything: a state of nobody's device makes the inbox answer.
        self.ingest.state(uuid(0xffff), DeviceState::Online, None);
        self.inbox.take().await
    }
}

/// The store's part: the key's number is the device's.
fn take(session: &mut Session, message: &[u8]) -> Result<Option<HubMessage>, HubRefusal> {
    take_at(session, message, wall())
}

/// The same, at a time by the hub's clock.
fn take_at(
    session: &mut Session,
    message: &[u8],
    wall: Timestamp,
) -> Result<Option<HubMessage>, HubRefusal> {
    match session.receive(&Bytes::copy_from_slice(message), wall, Instant::now())? {
        Step::Nothing => Ok(None),
        Step::Say(say) => Ok(Some(say)),
        Step::Claim(claims) => {
            let stored = claims.devices.iter().map(|(_, key, claim)| {
                let number: u64 = key.rsplit('-').next().unwrap().parse().unwrap();
                let (uuid, id) = (uuid(number), DeviceId(number));
                Some(StoredDevice {
                    uuid,
                    id,
                    name: claim.name.clone(),
                    tags: claim.tags.clone(),
                    group: None,
                })
            });
            let stored = stored.collect();
            Ok(Some(session.claimed(claims, stored, wall).answer))
        }
    }
}

/// Lets both talk until nobody has anything to say, or the connection breaks after so many messages
/// (of either side; the last one is lost).
fn talk(client: &mut Client, session: &mut Session, mut left: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(message) = client.next(wall(), Instant::now()) {
        assert!(message.len() <= MAX_MESSAGE);
        left -= 1;
        if left == 0 {
            return events;
        }
        if let Some(answer) = take(session, &message).unwrap() {
            left -= 1;
            if left == 0 {
                return events;
            }
            events.extend(client.receive(&answer.encode_to_vec()).unwrap());
        }
    }
    events
}

#[tokio::test]
async fn an_agent_s_reports_arrive() {
    let hub = Hub::new();
    let mut client = Client::new(hello(), (1..=1_200).map(claim).collect());
    let (now, mut session) = (Instant::now(), hub.session());
    client.outbox.summary(3, &summary(7), now);
    client.outbox.container(3, &container(1, 0), now);
    client.outbox.state(4, false, Some("no route to host".into()));
    let sample = Sample { cpu: Some(12.5), ..Sample::empty(DeviceUuid::NIL, DeviceId(0), wall()) };
    client.outbox.sample(0, sample.clone());
    client.outbox.sample(0, Sample { cpu: Some(50.0), ..sample });
    let events = talk(&mut client, &mut session, usize::MAX);
    assert!(client.is_open() && session.device_count() == 1_200);
    let wanted = events.iter().filter(|event| matches!(event, Event::Inventory(_))).count();
    assert_eq!((wanted, events.len()), (1_200, 1_200), "a hub that knows nothing asks for all");
    let taken = hub.taken().await;
    let first = taken[&uuid(1)].sample.as_ref().unwrap();
    assert_eq!((first.device_uuid, first.id, first.cpu), (uuid(1), DeviceId(1), Some(50.0)));
    let fourth = &taken[&uuid(4)];
    assert_eq!(fourth.summaries[0].series[11].unwrap().max, 7.0);
    let expected = Container { device_uuid: uuid(4), ..container(1, 0) };
    assert_eq!(fourth.containers, [expected]);
    let state = taken[&uuid(5)].state.clone().unwrap();
    assert_eq!(state, (DeviceState::Unreachable, Some("no route to host".into())));
    assert_eq!(client.outbox.waiting_bytes(), 0, "everything is acknowledged");

    let needs =
        vec![(uuid(2), Need::Every(Duration::from_secs(5))), (uuid(9_999), Need::Unwatched)];
    let said = session.needs(needs).unwrap().encode_to_vec();
    let events = client.receive(&said).unwrap();
    assert_eq!(events, [Event::Need(1, Need::Every(Duration::from_secs(5)))]);

    session.end("The agent's connection ended: it was stopped.", now);
    let taken = hub.taken().await;
    let state = taken[&uuid(1_200)].state.as_ref().unwrap();
    assert_eq!(state.0, DeviceState::Unreachable);
}

#[tokio::test]
async fn the_same_run_goes_on_and_another_begins_anew() {
    let hub = Hub::new();
    let mut client = Client::new(hello(), vec![claim(1)]);
    let mut session = hub.session();
    assert_eq!(talk(&mut client, &mut session, usize::MAX), [Event::Inventory(0)]);
    session.end("lost", Instant::now());
    client.connected();
    assert_eq!(talk(&mut client, &mut hub.session(), usize::MAX), [], "its containers are known");
    let mut other = Client::new(hello(), vec![claim(1)]);
    assert_eq!(talk(&mut other, &mut hub.session(), usize::MAX), [Event::Inventory(0)]);
}

#[tokio::test]
async fn a_device_is_the_newest_agent_s() {
    let hub = Hub::new();
    let (mut old, mut new) = (hub.session(), hub.session());
    let mut first = Client::new(hello(), vec![claim(1), claim(2)]);
    let mut second = Client::new(hello(), vec![claim(2)]);
    talk(&mut first, &mut old, usize::MAX);
    talk(&mut second, &mut new, usize::MAX);
    let said = old.lost(vec![uuid(2)]).unwrap().encode_to_vec();
    let events = first.receive(&said).unwrap();
    assert!(
        matches!(&events[..], [Event::Released(1, reason)] if reason.contains("another agent"))
    );
    hub.taken().await;
    // What the old one says of it is not taken, and its end does not touch it.
    first.outbox.sample(1, Sample::empty(DeviceUuid::NIL, DeviceId(0), wall()));
    assert_eq!(first.next(wall(), Instant::now()), None, "it does not even send it");
    old.end("lost", Instant::now());
    let taken = hub.taken().await;
    assert!(taken.contains_key(&uuid(1)) && !taken.contains_key(&uuid(2)));
}

proptest! {
    /// A connection that breaks again and again, each time after another message of either side:
    /// every summary arrives exactly once and in order, and of each container the last word.
    #[test]
    fn every_numbered_report_arrives_exactly_once(
        breaks in prop::collection::vec(1_usize..12, 0..12),
        reports in prop::collection::vec((0_u32..4, prop::option::of(0_u32..3)), 1..80),
        new_hub in prop::option::of(0_usize..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut hub = Hub::new();
            let mut client = Client::new(hello(), (0..4).map(claim).collect());
            let now = Instant::now();
            let mut heard: HashMap<u64, Vec<f32>> = HashMap::new();
            let mut containers = HashMap::new();
            let (mut sent, mut last) = (HashMap::<u64, Vec<f32>>::new(), HashMap::new());
            let mut rest = reports.iter().enumerate();
            let each = reports.len() / (breaks.len() + 1) + 1;
            let ends = breaks.iter().copied().chain([usize::MAX]).enumerate();
            for (round, end) in ends {
                for (n, (device, of)) in rest.by_ref().take(each) {
                    match of {
                        None => {
                            client.outbox.summary(*device, &summary(n as u32), now);
                            sent.entry((*device).into()).or_default().push(n as f32);
                        }
                        Some(id) => {
                            let id = device * 10 + id;
                            client.outbox.container(*device, &container(id, n as u64), now);
                            last.insert(id, n as u64);
                        }
                    }
                }
                // A hub that restarts has forgotten how far the run was. What was acknowledged
                // to the agent stays so; what was not may come a second time, to another hub.
                if Some(round) == new_hub && client.outbox.waiting_bytes() == 0 {
                    hub = Hub::new();
                }
                client.connected();
                let mut session = hub.session();
                talk(&mut client, &mut session, end);
                for (device, update) in hub.taken().await {
                    let number = (0..4).find(|n| uuid(*n) == device).unwrap_or(99);
                    let values = update.summaries.iter().map(|s| s.series[11].unwrap().min);
                    heard.entry(number).or_default().extend(values);
                    for c in update.containers {
                        let id = u32::from_str_radix(c.container_id.as_str(), 16).unwrap();
                        containers.insert(id, c.restart_count.unwrap());
                    }
                }
                session.end("lost", now);
            }
            heard.retain(|_, values| !values.is_empty());
            assert_eq!(heard, sent);
            assert_eq!(containers, last);
            assert_eq!(client.outbox.waiting_bytes(), 0);
        });
    }

    /// No bytes bring the hub's side down.
    #[test]
    fn any_bytes_are_answered(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5)
    ) {
        let hub = Hub::new();
        let mut session = hub.session();
        for message in &messages {
            if take(&mut session, message).is_err() {
                break;
            }
        }
        // And behind a sign-in.
        let framed = messages.iter().flat_map(|message| {
            let length = (message.len() as u16).to_le_bytes();
            length.into_iter().chain(message.iter().copied())
        });
        super::fuzz::receive(&framed.collect::<Vec<_>>());
    }

    /// No reports, however absurd, bring it down, and none yields a value that no host has.
    #[test]
    fn any_report_gives_sound_values(
        cpu in prop::option::of(any::<f32>()), rate in any::<f32>(), uptime in any::<f64>(),
        at in any::<i64>(), sent_at in any::<i64>(), device in 0_u32..3,
        values in prop::collection::vec(any::<f32>(), 0..50), present in any::<u32>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let hub = Hub::new();
            let mut session = hub.session();
            let mut client = Client::new(hello(), vec![claim(1), claim(2)]);
            talk(&mut client, &mut session, usize::MAX);
            let sample = HostSample {
                device, sampled_at_ms: at, cpu, cores: values.clone(), load: values.clone(),
                network_in: Some(rate), temperature: Some(rate), uptime: Some(uptime),
                memory_total: Some(u64::MAX), ..HostSample::default()
            };
            let summary = HostSummary {
                device, from_ms: at, to_ms: sent_at, samples: 3, present, values,
            };
            let numbered = NumberedReport { number: 1, body: Some(Body::Summary(summary)), clock_moved_ms: at };
            let reports =
                Reports { samples: vec![sample], numbered: vec![numbered], ..Reports::default() };
            let body = Some(agent_message::Body::Reports(reports));
            let message = AgentMessage { sent_at_ms: sent_at, body }.encode_to_vec();
            take(&mut session, &message).unwrap();
            for (_, update) in hub.taken().await {
                for sample in update.sample.iter() {
                    for value in sample.series().into_iter().flatten().chain(sample.cores.clone()) {
                        assert!(value.is_finite() && (-100.0..=1e15).contains(&value));
                    }
                    assert!(sample.cpu.is_none_or(|cpu| (0.0..=100.0).contains(&cpu)));
                    let age = NOW - sample.sampled_at.as_millis();
                    assert!((-2_000..=7_200_000).contains(&age), "{age}");
                    assert_eq!(sample.memory_total, None);
                }
                for spread in update.summaries.iter().flat_map(|s| s.series).flatten() {
                    assert!(spread.min <= spread.mean && spread.mean <= spread.max);
                    assert!(spread.max.is_finite());
                }
            }
        });
    }
}

fn message(body: agent_message::Body) -> Vec<u8> {
    AgentMessage { sent_at_ms: NOW, body: Some(body) }.encode_to_vec()
}

fn said_hello(min: u32, max: u32) -> AgentHello {
    AgentHello {
        min_version: min,
        max_version: max,
        software: "kobel agent 9.9".into(),
        instance: "host".into(),
        run: "run-1".into(),
        source: WireSource::Agent.into(),
        logs: true,
    }
}

#[test]
fn versions_without_one_in_common_are_refused_and_it_is_said_who_is_too_old() {
    let newest = *VERSIONS.end();
    let try_with = |min, max| {
        let hub = Hub::new();
        let hello = message(agent_message::Body::Hello(said_hello(min, max)));
        (take(&mut hub.session(), &hello), hub.refused(RefusedReason::Version))
    };
    for (min, max) in [(1, 1), (1, newest), (newest, newest + 5), (0, 1)] {
        let Some(hub_message::Body::Welcome(welcome)) = try_with(min, max).0.unwrap().unwrap().body
        else {
            panic!("no welcome for {min} to {max}");
        };
        assert!((min..=max).contains(&welcome.version) && VERSIONS.contains(&welcome.version));
    }
    for (min, max, words) in [
        (
            newest + 1,
            newest + 2,
            "this hub (kobel 0.1.0) is too old for the agent (kobel agent 9.9)",
        ),
        (0, 0, "the agent (kobel agent 9.9) is too old for this hub"),
        (2, 1, "too old"),
    ] {
        let (refused, counted) = try_with(min, max);
        let refused = refused.unwrap_err();
        assert_eq!((refused.code(), refused.retry), (RefusalCode::Version, false));
        assert!(refused.message.contains(words) && refused.message.contains("update"));
        assert_eq!(counted, 1);
        // The agent stops and says the same.
        let said = HubMessage { body: Some(hub_message::Body::Refusal(refused.clone())) };
        let mut client = Client::new(hello(), Vec::new());
        let heard = client.receive(&said.encode_to_vec()).unwrap_err();
        assert!(!heard.retry() && heard.to_string().contains(words), "{heard}");
    }
}

#[test]
fn what_is_out_of_place_ends_the_link() {
    let hello = message(agent_message::Body::Hello(said_hello(1, 1)));
    let reports = message(agent_message::Body::Reports(Reports::default()));
    let mut bad_name = said_hello(1, 1);
    bad_name.instance = "../../etc".into();
    let mut nothing = said_hello(1, 1);
    nothing.source = 0;
    for messages in [
        vec![reports],
        vec![hello.clone(), hello.clone()],
        vec![message(agent_message::Body::Hello(bad_name))],
        vec![message(agent_message::Body::Hello(nothing))],
        vec![vec![0xff; 20]],
        vec![hello, vec![0x22, 0x7f, 0x00]],
    ] {
        let hub = Hub::new();
        let mut session = hub.session();
        let refused = messages.iter().find_map(|m| take(&mut session, m).err());
        assert_eq!(refused.unwrap().code(), RefusalCode::Protocol);
        assert_eq!(hub.refused(RefusedReason::Protocol), 1);
    }
}

#[test]
fn a_message_of_countless_empty_parts_is_refused_unread() {
    let hub = Hub::new();
    let mut session = hub.session();
    take(&mut session, &message(agent_message::Body::Hello(said_hello(1, 1)))).unwrap();
    // Each sample takes two bytes on the way and hundreds in memory.
    let samples = vec![HostSample::default(); 400_000];
    let bomb = message(agent_message::Body::Reports(Reports { samples, ..Reports::default() }));
    assert!(bomb.len() < MAX_MESSAGE);
    let refused = take(&mut session, &bomb).unwrap_err();
    assert!(refused.message.contains("32768 parts"), "{}", refused.message);
    // The same deeper down.
    let containers = vec![ContainerReport::default(); 400_000];
    let inventory = Body::Inventory(Inventory { device: 0, containers });
    let numbered = vec![NumberedReport { number: 1, body: Some(inventory), ..Default::default() }];
    let bomb = message(agent_message::Body::Reports(Reports { numbered, ..Reports::default() }));
    assert!(take(&mut session, &bomb).unwrap_err().message.contains("parts"));
    let processes = HostProcesses { processes: vec![Default::default(); 400_000] };
    let samples = vec![HostSample { processes: Some(processes), ..HostSample::default() }];
    let bomb = message(agent_message::Body::Reports(Reports { samples, ..Reports::default() }));
    assert!(take(&mut session, &bomb).unwrap_err().message.contains("parts"));
}

#[tokio::test]
async fn an_agent_speaks_for_its_own_devices_only_and_within_limits() {
    let hub = Hub::new();
    let mut session = hub.session();
    take(&mut session, &message(agent_message::Body::Hello(said_hello(1, 1)))).unwrap();
    let claims = |devices| message(agent_message::Body::Claims(DeviceClaims { devices }));
    let wire = |device: u32, key: &str| DeviceClaim {
        device,
        key: key.to_owned(),
        name: "\u{202e}evil\n".repeat(50),
        tags: vec!["t".repeat(1_000); 50],
        ..DeviceClaim::default()
    };
    let answer = take(
        &mut session,
        &claims(vec![
            wire(0, "host-1"),
            wire(0, "host-2"),
            wire(1, "host-1"),
            wire(2, ""),
            wire(3, &"x".repeat(200)),
            wire(100_000, "host-3"),
            wire(4, "a\nhost-4"),
            DeviceClaim { device: 5, key: "host-5".into(), ..DeviceClaim::default() },
        ]),
    );
    let Some(hub_message::Body::Claimed(answer)) = answer.unwrap().unwrap().body else {
        panic!("no answer");
    };
    let refused: Vec<_> = answer.refused.iter().map(|r| r.device).collect();
    assert_eq!(refused, [0, 2, 3, 100_000, 4, 5, 1]);
    assert!(answer.refused.iter().all(|r| !r.reason.is_empty()));
    assert_eq!(hub.refused(RefusedReason::Claim), 7);
    assert_eq!(session.device_count(), 1);

    // Reports on devices that are not its own change nothing and are counted.
    let strange = HostSample { device: 77, ..HostSample::default() };
    let other =
        ContainerReport { device: 9, container_id: vec![1; 32].into(), ..Default::default() };
    let numbered =
        NumberedReport { number: 5, body: Some(Body::Container(other)), ..Default::default() };
    let reports =
        Reports { samples: vec![strange], numbered: vec![numbered], ..Reports::default() };
    let ack = take(&mut session, &message(agent_message::Body::Reports(reports))).unwrap().unwrap();
    assert!(matches!(ack.body, Some(hub_message::Body::Ack(ack)) if ack.number == 5));
    assert_eq!(hub.refused(RefusedReason::UnknownDevice), 2);

    // A thousand containers at the same time, whatever the agent does.
    for round in 0..3_u32 {
        let figures = (0..800).map(|n: u32| ContainerReport {
            device: 0,
            container_id: Bytes::copy_from_slice(
                &[&round.to_be_bytes()[..], &n.to_be_bytes()].concat(),
            ),
            name: "n".repeat(10_000),
            ..ContainerReport::default()
        });
        // In portions that fit into a message.
        for figures in figures.collect::<Vec<_>>().chunks(80) {
            let reports = Reports { figures: figures.to_vec(), ..Reports::default() };
            take(&mut session, &message(agent_message::Body::Reports(reports))).unwrap();
        }
    }
    assert_eq!(hub.refused(RefusedReason::TooMany), 1_400);
    let taken = hub.taken().await;
    let update = &taken[&uuid(1)];
    assert_eq!(update.containers.len(), 1_000);
    assert!(update.containers.iter().all(|c| c.name.len() <= 128));
    let bad_id = ContainerReport { container_id: vec![1; 40].into(), ..ContainerReport::default() };
    let reports = Reports { figures: vec![bad_id], ..Reports::default() };
    take(&mut session, &message(agent_message::Body::Reports(reports))).unwrap();
    assert_eq!(hub.refused(RefusedReason::BadValue), 1);
}

#[test]
fn an_agent_that_hears_nonsense_tries_again_later() {
    let mut client = Client::new(hello(), vec![claim(1)]);
    client.next(wall(), Instant::now()).unwrap();
    assert!(matches!(client.receive(&[0xff; 9]), Err(Refused::Protocol(_))));
    let answer = HubMessage { body: Some(hub_message::Body::Claimed(Default::default())) };
    assert!(client.receive(&answer.encode_to_vec()).unwrap_err().retry());
    // What a later hub says beside the rest is passed over.
    assert_eq!(client.receive(&[]).unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded_by_age_and_bytes_and_the_newest_stays() {
    let mut outbox = Outbox::with_budget(10_000);
    let summaries = |outbox: &mut Outbox, n: u32| {
        (0..n).for_each(|n| outbox.summary(0, &summary(n), Instant::now()));
    };
    summaries(&mut outbox, 1_000);
    let waiting = outbox.waiting_bytes();
    assert!((9_000..=10_000).contains(&waiting), "{waiting}");
    assert!(outbox.passed().shed > 500);
    let shed = outbox.passed().shed;
    tokio::time::advance(Duration::from_secs(3_599)).await;
    summaries(&mut outbox, 1);
    let kept = outbox.waiting_bytes();
    tokio::time::advance(Duration::from_secs(2)).await;
    outbox.next(wall(), Instant::now()).unwrap();
    assert!(outbox.waiting_bytes() < kept / 100, "one is younger than an hour");
    assert_eq!(outbox.passed().shed, 1_000);
    assert!(outbox.passed().shed > shed);

    // Of a container the newest change waits, however often it changes.
    let mut outbox = Outbox::default();
    for n in 0..10_000 {
        outbox.container(0, &container(1, n), Instant::now());
        outbox.figures(0, container(1, n));
        outbox.sample(0, Sample::empty(DeviceUuid::NIL, DeviceId(0), wall()));
    }
    assert!(outbox.waiting_bytes() < 300, "{}", outbox.waiting_bytes());
    assert_eq!(outbox.passed().replaced, 9_999);
    let message = AgentMessage::decode(&outbox.next(wall(), Instant::now()).unwrap()[..]).unwrap();
    let Some(agent_message::Body::Reports(reports)) = message.body else { panic!("no reports") };
    assert_eq!((reports.numbered.len(), reports.samples.len(), reports.figures.len()), (1, 1, 1));
    // An inventory takes the place of every change of that device before it.
    outbox.container(0, &container(2, 0), Instant::now());
    outbox.container(1, &container(3, 0), Instant::now());
    outbox.inventory(0, &[container(1, 7)], Instant::now());
    let message = AgentMessage::decode(&outbox.next(wall(), Instant::now()).unwrap()[..]).unwrap();
    let Some(agent_message::Body::Reports(reports)) = message.body else { panic!("no reports") };
    let kinds: Vec<_> = reports.numbered.iter().map(|r| r.body.clone().unwrap()).collect();
    assert!(
        matches!(&kinds[..], [Body::Container(c), Body::Inventory(i)] if c.device == 1 && i.containers.len() == 1)
    );
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_put_right() {
    let hub = Hub::new();
    let mut session = hub.session();
    let mut client = Client::new(hello(), vec![claim(1)]);
    talk(&mut client, &mut session, usize::MAX);
    let target = Target { device: uuid(1), id: DeviceId(1) };
    for (clock_ms, age_ms, expected) in [
        (0, 1_500, 1_500),
        (-86_400_000, 1_500, 1_500),
        (900_000, 30_000, 30_000),
        (1_000, 0, -1_000),
    ] {
        let sample =
            HostSample { device: 0, sampled_at_ms: NOW + clock_ms - age_ms, ..Default::default() };
        let reports = Reports { samples: vec![sample], ..Reports::default() };
        let body = Some(agent_message::Body::Reports(reports));
        let message = AgentMessage { sent_at_ms: NOW + clock_ms, body }.encode_to_vec();
        take(&mut session, &message).unwrap();
        let sample = hub.taken().await.remove(&target.device).unwrap().sample.unwrap();
        assert_eq!(NOW - sample.sampled_at.as_millis(), expected, "a clock {clock_ms} ms off");
    }
}

#[tokio::test]
async fn a_number_counts_once_and_an_older_link_of_the_run_counts_no_more() {
    let hub = Hub::new();
    let (mut first, mut second) = (hub.session(), hub.session());
    let claims = DeviceClaims {
        devices: vec![DeviceClaim {
            key: "host-1".into(),
            name: "web-1".into(),
            ..DeviceClaim::default()
        }],
    };
    let claims = message(agent_message::Body::Claims(claims));
    let report = |number| {
        let summary = HostSummary {
            from_ms: NOW - 1_000,
            to_ms: NOW,
            samples: 1,
            present: 1,
            values: vec![number as f32; 3],
            ..HostSummary::default()
        };
        let numbered =
            vec![NumberedReport { number, body: Some(Body::Summary(summary)), clock_moved_ms: 0 }];
        message(agent_message::Body::Reports(Reports { numbered, ..Reports::default() }))
    };
    let ack = |answer: Option<HubMessage>| match answer.unwrap().body {
        Some(hub_message::Body::Ack(ack)) => ack.number,
        other => panic!("{other:?}"),
    };
    let hello = message(agent_message::Body::Hello(said_hello(1, 1)));
    take(&mut first, &hello).unwrap();
    take(&mut first, &claims).unwrap();
    for (number, acked) in [(1, 1), (4, 4), (4, 4), (2, 4), (5, 5)] {
        assert_eq!(ack(take(&mut first, &report(number)).unwrap()), acked);
    }
    let heard: Vec<_> = hub.taken().await[&uuid(1)]
        .summaries
        .iter()
        .map(|summary| summary.series[0].unwrap().max)
        .collect();
    assert_eq!(heard, [1.0, 4.0, 5.0]);

    // The same run anew, while the hub still reads what came by the old connection.
    let welcome = take(&mut second, &hello).unwrap().unwrap();
    assert!(matches!(welcome.body, Some(hub_message::Body::Welcome(w)) if w.last_number == 5));
    let refused = take(&mut first, &report(6)).unwrap_err();
    assert_eq!((refused.code(), refused.retry), (RefusalCode::Replaced, true));
    take(&mut second, &claims).unwrap();
    assert_eq!(ack(take(&mut second, &report(6)).unwrap()), 6);
    assert_eq!(hub.taken().await[&uuid(1)].summaries.len(), 1);
}
