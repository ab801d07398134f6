//! The server inside an axum application: the same port serves pages and sockets.
//!
//! ```text
//! cargo run -p kobel-fanout --example axum
//! ```

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    response::Response,
    routing::{any, get},
};
use kobel_fanout::{
    Config, ConnectError, ConnectRequest, Context, DisconnectReason, Event, Frame, Handler, Policy,
    Room, Server, SocketId,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::interval};

/// Everybody with the right token sees the clock.
struct Clock;

impl Handler for Clock {
    fn connect(&self, request: ConnectRequest) {
        let auth: Option<Value> =
            request.auth().and_then(|auth| serde_json::from_str(auth.get()).ok());
        if auth.is_some_and(|auth| auth["token"] == "secret") {
            request.accept();
        } else {
            let data = json!({ "code": "UNAUTHORIZED" });
            request.reject(ConnectError::new("a token, please").with_data(data));
        }
    }

    fn event(&self, cx: &mut Context<'_>, event: Event) {
        if event.name == "watch" {
            cx.join(Room::from("clock"));
        }
        if let Some(ack) = event.ack {
            // Plain data always encodes.
            let _ = cx.ack(ack, &json!({ "ok": true }));
        }
    }

    fn disconnect(&self, _: SocketId, _: &str, _: DisconnectReason) {}
}

/// Every request under the path is the server's.
async fn sockets(
    State(server): State<Server>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    server.handle::<axum::body::Body>(request, remote).await.map(axum::body::Body::new)
}

async fn figures(State(server): State<Server>) -> Json<Value> {
    let figures = server.snapshot().await;
    Json(json!({ "websocket": figures.websocket, "polling": figures.polling }))
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let server = Server::start(Config::default(), Arc::new(Clock))?;
    let path = server.config().path.clone();
    let app = Router::new()
        .route("/", get(|| async { "watch the clock at /socket.io/\n" }))
        .route("/figures", get(figures))
        .route(&path, any(sockets))
        .with_state(server.clone())
        .into_make_service_with_connect_info::<SocketAddr>();

    let ticking = tokio::spawn({
        let server = server.clone();
        async move {
            let (mut tick, mut ticks) = (interval(Duration::from_secs(1)), 0u64);
            loop {
                tick.tick().await;
                ticks += 1;
                // A client that is late wants the newest only.
                if let Ok(frame) = Frame::event("/", "tick", &ticks, Policy::Conflate(0)) {
                    server.publish(&Room::from("clock"), frame).await;
                }
            }
        }
    });

    let listener = TcpListener::bind("127.0.0.1:3002").await?;
    println!("listening on http://localhost:3002; end with Ctrl-C");
    let end = async {
        // Without a signal handler the process can only be killed.
        let _ = tokio::signal::ctrl_c().await;
    };
    // Open polls would hold axum's end up, so the sockets end first.
    let stopping = {
        let server = server.clone();
        async move {
            end.await;
            server.shutdown(Duration::from_secs(2), |_| None).await;
        }
    };
    axum::serve(listener, app).with_graceful_shutdown(stopping).await?;
    ticking.abort();
    Ok(())
}
