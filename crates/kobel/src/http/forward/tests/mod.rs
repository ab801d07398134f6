//! Nodes that pass requests on to each other, over real sockets.

mod support;

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Method, Uri};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use kobel_wire::Timestamp;
use rcgen::generate_simple_self_signed;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::{body::Received, word::Word};
use crate::tls::{Files, Tls};
use support::{Answer, LONG, Made, Node, OPEN, Polling, Table, UNKNOWN, ask, ask_on, until};

async fn two() -> (Arc<Table>, Node, Node) {
    let table = Arc::<Table>::default();
    let (a, b) = (Node::new("node-a", &table).await, Node::new("node-b", &table).await);
    (table, a, b)
}

fn is_unknown(answer: &Answer) -> bool {
    answer.status == 400 && answer.body == UNKNOWN
}

type Ws = WebSocketStream<TcpStream>;

async fn upgrade(by: &Node, polling: &Polling) -> Ws {
    let stream = TcpStream::connect(by.addr).await.unwrap();
    let sid = &polling.sid;
    let url = format!("ws://localhost/socket.io/?EIO=4&transport=websocket&sid={sid}");
    client_async(url, stream).await.unwrap().0
}

async fn text(ws: &mut Ws) -> String {
    let message = timeout(LONG, ws.next()).await.expect("no message").unwrap().unwrap();
    message.into_text().unwrap().to_string()
}

