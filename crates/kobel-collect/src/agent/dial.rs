//! The agent's task: dials the hub, and dials again.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use kobel_hub::logs::live::LogSource;
use kobel_wire::Timestamp;
use tokio::{
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error as WsError, Message,
        client::IntoClientRequest,
        http::{HeaderValue, StatusCode, header},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    Claim, Client, DEAD, Event, Hello, LogEvent, MAX_MESSAGE, Outbox, PATH, PING, STALL,
    SUBPROTOCOL, Socket,
    client::Refused,
    clock::since_boot_ms,
    logs::Following,
    tls::{Tls, Trust},
};
use crate::{
    backoff::{Backoff, random},
    text::clean,
};

/// How long a connection may take to stand.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// How long the last words to the hub may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Between two tries.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(500);
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A connection that held for so long was good: the next wait is a short one again.
const GOOD: Duration = Duration::from_secs(30);

/// Where a hub is: `http://` or `https://`, a host, and a port where it is not 80 or 443.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub {
    tls: bool,
    host: String,
    port: u16,
    /// Before the path, where the hub stands under one behind a proxy.
    base: String,
    /// Whose certificate it may have; shared, since errors name the hub.
    trust: Arc<Trust>,
}

/// Why a text is no hub's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no hub's address: write it as http://127.0.0.1:8000 or https://kobel.example.com"
)]
pub struct HubUrlError(String);

/// A certificate is named for a hub that is spoken to without one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is spoken to without TLS, so --hub-ca and --hub-fingerprint would protect nothing: write \
     the address with https://"
)]
pub struct TrustWithoutTls(String);

impl FromStr for Hub {
    type Err = HubUrlError;

    fn from_str(text: &str) -> Result<Self, HubUrlError> {
        let wrong = || HubUrlError(text.to_owned());
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if uri.query().is_some() || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(wrong());
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self {
            tls,
            host,
            port,
            base: uri.path().trim_end_matches('/').to_owned(),
            trust: Arc::default(),
        })
    }
}

impl fmt::Display for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.base)
    }
}

impl Hub {
    /// The same, whose certificate is believed by this.
    ///
    /// # Errors
    /// When the address is one without TLS: what is given would protect nothing.
    pub fn trusting(self, trust: Trust) -> Result<Self, TrustWithoutTls> {
        if !self.tls && trust != Trust::System {
            return Err(TrustWithoutTls(self.to_string()));
        }
        Ok(Self { trust: Arc::new(trust), ..self })
    }

    /// What TLS to it needs; `None` where it is spoken to without.
    ///
    /// # Errors
    /// When this machine cannot speak TLS.
    pub(super) fn tls(&self) -> io::Result<Option<Tls>> {
        self.tls.then(|| Tls::new(&self.trust)).transpose()
    }

    /// A connection to it.
    pub(super) async fn connect(&self, tls: Option<&Tls>) -> io::Result<Box<dyn Socket>> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        // A message is written as a whole: nothing is gained by waiting for more.
        tcp.set_nodelay(true)?;
        Ok(match tls {
            None => Box::new(tcp),
            Some(tls) => Box::new(tls.connect(&self.host, tcp).await?),
        })
    }

    /// What stands before a path of its API.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// What stands behind a link: reads the devices, or invents them.
pub trait Feed: Send {
    /// The devices, in the order of their indexes. Asked once.
    fn claims(&mut self) -> Vec<Claim>;

    /// Waits until there is something to put into the outbox. Cancel safe.
    fn ready(&mut self) -> impl Future<Output = ()> + Send;

    /// Puts it in.
    fn fill(&mut self, outbox: &mut Outbox, wall: Timestamp, now: Instant);

    /// Where the logs of a device's containers come from, if from anywhere.
    fn logs(&self, device: u32) -> Option<Arc<dyn LogSource>>;

    /// Hears what the hub says.
    fn event(&mut self, event: Event, outbox: &mut Outbox, wall: Timestamp, now: Instant);
}

/// What links count, for whoever watches them. Shared by the links of a process.
#[derive(Debug, Default)]
pub struct Progress {
    /// Links that stand and whose devices the hub has taken.
    pub links: AtomicU64,
    /// Devices of these.
    pub devices: AtomicU64,
    /// Samples that were sent.
    pub samples: AtomicU64,
    /// Summaries that were made.
    pub summaries: AtomicU64,
    /// Numbered reports that were given up.
    pub shed: AtomicU64,
    /// Bytes that were sent.
    pub bytes: AtomicU64,
}

