//! The connection to Redis: made again whenever it breaks, with the channels that are listened to.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, PushInfo, PushKind, RedisError, Script,
    ScriptInvocation, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster_async::ClusterConnection,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::config::{ClusterUrl, Server};

/// How long a command may take, and a connection to be made.
const ANSWER: Duration = Duration::from_secs(2);

/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// So many channels are named in one command.
const CHANNELS: usize = 500;

/// Why Redis did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BusError {
    /// There is no connection.
    #[error("there is no connection to Redis")]
    Down,
    /// It answered otherwise, late, or not at all.
    #[error("Redis: {0}")]
    Redis(String),
    /// What was to be said cannot be encoded, or what was said not be read.
    #[error("a message of the cluster: {0}")]
    Message(String),
}

impl BusError {
    pub(super) fn message(error: impl fmt::Display) -> Self {
        Self::Message(error.to_string())
    }
}

impl From<RedisError> for BusError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error.to_string())
    }
}

/// Whether there is a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// There is none; it is tried again.
    Down,
    /// The so-manieth. Whenever the number is another one, messages may have been missed.
    Up(u64),
}

/// A message on a channel, as its writer numbered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The channel.
    pub channel: Arc<str>,
    /// By which token it was written; 0 where none is needed.
    pub token: u64,
    /// Its number in what is kept; 0 for what is not.
    pub n: u64,
    /// What it says.
    pub payload: Bytes,
}

impl Message {
    /// `<token> <n> <payload>`.
    fn read(channel: &str, bytes: &[u8]) -> Option<Self> {
        let mut parts = bytes.splitn(3, |byte| *byte == b' ');
        let number = |part: Option<&[u8]>| std::str::from_utf8(part?).ok()?.parse().ok();
        let (token, n) = (number(parts.next())?, number(parts.next())?);
        let payload = Bytes::copy_from_slice(parts.next()?);
        Some(Self { channel: channel.into(), token, n, payload })
    }
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// How much went through, since the start.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) commands: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) messages_in: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) connections: AtomicU64,
}

struct Shared {
    url: ClusterUrl,
    connection: RwLock<Option<(u64, Connection)>>,
    state: watch::Sender<LinkState>,
    /// Who hears what comes on a channel. Full: the message is dropped; numbers tell.
    routes: RwLock<HashMap<String, mpsc::Sender<Message>>>,
    broken: Notify,
    traffic: Traffic,
}

/// A connection to Redis. Cloned freely.
#[derive(Clone)]
pub struct Link(Arc<Shared>);

impl Link {
    /// One that is made as soon as [`Link::run`] runs.
    pub fn new(url: ClusterUrl) -> Self {
        Self(Arc::new(Shared {
            url,
            connection: RwLock::default(),
            state: watch::Sender::new(LinkState::Down),
            routes: RwLock::default(),
            broken: Notify::new(),
            traffic: Traffic::default(),
        }))
    }

