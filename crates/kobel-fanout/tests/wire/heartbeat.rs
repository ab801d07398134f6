//! Pings, their answers, and clients that are not there any more.

use std::time::Duration;

use kobel_fanout::DisconnectReason;
use tokio::time::Instant;

use crate::support::{Fixture, Polling, RawWs};

const INTERVAL: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_client_that_does_not_answer_is_closed_on_both_transports() {
    let fixture = Fixture::config(|c| {
        c.ping_interval = INTERVAL;
        c.ping_timeout = INTERVAL;
    })
    .await;
    let mut ws = RawWs::open(fixture.addr, None).await;
    ws.join().await;
    assert_eq!(ws.expect().await, "2");
    assert_eq!(ws.close_code().await, Some(1000));
    let polling = fixture.polling().await;
    assert_eq!(polling.get().await.body, "2");
    let last = polling.get().await;
    assert!(last.body == "1" || last.status == 400, "{last:?}");
    assert!(fixture.app.gone().iter().all(|gone| gone.1 == DisconnectReason::PingTimeout));
    assert_eq!(fixture.app.gone().len(), 2);
    fixture.stop().await;
}

/// The interval counts from the answer, however long the timeout is.
#[tokio::test]
async fn pings_come_at_the_interval() {
    let fixture = Fixture::config(|c| {
        c.ping_interval = INTERVAL;
        c.ping_timeout = Duration::from_secs(60);
    })
    .await;
    let mut ws = RawWs::open(fixture.addr, None).await;
    ws.join().await;
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(ws.expect().await, "2");
        ws.text("3").await;
    }
    // Each may come late by the step of the wheel; with the timeout in its place it would take
    // minutes.
    assert!(start.elapsed() >= INTERVAL * 4, "{:?}", start.elapsed());
    assert!(start.elapsed() < INTERVAL * 50, "{:?}", start.elapsed());
    fixture.stop().await;
}

#[tokio::test]
async fn who_joins_no_namespace_is_closed() {
    let fixture = Fixture::config(|c| {
        c.ping_interval = INTERVAL * 3;
        c.connect_timeout = INTERVAL;
    })
    .await;
    let mut ws = RawWs::open(fixture.addr, None).await;
    assert!(ws.expect().await.starts_with('0'));
    assert_eq!(ws.close_code().await, Some(1008));
    let polling = Polling::open(fixture.addr).await;
    let last = polling.get().await;
    assert!(last.body == "1" || last.status == 400, "{last:?}");
    // One that leaves its last namespace, too.
    let mut ws = RawWs::open(fixture.addr, None).await;
    ws.join().await;
    ws.text("41").await;
    let mut next = ws.next().await;
    while next == Some((0x81, b"2".to_vec())) {
        ws.text("3").await;
        next = ws.next().await;
    }
    assert_eq!(next, Some((0x88, 1008u16.to_be_bytes().to_vec())));
    assert_eq!(fixture.server.snapshot().await.closed["connect_timeout"], 3);
    fixture.stop().await;
}

/// A client that vanishes without a word is let go.
#[tokio::test]
async fn no_session_outlives_its_client() {
    let fixture = Fixture::config(|c| {
        c.ping_interval = INTERVAL;
        c.ping_timeout = INTERVAL;
        c.upgrade_timeout = INTERVAL;
    })
    .await;
    for _ in 0..10 {
        let polling = fixture.polling().await;
        drop(RawWs::open(fixture.addr, Some(&polling.sid)).await);
        drop(Polling::open(fixture.addr).await);
        drop(fixture.ws().await);
        // In the middle of its handshake.
        let mut half = tokio::net::TcpStream::connect(fixture.addr).await.unwrap();
        let head = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: x\r\nupgra";
        tokio::io::AsyncWriteExt::write_all(&mut half, head).await.unwrap();
    }
    fixture.until("the end of all", |s| s.polling == 0 && s.websocket == 0).await;
    let figures = fixture.server.snapshot().await;
    assert_eq!(figures.active["/"], 0);
    assert_eq!(figures.backlog_bytes, 0);
    assert_eq!(fixture.app.gone().len(), fixture.app.connected().len());
    fixture.stop().await;
}
