//! A real server on loopback and clients that speak to it: by hand over TCP for polling and for
//! what a well-behaved library never sends, by an independent WebSocket library for the rest.

mod app;
mod http;
mod raw;
mod ws;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use kobel_fanout::{Accept, Body, Config, Listen, Plain, ServeLimits, Server, serve_with};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub(crate) use app::App;
pub(crate) use http::{Polling, request, text_of};
pub(crate) use raw::{RawWs, frame};
pub(crate) use ws::Ws;

/// Nothing on loopback takes this long; a test that waits for it has failed.
pub(crate) const LONG: Duration = Duration::from_secs(10);

/// A running server with its listener.
pub(crate) struct Fixture {
    pub(crate) server: Server,
    pub(crate) app: Arc<App>,
    pub(crate) addr: SocketAddr,
    cancel: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(config(), ServeLimits::default()).await
    }

    pub(crate) async fn config(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        Self::with(config, ServeLimits::default()).await
    }

    pub(crate) async fn with(config: Config, limits: ServeLimits) -> Self {
        Self::listen(config, Listen::<Plain> { limits, ..Listen::default() }).await
    }

    pub(crate) async fn listen<A: Accept>(config: Config, listen: Listen<A>) -> Self {
        let app = Arc::new(App::default());
        let server = Server::start(config, app.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let to = server.clone();
        let answer = move |request, remote| {
            let server = to.clone();
            async move { server.handle(request, remote).await }
        };
        let serving =
            tokio::spawn(serve_with::<A, _, _, Body>(listener, listen, answer, cancel.clone()));
        Self { server, app, addr, cancel, serving }
    }

    /// A WebSocket session that has joined `/`.
    pub(crate) async fn ws(&self) -> Ws {
        let mut ws = Ws::open(self.addr).await;
        ws.join("/").await;
        ws
    }

    /// A polling session that has joined `/`.
    pub(crate) async fn polling(&self) -> Polling {
        let polling = Polling::open(self.addr).await;
        assert_eq!(polling.post("40").await.status, 200);
        let answer = polling.get().await;
        assert!(answer.body.starts_with("40{\"sid\":"), "{}", answer.body);
        polling
    }

    /// Waits until the figures are as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&kobel_fanout::Snapshot) -> bool) {
        let waited = tokio::time::timeout(LONG, async {
            while !wanted(&self.server.snapshot().await) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        if waited.await.is_err() {
            panic!("{what} did not come: {:?}", self.server.snapshot().await);
        }
    }

    /// Ends everything; a task or thread that does not end fails the test.
    pub(crate) async fn stop(self) {
        let ended = tokio::time::timeout(LONG, async {
            self.cancel.cancel();
            self.server.shutdown(Duration::ZERO, |_| None).await;
            self.serving.await.unwrap().unwrap();
        });
        ended.await.expect("the server did not end");
    }
}

/// One shard, and no timer that a test does not ask for.
pub(crate) fn config() -> Config {
    Config { shards: 1, ..Config::default() }
}
