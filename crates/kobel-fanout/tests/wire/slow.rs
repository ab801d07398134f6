//! Clients that do not read cost only themselves.

use std::{sync::Arc, time::Duration};

use kobel_fanout::{DisconnectReason, Frame, Gathering, Policy, Room};

use crate::support::{Fixture, RawWs, Ws, frame};

/// Larger than what the kernel holds for both ends of a socket.
const FLOOD: usize = 16_000_000;

fn event(n: usize, policy: Policy) -> Arc<Frame> {
    Frame::event("/", "n", &(n, "x".repeat(10_000)), policy).unwrap()
}

fn number(text: &str) -> usize {
    text.strip_prefix("42[\"n\",[").unwrap().split(',').next().unwrap().parse().unwrap()
}

/// A client that reads nothing, in the room, whose socket is full.
async fn full(fixture: &Fixture, room: &Room) -> (RawWs, usize) {
    let mut slow = RawWs::narrow(fixture.addr).await;
    slow.join().await;
    slow.text(r#"420["join","r"]"#).await;
    assert_eq!(slow.expect().await, r#"430["joined"]"#);
    let mut sent = 0;
    while fixture.server.snapshot().await.backlog_bytes == 0 {
        assert!(sent * 10_000 < FLOOD, "the socket takes everything");
        fixture.server.publish(room, event(sent, Policy::Deliver)).await;
        sent += 1;
    }
    (slow, sent)
}

#[tokio::test]
async fn it_gets_the_newest_of_what_conflates() {
    let fixture = Fixture::new().await;
    let room = Room::from("r");
    let (mut slow, sent) = full(&fixture, &room).await;
    for n in 0..1000 {
        fixture.server.publish(&room, event(sent + n, Policy::Conflate(7))).await;
    }
    let last = sent + 1000;
    fixture.server.publish(&room, event(last, Policy::Deliver)).await;
    let figures = fixture.server.snapshot().await;
    assert_eq!(figures.conflated, 999);
    let mut got = Vec::new();
    while got.last() != Some(&last) {
        got.push(number(&slow.expect().await));
    }
    let expected: Vec<_> = (0..sent).chain([last - 1, last]).collect();
    assert_eq!(got, expected);
    fixture.until("an empty backlog", |s| s.backlog_bytes == 0).await;
    fixture.stop().await;
}

#[tokio::test]
async fn it_gets_what_was_gathered_whole_and_in_order() {
    let fixture = Fixture::config(|c| {
        c.gathering = Gathering::Always;
        c.limits.backlog = FLOOD;
    })
    .await;
    let room = Room::from("r");
    let (mut slow, sent) = full(&fixture, &room).await;
    for n in 0..500 {
        fixture.server.publish(&room, event(sent + n, Policy::Deliver)).await;
    }
    for n in 0..sent + 500 {
        assert_eq!(number(&slow.expect().await), n);
    }
    fixture.until("an empty backlog", |s| s.backlog_bytes == 0).await;
    fixture.stop().await;
}

/// A number that a client has seen says that it has all of what came before.
#[tokio::test]
async fn conflation_overtakes_nothing() {
    let fixture = Fixture::new().await;
    let room = Room::from("r");
    let (mut slow, sent) = full(&fixture, &room).await;
    for (n, policy) in [
        (0, Policy::Conflate(7)),
        (1, Policy::Deliver),
        (2, Policy::Conflate(7)),
        (3, Policy::DropOldest),
        (4, Policy::Conflate(7)),
        (5, Policy::Conflate(8)),
        (6, Policy::Conflate(7)),
    ] {
        fixture.server.publish(&room, event(sent + n, policy)).await;
    }
    let mut got = Vec::new();
    for _ in 0..sent + 4 {
        got.push(number(&slow.expect().await));
    }
    assert_eq!(got[sent..], [sent + 1, sent + 3, sent + 6, sent + 5]);
    fixture.stop().await;
}

#[tokio::test]
async fn the_oldest_that_may_be_dropped_are_dropped_and_counted() {
    let fixture = Fixture::new().await;
    let room = Room::from("r");
    let (mut slow, sent) = full(&fixture, &room).await;
    for n in 0..500 {
        fixture.server.publish(&room, event(sent + n, Policy::DropOldest)).await;
    }
    let figures = fixture.server.snapshot().await;
    assert!(figures.dropped > 300, "{}", figures.dropped);
    assert!(figures.backlog_bytes <= 1_000_000);
    let last = sent + 499;
    let mut got = Vec::new();
    while got.last() != Some(&last) {
        got.push(number(&slow.expect().await));
    }
    let kept = got.len() - sent;
    assert_eq!(kept as u64 + figures.dropped, 500);
    let expected: Vec<_> = (0..sent).chain(sent + 500 - kept..=last).collect();
    assert_eq!(got, expected);
    fixture.stop().await;
}

#[tokio::test]
async fn over_the_limit_it_is_closed_and_the_others_miss_nothing() {
    let fixture = Fixture::new().await;
    let room = Room::from("r");
    let mut quick = fixture.ws().await;
    quick.send(r#"420["join","r"]"#).await;
    assert_eq!(quick.text().await, r#"430["joined"]"#);
    let quick = tokio::spawn(async move {
        let mut got = Vec::new();
        loop {
            let text = quick.text().await;
            if text == r#"42["end",0]"# {
                return got;
            }
            got.push(number(&text));
        }
    });
    let (slow, mut sent) = full(&fixture, &room).await;
    while !fixture.server.snapshot().await.closed.contains_key("backlog") {
        assert!(sent * 10_000 < 2 * FLOOD, "it is never closed");
        fixture.server.publish(&room, event(sent, Policy::Deliver)).await;
        sent += 1;
        // The quick one is no benchmark.
        tokio::task::yield_now().await;
    }
    let end = Frame::event("/", "end", &0, Policy::Deliver).unwrap();
    fixture.server.publish(&room, end).await;
    let got = quick.await.unwrap();
    assert_eq!(got, (0..sent).collect::<Vec<_>>());
    assert!(fixture.app.gone().contains(&(fixture.app.connected()[1], DisconnectReason::Backlog)));
    drop(slow);
    fixture.stop().await;
}

#[tokio::test]
async fn one_that_takes_nothing_is_closed() {
    let fixture = Fixture::config(|c| {
        c.limits.stall = Duration::from_millis(100);
        c.ping_timeout = Duration::from_secs(20);
    })
    .await;
    let (slow, _) = full(&fixture, &Room::from("r")).await;
    fixture.until("the close", |s| s.closed.contains_key("stalled")).await;
    drop(slow);
    fixture.stop().await;
}

/// Each alone is within its limit; together they are over that of all.
#[tokio::test]
async fn over_the_limit_of_all_the_slowest_go_first() {
    let fixture = Fixture::config(|c| {
        c.shards = 1;
        c.limits.backlog = FLOOD;
        c.limits.backlog_total = 3_000_000;
    })
    .await;
    let room = Room::from("r");
    let (slowest, mut sent) = full(&fixture, &room).await;
    let mut slow = RawWs::narrow(fixture.addr).await;
    slow.join().await;
    slow.text(r#"420["join","r"]"#).await;
    assert_eq!(slow.expect().await, r#"430["joined"]"#);
    while !fixture.server.snapshot().await.closed.contains_key("memory") {
        assert!(sent * 10_000 < FLOOD, "nobody is closed");
        fixture.server.publish(&room, event(sent, Policy::Deliver)).await;
        sent += 1;
        let waiting = fixture.server.snapshot().await.backlog_bytes;
        assert!(waiting <= 3_000_000, "{waiting}");
    }
    assert_eq!(fixture.app.gone(), [(fixture.app.connected()[0], DisconnectReason::Memory)]);
    drop((slowest, slow));
    fixture.stop().await;
}

#[tokio::test]
async fn how_long_deliveries_took_is_counted_each() {
    for gathering in [Gathering::Never, Gathering::Always] {
        let fixture = Fixture::config(|c| c.gathering = gathering).await;
        let room = Room::from("r");
        let mut clients = Vec::new();
        for _ in 0..70 {
            let mut ws = fixture.ws().await;
            ws.send(r#"420["join","r"]"#).await;
            assert_eq!(ws.text().await, r#"430["joined"]"#);
            clients.push(ws);
        }
        for n in 0..3 {
            fixture.server.publish(&room, event(n, Policy::Deliver)).await;
        }
        for ws in &mut clients {
            for n in 0..3 {
                assert_eq!(number(&ws.text().await), n);
            }
        }
        let latency = fixture.server.snapshot().await.delivery;
        assert_eq!(latency.count(), 210);
        assert!(latency.sum_micros > 0);
        fixture.stop().await;
    }
}

/// Answers are small, what holds them is not: a client that asks and never reads.
#[tokio::test]
async fn pings_and_questions_without_end_fill_no_memory() {
    let fixture = Fixture::config(|c| c.limits.backlog = 100_000).await;
    let (mut slow, _) = full(&fixture, &Room::from("r")).await;
    // Pongs: the newest says all (RFC 6455, section 5.5.3).
    let pings = frame(0x89, b"p").repeat(20_000);
    slow.send(&pings).await;
    slow.text("40/missing,").await;
    fixture
        .until("the end of the pings", |s| s.errors.contains_key(&("/".into(), "connect_error")))
        .await;
    let figures = fixture.server.snapshot().await;
    assert_eq!(figures.websocket, 1, "{:?}", figures.closed);
    assert!(figures.backlog_bytes < 100_000);
    // Refusals: each waits, so the client is closed before there are many.
    for n in 0..20_000 {
        let mut bytes = frame(0x81, format!(r#"42{n}["echo"]"#).as_bytes());
        bytes.extend(frame(0x81, format!("40/m{n},").as_bytes()));
        if tokio::io::AsyncWriteExt::write_all(&mut slow.stream, &bytes).await.is_err() {
            break;
        }
    }
    fixture.until("the close", |s| s.closed.contains_key("backlog")).await;
    let refused = fixture.server.snapshot().await;
    let answers = refused.errors.values().sum::<u64>();
    // At most so many small answers in 100,000 bytes, each counted with what it costs.
    assert!(answers < 2_000, "{answers}");
    fixture.stop().await;
}

#[tokio::test]
async fn a_polling_client_gets_what_waited_in_one_answer() {
    let fixture = Fixture::new().await;
    let polling = fixture.polling().await;
    let socket = fixture.app.connected()[0];
    for n in 0..100 {
        let policy = if n % 2 == 0 { Policy::Deliver } else { Policy::Conflate(1) };
        let frame = Frame::event("/", "n", &n, policy).unwrap();
        fixture.server.emit(socket, frame).await;
    }
    let answer = polling.get().await;
    // A conflated one never stands before what was sent before it.
    assert_eq!(answer.packets().len(), 51);
    assert_eq!(*answer.packets().last().unwrap(), r#"42["n",99]"#);
    fixture.stop().await;
}

#[tokio::test]
async fn a_revoked_client_that_does_not_read_is_gone_within_a_second() {
    let fixture = Fixture::new().await;
    let (slow, _) = full(&fixture, &Room::from("r")).await;
    let start = tokio::time::Instant::now();
    fixture.server.disconnect(fixture.app.connected()[0], DisconnectReason::Server).await;
    fixture.until("the close", |s| s.websocket == 0).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let mut other = Ws::open(fixture.addr).await;
    other.join("/").await;
    drop(slow);
    fixture.stop().await;
}
