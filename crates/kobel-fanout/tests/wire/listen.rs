//! Connections that are more than TCP, such as TLS: here a stream that holds bytes back until it
//! is flushed, as a TLS library does.

use std::{
    future::pending,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use kobel_fanout::{Accept, Frame, Listen, Policy, Proxies, Room, ServeLimits};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::support::{Fixture, LONG, Polling, RawWs, config, frame, request};

/// Bytes that are held back at most.
const HELD: usize = 64 * 1024;

struct Holding {
    stream: TcpStream,
    held: Vec<u8>,
}

impl AsyncRead for Holding {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Holding {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.held.len() >= HELD {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        let taken = buf.len().min(HELD - self.held.len());
        self.held.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Holding { stream, held } = &mut *self;
        while !held.is_empty() {
            let out = ready!(Pin::new(&mut *stream).poll_write(cx, held))?;
            held.drain(..out);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[derive(Clone)]
struct Hold;

impl Accept for Hold {
    type Stream = Holding;
    const ENCRYPTS: bool = true;

    async fn accept(&self, stream: TcpStream) -> io::Result<Holding> {
        Ok(Holding { stream, held: Vec::new() })
    }
}

/// A handshake that does not end.
#[derive(Clone)]
struct Never;

impl Accept for Never {
    type Stream = TcpStream;
    const ENCRYPTS: bool = true;

    async fn accept(&self, _: TcpStream) -> io::Result<TcpStream> {
        pending().await
    }
}

fn holding() -> Listen<Hold> {
    Listen {
        limits: ServeLimits::default(),
        accept: Hold,
        proxies: Proxies::default(),
        vouch: None,
    }
}

#[tokio::test]
async fn what_is_published_leaves_at_once_though_the_stream_holds_it_back() {
    let fixture = Fixture::listen(config(), holding()).await;
    let mut ws = fixture.ws().await;
    ws.send(r#"420["join","r"]"#).await;
    assert_eq!(ws.text().await, r#"430["joined"]"#);
    let mut times = Vec::new();
    for n in 0..50 {
        // Nothing else happens on the connection that could flush it by the way.
        let event = Frame::event("/", "n", &n, Policy::Deliver).unwrap();
        let begun = Instant::now();
        fixture.server.publish(&Room::from("r"), event).await;
        assert_eq!(ws.text().await, format!("42[\"n\",{n}]"));
        times.push(begun.elapsed());
    }
    times.sort();
    assert!(times[25] < Duration::from_millis(10), "{times:?}");
    fixture.stop().await;
}

#[tokio::test]
async fn polling_moves_to_a_websocket_on_any_stream() {
    let fixture = Fixture::listen(config(), holding()).await;
    let polling: Polling = fixture.polling().await;
    let mut ws = RawWs::open(fixture.addr, Some(&polling.sid)).await;
    ws.text("2probe").await;
    assert_eq!(ws.expect().await, "3probe");
    ws.text("5").await;
    ws.text(r#"421["echo",7]"#).await;
    assert_eq!(ws.expect().await, "431[7]");
    fixture.stop().await;
}

#[tokio::test]
async fn a_slow_reader_gets_everything_in_order_on_any_stream() {
    let fixture = Fixture::listen(config(), holding()).await;
    let mut slow = RawWs::narrow(fixture.addr).await;
    slow.join().await;
    slow.text(r#"420["join","r"]"#).await;
    assert_eq!(slow.expect().await, r#"430["joined"]"#);
    let mut sent = 0;
    while fixture.server.snapshot().await.backlog_bytes == 0 || sent < 100 {
        assert!(sent < 1_600, "the socket takes everything");
        let event = Frame::event("/", "n", &(sent, "x".repeat(10_000)), Policy::Deliver).unwrap();
        fixture.server.publish(&Room::from("r"), event).await;
        sent += 1;
    }
    for n in 0..sent {
        let got = slow.expect().await;
        assert!(got.starts_with(&format!("42[\"n\",[{n},")), "{n}: {}", &got[..20]);
    }
    fixture.until("an empty backlog", |s| s.backlog_bytes == 0).await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_close_says_why_on_any_stream() {
    let fixture = Fixture::listen(config(), holding()).await;
    for (bytes, code) in [(frame(0xc1, b"40"), 1002), (frame(0x88, b""), 1000)] {
        let mut ws = RawWs::open(fixture.addr, None).await;
        ws.join().await;
        ws.send(&bytes).await;
        assert_eq!(ws.close_code().await, Some(code));
    }
    let mut ws = RawWs::open(fixture.addr, None).await;
    ws.join().await;
    fixture.stop().await;
    assert_eq!(ws.close_code().await, Some(1001));
}

#[tokio::test]
async fn a_handshake_has_the_time_of_a_head_and_counts_as_a_connection() {
    let limits = ServeLimits {
        header_timeout: Duration::from_millis(300),
        connections: 3,
        ..ServeLimits::default()
    };
    let listen = Listen { limits, accept: Never, proxies: Proxies::default(), vouch: None };
    let fixture = Fixture::listen(config(), listen).await;
    let begun = Instant::now();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(TcpStream::connect(fixture.addr).await.unwrap());
    }
    for stream in &mut waiting {
        let mut rest = Vec::new();
        timeout(LONG, stream.read_to_end(&mut rest)).await.expect("still open").unwrap();
        assert!(rest.is_empty());
    }
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    fixture.stop().await;
}

#[tokio::test]
async fn a_refused_client_hears_it_by_its_own_kind_of_stream() {
    let limits = ServeLimits { connections: 1, ..ServeLimits::default() };
    let listen = Listen { limits, ..holding() };
    let fixture = Fixture::listen(config(), listen).await;
    let held = fixture.ws().await;
    let refused = request(fixture.addr, "GET", "/socket.io/?EIO=4&transport=polling", "", "").await;
    assert_eq!((refused.status, refused.headers["retry-after"].as_str()), (503, "10"));
    drop(held);
    fixture.stop().await;
}

/// Half a request after the end has begun is not waited for, on any stream.
#[tokio::test]
async fn an_end_does_not_wait_for_a_handshake() {
    let listen = Listen {
        limits: ServeLimits::default(),
        accept: Never,
        proxies: Proxies::default(),
        vouch: None,
    };
    let fixture = Fixture::listen(config(), listen).await;
    let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
    stream.write_all(b"GET").await.unwrap();
    fixture.stop().await;
}
