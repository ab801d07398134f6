//! The hub's side of the agent links: a task for each, around [`Session`].

use std::{
    future::pending,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use kobel_hub::{
    access::{Access, CredentialId, Principal},
    cluster::StewardHandle,
    demand::Demand,
    hub::HubHandle,
    ingest::Ingest,
    logs::live::LogSources,
    store::{DeviceKey, Store},
};
use kobel_wire::{
    DeviceState, Timestamp,
    proto::{HubMessage, HubRefusal, RefusalCode, hub_message},
};
use prost::Message as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message,
        error::CapacityError,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    AgentSnapshot, DEAD, MAX_MESSAGE, PING, RefusedReason, STALL,
    logs::LogRelay,
    registry::{Registry, Seat},
    session::{Session, Step, refusal, say},
    stats::AgentStats,
};

/// The most links at the same time.
const LINKS: usize = 10_000;

/// How long an agent may take to say hello.
const HELLO: Duration = Duration::from_secs(10);

/// How long the last words to an agent may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a link runs on: a TCP or TLS connection after the upgrade.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Socket for S {}

/// All agent links of a hub. Cloned freely.
#[derive(Clone)]
pub struct AgentLinks(Arc<Shared>);

struct Shared {
    store: Store,
    hub: HubHandle,
    ingest: Ingest,
    sources: LogSources,
    logs: LogRelay,
    registry: Registry,
    stats: Arc<AgentStats>,
    /// Where it is written down that this node owns what an agent speaks for here, in a cluster.
    steward: OnceLock<StewardHandle>,
    /// One task for each link.
    tasks: TaskTracker,
    cancel: CancellationToken,
}

/// Why a link ended.
enum Ended {
    /// The hub ends it and says why.
    Refused(HubRefusal),
    /// The message was too large, or of another kind.
    Closed(CloseCode, String),
    /// The agent said good-bye.
    Left,
    /// The connection broke.
    Broken(String),
}

impl Ended {
    /// What stands with the devices.
    fn reason(&self) -> String {
        let why = match self {
            Self::Refused(refusal) => &refusal.message,
            Self::Closed(_, why) | Self::Broken(why) => why,
            Self::Left => "it was stopped",
        };
        format!("The agent's connection ended: {why}.")
    }
}

