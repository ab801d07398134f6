//! A Socket.IO client on an independent WebSocket library.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::LONG;

pub(crate) struct Ws {
    pub(crate) socket: WebSocketStream<TcpStream>,
    pub(crate) open: Value,
}

impl Ws {
    /// Opens a session.
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        Self::opened(Self::connect(addr, "").await).await
    }

    /// The same with a small receive buffer, so that the server's socket is soon full when nothing
    /// is read.
    pub(crate) async fn narrow(addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(addr).await.unwrap();
        Self::opened(Self::shake_hands(addr, "", stream).await).await
    }

    async fn opened(socket: WebSocketStream<TcpStream>) -> Self {
        let mut ws = Self { socket, open: Value::Null };
        let open = ws.text().await;
        ws.open = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        ws
    }

    /// Connects and reads nothing; `more` is added to the query.
    pub(crate) async fn connect(addr: SocketAddr, more: &str) -> WebSocketStream<TcpStream> {
        Self::shake_hands(addr, more, TcpStream::connect(addr).await.unwrap()).await
    }

    async fn shake_hands(
        addr: SocketAddr,
        more: &str,
        stream: TcpStream,
    ) -> WebSocketStream<TcpStream> {
        let url = format!("ws://{addr}/socket.io/?EIO=4&transport=websocket{more}");
        client_async(url, stream).await.unwrap().0
    }

    /// Probes and moves a polling session to a WebSocket. What is still polled is polled before.
    pub(crate) fn upgraded(socket: WebSocketStream<TcpStream>) -> Self {
        Self { socket, open: Value::Null }
    }

    /// Joins a namespace and gives the id of the socket there.
    pub(crate) async fn join(&mut self, namespace: &str) -> String {
        let prefix = if namespace == "/" { "40".to_owned() } else { format!("40{namespace},") };
        self.send(&prefix).await;
        let answer = self.text().await;
        let json = answer.strip_prefix(&prefix).unwrap_or_else(|| panic!("refused: {answer}"));
        let joined: Value = serde_json::from_str(json).unwrap();
        joined["sid"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The same where the server may have closed.
    pub(crate) async fn try_send(
        &mut self,
        text: &str,
    ) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        self.socket.send(Message::text(text)).await
    }

    pub(crate) async fn send_binary(&mut self, data: &'static [u8]) {
        self.socket.send(Message::binary(data)).await.unwrap();
    }

    /// The next message but pings; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            match timeout(LONG, self.socket.next()).await.expect("nothing came") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Text(text))) if text.as_str() == "2" => {
                    // The end shows at the next read.
                    let _ = self.socket.send(Message::text("3")).await;
                }
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Some(Message::Text(text)) => text.as_str().to_owned(),
            other => panic!("expected text, got {other:?}"),
        }
    }

    pub(crate) async fn binary(&mut self) -> Bytes {
        match self.next().await {
            Some(Message::Binary(data)) => data,
            other => panic!("expected binary, got {other:?}"),
        }
    }

    /// The code of the close frame, after everything that comes before it.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some(message) = self.next().await {
            if let Message::Close(Some(frame)) = message {
                code = Some(frame.code.into());
            }
        }
        code
    }

    /// Asks something that comes after everything that was sent before.
    pub(crate) async fn round_trip(&mut self) {
        self.send(r#"42999["echo",0]"#).await;
        while self.text().await != "43999[0]" {}
    }
}
