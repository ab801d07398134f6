//! From polling to a WebSocket (Engine.IO protocol document, "Upgrade").

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use kobel_fanout::{DisconnectReason, Frame, Policy, Room};
use tokio::{io::AsyncWriteExt, sync::Notify, time::timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Fixture, LONG, RawWs, Ws, frame};

/// The numbers in a polling payload or in one packet.
fn numbers(payload: &str) -> Vec<u32> {
    payload
        .split('\u{1e}')
        .filter_map(|packet| packet.strip_prefix(r#"42["n","#)?.strip_suffix(']')?.parse().ok())
        .collect()
}

/// While events stream in, a client moves as the reference client does: it probes beside its
/// polls, lets the poll under way end, says `5`. Every event arrives once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_events_survives_the_move() {
    const LAST: u32 = 3000;
    for round in 0..4 {
        let fixture = Fixture::new().await;
        let polling = fixture.polling().await;
        let room = Room::from("r");
        polling.post(r#"421["join","r"]"#).await;
        assert_eq!(polling.get().await.body, r#"431["joined"]"#);

        let server = fixture.server.clone();
        let publisher = tokio::spawn(async move {
            for n in 1..=LAST {
                let frame = Frame::event("/", "n", &n, Policy::Deliver).unwrap();
                server.publish(&room, frame).await;
                if n % 50 == 0 {
                    tokio::time::sleep(Duration::from_millis(1 + round)).await;
                }
            }
        });
        // Polls until told to pause; the poll under way ends first.
        let pause = Arc::new(Notify::new());
        let poller = tokio::spawn({
            let (polling, pause) = (polling.clone(), Arc::clone(&pause));
            async move {
                let mut got = Vec::new();
                loop {
                    let poll = polling.get();
                    tokio::pin!(poll);
                    tokio::select! {
                        answer = &mut poll => got.extend(numbers(&answer.body)),
                        () = pause.notified() => {
                            got.extend(numbers(&poll.await.body));
                            return got;
                        }
                    }
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(5 * round)).await;
        let mut socket = Ws::connect(fixture.addr, &format!("&sid={}", polling.sid)).await;
        socket.send(Message::text("2probe")).await.unwrap();
        let pong = timeout(LONG, socket.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(pong, Message::text("3probe"));
        pause.notify_one();
        let mut got = timeout(LONG, poller).await.expect("the poll did not end").unwrap();
        socket.send(Message::text("5")).await.unwrap();
        let mut ws = Ws::upgraded(socket);
        while got.last() != Some(&LAST) {
            got.extend(numbers(&ws.text().await));
        }
        publisher.await.unwrap();
        assert!(got.iter().copied().eq(1..=LAST), "lost, twice or out of order: {got:?}");
        ws.round_trip().await;
        let figures = fixture.server.snapshot().await;
        assert_eq!((figures.polling, figures.websocket), (0, 1));
        fixture.stop().await;
    }
}

#[tokio::test]
async fn what_waited_while_polling_goes_to_the_websocket() {
    let fixture = Fixture::new().await;
    let polling = fixture.polling().await;
    polling.post("42[\"echo\",1]\u{1e}42[\"echo\",2]").await;
    let mut ws = RawWs::open(fixture.addr, Some(&polling.sid)).await;
    ws.text("2probe").await;
    assert_eq!(ws.expect().await, "3probe");
    // In one segment with what follows it.
    let both = [frame(0x81, b"5"), frame(0x81, br#"42["echo",3]"#)].concat();
    ws.send(&both).await;
    for n in 1..=3 {
        assert_eq!(ws.expect().await, format!(r#"42["echo",{n}]"#));
    }
    fixture.stop().await;
}

#[tokio::test]
async fn a_poll_under_way_is_ended_after_the_probe() {
    let fixture = Fixture::new().await;
    let polling = fixture.polling().await;
    let poll = tokio::spawn({
        let polling = polling.clone();
        async move { polling.get().await }
    });
    let mut ws = RawWs::open(fixture.addr, Some(&polling.sid)).await;
    ws.text("2probe").await;
    assert_eq!(ws.expect().await, "3probe");
    assert_eq!(poll.await.unwrap().body, "6");
    ws.text("5").await;
    ws.text(r#"42["echo",1]"#).await;
    assert_eq!(ws.expect().await, r#"42["echo",1]"#);
    // The session is no more to be had by polling, nor by a second WebSocket.
    assert_eq!(polling.get().await.status, 400);
    assert_eq!(polling.post("42[\"echo\"]").await.status, 400);
    let mut second = RawWs::open(fixture.addr, Some(&polling.sid)).await;
    assert_eq!(second.next().await, None);
    ws.text(r#"42["echo",2]"#).await;
    assert_eq!(ws.expect().await, r#"42["echo",2]"#);
    fixture.stop().await;
}

#[tokio::test]
async fn an_upgrade_that_is_given_up_leaves_the_session_on_polling() {
    let fixture = Fixture::config(|c| c.upgrade_timeout = Duration::from_millis(100)).await;
    let polling = fixture.polling().await;
    // Given up after the probe, before it, with nonsense, and by doing nothing.
    for (bytes, leaves) in [
        (frame(0x81, b"2probe"), true),
        (Vec::new(), true),
        (frame(0x81, b"4no"), false),
        (frame(0x81, b"2probe"), false),
    ] {
        let mut ws = RawWs::open(fixture.addr, Some(&polling.sid)).await;
        ws.send(&bytes).await;
        if leaves {
            ws.stream.shutdown().await.unwrap();
        }
        while ws.next().await.is_some() {}
        polling.post(r#"42["echo",1]"#).await;
        let mut body = polling.get().await.body;
        while body == "6" {
            body = polling.get().await.body;
        }
        assert_eq!(body, r#"42["echo",1]"#);
    }
    // And it may try again.
    let mut ws = RawWs::open(fixture.addr, Some(&polling.sid)).await;
    ws.text("2probe").await;
    assert_eq!(ws.expect().await, "3probe");
    fixture.stop().await;
}

#[tokio::test]
async fn a_probing_websocket_may_ping() {
    let fixture = Fixture::new().await;
    let polling = fixture.polling().await;
    let mut ws = RawWs::open(fixture.addr, Some(&polling.sid)).await;
    ws.send(&frame(0x89, b"hi")).await;
    assert_eq!(ws.next().await, Some((0x8a, b"hi".to_vec())));
    ws.send(&frame(0x8a, b"")).await;
    ws.text("2probe").await;
    assert_eq!(ws.expect().await, "3probe");
    fixture.stop().await;
}

#[tokio::test]
async fn a_probe_ends_with_its_session() {
    let fixture = Fixture::new().await;
    let polling = fixture.polling().await;
    let mut ws = RawWs::open(fixture.addr, Some(&polling.sid)).await;
    ws.text("2probe").await;
    assert_eq!(ws.expect().await, "3probe");
    assert_eq!(polling.post("1").await.status, 200);
    assert_eq!(ws.next().await, None);
    assert_eq!(fixture.app.gone()[0].1, DisconnectReason::Client);
    fixture.stop().await;
}
