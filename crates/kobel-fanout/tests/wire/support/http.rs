//! HTTP by hand: one request a connection.

use std::{collections::HashMap, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::LONG;

/// An answer, its header names in small letters.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    /// The packets of a polling payload.
    pub(crate) fn packets(&self) -> Vec<&str> {
        self.body.split('\u{1e}').filter(|packet| !packet.is_empty()).collect()
    }
}

/// The bytes of a request with these header lines, each ending in `\r\n`.
pub(crate) fn text_of(method: &str, target: &str, headers: &str, body: &str) -> String {
    let len = body.len();
    let length =
        if method == "POST" { format!("content-length: {len}\r\n") } else { String::new() };
    format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n{headers}{length}\r\n{body}")
}

/// Sends a request on a connection of its own and reads the answer to its end.
pub(crate) async fn request(
    addr: SocketAddr,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> Answer {
    let headers = format!("connection: close\r\n{headers}");
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(text_of(method, target, &headers, body).as_bytes()).await.unwrap();
    read(&mut stream).await
}

/// Reads an answer to the end of the connection.
pub(crate) async fn read(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    timeout(LONG, stream.read_to_end(&mut bytes)).await.expect("no answer").unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").unwrap_or((line, "")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Answer { status, headers, body: body.to_owned() }
}

/// A session on polling.
#[derive(Clone)]
pub(crate) struct Polling {
    pub(crate) addr: SocketAddr,
    pub(crate) sid: String,
    pub(crate) open: serde_json::Value,
}

impl Polling {
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        let target = "/socket.io/?EIO=4&transport=polling";
        let answer = request(addr, "GET", target, "", "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let open: serde_json::Value =
            serde_json::from_str(answer.body.strip_prefix('0').unwrap()).unwrap();
        Self { addr, sid: open["sid"].as_str().unwrap().to_owned(), open }
    }

    pub(crate) fn target(&self) -> String {
        format!("/socket.io/?EIO=4&transport=polling&sid={}", self.sid)
    }

    pub(crate) async fn get(&self) -> Answer {
        request(self.addr, "GET", &self.target(), "", "").await
    }

    pub(crate) async fn post(&self, body: &str) -> Answer {
        request(self.addr, "POST", &self.target(), "", body).await
    }
}