/// Why a link ended for good.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The hub does not take the token.
    #[error("the hub at {0} does not take the token: {1}")]
    Unauthorized(Hub, String),
    /// There is no agent link.
    #[error(
        "there is no agent link at {0}{PATH} ({1}): is that a hub of Kobel, and not an old one?"
    )]
    NoLink(Hub, String),
    /// The hub does not go on with this agent.
    #[error("{0}: {1}")]
    Refused(Hub, Refused),
    /// The token cannot stand in a header.
    #[error("this is no token: it has characters that a token never has")]
    BadToken,
    /// TLS cannot be had.
    #[error("cannot speak TLS: {0}")]
    Tls(io::Error),
}

/// Why a connection did not come to be, or ended.
enum Lost {
    /// Trying again is in vain.
    ForGood(DialError),
    /// It may work later.
    ForNow(String),
    /// We were told to end.
    Cancelled,
}

/// The agent's side of one link, with what it needs to dial.
pub struct Dialer {
    hub: Hub,
    authorization: HeaderValue,
    tls: Option<Tls>,
    hello: Hello,
    progress: Arc<Progress>,
}

impl Dialer {
    /// Dials this hub with this token.
    ///
    /// # Errors
    /// When the token is none, or this machine cannot speak TLS.
    pub fn new(
        hub: Hub,
        token: &str,
        hello: Hello,
        progress: Arc<Progress>,
    ) -> Result<Self, DialError> {
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| DialError::BadToken)?;
        authorization.set_sensitive(true);
        let tls = hub.tls().map_err(DialError::Tls)?;
        Ok(Self { hub, authorization, tls, hello, progress })
    }

    /// Reports until cancelled. A connection that breaks is made anew, after waits that grow to
    /// half a minute; what must not be lost waits for it.
    ///
    /// # Errors
    /// When the hub refuses in a way that only a person can change.
    pub async fn run<F: Feed>(
        self,
        mut feed: F,
        cancel: CancellationToken,
    ) -> Result<(), DialError> {
        let mut client = Client::new(self.hello.clone(), feed.claims());
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let begun = Instant::now();
            let lost = self.once(&mut client, &mut feed, &cancel).await;
            if client.is_open() {
                self.progress.links.fetch_sub(1, Relaxed);
                self.progress.devices.fetch_sub(client.devices() as u64, Relaxed);
                if begun.elapsed() >= GOOD {
                    backoff.reset();
                }
            }
            client.connected();
            let why = match lost {
                Lost::Cancelled => return Ok(()),
                Lost::ForGood(error) => return Err(error),
                Lost::ForNow(why) => why,
            };
            let wait = backoff.wait(random());
            tracing::warn!(hub = %self.hub, why, wait_ms = wait.as_millis() as u64,
                "no connection to the hub; trying again");
            let now = Instant::now();
            feed.event(Event::NobodyWatches, &mut client.outbox, Timestamp::now(), now);
            let until = now + wait;
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return Ok(()),
                    () = sleep_until(until) => break,
                    () = feed.ready() => self.fill(&mut feed, &mut client),
                }
            }
        }
    }

    fn fill<F: Feed>(&self, feed: &mut F, client: &mut Client) {
        let before = client.outbox.passed();
        let wall = Timestamp::now();
        if let Some(ms) = client.clock(wall, since_boot_ms()) {
            tracing::info!(
                ms,
                "this machine's clock was set; what waits for the hub is told of it"
            );
        }
        feed.fill(&mut client.outbox, wall, Instant::now());
        let after = client.outbox.passed();
        self.progress.summaries.fetch_add(after.summaries - before.summaries, Relaxed);
        self.progress.shed.fetch_add(after.shed - before.shed, Relaxed);
    }

    /// One connection, from the dial to its end. The feed goes on while it is dialled.
    async fn once<F: Feed>(
        &self,
        client: &mut Client,
        feed: &mut F,
        cancel: &CancellationToken,
    ) -> Lost {
        // As large as a TLS handshake.
        let mut connecting = Box::pin(self.connect());
        let socket = loop {
            tokio::select! {
                () = cancel.cancelled() => return Lost::Cancelled,
                connected = &mut connecting => match connected {
                    Ok(socket) => break socket,
                    Err(lost) => return lost,
                },
                () = feed.ready() => self.fill(feed, client),
            }
        };
        let (mut link, lost) = {
            let mut link = Link::new(socket, cancel);
            let lost = link.run(self, client, feed, cancel).await;
            (link, lost)
        };
        if matches!(lost, Lost::Cancelled) {
            let _ = timeout(FAREWELL, link.farewell()).await;
        }
        link.logs.close().await;
        lost
    }

    async fn connect(&self) -> Result<WebSocketStream<Box<dyn Socket>>, Lost> {
        match timeout(CONNECT, self.dial()).await {
            Ok(connected) => connected,
            Err(_) => Err(Lost::ForNow(format!("no answer for {} s", CONNECT.as_secs()))),
        }
    }

    async fn dial(&self) -> Result<WebSocketStream<Box<dyn Socket>>, Lost> {
        let io = |error: io::Error| Lost::ForNow(error.to_string());
        let stream = self.hub.connect(self.tls.as_ref()).await.map_err(io)?;
        let scheme = if self.hub.tls { "wss" } else { "ws" };
        let url = format!("{scheme}://{}{}{PATH}", self.hub.authority(), self.hub.base);
        let mut request =
            url.into_client_request().map_err(|error| Lost::ForNow(error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, self.authorization.clone());
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(0)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        match client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(socket),
            Err(WsError::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                Err(self.refused(answer.status(), body))
            }
            Err(error) => Err(Lost::ForNow(error.to_string())),
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Lost {
        let message = said(body).unwrap_or_else(|| format!("HTTP status {status}"));
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Lost::ForGood(DialError::Unauthorized(self.hub.clone(), message))
            }
            StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::BAD_REQUEST
            | StatusCode::UPGRADE_REQUIRED
            | StatusCode::MISDIRECTED_REQUEST => {
                Lost::ForGood(DialError::NoLink(self.hub.clone(), message))
            }
            _ => Lost::ForNow(format!("the hub says: {message}")),
        }
    }
}

