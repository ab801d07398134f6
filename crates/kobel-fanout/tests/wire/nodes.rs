//! One of several servers: ids that name it, and requests that another one passed on.

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderName, Request};
use hyper::body::Incoming;
use kobel_fanout::{Client, Listen, NodeTag, Plain, Refusal, ServeLimits, Vouch};

use crate::support::{Fixture, Polling, config, request};

const OPEN: &str = "/socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn the_ids_of_sessions_name_their_server_and_no_other_takes_them() {
    let named = Fixture::config(|c| c.node = Some("node-a".parse().unwrap())).await;
    let other = Fixture::config(|c| c.node = Some("node-b".parse().unwrap())).await;
    let polling = named.polling().await;
    let again = Polling::open(named.addr).await;
    let (tag, random) = polling.sid.split_once('.').unwrap();
    assert_eq!((tag, random.len()), ("node-a", 22));
    assert_eq!(NodeTag::of(&polling.sid), Some("node-a"));
    assert_ne!(Some(random), again.sid.split_once('.').map(|(_, random)| random));
    // It is served as any session is.
    assert_eq!(polling.post("3").await.status, 200);
    // Without the tag, or with another one, it is nobody's.
    for sid in [random.to_owned(), format!("node-b.{random}"), format!("node-a.{random}.x")] {
        for fixture in [&named, &other] {
            let target = format!("{OPEN}&sid={sid}");
            let answer = request(fixture.addr, "GET", &target, "", "").await;
            assert_eq!(answer.body, r#"{"code":1,"message":"Session ID unknown"}"#, "{sid}");
        }
    }
    named.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_refusal_is_in_the_words_of_the_protocol() {
    let origin = "https://status.example";
    let fixture = Fixture::config(|c| c.cors.origins = vec![origin.into()]).await;
    let mut headers = http::HeaderMap::new();
    headers.insert("origin", origin.parse().unwrap());
    for (refusal, status) in [
        (Refusal::UnknownSession, 400),
        (Refusal::TooLarge, 413),
        (Refusal::TooSlow, 408),
        (Refusal::Closing, 503),
        (Refusal::Full, 503),
    ] {
        let answer = fixture.server.refuse(&headers, refusal);
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["access-control-allow-origin"], origin);
    }
    fixture.stop().await;
}

/// Believes everybody.
#[derive(Debug)]
struct Credulous;

impl Vouch for Credulous {
    fn client(&self, request: &mut Request<Incoming>) -> Option<Client> {
        let said = request.headers_mut().remove(HeaderName::from_static("x-client"))?;
        let address: SocketAddr = said.to_str().ok()?.parse().ok()?;
        Some(Client { address, secure: true, proxied: true })
    }
}

#[tokio::test]
async fn who_is_vouched_for_is_the_client_and_does_not_count_twice() {
    let limits = ServeLimits { connections_per_address: 1, ..ServeLimits::default() };
    let listen = Listen::<Plain> { limits, vouch: Some(Arc::new(Credulous)), ..Listen::default() };
    let fixture = Fixture::listen(config(), listen).await;
    // Each session holds the connection that it came by, which is another server's.
    for client in ["203.0.113.7:1234", "203.0.113.7:1235", "[2001:db8::1]:80"] {
        let headers = format!("x-client: {client}\r\n");
        let answer = request(fixture.addr, "GET", OPEN, &headers, "").await;
        let open: serde_json::Value = serde_json::from_str(&answer.body[1..]).unwrap();
        let own = format!("{OPEN}&sid={}", open["sid"].as_str().unwrap());
        let answer = request(fixture.addr, "POST", &own, &headers, "40/later,").await;
        assert_eq!(answer.status, 200);
        let asked = tokio::time::timeout(crate::support::LONG, async {
            loop {
                match fixture.app.later() {
                    Some(asked) => break asked,
                    None => tokio::task::yield_now().await,
                }
            }
        });
        let handshake = asked.await.expect("nobody asks").handshake().clone();
        assert_eq!(handshake.remote.to_string(), client);
        assert!(!handshake.headers.contains_key("x-client"));
    }
    // Who is not vouched for counts as ever.
    assert_eq!(request(fixture.addr, "GET", OPEN, "", "").await.status, 200);
    assert_eq!(request(fixture.addr, "GET", OPEN, "", "").await.status, 429);
    fixture.stop().await;
}
