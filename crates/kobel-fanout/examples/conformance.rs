//! What the protocols' own test suites expect of a server, on port 3000.
//!
//! Get the suites from <https://github.com/socketio/engine.io-protocol> and
//! <https://github.com/socketio/socket.io-protocol>, start this, and run `npm test` in their
//! folder `test-suite`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Response, StatusCode};
use kobel_fanout::{
    Body, Config, ConnectError, ConnectRequest, Context, DisconnectReason, EngineHandler, Event,
    Frame, Handler, Payload, Policy, ServeLimits, Server, SocketId, serve,
};
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Sends every message back.
struct Echo;

impl EngineHandler for Echo {
    fn message(&self, cx: &mut Context<'_>, message: Payload) {
        cx.send(message);
    }
}

struct Suite(std::sync::OnceLock<(Server, tokio::runtime::Handle)>);

impl Handler for Suite {
    fn connect(&self, request: ConnectRequest) {
        let namespace = request.namespace().to_owned();
        if namespace != "/" && namespace != "/custom" {
            return request.reject(ConnectError::new("Invalid namespace"));
        }
        let auth = request.auth().map_or_else(|| "{}".to_owned(), |auth| auth.get().to_owned());
        let auth = RawValue::from_string(auth).expect("it was JSON when it came");
        let frame = Frame::event(&namespace, "auth", &auth, Policy::Deliver).expect("JSON");
        let socket = request.socket();
        let (server, runtime) = self.0.get().expect("set before the server listens").clone();
        request.accept();
        runtime.spawn(async move {
            // The suites listen for one message at a time: two that arrive in one read, and the
            // second is not heard.
            tokio::time::sleep(Duration::from_millis(10)).await;
            server.emit(socket, frame).await;
        });
    }

    fn event(&self, cx: &mut Context<'_>, event: Event) {
        let (args, attachments) = (event.args, event.attachments);
        match (event.name.as_str(), event.ack) {
            ("message", _) => {
                let back = Frame::binary_event(
                    cx.namespace(),
                    "message-back",
                    &args,
                    attachments,
                    Policy::Deliver,
                );
                cx.emit(&back.expect("it was JSON when it came"));
            }
            ("message-with-ack", Some(ack)) => {
                cx.ack_args(ack, &args, attachments).expect("it was JSON when it came");
            }
            _ => {}
        }
    }

    fn disconnect(&self, _: SocketId, _: &str, _: DisconnectReason) {}
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let config = |path: &str| Config {
        path: path.into(),
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        connect_timeout: Duration::from_secs(1),
        max_payload: 1_000_000,
        ..Config::default()
    };
    let engine = Server::start_engine(config("/engine.io/"), Arc::new(Echo))?;
    let suite = Arc::new(Suite(std::sync::OnceLock::new()));
    let socket = Server::start(config("/socket.io/"), suite.clone())?;
    let _ = suite.0.set((socket.clone(), tokio::runtime::Handle::current()));

    let app = move |request: http::Request<hyper::body::Incoming>, remote| {
        let (engine, socket) = (engine.clone(), socket.clone());
        async move {
            for server in [engine, socket] {
                if request.uri().path() == server.config().path {
                    return server.handle(request, remote).await;
                }
            }
            let mut answer = Response::new(Body::new(Bytes::from_static(b"not found\n")));
            *answer.status_mut() = StatusCode::NOT_FOUND;
            answer
        }
    };
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://localhost:3000: /engine.io/ and /socket.io/");
    serve(listener, ServeLimits::default(), app, CancellationToken::new()).await
}
