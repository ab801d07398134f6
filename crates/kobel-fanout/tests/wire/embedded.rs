//! Inside somebody else's HTTP server.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    routing::{any, get},
};
use kobel_fanout::{Frame, Policy, Server};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::{App, LONG, Polling, RawWs, Ws, config, frame, request};

async fn sockets(
    State(server): State<Server>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> axum::response::Response {
    server.handle(request, remote).await.map(axum::body::Body::new)
}

#[tokio::test]
async fn an_axum_application_serves_sockets_too() {
    let app = Arc::new(App::default());
    let server = Server::start(config(), app.clone()).unwrap();
    let router = Router::new()
        .route("/", get(|| async { "page" }))
        .route("/socket.io/", any(sockets))
        .with_state(server.clone())
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let cancel = CancellationToken::new();
    let ended = cancel.clone().cancelled_owned();
    let serving =
        tokio::spawn(async { axum::serve(listener, router).with_graceful_shutdown(ended).await });

    assert_eq!(request(addr, "GET", "/", "", "").await.body, "page");
    let mut ws = Ws::open(addr).await;
    ws.join("/").await;
    ws.round_trip().await;
    // Bytes that come in one segment with the handshake are not lost.
    let mut eager = RawWs::eager(addr, &frame(0x81, b"40")).await;
    assert!(eager.expect().await.starts_with('0'));
    assert!(eager.expect().await.starts_with("40{"));
    drop(eager);
    let polling = Polling::open(addr).await;
    polling.post("40").await;
    polling.get().await;
    let mut moved = RawWs::open(addr, Some(&polling.sid)).await;
    moved.text("2probe").await;
    assert_eq!(moved.expect().await, "3probe");
    moved.text("5").await;
    let event = Frame::event("/", "n", &1, Policy::Deliver).unwrap();
    for socket in app.connected() {
        server.emit(socket, Arc::clone(&event)).await;
    }
    assert_eq!(ws.text().await, r#"42["n",1]"#);
    assert_eq!(moved.expect().await, r#"42["n",1]"#);

    drop((ws, moved));
    let end = async {
        server.shutdown(Duration::ZERO, |_| None).await;
        cancel.cancel();
        serving.await.unwrap().unwrap();
    };
    tokio::time::timeout(LONG, end).await.expect("it did not end");
}