/// The message of an error of the hub's API.
pub(super) fn said(body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(clean(json.get("error")?.get("message")?.as_str()?, 300))
}

type Sink = SplitSink<WebSocketStream<Box<dyn Socket>>, Message>;

/// A message on its way into the socket. Owns the sink meanwhile: of two at once the second waits
/// where it collapses, in the outbox.
type Writing = Pin<Box<dyn Future<Output = (Sink, Result<(), String>)> + Send>>;

struct Link {
    stream: futures_util::stream::SplitStream<WebSocketStream<Box<dyn Socket>>>,
    sink: Option<Sink>,
    writing: Option<Writing>,
    logs: Following,
}

impl Link {
    fn new(socket: WebSocketStream<Box<dyn Socket>>, cancel: &CancellationToken) -> Self {
        let (sink, stream) = socket.split();
        Self { stream, sink: Some(sink), writing: None, logs: Following::new(cancel) }
    }

    async fn run<F: Feed>(
        &mut self,
        dialer: &Dialer,
        client: &mut Client,
        feed: &mut F,
        cancel: &CancellationToken,
    ) -> Lost {
        let begun = Instant::now();
        let mut heard = begun;
        let mut ping = interval_at(begun + PING, PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ping_due = false;
        loop {
            if self.writing.is_none() {
                self.write_next(dialer, client, &mut ping_due);
            }
            tokio::select! {
                () = cancel.cancelled() => return Lost::Cancelled,
                message = self.stream.next() => {
                    heard = Instant::now();
                    let was_open = client.is_open();
                    let events = match received(message, client) {
                        Ok(events) => events,
                        Err(Received::Ended(why)) => return Lost::ForNow(why),
                        Err(Received::Refused(refused)) if refused.retry() => {
                            return Lost::ForNow(refused.to_string());
                        }
                        Err(Received::Refused(Refused::ByHub {
                            message,
                            unauthorized: true,
                            ..
                        })) => {
                            let error = DialError::Unauthorized(dialer.hub.clone(), message);
                            return Lost::ForGood(error);
                        }
                        Err(Received::Refused(refused)) => {
                            let error = DialError::Refused(dialer.hub.clone(), refused);
                            return Lost::ForGood(error);
                        }
                    };
                    if client.is_open() && !was_open {
                        dialer.progress.links.fetch_add(1, Relaxed);
                        dialer.progress.devices.fetch_add(client.devices() as u64, Relaxed);
                        let (waiting, passed) = (client.outbox.waiting(), client.outbox.passed());
                        tracing::info!(hub = %dialer.hub, devices = client.devices(), waiting,
                            given_up = passed.shed, "connected");
                    }
                    let wall = Timestamp::now();
                    for event in events {
                        if let Event::Logs(event) = event {
                            self.log_event(event, feed);
                            continue;
                        }
                        if let Event::Released(device, reason) = &event {
                            if was_open {
                                dialer.progress.devices.fetch_sub(1, Relaxed);
                            }
                            tracing::warn!(device, reason, "the hub does not take a device");
                        }
                        feed.event(event, &mut client.outbox, wall, heard);
                    }
                }
                written = written(&mut self.writing) => {
                    let (sink, result) = written;
                    (self.sink, self.writing) = (Some(sink), None);
                    if let Err(why) = result {
                        return Lost::ForNow(why);
                    }
                }
                () = feed.ready() => dialer.fill(feed, client),
                () = self.logs.ready() => {}
                _ = ping.tick() => ping_due = true,
                () = sleep_until(heard + DEAD) => {
                    return Lost::ForNow(format!("nothing was heard for {} s", DEAD.as_secs()));
                }
            }
        }
    }

    fn write_next(&mut self, dialer: &Dialer, client: &mut Client, ping_due: &mut bool) {
        let Some(mut sink) = self.sink.take() else { return };
        let message = if std::mem::take(ping_due) {
            Message::Ping(Bytes::new())
        } else {
            let before = client.outbox.passed().samples;
            // Lines come after what was read of the hosts.
            let wall = Timestamp::now();
            let bytes = client.next(wall, Instant::now());
            let Some(bytes) = bytes.or_else(|| self.logs.next(wall)) else {
                self.sink = Some(sink);
                return;
            };
            dialer.progress.samples.fetch_add(client.outbox.passed().samples - before, Relaxed);
            dialer.progress.bytes.fetch_add(bytes.len() as u64, Relaxed);
            Message::Binary(bytes.into())
        };
        self.writing = Some(Box::pin(async move {
            let result = match timeout(STALL, sink.send(message)).await {
                Ok(sent) => sent.map_err(|error| error.to_string()),
                Err(_) => Err(format!("the hub took nothing for {} s", STALL.as_secs())),
            };
            (sink, result)
        }));
    }

    fn log_event<F: Feed>(&mut self, event: LogEvent, feed: &F) {
        match event {
            LogEvent::Follow { follow, device, container, start } => match feed.logs(device) {
                Some(source) => self.logs.follow(follow, container, start, source),
                None => self.logs.refuse(follow, "the agent cannot read the logs of this device"),
            },
            LogEvent::Stop(follow) => self.logs.stop(follow),
            LogEvent::Ack(bytes) => self.logs.acked(bytes),
        }
    }

    async fn farewell(&mut self) {
        let sink = match self.writing.take() {
            Some(writing) => Some(writing.await.0),
            None => self.sink.take(),
        };
        if let Some(mut sink) = sink {
            let frame = CloseFrame { code: CloseCode::Normal, reason: "stopped".into() };
            let _ = sink.send(Message::Close(Some(frame))).await;
            while let Some(Ok(_)) = self.stream.next().await {}
        }
    }
}

async fn written(writing: &mut Option<Writing>) -> (Sink, Result<(), String>) {
    match writing {
        Some(writing) => writing.await,
        None => std::future::pending().await,
    }
}

enum Received {
    Ended(String),
    Refused(Refused),
}

fn received(
    message: Option<Result<Message, WsError>>,
    client: &mut Client,
) -> Result<Vec<Event>, Received> {
    match message {
        Some(Ok(Message::Binary(bytes))) => client.receive(&bytes).map_err(Received::Refused),
        Some(Ok(Message::Close(frame))) => {
            let reason = frame.map(|frame| clean(&frame.reason, 123)).unwrap_or_default();
            Err(Received::Ended(format!("the hub closed the connection {reason:?}")))
        }
        Some(Ok(_)) => Ok(Vec::new()),
        Some(Err(error)) => Err(Received::Ended(error.to_string())),
        None => Err(Received::Ended("the hub closed the connection".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, same) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("https://kobel.example.com/", "https://kobel.example.com"),
            ("https://example.com:443/kobel/", "https://example.com/kobel"),
            ("http://[::1]:8000", "http://[::1]:8000"),
        ] {
            assert_eq!(text.parse::<Hub>().unwrap().to_string(), same);
        }
        for bad in
            ["", "kobel", "127.0.0.1:8000", "ftp://a", "http://", "http://u:p@a", "http://a/?x"]
        {
            assert!(bad.parse::<Hub>().is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_of_the_api_are_read() {
        let body = br#"{"error":{"code":"UNAUTHORIZED","message":"the token is wrong"}}"#;
        assert_eq!(said(body).as_deref(), Some("the token is wrong"));
        assert_eq!(said(b"<html>"), None);
    }
}
