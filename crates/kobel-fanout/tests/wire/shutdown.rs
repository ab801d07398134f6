//! The end of the server.

use std::time::Duration;

use kobel_fanout::{DisconnectReason, Frame, Policy};

use crate::support::{Fixture, LONG, request};

#[tokio::test]
async fn everybody_is_told_and_closed() {
    let fixture = Fixture::config(|c| c.shards = 2).await;
    let mut sockets = [fixture.ws().await, fixture.ws().await, fixture.ws().await];
    let waiting = fixture.polling().await;
    let poll = tokio::spawn({
        let polling = waiting.clone();
        async move { polling.get().await }
    });
    // The poll is there once an event is answered through it; then it polls again.
    waiting.post(r#"42["echo",1]"#).await;
    assert_eq!(poll.await.unwrap().body, r#"42["echo",1]"#);

    let stopping = tokio::spawn({
        let server = fixture.server.clone();
        async move {
            server
                .shutdown(LONG, |socket| {
                    Frame::event("/", "serverShutdown", &socket.to_string(), Policy::Deliver).ok()
                })
                .await;
        }
    });
    for ws in &mut sockets {
        assert!(ws.text().await.starts_with(r#"42["serverShutdown","#));
        assert_eq!(ws.close_code().await, Some(1001));
    }
    // Between two polls at the time: it is told at its next.
    let told = waiting.get().await;
    assert!(told.body.starts_with(r#"42["serverShutdown","#), "{told:?}");
    // All have taken their farewell: nobody waits for the end of the grace.
    tokio::time::timeout(LONG / 2, stopping).await.expect("the shards did not end").unwrap();
    assert_eq!(fixture.app.gone().len(), 4);
    assert!(fixture.app.gone().iter().all(|gone| gone.1 == DisconnectReason::Shutdown));
    // Newcomers are told to come back.
    let target = "/socket.io/?EIO=4&transport=polling";
    assert_eq!(request(fixture.addr, "GET", target, "", "").await.status, 503);
    fixture.stop().await;
}

#[tokio::test]
async fn a_poll_that_comes_with_the_shutdown_is_answered() {
    let fixture = Fixture::new().await;
    let polling = fixture.polling().await;
    // The shard finds both at once when it comes back from this.
    let mut ws = fixture.ws().await;
    ws.send(r#"42["block",300]"#).await;
    fixture.app.blocked().await;
    let farewell = |_| Frame::event("/", "serverShutdown", &1, Policy::Deliver).ok();
    let end = fixture.server.shutdown(LONG, farewell);
    let both = async { tokio::join!(end, polling.get()) };
    let ((), told) = tokio::time::timeout(LONG / 2, both).await.expect("it waited for the end");
    assert_eq!(told.body, r#"42["serverShutdown",1]"#);
    fixture.stop().await;
}

#[tokio::test]
async fn the_grace_ends_though_a_client_does_not_read() {
    let fixture = Fixture::new().await;
    let polling = fixture.polling().await;
    let frame = |_| Frame::event("/", "serverShutdown", &1, Policy::Deliver).ok();
    let end = fixture.server.shutdown(Duration::from_millis(100), frame);
    tokio::time::timeout(LONG, end).await.expect("the shards did not end");
    assert_eq!(polling.get().await.status, 400);
    fixture.stop().await;
}

#[tokio::test]
async fn a_sign_in_under_way_does_not_hold_the_end_up() {
    let fixture = Fixture::new().await;
    let mut ws = fixture.ws().await;
    ws.send("40/later,").await;
    ws.round_trip().await;
    let request = fixture.app.later().unwrap();
    let end = fixture.server.shutdown(Duration::ZERO, |_| None);
    tokio::time::timeout(LONG, end).await.expect("the shards did not end");
    let socket = request.socket();
    request.accept();
    assert!(fixture.app.gone().contains(&(socket, DisconnectReason::Shutdown)));
    fixture.stop().await;
}
