//! A ready accept loop: hyper's HTTP/1 with upgrades, and limits.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

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

/// A connection's place among those of its listener; given back when the last clone is dropped.
/// [`serve`] puts it into each request's extensions.
#[derive(Clone)]
pub struct Admission(#[allow(dead_code)] Arc<Place>);

struct Place {
    counts: Arc<Counts>,
    address: IpAddr,
}

#[derive(Default)]
struct Counts(Mutex<Table>);

#[derive(Default)]
struct Table {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

enum Refused {
    Full,
    Address,
}

impl Counts {
    fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        limits: &ServeLimits,
    ) -> Result<Admission, Refused> {
        // Held for a look into a table, once per connection.
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.all >= limits.connections {
            return Err(Refused::Full);
        }
        let count = table.by_address.entry(address).or_default();
        if *count >= limits.connections_per_address {
            return Err(Refused::Address);
        }
        *count += 1;
        table.all += 1;
        Ok(Admission(Arc::new(Place { counts: Arc::clone(self), address })))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.all -= 1;
        if let Some(count) = table.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                table.by_address.remove(&self.address);
            }
        }
    }
}

/// Elsewhere than on Linux the kernel's own timeouts hold.
fn limit_stall(stream: &TcpStream, limit: Duration) {
    #[cfg(target_os = "linux")]
    {
        let ms = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, ms) {
            tracing::debug!(%error, "cannot limit how long a connection may stall");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, limit);
}

/// Accepts connections until cancelled, and answers each request by `app`, which gives those under
/// a server's path to [`crate::Server::handle`]. After the cancel, requests under way have
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
    let counts = Arc::new(Counts::default());
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = cancel.cancelled() => break,
        };
        let (mut stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files, mostly: it passes when connections close.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Small events must not wait for an acknowledgement. A broken socket shows when read.
        let _ = stream.set_nodelay(true);
        limit_stall(&stream, limits.stall);
        let admission = match counts.admit(remote.ip(), &limits) {
            Ok(admission) => admission,
            Err(refused) => {
                let line = match refused {
                    Refused::Full => "503 Service Unavailable",
                    Refused::Address => "429 Too Many Requests",
                };
                let answer = format!(
                    "HTTP/1.1 {line}\r\nconnection: close\r\ncontent-length: 0\r\nretry-after: 10\r\n\r\n"
                );
                // Within a second, or not at all: nobody waits for a refused client. Its request is
                // read, or the reset of the unread would overtake the answer.
                tasks.spawn(tokio::time::timeout(Duration::from_secs(1), async move {
                    let mut request = [0; 1024];
                    if stream.read(&mut request).await? == 0 {
                        return Ok(());
                    }
                    stream.write_all(answer.as_bytes()).await?;
                    stream.shutdown().await?;
                    while stream.read(&mut request).await? > 0 {}
                    io::Result::Ok(())
                }));
                continue;
            }
        };
        let (app, ended) = (app.clone(), cancel.clone());
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.header_bytes.max(8192));
        tasks.spawn(async move {
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(admission.clone());
                let answer = app(request, remote);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
            let mut connection = std::pin::pin!(connection);
            let served = tokio::select! {
                served = connection.as_mut() => served,
                () = ended.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        served = connection => served,
                        // Half a request is not waited for.
                        () = tokio::time::sleep(limits.header_timeout) => Ok(()),
                    }
                }
            };
            if let Err(error) = served {
                // Clients break off all the time.
                tracing::debug!(%remote, %error, "connection ended");
            }
        });
    }
    tasks.close();
    tasks.wait().await;
    Ok(())
}
