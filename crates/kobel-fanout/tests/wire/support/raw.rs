//! A WebSocket client that sends whatever bytes it is told to.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::LONG;

pub(crate) struct RawWs {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

/// A frame from the server: opcode with the FIN bit, and payload.
pub(crate) type Incoming = (u8, Vec<u8>);

impl RawWs {
    /// Opens a session, or upgrades `sid`.
    pub(crate) async fn open(addr: SocketAddr, sid: Option<&str>) -> Self {
        Self::with(addr, sid, None, b"", false).await
    }

    /// With a small receive buffer, so that the server's socket is soon full.
    pub(crate) async fn narrow(addr: SocketAddr) -> Self {
        Self::with(addr, None, Some(4096), b"", false).await
    }

    /// With bytes in the same segment as the handshake.
    pub(crate) async fn eager(addr: SocketAddr, early: &[u8]) -> Self {
        Self::with(addr, None, None, early, false).await
    }

    /// With permessage-deflate.
    pub(crate) async fn deflating(addr: SocketAddr, buffer: Option<u32>) -> Self {
        Self::with(addr, None, buffer, b"", true).await
    }

    async fn with(
        addr: SocketAddr,
        sid: Option<&str>,
        buffer: Option<u32>,
        early: &[u8],
        deflate: bool,
    ) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(buffer) = buffer {
            socket.set_recv_buffer_size(buffer).unwrap();
        }
        let mut stream = socket.connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let sid = sid.map(|sid| format!("&sid={sid}")).unwrap_or_default();
        let offer = if deflate {
            "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n"
        } else {
            ""
        };
        let head = format!(
            "GET /socket.io/?EIO=4&transport=websocket{sid} HTTP/1.1\r\nhost: localhost\r\n\
             connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             {offer}sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), early].concat()).await.unwrap();
        let mut ws = Self { stream, read: Vec::new() };
        let end = loop {
            if let Some(at) = ws.read.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            assert!(ws.more().await, "no handshake");
        };
        let head = String::from_utf8(ws.read.drain(..end + 4).collect()).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let answer = "sec-websocket-extensions: permessage-deflate; server_no_context_takeover; \
                      client_no_context_takeover\r\n";
        assert_eq!(head.to_ascii_lowercase().contains(answer), deflate, "{head}");
        ws
    }

    async fn more(&mut self) -> bool {
        let read = timeout(LONG, self.stream.read_buf(&mut self.read)).await;
        matches!(read.expect("nothing came"), Ok(count) if count > 0)
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Incoming> {
        loop {
            if let Some((frame, len)) = parse(&self.read) {
                self.read.drain(..len);
                return Some(frame);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.send(&frame(0x81, text.as_bytes())).await;
    }

    /// The next text frame.
    pub(crate) async fn expect(&mut self) -> String {
        let (opcode, payload) = self.next().await.expect("the end");
        assert_eq!(opcode, 0x81);
        String::from_utf8(payload).unwrap()
    }

    /// Joins `/`, after the open packet.
    pub(crate) async fn join(&mut self) {
        assert!(self.expect().await.starts_with('0'));
        self.text("40").await;
        assert!(self.expect().await.starts_with("40{"));
    }

    /// Reads to the end of the connection and gives the code of the close frame, if one came.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some((opcode, payload)) = self.next().await {
            if opcode == 0x88 {
                code = payload.get(..2).map(|b| u16::from_be_bytes([b[0], b[1]]));
            }
        }
        code
    }
}

fn parse(bytes: &[u8]) -> Option<(Incoming, usize)> {
    let (first, short) = (*bytes.first()?, *bytes.get(1)? & 0x7f);
    let (head, len) = match short {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(head..head + len)?.to_vec();
    Some(((first, payload), head + len))
}

/// A masked frame with this first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, k)| b ^ k));
    out
}
