//! WebSocket by the letter (RFC 6455).

use kobel_fanout::DisconnectReason;

use crate::support::{Fixture, RawWs, frame};

#[tokio::test]
async fn breaches_are_answered_with_their_code_and_nobody_else_is_harmed() {
    let fixture = Fixture::config(|c| c.max_payload = 1000).await;
    let mut other = fixture.ws().await;
    let mut reserved = frame(0xc1, b"40");
    let giant = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4].to_vec();
    let cases = [
        ("unmasked", vec![0x81, 1, b'3'], 1002),
        ("reserved bit", std::mem::take(&mut reserved), 1002),
        ("reserved opcode", frame(0x83, b""), 1002),
        ("fragmented ping", frame(0x09, b""), 1002),
        ("long ping", frame(0x89, &[0; 126]), 1002),
        ("continuation of nothing", frame(0x80, b"x"), 1002),
        ("message in a message", [frame(0x01, b"4"), frame(0x81, b"3")].concat(), 1002),
        ("close with half a code", frame(0x88, b"x"), 1002),
        ("text that is not UTF-8", frame(0x81, b"4\xff"), 1007),
        ("too large", frame(0x82, &[0; 1001]), 1009),
        ("fragments too large", [frame(2, &[0; 600]), frame(0x80, &[0; 600])].concat(), 1009),
        ("giant length", giant, 1009),
        ("unknown packet", frame(0x81, b"9"), 1002),
        ("ping in the wrong direction", frame(0x81, b"2"), 1002),
        ("open from a client", frame(0x81, b"0{}"), 1002),
        ("upgrade of a websocket", frame(0x81, b"5"), 1002),
        ("unknown socket.io packet", frame(0x81, b"49"), 1002),
        ("an attachment of nothing", frame(0x82, b"x"), 1002),
    ];
    for (what, bytes, code) in cases {
        let mut ws = RawWs::open(fixture.addr, None).await;
        ws.join().await;
        ws.send(&bytes).await;
        assert_eq!(ws.close_code().await, Some(code), "{what}");
    }
    assert!(fixture.app.gone().iter().all(|(_, reason)| {
        matches!(reason, DisconnectReason::Protocol | DisconnectReason::TooLarge)
    }));
    other.round_trip().await;
    fixture.stop().await;
}

/// The close frame must not be lost to a reset because the client is still sending.
#[tokio::test]
async fn a_client_in_the_middle_of_a_large_message_hears_why_it_is_closed() {
    let fixture = Fixture::config(|c| c.max_payload = 1000).await;
    let mut ws = fixture.ws().await;
    let large = "x".repeat(3_000_000);
    let sent = tokio::time::timeout(crate::support::LONG, ws.try_send(&large));
    let _ = sent.await.expect("nobody reads");
    assert_eq!(ws.close_code().await, Some(1009));
    fixture.stop().await;
}

#[tokio::test]
async fn fragments_with_a_ping_between_them_are_one_message() {
    let fixture = Fixture::new().await;
    let mut ws = RawWs::open(fixture.addr, None).await;
    ws.join().await;
    ws.send(&frame(0x01, b"42[\"ec")).await;
    ws.send(&frame(0x89, b"between")).await;
    assert_eq!(ws.next().await, Some((0x8a, b"between".to_vec())));
    ws.send(&frame(0x00, "ho\",\"".as_bytes())).await;
    // In the middle of a character.
    ws.send(&frame(0x00, &"€".as_bytes()[..1])).await;
    ws.send(&frame(0x80, &["€".as_bytes()[1..].to_vec(), b"\"]".to_vec()].concat())).await;
    assert_eq!(ws.expect().await, "42[\"echo\",\"€\"]");
    fixture.stop().await;
}

#[tokio::test]
async fn frames_in_one_segment_with_the_handshake_are_heard() {
    let fixture = Fixture::new().await;
    let early = [frame(0x81, b"40"), frame(0x81, b"40/admin,")].concat();
    let mut ws = RawWs::eager(fixture.addr, &early).await;
    assert!(ws.expect().await.starts_with('0'));
    assert!(ws.expect().await.starts_with("40{"));
    assert!(ws.expect().await.starts_with("40/admin,{"));
    fixture.stop().await;
}

#[tokio::test]
async fn bytes_one_at_a_time_are_a_message_too() {
    let fixture = Fixture::new().await;
    let mut ws = RawWs::open(fixture.addr, None).await;
    ws.join().await;
    let long = "y".repeat(300);
    for byte in frame(0x81, format!(r#"42["echo","{long}"]"#).as_bytes()) {
        ws.send(&[byte]).await;
    }
    assert_eq!(ws.expect().await, format!(r#"42["echo","{long}"]"#));
    fixture.stop().await;
}

#[tokio::test]
async fn a_close_is_answered_with_a_close() {
    let fixture = Fixture::new().await;
    let mut ws = RawWs::open(fixture.addr, None).await;
    ws.join().await;
    ws.send(&frame(0x88, &1001u16.to_be_bytes())).await;
    assert_eq!(ws.close_code().await, Some(1000));
    assert_eq!(fixture.app.gone()[0].1, DisconnectReason::Transport);
    let mut ws = RawWs::open(fixture.addr, None).await;
    ws.join().await;
    ws.text("1").await;
    assert_eq!(ws.close_code().await, Some(1000));
    assert_eq!(fixture.app.gone()[1].1, DisconnectReason::Client);
    fixture.stop().await;
}

#[tokio::test]
async fn what_comes_after_a_close_in_the_same_segment_goes_nowhere() {
    let fixture = Fixture::new().await;
    let mut ws = RawWs::open(fixture.addr, None).await;
    ws.join().await;
    ws.send(&[frame(0x81, b"1"), frame(0x81, b"42[\"echo\"]"), frame(0x81, b"40/admin,")].concat())
        .await;
    assert_eq!(ws.close_code().await, Some(1000));
    assert_eq!(fixture.app.connected().len(), 1);
    fixture.stop().await;
}