#[tokio::test]
async fn a_session_is_polled_and_posted_to_by_any_node() {
    let (_, a, b) = two().await;
    let polling = Polling::open(&a).await;
    assert_eq!(polling.post(&b, "40").await.body, "ok");
    assert!(polling.get(&b).await.body.starts_with("40{"));
    // A poll that waits at one node, and the post that ends it by the other.
    let (poll, post) = tokio::join!(polling.get(&b), async {
        until("a poll on its way", async || b.forward.0.places.available_permits() == 99).await;
        polling.post(&a, r#"420["hello"]"#).await
    });
    assert_eq!((post.body.as_str(), poll.body.as_str()), ("ok", r#"430["hello"]"#));
    assert_eq!((poll.status, b.count("ok"), a.count("ok")), (200, 3, 0));
    assert!(poll.head.contains("content-type: text/plain; charset=utf-8"), "{}", poll.head);
    // More sessions than one address may have connections.
    for _ in 0..30 {
        assert_eq!(polling.post(&b, "3").await.status, 200);
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_session_moves_to_a_websocket_by_any_node() {
    let (_, a, b) = two().await;
    let polling = Polling::open(&a).await;
    polling.post(&b, "40").await;
    polling.get(&b).await;
    let mut ws = upgrade(&b, &polling).await;
    ws.send(Message::text("2probe")).await.unwrap();
    assert_eq!(text(&mut ws).await, "3probe");
    // The poll under way ends with a noop, so that nothing is on two ways.
    assert_eq!(polling.get(&b).await.body, "6");
    ws.send(Message::text("5")).await.unwrap();
    let long = "x".repeat(500_000);
    ws.send(Message::text(format!(r#"420["{long}"]"#))).await.unwrap();
    assert_eq!(text(&mut ws).await, format!(r#"430["{long}"]"#));
    assert_eq!((b.forward.figures().tunnels, a.forward.figures().tunnels), (1, 0));
    assert_eq!(a.server.snapshot().await.websocket, 1);
    // The end goes through, too, both ways.
    ws.close(None).await.unwrap();
    until("the session's end", async || a.server.snapshot().await.websocket == 0).await;
    until("the tunnel's end", async || b.forward.figures().tunnels == 0).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_ends_the_session_as_it_does_without_a_detour() {
    let table = Arc::<Table>::default();
    let made = || Made { max_payload: 1_000, ..Made::default() };
    let a = Node::with("node-a", &table, made()).await;
    let b = Node::with("node-b", &table, made()).await;
    // The other node notices, or this one because it is larger still.
    for size in [1_001, 3_000_000] {
        let polling = Polling::open(&a).await;
        let mut stream = TcpStream::connect(b.addr).await.unwrap();
        let target = polling.target();
        // Not all of it is read, so the rest may not be sent.
        let head =
            format!("POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {size}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let _ = stream.write_all("4".repeat(size).as_bytes()).await;
        let mut answer = [0; 12];
        let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer);
        timeout(LONG, read).await.expect("no answer").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413", "{size}");
        until("the session's end", async || a.server.snapshot().await.polling == 0).await;
        assert!(is_unknown(&polling.get(&b).await));
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn who_has_a_session_on_a_node_that_is_gone_opens_another_one_at_once() {
    let (table, a, b) = two().await;
    let unknown = Polling { sid: "nowhere.AAAAAAAAAAAAAAAAAAAAAA".into() };
    assert!(is_unknown(&unknown.get(&b).await));
    assert!(is_unknown(&unknown.post(&b, "40").await));
    assert_eq!(b.count("unknown"), 2);
    // One that nothing listens for.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    table.set("nowhere", &format!("http://{free}"));
    assert!(is_unknown(&unknown.get(&b).await));
    assert_eq!(b.count("unreachable"), 1);
    // One that goes while it is waited for, and while a WebSocket goes through.
    let polling = Polling::open(&a).await;
    polling.post(&b, "40").await;
    polling.get(&b).await;
    let moved = Polling::open(&a).await;
    let mut ws = upgrade(&b, &moved).await;
    let (poll, ()) = tokio::join!(polling.get(&b), async {
        ws.send(Message::text("2probe")).await.unwrap();
        assert_eq!(text(&mut ws).await, "3probe");
        table.remove("node-a");
        let end = timeout(LONG, ws.next()).await.expect("it stays");
        assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
    });
    assert!(is_unknown(&poll));
    until("the tunnel's end", async || b.forward.figures().tunnels == 0).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_node_that_takes_everything_and_answers_nothing_is_given_up() {
    let (table, a, b) = two().await;
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    table.set("mute", &format!("http://{}", mute.local_addr().unwrap()));
    let begun = Instant::now();
    let sid = "mute.AAAAAAAAAAAAAAAAAAAAAA".to_owned();
    assert!(is_unknown(&Polling { sid }.post(&b, "40").await));
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
    assert_eq!(b.count("silent"), 1);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn the_client_is_who_it_was_at_the_first_node() {
    let (_, a, b) = two().await;
    let mut stream = TcpStream::connect(b.addr).await.unwrap();
    let own = stream.local_addr().unwrap();
    // Whatever the client says of itself.
    let headers =
        "x-forwarded-for: 203.0.113.7\r\nkobel-forwarded: v1;1;2;node-a;1.2.3.4:5;https;AA\r\n";
    let answer = ask_on(&mut stream, "GET", "/to/node-a/who?x=1", headers, "").await;
    assert_eq!(answer.body, format!("{own} false true false"));
    assert_eq!((b.refused("forged"), a.refused("forged")), (1, 0));
    // And it is not limited by what is on the way.
    let answer = ask(b.addr, "GET", "/to/node-a/large", "", "").await;
    assert_eq!(answer.body.len(), 10_000_000);
    a.stop().await;
    b.stop().await;
}

/// Sends a header to node A, and gives whom A takes for the client.
async fn heard(a: &Node, word: &HeaderValue) -> Answer {
    let headers = format!("kobel-forwarded: {}\r\n", word.to_str().unwrap());
    ask(a.addr, "GET", "/who", &headers, "").await
}

fn word(by: u8, to: &str, ago: i64) -> HeaderValue {
    let word = Word {
        at: Timestamp::from_millis(Timestamp::now().as_millis() - ago),
        nonce: getrandom::u64().unwrap(),
        to: to.parse().unwrap(),
        client: "203.0.113.7:4711".parse().unwrap(),
        secure: true,
    };
    word.sign(&support::secret(by), &Method::GET, &Uri::from_static("/who"))
}

#[tokio::test]
async fn only_a_node_s_word_about_a_client_counts_and_only_once() {
    let (_, a, b) = two().await;
    let good = word(1, "node-a", 0);
    assert_eq!(heard(&a, &good).await.body, "203.0.113.7:4711 true true false");
    let believed =
        |answer: Answer| answer.body.starts_with("203.") || answer.body.ends_with("true");
    assert!(!believed(heard(&a, &good).await));
    assert_eq!(a.refused("replayed"), 1);
    assert!(!believed(heard(&a, &word(2, "node-a", 0)).await));
    assert!(!believed(heard(&a, &word(1, "node-a", 31_000)).await));
    assert!(!believed(heard(&a, &HeaderValue::from_static("nonsense")).await));
    assert_eq!(["forged", "late", "malformed"].map(|reason| a.refused(reason)), [1, 1, 1]);
    // For another node: it is not taken for an ordinary one either.
    assert_eq!(heard(&a, &word(1, "node-b", 0)).await.status, 421);
    // Two are none.
    let [one, other] = [word(1, "node-a", 0), word(1, "node-a", 0)];
    let headers = format!(
        "kobel-forwarded: {}\r\nkobel-forwarded: {}\r\n",
        one.to_str().unwrap(),
        other.to_str().unwrap()
    );
    assert!(!believed(ask(a.addr, "GET", "/who", &headers, "").await));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn names_are_checked_where_the_client_comes_in_and_not_again() {
    let table = Arc::<Table>::default();
    let a = Node::new("node-a", &table).await;
    let made = Made { host: Some("kobel.example"), ..Made::default() };
    let b = Node::with("node-b", &table, made).await;
    let polling = Polling::open(&a).await;
    let host = "host: kobel.example\r\n";
    assert_eq!(ask(b.addr, "POST", &polling.target(), host, "40").await.status, 200);
    assert_eq!(ask(a.addr, "POST", &polling.target(), host, "3").await.status, 421);
    let foreign = "host: evil.example\r\n";
    assert_eq!(ask(b.addr, "POST", &polling.target(), foreign, "3").await.status, 421);
    // A header that is not a node's opens nothing.
    let forged = format!("{host}kobel-forwarded: {}\r\n", word(2, "node-a", 0).to_str().unwrap());
    assert_eq!(ask(a.addr, "GET", "/who", &forged, "").await.status, 421);
    let origin = "origin: https://evil.example\r\n";
    assert_eq!(ask(b.addr, "POST", &polling.target(), origin, "3").await.status, 403);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_request_is_passed_on_once() {
    let (table, a, b) = two().await;
    // A node that came up where another one was, and is thought to be elsewhere itself.
    let url = |node: &Node| format!("http://{}", node.addr);
    table.set("gone", &url(&a));
    let polling = Polling { sid: "gone.AAAAAAAAAAAAAAAAAAAAAA".into() };
    assert!(is_unknown(&polling.get(&b).await));
    assert_eq!((b.count("ok"), a.count("ok"), a.count("unknown")), (1, 0, 0));
    // By itself, too.
    table.set("gone", &url(&b));
    assert!(is_unknown(&polling.get(&b).await));
    // And by a route.
    let answer = ask(b.addr, "GET", "/to/node-a/again", "", "").await;
    assert_eq!((answer.status, a.count("again")), (503, 1), "{answer:?}");
    assert!(answer.body.contains("passed on before"), "{answer:?}");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_poll_with_it() {
    let (_, a, b) = two().await;
    let polling = Polling::open(&a).await;
    polling.post(&b, "40").await;
    polling.get(&b).await;
    let mut left = TcpStream::connect(b.addr).await.unwrap();
    let head = format!("GET {} HTTP/1.1\r\nhost: localhost\r\n\r\n", polling.target());
    left.write_all(head.as_bytes()).await.unwrap();
    let places = async || b.forward.0.places.available_permits();
    until("a poll on its way", async || places().await == 99).await;
    drop(left);
    until("its end", async || places().await == 100).await;
    // The session is as good as before.
    let (poll, _) = tokio::join!(polling.get(&b), polling.post(&b, r#"420["hello"]"#));
    assert_eq!(poll.body, r#"430["hello"]"#);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn what_is_on_its_way_is_bounded_and_ends_with_the_node() {
    let table = Arc::<Table>::default();
    let a = Node::new("node-a", &table).await;
    let b = Node::with("node-b", &table, Made { at_once: 2, ..Made::default() }).await;
    let polling = Polling::open(&a).await;
    polling.post(&b, "40").await;
    polling.get(&b).await;
    let moved = Polling::open(&a).await;
    let mut ws = upgrade(&b, &moved).await;
    let (poll, ()) = tokio::join!(polling.get(&b), async {
        until("no place", async || b.forward.0.places.available_permits() == 0).await;
        let answer = polling.post(&b, "3").await;
        assert_eq!((answer.status, b.count("full")), (503, 1));
        timeout(LONG, b.forward.shutdown()).await.expect("it did not end");
    });
    assert_eq!((poll.status, b.count("closing")), (503, 1));
    let end = timeout(LONG, ws.next()).await.expect("it stays");
    assert!(!matches!(end, Some(Ok(_))), "{end:?}");
    assert_eq!(b.forward.0.places.available_permits(), 2);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn nodes_with_certificates_are_believed_by_their_authority_only() {
    let made = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = Files { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let (tls, _renewal) = Tls::load(files).unwrap();
    let table = Arc::<Table>::default();
    let a = Node::behind("node-a", &table, Made::default(), "https", tls).await;
    let authorities = vec![made.cert.der().clone()];
    let b = Node::with("node-b", &table, Made { authorities, ..Made::default() }).await;
    let c = Node::new("node-c", &table).await;
    let answer = ask(b.addr, "GET", "/to/node-a/who", "", "").await;
    // The client came by plain HTTP, whatever is between the nodes.
    assert!(answer.body.ends_with(" false true false"), "{answer:?}");
    assert_eq!(ask(c.addr, "GET", "/to/node-a/who", "", "").await.status, 503);
    assert_eq!(c.count("unreachable"), 1);
    for node in [a, b, c] {
        node.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_is_an_error() {
    let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let frames = futures_util::stream::iter(["a", "b"]).then(async |text| {
        tokio::time::sleep(Duration::from_secs(4)).await;
        Ok::<_, std::io::Error>(Frame::data(bytes::Bytes::from(text)))
    });
    let body = StreamBody::new(Box::pin(frames.chain(futures_util::stream::pending())));
    let mut body = Received::new(body, Duration::from_secs(5), place);
    for _ in 0..2 {
        assert!(body.frame().await.unwrap().unwrap().is_data());
    }
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn what_is_no_other_node_s_is_answered_here() {
    let (_, a, b) = two().await;
    // Without an id, with one of no node, with a method that polling does not have.
    let polling = Polling::open(&a).await;
    assert_eq!(ask(b.addr, "GET", OPEN, "", "").await.status, 200);
    assert!(is_unknown(&Polling { sid: "AAAAAAAAAAAAAAAAAAAAAA".into() }.get(&b).await));
    assert_eq!(ask(b.addr, "OPTIONS", &polling.target(), "", "").await.status, 204);
    assert!(b.forward.figures().results.iter().all(|(_, count)| *count == 0));
    a.stop().await;
    b.stop().await;
}