impl From<HubRefusal> for Ended {
    fn from(refusal: HubRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl AgentLinks {
    /// No links yet. The logs of their devices go into `sources`. When `cancel` is cancelled they end,
    /// and [`Self::ended`] waits for that.
    pub fn new(
        store: Store,
        hub: HubHandle,
        ingest: Ingest,
        sources: LogSources,
        cancel: CancellationToken,
    ) -> Self {
        Self(Arc::new(Shared {
            store,
            hub,
            ingest,
            sources,
            logs: LogRelay::default(),
            registry: Registry::default(),
            stats: Arc::default(),
            steward: OnceLock::new(),
            tasks: TaskTracker::new(),
            cancel,
        }))
    }

    /// This hub is a node of a cluster: an agent's devices are the node's that it has a link to, the
    /// newest link's. Ends when it was cancelled.
    pub async fn clustered(&self, steward: StewardHandle) {
        let mut owners = steward.owners();
        let watch = steward.clone();
        // Said once.
        let _ = self.0.steward.set(steward);
        loop {
            tokio::select! {
                () = self.0.cancel.cancelled() => return,
                changed = owners.changed() => {
                    if changed.is_err() {
                        return self.0.cancel.cancelled().await;
                    }
                }
            }
            let owners = owners.borrow_and_update().clone();
            self.0
                .registry
                .lose(|device| owners.contains_key(&device) && watch.is_elsewhere(device));
        }
    }

    /// Whether there is room for one more.
    pub fn has_room(&self) -> bool {
        self.0.registry.links() < LINKS && !self.0.cancel.is_cancelled()
    }

    /// Runs a link that came in as `principal`, in a task of its own. `socket` gives the connection
    /// once it is upgraded, or nothing where the agent went away before; `hold` is kept until the
    /// link ends.
    pub fn run<S: Socket>(
        &self,
        principal: Principal,
        socket: impl Future<Output = Option<S>> + Send + 'static,
        hold: impl Send + 'static,
    ) {
        let shared = Arc::clone(&self.0);
        self.0.tasks.spawn(async move {
            let socket = tokio::select! {
                socket = socket => socket,
                () = shared.cancel.cancelled() => None,
            };
            if let Some(socket) = socket {
                shared.link(principal, socket).await;
            }
            drop(hold);
        });
    }

    /// Notes that something was refused before a link began.
    pub fn refused(&self, reason: RefusedReason) {
        self.0.stats.refused(reason, 1);
    }

    /// The credentials by which links are up, with the access that each gave: each pair once.
    pub fn credentials(&self) -> Vec<(CredentialId, Arc<Access>)> {
        self.0.registry.credentials()
    }

    /// Ends every link that came in by this credential.
    pub fn revoke(&self, credential: CredentialId) {
        self.0.registry.end(credential, &no_longer());
    }

    /// Waits until it was cancelled and all links have ended.
    pub async fn ended(&self) {
        self.0.cancel.cancelled().await;
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Figures for metrics.
    pub fn snapshot(&self) -> AgentSnapshot {
        self.0.stats.snapshot(self.0.registry.devices())
    }
}

fn no_longer() -> HubRefusal {
    let message = "the token or key was revoked, changed or has expired; make another token on the \
                   hub: kobel token create NAME --enroll";
    refusal(RefusalCode::Unauthorized, message.to_owned(), false)
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MAX_MESSAGE)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

impl Shared {
    async fn link<S: Socket>(&self, principal: Principal, socket: S) {
        let socket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(config())).await;
        self.stats.link_begins();
        let Seat { link, mailbox } =
            self.registry.enter(principal.credential, Arc::clone(&principal.access));
        let stats = Arc::clone(&self.stats);
        let logs = self.logs.clone();
        let session = Session::new(self.registry.clone(), self.ingest.clone(), stats, link, logs);
        let seat = Seat { link, mailbox };
        let mut task = LinkTask { shared: self, principal, seat, session, socket };
        let ended = task.run().await;
        let reason = ended.reason();
        task.session.end(&reason, Instant::now());
        let (instance, software) = task.session.name();
        tracing::info!(
            account = %task.principal.name, instance, software,
            devices = task.session.device_count(), reason, "an agent's link ended"
        );
        // Best effort: whoever is gone does not hear it.
        let _ = timeout(FAREWELL, task.farewell(ended)).await;
        self.stats.link_ends();
    }
}

struct LinkTask<'a, S> {
    shared: &'a Shared,
    principal: Principal,
    seat: Seat,
    session: Session,
    socket: WebSocketStream<S>,
}

impl<S: Socket> LinkTask<'_, S> {
    /// Until the link ends. One message is read at a time; while one is written none is read, which
    /// an agent never minds: it reads always.
    async fn run(&mut self) -> Ended {
        let demand = Demand::default();
        let begun = Instant::now();
        let mut heard = begun;
        let mut ping = interval_at(begun + PING, PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let expires = expires(&self.principal, begun);
        loop {
            let deadline = if self.session.has_begun() { heard + DEAD } else { begun + HELLO };
            let say = tokio::select! {
                () = self.shared.cancel.cancelled() => {
                    let message = "the hub is shutting down".to_owned();
                    return refusal(RefusalCode::Shutdown, message, true).into();
                }
                () = self.seat.mailbox.ready.notified() => {
                    let letters = self.seat.mailbox.take();
                    if let Some(words) = letters.end {
                        return words.into();
                    }
                    for command in letters.logs {
                        if let Some(say) = self.session.log_command(command)
                            && let Err(ended) = self.say(&say).await
                        {
                            return ended;
                        }
                    }
                    self.session.lost(letters.lost)
                }
                message = self.socket.next() => {
                    heard = Instant::now();
                    match self.received(message, &demand).await {
                        Ok(say) => say,
                        Err(ended) => return ended,
                    }
                }
                changed = demand.changed() => self.session.needs(changed),
                _ = ping.tick() => match self.write(Message::Ping(Bytes::new())).await {
                    Ok(()) => None,
                    Err(ended) => return ended,
                },
                () = sleep_until(deadline) => {
                    let silent = deadline - if self.session.has_begun() { heard } else { begun };
                    return Ended::Broken(format!("nothing was heard for {} s", silent.as_secs()));
                }
                () = until(expires) => return no_longer().into(),
            };
            if let Some(say) = say
                && let Err(ended) = self.say(&say).await
            {
                return ended;
            }
        }
    }

    async fn received(
        &mut self,
        message: Option<Result<Message, WsError>>,
        demand: &Demand,
    ) -> Result<Option<HubMessage>, Ended> {
        let bytes = match message {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Text(_))) => {
                self.shared.stats.refused(RefusedReason::Protocol, 1);
                let why = "it sent text: the agent link takes binary messages only";
                return Err(Ended::Closed(CloseCode::Unsupported, why.into()));
            }
            Some(Ok(Message::Close(_))) | None => return Err(Ended::Left),
            Some(Ok(_)) => return Ok(None),
            Some(Err(error)) => return Err(self.broken(error)),
        };
        let (wall, now) = (Timestamp::now(), Instant::now());
        let had_begun = self.session.has_begun();
        let step = self.session.receive(&bytes, wall, now)?;
        drop(bytes);
        if !had_begun && self.session.has_begun() {
            let (instance, software) = self.session.name();
            tracing::info!(account = %self.principal.name, instance, software, "an agent has come");
        }
        match step {
            Step::Nothing => Ok(None),
            Step::Say(say) => Ok(Some(say)),
            Step::Claim(claims) => {
                let keys: Vec<_> = claims
                    .devices
                    .iter()
                    .map(|(_, key, claim)| DeviceKey { key, name: &claim.name, tags: &claim.tags })
                    .collect();
                let scope = &self.principal.access.devices;
                let stored = self.shared.store.devices(claims.source, &keys, scope, wall).await;
                let stored = stored.map_err(|error| {
                    tracing::error!(%error, "cannot look up an agent's devices");
                    let message = "the hub's store failed; its log says why".to_owned();
                    refusal(RefusalCode::Overloaded, message, true)
                })?;
                let admitted = self.session.claimed(claims, stored, wall);
                let uuids: Vec<_> = admitted.devices.iter().map(|d| d.device_uuid).collect();
                if let Some(steward) = self.shared.steward.get() {
                    steward.link(uuids.clone()).await;
                }
                self.shared.hub.add_devices(admitted.devices, demand).await;
                for device in &uuids {
                    if let Some(source) = self.session.log_source(*device) {
                        self.shared.sources.set(*device, source);
                    }
                    self.shared.logs.attach(*device, self.seat.link, &self.seat.mailbox);
                }
                for device in uuids {
                    // Behind what the link before may have said of it at its end.
                    self.shared.ingest.state(device, DeviceState::Online, None);
                }
                Ok(Some(admitted.answer))
            }
        }
    }

    fn broken(&self, error: WsError) -> Ended {
        match error {
            WsError::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                self.shared.stats.refused(RefusedReason::TooLarge, 1);
                let why = format!("it sent a message of {size} bytes: the most is {max_size}");
                Ended::Closed(CloseCode::Size, why)
            }
            WsError::Protocol(error) => {
                Ended::Closed(CloseCode::Protocol, format!("it does not keep to RFC 6455: {error}"))
            }
            WsError::ConnectionClosed | WsError::AlreadyClosed => Ended::Left,
            error => Ended::Broken(error.to_string()),
        }
    }

    async fn say(&mut self, message: &HubMessage) -> Result<(), Ended> {
        self.write(Message::Binary(message.encode_to_vec().into())).await
    }

    async fn write(&mut self, message: Message) -> Result<(), Ended> {
        let written = tokio::select! {
            written = timeout(STALL, self.socket.send(message)) => written,
            () = self.shared.cancel.cancelled() => return Ok(()),
        };
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.broken(error)),
            Err(_) => Err(Ended::Broken(format!("it took nothing for {} s", STALL.as_secs()))),
        }
    }

    async fn farewell(&mut self, ended: Ended) {
        let (code, reason) = match ended {
            Ended::Left | Ended::Broken(_) => return,
            Ended::Closed(code, reason) => (code, reason),
            Ended::Refused(words) => {
                let code = match words.code() {
                    RefusalCode::Shutdown => CloseCode::Away,
                    RefusalCode::Protocol => CloseCode::Protocol,
                    _ => CloseCode::Policy,
                };
                let reason = words.message.clone();
                if self.say(&say(hub_message::Body::Refusal(words))).await.is_err() {
                    return;
                }
                (code, reason)
            }
        };
        // A close frame has room for 123 bytes of reason.
        let end = reason.floor_char_boundary(123);
        let frame = CloseFrame { code, reason: reason[..end].into() };
        if self.socket.close(Some(frame)).await.is_ok() {
            // What was on the way is read away, or the kernel would answer it by a reset that
            // overtakes our last words.
            while let Some(Ok(_)) = self.socket.next().await {}
        }
    }
}

/// When the credential ends by itself.
fn expires(principal: &Principal, now: Instant) -> Option<Instant> {
    let left = principal.expires_at?.as_millis() - Timestamp::now().as_millis();
    now.checked_add(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
