//! Namespaces, events, acknowledgements, binary (Socket.IO protocol document).

use std::time::Duration;

use bytes::Bytes;
use kobel_fanout::{AskError, DisconnectReason, Frame, Policy};
use serde_json::json;

use crate::support::{Fixture, LONG, RawWs, Ws};

const TWO: &str = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;

#[tokio::test]
async fn a_namespace_that_is_missing_or_forbidden_is_refused_and_others_go_on() {
    let fixture = Fixture::new().await;
    let mut ws = fixture.ws().await;
    ws.send("40/missing,").await;
    assert_eq!(ws.text().await, r#"44/missing,{"message":"Invalid namespace"}"#);
    ws.send(r#"40/deny,{"token":"x"}"#).await;
    assert_eq!(
        ws.text().await,
        r#"44/deny,{"message":"Insufficient permissions","data":{"code":"UNAUTHORIZED"}}"#
    );
    ws.join("/admin").await;
    ws.send(r#"42/admin,["echo",1]"#).await;
    assert_eq!(ws.text().await, r#"42/admin,["echo",1]"#);
    ws.round_trip().await;
    fixture.stop().await;
}

#[tokio::test]
async fn nothing_is_heard_before_a_namespace_is_joined() {
    let fixture = Fixture::new().await;
    for first in [r#"42["echo",1]"#, r#"42/admin,["echo",1]"#] {
        let mut ws = Ws::open(fixture.addr).await;
        ws.send(first).await;
        assert_eq!(ws.close_code().await, Some(1002), "{first}");
    }
    // While the application thinks about it.
    let mut ws = Ws::open(fixture.addr).await;
    ws.send("40/later,").await;
    ws.send(r#"42/later,["echo",1]"#).await;
    assert_eq!(ws.close_code().await, Some(1002));
    fixture.stop().await;
}

#[tokio::test]
async fn a_decision_may_come_late() {
    let fixture = Fixture::new().await;
    let mut ws = fixture.ws().await;
    ws.send("40/later,").await;
    ws.round_trip().await;
    let request = fixture.app.later().unwrap();
    let socket = request.socket();
    request.accept();
    assert_eq!(ws.text().await, format!(r#"40/later,{{"sid":"{socket}"}}"#));
    // Dropped without a decision.
    ws.send("41/later,").await;
    ws.send("40/later,").await;
    ws.round_trip().await;
    drop(fixture.app.later());
    assert!(ws.text().await.starts_with(r#"44/later,{"message":"#));
    // After the client has left: the application hears of the end.
    ws.send("40/later,").await;
    ws.round_trip().await;
    let request = fixture.app.later().unwrap();
    let socket = request.socket();
    drop(ws);
    fixture.until("the end", |s| s.websocket == 0).await;
    request.accept();
    // A figure that comes after the decision.
    fixture.server.snapshot().await;
    assert!(fixture.app.gone().contains(&(socket, DisconnectReason::Transport)));
    fixture.stop().await;
}

#[tokio::test]
async fn a_namespace_that_is_joined_twice_or_has_an_endless_name_closes() {
    let fixture = Fixture::new().await;
    let mut ws = fixture.ws().await;
    ws.send("40").await;
    assert_eq!(ws.close_code().await, Some(1002));
    let mut ws = fixture.ws().await;
    ws.send(&format!("40/{},", "n".repeat(1000))).await;
    assert_eq!(ws.close_code().await, Some(1002));
    fixture.stop().await;
}

#[tokio::test]
async fn more_namespaces_than_allowed_are_refused() {
    // Places are counted by a byte, which must not wrap around.
    for (limit, most) in [(2, 2), (1000, 255)] {
        let fixture = Fixture::config(|c| {
            c.limits.namespaces = limit;
            c.limits.events_per_second = 10_000;
        })
        .await;
        let mut ws = fixture.ws().await;
        let mut refused = 0;
        for n in 1..300 {
            ws.send(&format!("40/n/{n},")).await;
            refused += usize::from(ws.text().await.starts_with("44/n/"));
        }
        assert_eq!(refused, 300 - most);
        let sockets = fixture.app.connected();
        assert_eq!(sockets.len(), most);
        for (n, socket) in sockets.into_iter().enumerate().skip(1) {
            let frame = Frame::event(&format!("/n/{n}"), "x", &n, Policy::Deliver).unwrap();
            fixture.server.emit(socket, frame).await;
            assert_eq!(ws.text().await, format!(r#"42/n/{n},["x",{n}]"#));
        }
        ws.round_trip().await;
        fixture.stop().await;
    }
}

#[tokio::test]
async fn a_client_may_leave_and_come_back() {
    let fixture = Fixture::new().await;
    let mut ws = fixture.ws().await;
    ws.join("/admin").await;
    ws.send("41").await;
    ws.join("/").await;
    ws.round_trip().await;
    let (first, reason) = fixture.app.gone()[0];
    assert_eq!((first, reason), (fixture.app.connected()[0], DisconnectReason::Client));
    // What is sent to the one that left goes nowhere.
    let frame = Frame::event("/", "x", &1, Policy::Deliver).unwrap();
    fixture.server.emit(first, frame).await;
    ws.round_trip().await;
    fixture.stop().await;
}

#[tokio::test]
async fn binary_events_with_several_attachments_both_ways() {
    let fixture = Fixture::new().await;
    let mut ws = fixture.ws().await;
    ws.send(&format!(r#"452-["echo",{TWO}]"#)).await;
    ws.send_binary(&[1, 2, 3]).await;
    ws.send_binary(&[]).await;
    assert_eq!(ws.text().await, format!(r#"452-["echo",{TWO}]"#));
    assert_eq!(ws.binary().await, [1, 2, 3][..]);
    assert_eq!(ws.binary().await, [][..]);
    // With an acknowledgement.
    ws.send(&format!(r#"452-7["echo",{TWO}]"#)).await;
    ws.send_binary(&[4]).await;
    ws.send_binary(&[5]).await;
    assert_eq!(ws.text().await, format!(r#"462-7[{TWO}]"#));
    assert_eq!(ws.binary().await, [4][..]);
    assert_eq!(ws.binary().await, [5][..]);
    // The figures count the whole event, not its last part.
    let figures = fixture.server.snapshot().await;
    assert!(figures.received_size["/"].sum > 2 * TWO.len() as u64);
    fixture.stop().await;
}

#[tokio::test]
async fn attachments_are_limited_in_number_and_together_in_bytes() {
    let fixture = Fixture::config(|c| c.max_payload = 1000).await;
    for (text, binary, code) in [
        ("4517-[\"echo\"]", &[][..], 1002),
        ("4599999999999999999999-[\"echo\"]", &[][..], 1002),
        ("452-[\"echo\"]", &[600, 600][..], 1009),
        ("451-[\"echo\"]", &[10, 10][..], 1002),
    ] {
        let mut ws = RawWs::open(fixture.addr, None).await;
        ws.join().await;
        ws.text(text).await;
        for len in binary {
            ws.send(&crate::support::frame(0x82, &vec![0; *len])).await;
        }
        let mut last = ws.next().await;
        while last.as_ref().is_some_and(|(first, _)| *first != 0x88) {
            last = ws.next().await;
        }
        assert_eq!(last, Some((0x88, u16::to_be_bytes(code).to_vec())), "{text}");
    }
    fixture.stop().await;
}

#[tokio::test]
async fn the_server_asks_and_the_client_answers() {
    let fixture = Fixture::new().await;
    let mut ws = fixture.ws().await;
    let socket = fixture.app.connected()[0];
    let ask = |server: kobel_fanout::Server| {
        tokio::spawn(async move { server.ask(socket, "how", &json!({"x": 1}), LONG).await })
    };
    let asked = ask(fixture.server.clone());
    assert_eq!(ws.text().await, r#"420["how",{"x":1}]"#);
    // An answer to nothing, then the answer.
    ws.send("4399[]").await;
    ws.send(r#"430["well",2]"#).await;
    let answer = asked.await.unwrap().unwrap();
    assert_eq!(answer.iter().map(|a| a.get()).collect::<Vec<_>>(), [r#""well""#, "2"]);
    // With attachments.
    let server = fixture.server.clone();
    let asked = tokio::spawn(async move { server.ask_binary(socket, "how", &1, LONG).await });
    let question = ws.text().await;
    let id = question.strip_prefix("42").unwrap().strip_suffix(r#"["how",1]"#).unwrap();
    ws.send(&format!("462-{id}[{TWO}]")).await;
    ws.send_binary(&[1]).await;
    ws.send_binary(&[2]).await;
    let answer = asked.await.unwrap().unwrap();
    assert_eq!(answer.args.len(), 2);
    assert_eq!(answer.attachments, [Bytes::from_static(&[1]), Bytes::from_static(&[2])]);
    // Too late, and gone.
    let limit = Duration::from_millis(10);
    let late = fixture.server.ask(socket, "how", &1, limit).await;
    assert!(matches!(late, Err(AskError::Timeout)));
    let asked = ask(fixture.server.clone());
    ws.text().await;
    ws.text().await;
    drop(ws);
    assert!(matches!(asked.await.unwrap(), Err(AskError::Gone)));
    fixture.stop().await;
}

#[tokio::test]
async fn events_above_the_rate_are_refused_and_the_client_stays() {
    let fixture = Fixture::config(|c| c.limits.events_per_second = 5).await;
    let mut ws = fixture.ws().await;
    for n in 0..50 {
        ws.send(&format!(r#"42{n}["echo",{n}]"#)).await;
    }
    let (mut done, mut refused, mut told) = (0, 0, 0);
    while done + refused < 50 {
        let text = ws.text().await;
        if text.contains("RATE_LIMITED") && text.starts_with(r#"42["error""#) {
            told += 1;
        } else if text.contains("RATE_LIMITED") {
            let json = &text[text.find('[').unwrap()..];
            let answer: serde_json::Value = serde_json::from_str(json).unwrap();
            assert_eq!(answer[0]["ok"], false);
            assert_eq!(answer[0]["error"]["code"], "RATE_LIMITED");
            refused += 1;
        } else {
            done += 1;
        }
    }
    assert!(done >= 4 && refused >= 30, "{done} done, {refused} refused");
    assert!((1..=5).contains(&told), "{told}");
    assert_eq!(fixture.server.snapshot().await.errors[&("/".into(), "rate_limited")], refused);
    fixture.stop().await;
}

/// A sign-in costs the application more than an event does.
#[tokio::test]
async fn connects_count_as_events() {
    let fixture = Fixture::config(|c| c.limits.events_per_second = 5).await;
    let mut ws = fixture.ws().await;
    let mut limited = 0;
    for _ in 0..50 {
        ws.send("40/deny,").await;
        limited += u32::from(ws.text().await.contains("RATE_LIMITED"));
    }
    assert!(limited >= 30, "{limited}");
    fixture.stop().await;
}

#[tokio::test]
async fn a_socket_that_the_application_ends_is_told_by_a_packet() {
    let fixture = Fixture::new().await;
    let mut ws = fixture.ws().await;
    ws.join("/admin").await;
    ws.send(r#"42["bye"]"#).await;
    assert_eq!(ws.text().await, "41");
    ws.send(r#"42/admin,["bye"]"#).await;
    assert_eq!(ws.text().await, "41/admin,");
    assert_eq!(ws.close_code().await, Some(1000));
    // Also on polling, where it waits for the next poll.
    let polling = fixture.polling().await;
    polling.post(r#"42["bye"]"#).await;
    assert_eq!(polling.get().await.body, "41");
    assert_eq!(polling.get().await.status, 400);
    let ends = fixture.app.gone();
    assert_eq!(ends.len(), 3);
    assert!(ends.iter().all(|(_, reason)| *reason == DisconnectReason::Server));
    fixture.stop().await;
}