    /// Whether there is a connection.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.0.state.subscribe()
    }

    /// How much went through.
    pub(super) fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    /// The name of the command that publishes here.
    pub(super) fn publish_command(&self) -> &'static str {
        if self.0.url.is_cluster() { "SPUBLISH" } else { "PUBLISH" }
    }

    /// Keeps the connection until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let mut made = 0;
        let mut told = false;
        loop {
            let connected = tokio::select! {
                () = cancel.cancelled() => break,
                connected = self.connect(made + 1) => connected,
            };
            match connected {
                Ok(connection) => {
                    made += 1;
                    told = false;
                    self.set(Some((made, connection)));
                    self.0.traffic.connections.fetch_add(1, Relaxed);
                    tracing::info!(redis = %self.0.url, "connected to Redis");
                    self.0.state.send_replace(LinkState::Up(made));
                    tokio::select! {
                        () = cancel.cancelled() => break,
                        () = self.0.broken.notified() => {}
                    }
                    self.set(None);
                    self.0.state.send_replace(LinkState::Down);
                }
                Err(error) if !told => {
                    told = true;
                    tracing::warn!(redis = %self.0.url, %error, "cannot reach Redis; it is tried again");
                }
                Err(error) => tracing::debug!(%error, "cannot reach Redis"),
            }
            tokio::select! {
                () = cancel.cancelled() => break,
                () = sleep(AGAIN) => {}
            }
        }
        self.set(None);
        self.0.state.send_replace(LinkState::Down);
    }

    fn set(&self, connection: Option<(u64, Connection)>) {
        *self.0.connection.write().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    async fn connect(&self, number: u64) -> Result<Connection, BusError> {
        let late = |_| BusError::Redis("it did not answer in time".into());
        let this = self.clone();
        let hear = move |push: PushInfo| -> Result<(), ()> {
            this.hear(number, &push);
            Ok(())
        };
        let config = || {
            AsyncConnectionConfig::new()
                .set_connection_timeout(Some(ANSWER))
                .set_response_timeout(Some(ANSWER))
        };
        let mut connection = match self.0.url.server()? {
            Server::Single(client) => {
                let config = config().set_push_sender(hear);
                let made = client.get_multiplexed_async_connection_with_config(&config);
                Connection::Single(timeout(ANSWER * 2, made).await.map_err(late)??)
            }
            Server::Sentinel(mut client) => {
                let config = config().set_push_sender(hear);
                let made = client.get_async_connection_with_config(&config);
                Connection::Single(timeout(ANSWER * 3, made).await.map_err(late)??)
            }
            Server::Cluster(builder) => {
                let client = builder
                    .connection_timeout(ANSWER)
                    .response_timeout(ANSWER)
                    .push_sender(hear)
                    .build()?;
                let made = client.get_async_connection();
                Connection::Cluster(timeout(ANSWER * 3, made).await.map_err(late)??)
            }
        };
        let channels: Vec<String> = {
            let routes = self.0.routes.read().unwrap_or_else(PoisonError::into_inner);
            routes.keys().cloned().collect()
        };
        listen(&mut connection, &channels).await?;
        Ok(connection)
    }

    /// What Redis says by itself.
    fn hear(&self, number: u64, push: &PushInfo) {
        match push.kind {
            PushKind::Disconnection => {
                let current = self.0.connection.read().unwrap_or_else(PoisonError::into_inner);
                if current.as_ref().is_some_and(|(current, _)| *current == number) {
                    self.0.broken.notify_one();
                }
            }
            PushKind::Message | PushKind::SMessage => {
                let [Value::BulkString(channel), Value::BulkString(bytes)] = push.data.as_slice()
                else {
                    return;
                };
                self.0.traffic.messages_in.fetch_add(1, Relaxed);
                self.0.traffic.bytes_in.fetch_add(bytes.len() as u64, Relaxed);
                let Ok(channel) = std::str::from_utf8(channel) else { return };
                let route = {
                    let routes = self.0.routes.read().unwrap_or_else(PoisonError::into_inner);
                    routes.get(channel).cloned()
                };
                let (Some(route), Some(message)) = (route, Message::read(channel, bytes)) else {
                    return;
                };
                if route.try_send(message).is_err() {
                    self.0.traffic.dropped.fetch_add(1, Relaxed);
                }
            }
            _ => {}
        }
    }

    fn current(&self) -> Result<(u64, Connection), BusError> {
        let current = self.0.connection.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or(BusError::Down)
    }

    /// An answer that says that the connection is of no use any more.
    fn checked<T>(&self, number: u64, answer: Result<T, RedisError>) -> Result<T, BusError> {
        answer.map_err(|error| {
            self.0.traffic.failed.fetch_add(1, Relaxed);
            let dead = error.is_io_error()
                || error.is_timeout()
                || error.is_connection_dropped()
                // A master that became a replica.
                || error.code() == Some("READONLY")
                || matches!(error.kind(), ErrorKind::AuthenticationFailed);
            if dead {
                let current = self.0.connection.read().unwrap_or_else(PoisonError::into_inner);
                if current.as_ref().is_some_and(|(current, _)| *current == number) {
                    self.0.broken.notify_one();
                }
            }
            error.into()
        })
    }

    /// Hears what comes on these channels from now on.
    pub(super) async fn listen(
        &self,
        channels: &[String],
        to: &mpsc::Sender<Message>,
    ) -> Result<(), BusError> {
        {
            let mut routes = self.0.routes.write().unwrap_or_else(PoisonError::into_inner);
            routes.extend(channels.iter().map(|channel| (channel.clone(), to.clone())));
        }
        // Without a connection the next one begins with them.
        let (number, mut connection) = self.current()?;
        let heard = listen(&mut connection, channels).await;
        self.checked(number, heard)
    }

    /// Hears these channels no more.
    pub(super) async fn forget(&self, channels: &[String]) {
        {
            let mut routes = self.0.routes.write().unwrap_or_else(PoisonError::into_inner);
            for channel in channels {
                routes.remove(channel);
            }
        }
        let Ok((number, mut connection)) = self.current() else { return };
        let mut answer = Ok(());
        for some in channels.chunks(CHANNELS) {
            answer = match &mut connection {
                Connection::Single(connection) => connection.unsubscribe(some).await,
                Connection::Cluster(connection) => {
                    let mut answer = Ok(());
                    for channel in some {
                        answer = answer.and(connection.sunsubscribe(channel).await);
                    }
                    answer
                }
            };
        }
        let _ = self.checked(number, answer);
    }

    /// Runs a script.
    pub(super) async fn script<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: impl FnOnce(&mut ScriptInvocation<'_>),
    ) -> Result<T, BusError> {
        let (number, connection) = self.current()?;
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(*key);
        }
        args(&mut call);
        self.0.traffic.commands.fetch_add(1, Relaxed);
        let answer = match connection {
            Connection::Single(mut connection) => call.invoke_async(&mut connection).await,
            Connection::Cluster(mut connection) => call.invoke_async(&mut connection).await,
        };
        self.checked(number, answer)
    }

    /// Runs a command.
    pub(super) async fn command<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, BusError> {
        let (number, connection) = self.current()?;
        self.0.traffic.commands.fetch_add(1, Relaxed);
        let answer = match connection {
            Connection::Single(mut connection) => connection.req_packed_command(cmd).await,
            Connection::Cluster(mut connection) => connection.req_packed_command(cmd).await,
        };
        let value = self.checked(number, answer)?;
        // A pipeline's answers aside, an error is a value here.
        let value = self.checked(number, value.extract_error())?;
        T::from_redis_value(value).map_err(BusError::message)
    }

    /// Tells everybody who listens to a channel.
    pub(super) async fn tell(&self, channel: &str, payload: &[u8]) -> Result<(), BusError> {
        let mut message = b"0 0 ".to_vec();
        message.extend_from_slice(payload);
        self.0.traffic.bytes_out.fetch_add(message.len() as u64, Relaxed);
        let mut cmd = redis::cmd(self.publish_command());
        cmd.arg(channel).arg(message);
        let _heard_by: i64 = self.command(&cmd).await?;
        Ok(())
    }
}

async fn listen(connection: &mut Connection, channels: &[String]) -> Result<(), RedisError> {
    for some in channels.chunks(CHANNELS) {
        match connection {
            Connection::Single(connection) => connection.subscribe(some).await?,
            Connection::Cluster(connection) => {
                for channel in some {
                    connection.ssubscribe(channel).await?;
                }
            }
        }
    }
    Ok(())
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.0.url).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_its_token_and_number() {
        let message = Message::read("c", b"12 3 a b").unwrap();
        assert_eq!((message.token, message.n, &*message.payload), (12, 3, &b"a b"[..]));
        assert_eq!(&*Message::read("c", b"0 0 ").unwrap().payload, b"");
        for wrong in [&b""[..], b"1", b"1 2", b"x 1 y", b"1 -1 y", b"99999999999999999999 1 y"] {
            assert_eq!(Message::read("c", wrong), None, "{wrong:?}");
        }
    }
}
