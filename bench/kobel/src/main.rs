//! Kobel's engine under the bench's contract: one shard, the defaults otherwise, and limits that
//! the bench's single address does not meet.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bench_contract::{Schedule, Settings};
use kobel_fanout::{
    Body, Config, ConnectRequest, Context, DisconnectReason, Event, Frame, Handler, Policy, Room,
    ServeLimits, Server, SocketId, serve,
};
use serde_json::value::RawValue;
use tokio::{
    net::TcpSocket,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// Counts the joins.
#[derive(Default)]
struct News(AtomicU32);

impl Handler for News {
    fn connect(&self, request: ConnectRequest) {
        request.accept();
    }

    fn event(&self, cx: &mut Context<'_>, event: Event) {
        let room =
            event.args.first().and_then(|room| serde_json::from_str::<String>(room.get()).ok());
        if let Some(room) = room.filter(|_| event.name == "join") {
            cx.join(Room::from(room));
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(ack) = event.ack {
            // Nothing always encodes.
            let _ = cx.ack(ack, &());
        }
    }

    fn disconnect(&self, _: SocketId, _: &str, _: DisconnectReason) {}
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let news = Arc::new(News::default());
    let server = Server::start(Config { shards: 1, ..Config::default() }, news.clone())?;
    // With the backlog that the product listens with.
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], settings.port).into())?;
    let listener = socket.listen(8_192)?;
    let to = server.clone();
    let app = move |request, from| {
        let server = to.clone();
        async move { server.handle(request, from).await }
    };
    let limits = ServeLimits { connections_per_address: 100_000, ..ServeLimits::default() };
    let serving = serve::<_, _, Body>(listener, limits, app, CancellationToken::new());
    let publishing = publish(&server, &news.0, &settings);
    tokio::try_join!(async { Ok(serving.await?) }, publishing)?;
    Ok(())
}

async fn publish(
    server: &Server,
    joins: &AtomicU32,
    settings: &Settings,
) -> Result<(), Box<dyn Error>> {
    let Some(mut schedule) = Schedule::new(settings) else { return Ok(()) };
    let rooms: Vec<_> =
        (0..settings.rooms).map(|room| Room::from(format!("room-{room}"))).collect();
    while joins.load(Ordering::Relaxed) < settings.joins {
        sleep(Duration::from_millis(20)).await;
    }
    let start = Instant::now();
    loop {
        sleep_until(start + schedule.next()).await;
        while let Some(room) = schedule.due(start.elapsed()) {
            let news = RawValue::from_string(settings.news())?;
            let frame = Frame::event("/", "news", &news, Policy::Deliver)?;
            server.publish(&rooms[room as usize], frame).await;
        }
    }
}
