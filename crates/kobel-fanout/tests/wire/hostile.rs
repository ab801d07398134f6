//! Whatever comes, the server lives and serves the others.

use std::time::Duration;

use kobel_fanout::ServeLimits;
use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Fixture, LONG, RawWs, config, frame, text_of};

/// The same at each run.
struct Dice(TestRng);

impl Dice {
    fn new() -> Self {
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0.next_u32() as usize % end
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.below(most)];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

#[tokio::test]
async fn random_bytes_kill_nothing() {
    let fixture = Fixture::config(|c| c.max_payload = 2000).await;
    let mut good = fixture.ws().await;
    let mut dice = Dice::new();
    for round in 0..300 {
        match round % 3 {
            // Where a request should be.
            0 => {
                let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
                let _ = stream.write_all(&dice.bytes(2000)).await;
            }
            // Where frames should be.
            1 => {
                let mut ws = RawWs::open(fixture.addr, None).await;
                ws.join().await;
                let _ = ws.stream.write_all(&dice.bytes(2000)).await;
            }
            // Frames in order, with nonsense inside or with what is nearly right.
            _ => {
                let mut ws = RawWs::open(fixture.addr, None).await;
                ws.join().await;
                for _ in 0..20 {
                    let first = [0x81, 0x82, 0x01, 0x00, 0x80, 0x89][dice.below(6)];
                    let near: &[&[u8]] = &[
                        b"42[\"echo\"]",
                        b"42[\"join\",\"a\"]",
                        b"451-[\"echo\"]",
                        b"40/admin,",
                        b"41",
                        b"43[]",
                        b"430[1]",
                        b"3",
                        b"6",
                        b"40",
                        b"42/admin,1[\"bye\"]",
                        b"461-0[]",
                    ];
                    let payload = match dice.below(4) {
                        0 => dice.bytes(300),
                        _ => near[dice.below(near.len())].to_vec(),
                    };
                    if ws.stream.write_all(&frame(first, &payload)).await.is_err() {
                        break;
                    }
                }
            }
        }
        if round % 50 == 0 {
            good.round_trip().await;
        }
    }
    good.round_trip().await;
    fixture.until("the end of the others", |s| s.websocket == 1).await;
    let figures = fixture.server.snapshot().await;
    assert_eq!((figures.active["/"], figures.backlog_bytes), (1, 0));
    fixture.stop().await;
}

#[tokio::test]
async fn random_bodies_kill_nothing() {
    let fixture = Fixture::config(|c| c.max_payload = 2000).await;
    let mut good = fixture.ws().await;
    let mut dice = Dice::new();
    for _ in 0..50 {
        let polling = fixture.polling().await;
        let body = String::from_utf8_lossy(&dice.bytes(500)).into_owned();
        assert!([400, 413].contains(&polling.post(&body).await.status), "{body:?}");
    }
    good.round_trip().await;
    fixture.until("the end of the others", |s| s.polling == 0).await;
    fixture.stop().await;
}

#[tokio::test]
async fn half_a_head_is_not_waited_for() {
    let limits =
        ServeLimits { header_timeout: Duration::from_millis(100), ..ServeLimits::default() };
    let fixture = Fixture::with(config(), limits).await;
    let whole = text_of("GET", "/socket.io/?EIO=4&transport=websocket", "", "");
    for len in [0, 1, whole.len() - 1] {
        let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
        stream.write_all(&whole.as_bytes()[..len]).await.unwrap();
        let mut rest = Vec::new();
        let end = timeout(LONG, stream.read_to_end(&mut rest)).await;
        end.unwrap_or_else(|_| panic!("still open after {len} bytes")).unwrap();
    }
    fixture.stop().await;
}

#[tokio::test]
async fn an_endless_head_is_refused() {
    let fixture = Fixture::new().await;
    let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
    stream.write_all(b"GET /socket.io/?EIO=4 HTTP/1.1\r\n").await.unwrap();
    let line = format!("x: {}\r\n", "y".repeat(1000));
    let mut sent = 0;
    let ended = timeout(LONG, async {
        while stream.write_all(line.as_bytes()).await.is_ok() {
            sent += line.len();
            let mut answer = [0; 512];
            match timeout(Duration::from_millis(1), stream.read(&mut answer)).await {
                Ok(Ok(n)) if n > 0 => {
                    assert!(answer.starts_with(b"HTTP/1.1 431 "), "{:?}", &answer[..n]);
                    return;
                }
                Ok(_) => return,
                Err(_) => {}
            }
        }
    });
    ended.await.expect("it is read for ever");
    assert!(sent < 200_000, "{sent}");
    fixture.stop().await;
}
