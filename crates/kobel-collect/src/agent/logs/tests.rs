use std::{future::Future, pin::Pin, sync::Arc};

use kobel_hub::{
    access::{Access, CredentialId, DeviceScope},
    logs::{
        LogPosition, LogSink, LogStart, Poke, RawLine, SourceEvent,
        live::LogSource,
        queue::{self, Limits, LogSender},
    },
};
use kobel_wire::{
    ContainerId, DeviceUuid, Role, SourceKind, Timestamp,
    log::{LogOutput, LogTime},
    proto::{AgentMessage, LogChunk, LogEnd, agent_message::Body},
};
use prost::Message;
use tokio_util::sync::CancellationToken;

use super::{
    super::registry::{Registry, Seat},
    message::record,
    *,
};

fn seat() -> Seat {
    let access = Arc::new(Access { role: Role::Agent, devices: DeviceScope::All });
    Registry::default().enter(CredentialId::Token(1), access)
}

fn seats() -> [Seat; 2] {
    let registry = Registry::default();
    [(); 2].map(|()| {
        let access = Arc::new(Access { role: Role::Agent, devices: DeviceScope::All });
        registry.enter(CredentialId::Token(1), access)
    })
}

fn container() -> ContainerId {
    "abcdef012345".parse().unwrap()
}

fn line(n: i64) -> SourceEvent {
    let (at, stream) = (LogTime::from_nanos(n * 1_000_000_000), LogOutput::Stdout);
    SourceEvent::Line(RawLine { at, stream, text: format!("{n:020}"), cut: 0 })
}

fn chunk(follow: u64, events: Vec<SourceEvent>) -> LogChunk {
    LogChunk { follow, records: events.into_iter().map(record).collect(), end: None }
}

#[tokio::test]
async fn a_follow_goes_on_by_the_next_link() {
    let (relay, device, [first, second]) = (LogRelay::default(), DeviceUuid::generate(), seats());
    let (sink, lines) = queue::channel(Limits::default());
    let cancel = CancellationToken::new();
    let source = relay.source(device, SourceKind::Agent);
    let follow = tokio::spawn(source.follow(
        container(),
        LogStart::Tail(9),
        sink,
        Poke::default(),
        cancel.clone(),
    ));
    tokio::task::yield_now().await;
    relay.attach(device, first.link, &first.mailbox);
    assert_eq!(first.mailbox.take().logs, [Command::Follow(1)]);
    let asked = |seat: &Seat| start_of(&relay.message(1, seat.link, |_| Some(7)).unwrap());
    assert_eq!(asked(&first), Some((container(), LogStart::Tail(9))));
    relay.take(first.link, chunk(1, (1..=3).map(line).collect()));
    relay.detach(device, first.link);
    relay.attach(device, second.link, &second.mailbox);
    assert_eq!(second.mailbox.take().logs, [Command::Follow(1)]);
    // Behind the newest line, and nothing of what the older link still says.
    let Some((_, LogStart::After(LogPosition { newest, .. }))) = asked(&second) else {
        panic!("it goes on");
    };
    assert_eq!(newest, 3_000_000_000);
    relay.take(first.link, chunk(1, vec![line(4)]));
    relay.take(second.link, chunk(1, vec![SourceEvent::Missing(2), line(6)]));
    let wanted = [line(1), line(2), line(3), SourceEvent::Missing(2), line(6)];
    assert_eq!(lines.take().await.unwrap().events, wanted);
    assert!(relay.message(1, first.link, |_| Some(7)).is_none());
    let end = Some(LogEnd { wrong: Some("no driver".into()) });
    relay.take(second.link, LogChunk { follow: 1, records: Vec::new(), end });
    assert_eq!(follow.await.unwrap(), Err("no driver".to_owned()));
    assert_eq!(second.mailbox.take().logs, [], "it ended by itself");
}

#[tokio::test]
async fn who_wants_no_more_says_so() {
    let (relay, device, seat) = (LogRelay::default(), DeviceUuid::generate(), seat());
    relay.attach(device, seat.link, &seat.mailbox);
    let (sink, _lines) = queue::channel(Limits::default());
    let cancel = CancellationToken::new();
    let source = relay.source(device, SourceKind::Agent);
    let follow = tokio::spawn(source.follow(
        container(),
        LogStart::All,
        sink,
        Poke::default(),
        cancel.clone(),
    ));
    tokio::task::yield_now().await;
    cancel.cancel();
    assert_eq!(follow.await.unwrap(), Ok(()));
    assert_eq!(seat.mailbox.take().logs, [Command::Follow(1), Command::Stop(1)]);
    assert!(relay.message(1, seat.link, |_| Some(7)).is_none());
}

/// Writes so many lines at once.
struct Flood(i64);

impl LogSource for Flood {
    fn follow(
        &self,
        _container: ContainerId,
        _start: LogStart,
        sink: LogSender,
        _poke: Poke,
        _cancel: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let count = self.0;
        Box::pin(async move {
            for n in 0..count {
                sink.take(&mut vec![line(n)]);
                if n % 100 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            Ok(())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_waits_for_the_hub_and_is_told() {
    const LINES: i64 = 200_000;
    let mut following = Following::new(&CancellationToken::new());
    following.follow(1, container(), LogStart::All, Arc::new(Flood(LINES)));
    following.follow(2, container(), LogStart::All, Arc::new(Flood(3)));
    let (mut bytes, mut lines, mut missing, mut others) = (0_u64, 0, 0, 0);
    let mut ends = 0;
    let pause = std::time::Duration::from_secs(1);
    while ends < 2 {
        // Until the window is full: the hub takes nothing meanwhile.
        let from = bytes;
        while tokio::time::timeout(pause, following.ready()).await.is_ok() {
            let message = following.next(Timestamp::from_millis(0)).unwrap();
            bytes += message.len() as u64;
            let message = AgentMessage::decode(&*message).unwrap();
            let Some(Body::Log(chunk)) = message.body else { panic!("it is a chunk") };
            ends += u32::from(chunk.end.is_some());
            let told = chunk.records.into_iter().filter_map(message::event);
            for event in told {
                match event {
                    SourceEvent::Missing(count) => missing += count as i64,
                    _ if chunk.follow == 2 => others += 1,
                    _ => lines += 1,
                }
            }
        }
        assert!(bytes - from < WINDOW + 2 * CHUNK as u64, "{}", bytes - from);
        following.acked(bytes);
    }
    assert_eq!((lines + missing, others), (LINES, 3));
    assert!(missing > 0, "more than may wait");
    following.close().await;
}
