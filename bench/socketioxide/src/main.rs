//! socketioxide, the most used Socket.IO server in Rust, under the bench's contract: in axum, on
//! one thread, the defaults otherwise.

use std::{
    error::Error,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bench_contract::{Schedule, Settings};
use serde_json::value::RawValue;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, sleep_until},
};

static JOINS: AtomicU32 = AtomicU32::new(0);

async fn connected(socket: SocketRef) {
    socket.on("join", async |socket: SocketRef, Data::<String>(room), ack: AckSender| {
        socket.join(room);
        JOINS.fetch_add(1, Ordering::Relaxed);
        // Who is gone needs no answer.
        let _ = ack.send(&());
    });
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", connected);
    let app = axum::Router::new().layer(layer);
    let listener = TcpListener::bind(("127.0.0.1", settings.port)).await?;
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        // Small events must not wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
    });
    let serving = async { Ok(axum::serve(listener, app).await?) };
    tokio::try_join!(serving, publish(&io, &settings))?;
    Ok(())
}

async fn publish(io: &SocketIo, settings: &Settings) -> Result<(), Box<dyn Error>> {
    let Some(mut schedule) = Schedule::new(settings) else { return Ok(()) };
    while JOINS.load(Ordering::Relaxed) < settings.joins {
        sleep(Duration::from_millis(20)).await;
    }
    let start = Instant::now();
    loop {
        sleep_until(start + schedule.next()).await;
        while let Some(room) = schedule.due(start.elapsed()) {
            let news = RawValue::from_string(settings.news())?;
            // Who does not keep up is dropped by the server itself.
            let _ = io.to(format!("room-{room}")).emit("news", &news).await;
        }
        tokio::task::yield_now().await;
    }
}
