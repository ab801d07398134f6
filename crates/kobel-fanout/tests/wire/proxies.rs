//! Behind a proxy: here the tests' own requests, with the headers that a proxy sets.

use kobel_fanout::{Listen, Network, Plain, ServeLimits};

use crate::support::{Fixture, LONG, config, request};

const OPEN: &str = "/socket.io/?EIO=4&transport=polling";

async fn behind(trusted: &str, per_address: usize) -> Fixture {
    let network: Network = trusted.parse().unwrap();
    let limits = ServeLimits { connections_per_address: per_address, ..ServeLimits::default() };
    let proxies = [network].into_iter().collect();
    let listen = Listen::<Plain> { limits, proxies, ..Listen::default() };
    Fixture::listen(config(), listen).await
}

fn of(client: &str) -> String {
    format!("x-forwarded-for: {client}\r\n")
}

/// The address that the application sees of a session opened with these headers.
async fn remote(fixture: &Fixture, headers: &str) -> String {
    let answer = request(fixture.addr, "GET", OPEN, headers, "").await;
    let open: serde_json::Value = serde_json::from_str(&answer.body[1..]).unwrap();
    let own = format!("{OPEN}&sid={}", open["sid"].as_str().unwrap());
    assert_eq!(request(fixture.addr, "POST", &own, headers, "40/later,").await.status, 200);
    let asked = tokio::time::timeout(LONG, async {
        loop {
            match fixture.app.later() {
                Some(asked) => break asked,
                None => tokio::task::yield_now().await,
            }
        }
    });
    let remote = asked.await.expect("nobody asks").handshake().remote;
    remote.ip().to_string()
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is_and_nobody_else_does() {
    let fixture = behind("127.0.0.0/8", 100).await;
    assert_eq!(remote(&fixture, &of("198.51.100.9, 203.0.113.7")).await, "203.0.113.7");
    assert_eq!(remote(&fixture, "").await, "127.0.0.1");
    fixture.stop().await;
    let fixture = behind("192.0.2.1", 100).await;
    assert_eq!(remote(&fixture, &of("203.0.113.7")).await, "127.0.0.1");
    fixture.stop().await;
}

#[tokio::test]
async fn the_limit_of_an_address_is_the_client_s_not_the_proxy_s() {
    let fixture = behind("127.0.0.1", 2).await;
    let open = async |client: &str| request(fixture.addr, "GET", OPEN, &of(client), "").await;
    // Each session holds a place, and so does the request that opens the next one.
    let first = open("203.0.113.7").await;
    assert_eq!(first.status, 200);
    assert_eq!(open("203.0.113.7").await.status, 200);
    let refused = open("203.0.113.7").await;
    assert_eq!((refused.status, refused.headers["retry-after"].as_str()), (429, "10"));
    // A forged entry on the left does not help.
    assert_eq!(open("198.51.100.1, 203.0.113.7").await.status, 429);
    for n in 0..10 {
        assert_eq!(open(&format!("198.51.100.{n}")).await.status, 200, "{n}");
    }
    // A session that ends gives its place back.
    let opened: serde_json::Value = serde_json::from_str(&first.body[1..]).unwrap();
    let own = format!("{OPEN}&sid={}", opened["sid"].as_str().unwrap());
    assert_eq!(request(fixture.addr, "POST", &own, &of("198.51.100.77"), "1").await.status, 200);
    assert_eq!(open("203.0.113.7").await.status, 200);
    fixture.stop().await;
}
