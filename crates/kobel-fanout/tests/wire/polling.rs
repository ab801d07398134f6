//! HTTP long-polling (Engine.IO protocol document, "HTTP long-polling").

use std::time::Duration;

use kobel_fanout::{DisconnectReason, ServeLimits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Fixture, LONG, Polling, RawWs, Ws, config, request, text_of};

const OPEN: &str = "/socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn the_open_packet_says_what_the_document_asks_for() {
    let fixture = Fixture::new().await;
    let polling = Polling::open(fixture.addr).await;
    assert_eq!(polling.open["upgrades"], serde_json::json!(["websocket"]));
    let ws = Ws::open(fixture.addr).await;
    assert_eq!(ws.open["upgrades"], serde_json::json!([]));
    for open in [&polling.open, &ws.open] {
        assert_eq!(open["pingInterval"], 25_000);
        assert_eq!(open["pingTimeout"], 60_000);
        assert_eq!(open["maxPayload"], 1_000_000);
    }
    assert_ne!(polling.open["sid"], ws.open["sid"]);
    fixture.stop().await;
}

#[tokio::test]
async fn wrong_requests_are_refused_with_the_reference_servers_words() {
    let fixture = Fixture::new().await;
    let polling = fixture.polling().await;
    let unknown = "/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAAAA";
    let foreign = "/socket.io/?EIO=4&transport=polling&sid=x";
    for (method, target, code) in [
        ("GET", "/socket.io/", 5),
        ("GET", "/socket.io/?EIO=3&transport=polling", 5),
        ("GET", "/socket.io/?EIO=4", 0),
        ("GET", "/socket.io/?EIO=4&transport=sse", 0),
        ("GET", unknown, 1),
        ("POST", unknown, 1),
        ("GET", foreign, 1),
        ("POST", OPEN, 2),
        ("PUT", &polling.target(), 2),
        ("GET", "/socket.io/?EIO=4&transport=websocket", 3),
    ] {
        let answer = request(fixture.addr, method, target, "", "").await;
        assert_eq!(answer.status, 400, "{method} {target}");
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["code"], code, "{method} {target}");
    }
    // None of it harmed the session.
    assert_eq!(polling.post(r#"42["echo",1]"#).await.status, 200);
    assert_eq!(polling.get().await.body, r#"42["echo",1]"#);
    fixture.stop().await;
}

#[tokio::test]
async fn several_packets_go_in_one_body_and_binary_as_base64() {
    let fixture = Fixture::new().await;
    let polling = fixture.polling().await;
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    let body = format!(
        "42[\"echo\",\"€\"]\u{1e}451-[\"echo\",{placeholder}]\u{1e}bAQIDBA==\u{1e}429[\"echo\"]"
    );
    let answer = polling.post(&body).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    let answer = polling.get().await;
    assert_eq!(answer.headers["content-type"], "text/plain; charset=UTF-8");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(
        answer.packets(),
        ["42[\"echo\",\"€\"]", &format!("451-[\"echo\",{placeholder}]"), "bAQIDBA==", "439[]"]
    );
    fixture.stop().await;
}

#[tokio::test]
async fn a_poll_waits_for_the_next_event() {
    let fixture = Fixture::new().await;
    let polling = fixture.polling().await;
    let poll = tokio::spawn({
        let polling = polling.clone();
        async move { polling.get().await }
    });
    assert_eq!(polling.post(r#"42["echo",7]"#).await.status, 200);
    assert_eq!(poll.await.unwrap().body, r#"42["echo",7]"#);
    fixture.stop().await;
}

#[tokio::test]
async fn two_polls_at_once_end_the_session() {
    let fixture = Fixture::new().await;
    let polling = fixture.polling().await;
    let polls = [(); 2].map(|()| {
        let polling = polling.clone();
        tokio::spawn(async move { polling.get().await })
    });
    let mut ends = Vec::new();
    for poll in polls {
        let answer = poll.await.unwrap();
        ends.push((answer.status, answer.body));
    }
    ends.sort();
    assert_eq!(ends[0], (200, "1".to_owned()));
    assert_eq!(ends[1].0, 400);
    assert_eq!(polling.get().await.status, 400);
    assert_eq!(fixture.app.gone()[0].1, DisconnectReason::Overlap);
    fixture.stop().await;
}

#[tokio::test]
async fn two_posts_at_once_end_the_session() {
    let fixture = Fixture::new().await;
    let polling = fixture.polling().await;
    // The first one's body does not come to its end.
    let mut first = TcpStream::connect(fixture.addr).await.unwrap();
    let whole = text_of("POST", &polling.target(), "", r#"42["echo",1]"#);
    first.write_all(&whole.as_bytes()[..whole.len() - 3]).await.unwrap();
    // The order of two connections is nobody's promise: the second comes until it is refused.
    let refused =
        timeout(LONG, async { while polling.post(r#"42["echo",2]"#).await.status == 200 {} });
    refused.await.expect("no post was refused");
    assert_eq!(polling.get().await.status, 400);
    assert_eq!(fixture.app.gone()[0].1, DisconnectReason::Overlap);
    fixture.stop().await;
}

#[tokio::test]
async fn a_post_that_was_given_up_blocks_no_other() {
    let fixture = Fixture::config(|c| c.max_payload = 1000).await;
    let polling = fixture.polling().await;
    let mut first = TcpStream::connect(fixture.addr).await.unwrap();
    let whole = text_of("POST", &polling.target(), "expect: 100-continue\r\n", "42[\"echo\",1]");
    let head = whole.find("\r\n\r\n").unwrap() + 4;
    first.write_all(&whole.as_bytes()[..head]).await.unwrap();
    // It is being read.
    let mut answer = [0; 12];
    timeout(LONG, first.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    // The server's end shows that it has heard of the break.
    first.shutdown().await.unwrap();
    let mut rest = Vec::new();
    timeout(LONG, first.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(polling.post(r#"42["echo",2]"#).await.status, 200);
    assert_eq!(polling.get().await.body, r#"42["echo",2]"#);
    fixture.stop().await;
}

#[tokio::test]
async fn a_close_packet_ends_the_session_and_its_poll() {
    let fixture = Fixture::new().await;
    let polling = fixture.polling().await;
    let poll = tokio::spawn({
        let polling = polling.clone();
        async move { polling.get().await }
    });
    // The poll may come before or after.
    assert_eq!(polling.post("1").await.status, 200);
    let answer = poll.await.unwrap();
    assert!(answer.body == "6" || answer.status == 400, "{answer:?}");
    assert_eq!(polling.get().await.status, 400);
    assert_eq!(fixture.app.gone()[0].1, DisconnectReason::Client);
    fixture.stop().await;
}

#[tokio::test]
async fn a_malformed_body_ends_the_session() {
    for body in ["", "abc", "4", "42[\"echo\"", "42[]", "42{}", "4\u{1e}", "b!!", "2", "5", "0"] {
        let fixture = Fixture::new().await;
        let polling = fixture.polling().await;
        assert_eq!(polling.post(body).await.status, 400, "{body:?}");
        assert_eq!(polling.get().await.status, 400, "{body:?}");
        assert_eq!(fixture.app.gone()[0].1, DisconnectReason::Protocol, "{body:?}");
        fixture.stop().await;
    }
}

#[tokio::test]
async fn a_body_larger_than_max_payload_is_refused() {
    let fixture = Fixture::config(|c| c.max_payload = 1000).await;
    let polling = fixture.polling().await;
    let fits = format!("42[\"echo\",\"{}\"]", "x".repeat(1000 - 13));
    assert_eq!(fits.len(), 1000);
    assert_eq!(polling.post(&fits).await.status, 200);
    assert_eq!(polling.post(&"x".repeat(1001)).await.status, 413);
    assert_eq!(polling.get().await.status, 400);
    assert_eq!(fixture.app.gone()[0].1, DisconnectReason::TooLarge);
    fixture.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let fixture = Fixture::config(|c| c.limits.body_timeout = Duration::from_millis(50)).await;
    let polling = fixture.polling().await;
    let mut post = TcpStream::connect(fixture.addr).await.unwrap();
    let whole = text_of("POST", &polling.target(), "", r#"42["echo",1]"#);
    post.write_all(&whole.as_bytes()[..whole.len() - 3]).await.unwrap();
    let mut answer = Vec::new();
    timeout(LONG, post.read_to_end(&mut answer)).await.expect("still waiting").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{:?}", String::from_utf8_lossy(&answer));
    fixture.stop().await;
}

#[tokio::test]
async fn only_listed_origins_may_call() {
    let fixture = Fixture::config(|c| c.cors.origins = vec!["https://a.example".into()]).await;
    let ask = async |method, origin: &str| {
        let headers = format!(
            "origin: {origin}\r\naccess-control-request-method: POST\r\n\
             access-control-request-headers: content-type\r\n"
        );
        request(fixture.addr, method, OPEN, &headers, "").await
    };
    let answer = ask("OPTIONS", "https://a.example").await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.headers["access-control-allow-origin"], "https://a.example");
    assert_eq!(answer.headers["access-control-allow-credentials"], "true");
    assert_eq!(answer.headers["access-control-allow-methods"], "GET, POST");
    assert_eq!(answer.headers["access-control-allow-headers"], "content-type");
    assert_eq!(answer.headers["vary"], "Origin");
    let answer = ask("GET", "https://a.example").await;
    assert_eq!(answer.headers["access-control-allow-origin"], "https://a.example");
    let answer = ask("GET", "https://b.example").await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    fixture.stop().await;
}

#[tokio::test]
async fn one_session_too_many_is_told_so() {
    let fixture = Fixture::config(|c| c.limits.sessions = 1).await;
    let first = fixture.polling().await;
    let answer = request(fixture.addr, "GET", OPEN, "", "").await;
    assert_eq!(answer.status, 503);
    assert_eq!(first.post("1").await.status, 200);
    assert_eq!(request(fixture.addr, "GET", OPEN, "", "").await.status, 200);
    fixture.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    for (limits, status) in [
        (ServeLimits { connections: 1, ..ServeLimits::default() }, 503),
        (ServeLimits { connections_per_address: 1, ..ServeLimits::default() }, 429),
    ] {
        let fixture = Fixture::with(config(), limits).await;
        let ws = RawWs::open(fixture.addr, None).await;
        let answer = request(fixture.addr, "GET", OPEN, "", "").await;
        assert_eq!(answer.status, status);
        drop(ws);
        fixture.until("the end of the first", |s| s.websocket == 0).await;
        assert_eq!(request(fixture.addr, "GET", OPEN, "", "").await.status, 200);
        fixture.stop().await;
    }
}
