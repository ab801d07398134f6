//! A chat with rooms, on the crate's own listener.
//!
//! ```text
//! cargo run -p kobel-fanout --example chat
//! ```
//!
//! then, with any stock client:
//!
//! ```js
//! const socket = io("http://localhost:3001");
//! socket.on("said", console.log);
//! socket.emit("enter", "kitchen", console.log);
//! socket.emit("say", { room: "kitchen", text: "hello" });
//! ```

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use kobel_fanout::{
    AckId, Body, Config, ConnectRequest, Context, DisconnectReason, Event, Frame, Handler, Policy,
    Room, ServeLimits, Server, SocketId, serve,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

const NAMESPACE: &str = "/";

/// Lines that wait to be published. Full: the client is told to try again.
const WAITING_LINES: usize = 1024;

#[derive(Deserialize)]
struct Say {
    room: String,
    text: String,
}

#[derive(Serialize)]
struct Said {
    from: String,
    room: String,
    text: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

/// Runs on the shards' threads, so it only hands over.
struct Chat {
    lines: OnceLock<mpsc::Sender<Said>>,
}

impl Handler for Chat {
    fn connect(&self, request: ConnectRequest) {
        if request.namespace() == NAMESPACE {
            request.accept();
        }
        // Dropped otherwise, which refuses it.
    }

    fn event(&self, cx: &mut Context<'_>, event: Event) {
        match event.name.as_str() {
            "enter" => match argument::<String>(&event) {
                Some(room) => {
                    cx.join(Room::from(room));
                    answer(cx, event.ack, "");
                }
                None => answer(cx, event.ack, "expected the name of a room"),
            },
            "say" => match argument::<Say>(&event) {
                Some(Say { room, text }) => {
                    let said = Said { from: cx.socket().to_string(), room, text };
                    let sent = self.lines.get().map(|lines| lines.try_send(said));
                    let error = if matches!(sent, Some(Ok(()))) { "" } else { "too busy" };
                    answer(cx, event.ack, error);
                }
                None => answer(cx, event.ack, "expected {room, text}"),
            },
            _ => answer(cx, event.ack, "unknown event"),
        }
    }

    fn disconnect(&self, socket: SocketId, _: &str, reason: DisconnectReason) {
        println!("{socket} left: {}", reason.as_str());
    }
}

fn argument<T: DeserializeOwned>(event: &Event) -> Option<T> {
    serde_json::from_str(event.args.first()?.get()).ok()
}

fn answer(cx: &mut Context<'_>, ack: Option<AckId>, error: &str) {
    if let Some(ack) = ack {
        // Plain text always encodes.
        let _ = cx.ack(ack, &Answer { ok: error.is_empty(), error });
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let (to, mut lines) = mpsc::channel(WAITING_LINES);
    let chat = Arc::new(Chat { lines: OnceLock::from(to) });
    let server = Server::start(Config::default(), chat)?;

    let publisher = tokio::spawn({
        let server = server.clone();
        async move {
            while let Some(said) = lines.recv().await {
                // Encoded once for all of the room.
                if let Ok(frame) = Frame::event(NAMESPACE, "said", &said, Policy::Deliver) {
                    server.publish(&Room::from(said.room), frame).await;
                }
            }
        }
    });

    let cancel = CancellationToken::new();
    let to = server.clone();
    let app = move |request: http::Request<hyper::body::Incoming>, remote| {
        let server = to.clone();
        async move {
            if request.uri().path() == server.config().path {
                return server.handle(request, remote).await;
            }
            let mut answer = http::Response::new(Body::from("not found\n"));
            *answer.status_mut() = http::StatusCode::NOT_FOUND;
            answer
        }
    };
    let listener = TcpListener::bind("127.0.0.1:3001").await?;
    println!("listening on http://localhost:3001; end with Ctrl-C");
    let serving = tokio::spawn(serve(listener, ServeLimits::default(), app, cancel.clone()));

    tokio::signal::ctrl_c().await?;
    cancel.cancel();
    let farewell = Frame::event(NAMESPACE, "bye", "see you", Policy::Deliver).ok();
    server.shutdown(Duration::from_secs(2), move |_| farewell.clone()).await;
    publisher.abort();
    serving.await.map_err(io::Error::other)?
}
