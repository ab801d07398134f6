//! A ready accept loop: hyper's HTTP/1 with upgrades, and limits.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{Either, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Accept, Plain, Proxies, Vouch,
    admission::{Admission, Counts, Refused},
    tuning::tune,
};

/// How long a refused client may take to hear it.
const REFUSAL: Duration = Duration::from_secs(1);

/// Refused clients that are answered at the same time; others are closed without a word.
const REFUSALS_AT_ONCE: usize = 1_024;

/// After how many seconds a refused client is told to try again.
const RETRY_AFTER: u64 = 10;

/// What the connections of a listener may take.
#[derive(Debug, Clone)]
pub struct ServeLimits {
    /// Connections in all; over it, HTTP status 503. Default: 100,000.
    pub connections: usize,
    /// Connections from one address; over it, HTTP status 429. Default: 20,000.
    pub connections_per_address: usize,
    /// How long a request's head may take. Default: 10 s.
    pub header_timeout: Duration,
    /// How long sent bytes may stay without an answer from the other side's kernel, or it without
    /// room for more, before the connection is broken (Linux' `TCP_USER_TIMEOUT`). It is what ends
    /// an HTTP answer that nobody takes. Default: 30 s.
    pub stall: Duration,
    /// The most bytes of a request's head. Default: 16 KiB.
    pub header_bytes: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            connections_per_address: 20_000,
            header_timeout: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            header_bytes: 16 * 1024,
        }
    }
}

/// How a listener listens.
#[derive(Debug, Clone, Default)]
pub struct Listen<A = Plain> {
    /// What its connections may take.
    pub limits: ServeLimits,
    /// What they go through before HTTP is spoken.
    pub accept: A,
    /// Whose word about a client is taken.
    pub proxies: Proxies,
    /// Who knows the clients of other servers' requests, where there are other servers.
    pub vouch: Option<Arc<dyn Vouch>>,
}

/// Accepts plain connections until cancelled, and answers each request by `app`, which gives those
/// under a server's path to [`crate::Server::handle`]. After the cancel, requests under way have
/// `header_timeout` to end.
///
/// # Errors
/// When the listener itself fails. A failed accept is logged and tried again.
pub async fn serve<F, Fut, B>(
    listener: TcpListener,
    limits: ServeLimits,
    app: F,
    cancel: CancellationToken,
) -> io::Result<()>
where
    F: Fn(Request<Incoming>, SocketAddr) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listen = Listen::<Plain> { limits, ..Listen::default() };
    serve_with(listener, listen, app, cancel).await
}

/// The same by other connections than plain ones, and behind proxies. `app` gets the address that
/// counts as the client's; in the extensions of a request stand its [`Admission`] and its
/// [`Client`](super::Client).
///
/// A trusted proxy is not one client: its connections count in all, but not by address. Each of
/// its requests, and each session opened by one, counts by its client's address instead; over that
/// limit it is answered with HTTP status 429.
///
/// # Errors
/// When the listener itself fails. A failed accept is logged and tried again.
pub async fn serve_with<A, F, Fut, B>(
    listener: TcpListener,
    listen: Listen<A>,
    app: F,
    cancel: CancellationToken,
) -> io::Result<()>
where
    A: Accept,
    F: Fn(Request<Incoming>, SocketAddr) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Listen { limits, accept, proxies, vouch } = listen;
    let counts = Arc::new(Counts::default());
    let refusals = Arc::new(Semaphore::new(REFUSALS_AT_ONCE));
    let tasks = TaskTracker::new();
    tune(&listener, &limits)?;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = cancel.cancelled() => break,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files, mostly: it passes when connections close.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let address = (!proxies.trusts(remote.ip())).then(|| remote.ip());
        let (app, accept, ended) = (app.clone(), accept.clone(), cancel.clone());
        match counts.admit(address, &limits) {
            Ok(admission) => {
                let (limits, proxies, vouch) = (limits.clone(), proxies.clone(), vouch.clone());
                tasks.spawn(async move {
                    let accepted = tokio::select! {
                        accepted = timeout(limits.header_timeout, accept.accept(stream)) => accepted,
                        () = ended.cancelled() => return,
                    };
                    match accepted {
                        Ok(Ok(stream)) => {
                            let encrypted = A::ENCRYPTS;
                            let at = At { remote, encrypted, admission, proxies, vouch };
                            at.answer(stream, limits, app, ended).await;
                        }
                        Ok(Err(error)) => tracing::debug!(%remote, %error, "not accepted"),
                        Err(_) => tracing::debug!(%remote, "not accepted in time"),
                    }
                });
            }
            Err(refused) => {
                // Full: it is closed, by being dropped.
                let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() else { continue };
                // In time, or not at all: nobody waits for a refused client.
                tasks.spawn(timeout(REFUSAL, async move {
                    let refused = refuse(accept.accept(stream).await?, refused).await;
                    drop(permit);
                    refused
                }));
            }
        }
    }
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// A connection's place.
struct At {
    remote: SocketAddr,
    encrypted: bool,
    admission: Admission,
    proxies: Proxies,
    vouch: Option<Arc<dyn Vouch>>,
}

impl At {
    /// Answers its requests.
    async fn answer<S, F, Fut, B>(
        self,
        stream: S,
        limits: ServeLimits,
        app: F,
        ended: CancellationToken,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: Fn(Request<Incoming>, SocketAddr) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Response<B>> + Send + 'static,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (remote, grace) = (self.remote, limits.header_timeout);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.header_bytes.max(8192));
        let service = service_fn(move |mut request: Request<Incoming>| {
            let vouched = self.vouch.as_ref().and_then(|vouch| vouch.client(&mut request));
            let client = vouched
                .unwrap_or_else(|| self.proxies.client(remote, self.encrypted, request.headers()));
            let admission = if vouched.is_some() {
                // It counts where the client's connection ends.
                self.admission.forget_address();
                Ok(self.admission.clone())
            } else if client.proxied {
                self.admission.of_client(client.address.ip(), &limits)
            } else {
                Ok(self.admission.clone())
            };
            let answer = admission.map(|admission| {
                request.extensions_mut().insert(admission.clone());
                request.extensions_mut().insert(client);
                (app(request, client.address), admission)
            });
            async move {
                Ok::<_, Infallible>(match answer {
                    Ok((answer, _admission)) => answer.await.map(Either::Left),
                    Err(refused) => refusal(refused).map(Either::Right),
                })
            }
        });
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = ended.cancelled() => {
                connection.as_mut().graceful_shutdown();
                // Half a request is not waited for.
                timeout(grace, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = served {
            // Clients break off all the time.
            tracing::debug!(%remote, %error, "connection ended");
        }
    }
}

impl Refused {
    fn status(self) -> StatusCode {
        match self {
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Address => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

fn refusal<D: bytes::Buf>(refused: Refused) -> Response<Empty<D>> {
    let mut answer = Response::new(Empty::new());
    *answer.status_mut() = refused.status();
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
    answer
}

/// Says no on a connection that has no place. Its request is read, or the reset of the unread
/// would overtake the answer.
async fn refuse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    refused: Refused,
) -> io::Result<()> {
    let mut request = [0; 1024];
    if stream.read(&mut request).await? == 0 {
        return Ok(());
    }
    let answer = format!(
        "HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: 0\r\nretry-after: {RETRY_AFTER}\r\n\r\n",
        refused.status()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    while stream.read(&mut request).await? > 0 {}
    Ok(())
}
