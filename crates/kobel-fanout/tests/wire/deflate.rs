//! permessage-deflate (RFC 7692).

use std::{net::SocketAddr, sync::Arc};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use kobel_fanout::{Frame, Gathering, Policy, Room};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Fixture, RawWs, frame};

const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

fn deflated(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 100);
    let mut deflate = Compress::new(Compression::new(6), false);
    deflate.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - TAIL.len());
    out
}

/// Each message by an inflater of its own: there is no context.
fn inflated((first, payload): (u8, Vec<u8>)) -> (bool, String) {
    if first == 0x81 {
        return (false, String::from_utf8(payload).unwrap());
    }
    assert_eq!(first, 0xc1);
    let mut out = Vec::with_capacity(200_000);
    let bytes = [&payload[..], &TAIL].concat();
    Decompress::new(false).decompress_vec(&bytes, &mut out, FlushDecompress::Sync).unwrap();
    (true, String::from_utf8(out).unwrap())
}

fn event(n: usize, size: usize) -> Arc<Frame> {
    Frame::event("/", "n", &(n, "kobel ".repeat(size / 6)), Policy::Deliver).unwrap()
}

/// The head of the answer to a request.
async fn request(addr: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|w| w == b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

async fn member(mut ws: RawWs) -> RawWs {
    ws.join().await;
    ws.text(r#"420["join","r"]"#).await;
    assert_eq!(ws.expect().await, r#"430["joined"]"#);
    ws
}

#[tokio::test]
async fn large_messages_are_deflated_for_those_who_take_it_and_small_ones_for_nobody() {
    for gathering in [Gathering::Never, Gathering::Always] {
        let fixture = Fixture::config(|c| c.gathering = gathering).await;
        let mut deflating = member(RawWs::deflating(fixture.addr, None).await).await;
        let mut plain = member(RawWs::open(fixture.addr, None).await).await;
        let room = Room::from("r");
        for (n, size) in [(0, 30), (1, 6_000), (2, 30), (3, 100_000)] {
            fixture.server.publish(&room, event(n, size)).await;
        }
        for (n, size, small) in
            [(0, 30, false), (1, 6_000, true), (2, 30, false), (3, 100_000, true)]
        {
            let text = format!("42{}", event(n, size).data());
            assert_eq!(inflated(deflating.next().await.unwrap()), (small, text.clone()));
            assert_eq!(inflated(plain.next().await.unwrap()), (false, text));
        }
        fixture.stop().await;
    }
}

#[tokio::test]
async fn a_slow_client_gets_whole_messages_in_order() {
    let fixture = Fixture::config(|c| c.limits.backlog = 64_000_000).await;
    let mut slow = member(RawWs::deflating(fixture.addr, Some(4096)).await).await;
    let room = Room::from("r");
    // Too random to become small at all, or they would never fill a socket.
    let noise = |n: usize| -> String {
        let mut x = n as u64 + 1;
        let mut next = move || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            char::from(b'a' + (x % 8) as u8)
        };
        std::iter::repeat_with(&mut next).take(20_000).collect()
    };
    let mut sent = 0;
    while fixture.server.snapshot().await.backlog_bytes < 200_000 {
        let frame = Frame::event("/", "n", &(sent, noise(sent)), Policy::Deliver).unwrap();
        fixture.server.publish(&room, frame).await;
        sent += 1;
        assert!(sent < 3_000, "the socket takes everything");
    }
    for n in 0..sent {
        let (small, text) = inflated(slow.next().await.unwrap());
        assert!(small);
        assert!(text.starts_with(&format!("42[\"n\",[{n},")), "{}", &text[..20]);
    }
    fixture.until("an empty backlog", |s| s.backlog_bytes == 0).await;
    fixture.stop().await;
}

#[tokio::test]
async fn clients_may_deflate_too_and_a_bomb_is_too_large() {
    let fixture = Fixture::config(|c| c.max_payload = 10_000).await;
    let mut ws = RawWs::deflating(fixture.addr, None).await;
    assert!(ws.expect().await.starts_with('0'));
    ws.send(&frame(0xc1, &deflated("40"))).await;
    assert!(ws.expect().await.starts_with("40{"));
    // In fragments, the first of which says that it is deflated.
    let text = format!(r#"420["join","{}"]"#, "r".repeat(200));
    let bytes = deflated(&text);
    let (a, b) = bytes.split_at(bytes.len() / 2);
    ws.send(&[frame(0x41, a), frame(0x89, b"still there"), frame(0x80, b)].concat()).await;
    assert_eq!(ws.next().await, Some((0x8a, b"still there".to_vec())));
    assert_eq!(ws.expect().await, r#"430["joined"]"#);
    let bomb = deflated(&"x".repeat(1_000_000));
    assert!(bomb.len() < 10_000);
    ws.send(&frame(0xc1, &bomb)).await;
    assert_eq!(ws.close_code().await, Some(1009));

    for (what, bytes) in [
        ("garbage", frame(0xc1, b"\x07garbage")),
        ("a deflated continuation", [frame(0x01, b"4"), frame(0xc0, b"x")].concat()),
        ("a deflated ping", frame(0xc9, b"x")),
        ("another reserved bit", frame(0xa1, b"x")),
    ] {
        let mut ws = RawWs::deflating(fixture.addr, None).await;
        ws.join().await;
        ws.send(&bytes).await;
        assert_eq!(ws.close_code().await, Some(1002), "{what}");
    }
    fixture.stop().await;
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let fixture = Fixture::config(|c| c.deflate_from = None).await;
    let answer = request(
        fixture.addr,
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: localhost\r\n\
         connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-extensions: permessage-deflate\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await;
    assert!(!answer.to_ascii_lowercase().contains("extensions"), "{answer}");
    fixture.stop().await;
}
