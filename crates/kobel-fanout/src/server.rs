//! The server as the rest of the process sees it.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    AckId, Answer, Config, DisconnectReason, EngineHandler, Frame, FrameError, Handler, NodeTag,
    Room, Snapshot, SocketId, node,
    shard::{self, Application, Command},
};

/// Commands that wait for a shard. Full: whoever gives the command waits. A shard that is late is
/// out of processor time; it is never late for a slow client.
const WAITING_COMMANDS: usize = 8_192;

/// Why a client gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The question cannot be encoded.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// No answer in time.
    #[error("the client did not answer in time")]
    Timeout,
    /// The client is gone.
    #[error("the client is gone")]
    Gone,
}

/// A running server. Cloned freely. Commands given by one task reach a socket in the order in
/// which they were given, but for frames of two rooms while these are
/// [gathered](crate::Gathering): order then holds in each room, and between a room and what is sent
/// to the socket itself.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    shards: Vec<mpsc::Sender<Command>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    next: AtomicUsize,
    sessions: Arc<AtomicUsize>,
    /// Connections that take deflated messages.
    deflating: Arc<AtomicUsize>,
    /// Upgrades under way; each ends with its request, or with `closing`.
    upgrades: TaskTracker,
    /// Set when the server shuts down: no sessions are opened any more.
    closing: CancellationToken,
}

impl Server {
    /// Starts a Socket.IO server's shards.
    ///
    /// # Errors
    /// When a thread or its event loop cannot be made.
    pub fn start(config: Config, handler: Arc<dyn Handler>) -> io::Result<Self> {
        Self::with(config, &Application::SocketIo(handler))
    }

    /// Starts a server of bare Engine.IO, without Socket.IO above it.
    ///
    /// # Errors
    /// When a thread or its event loop cannot be made.
    pub fn start_engine(config: Config, handler: Arc<dyn EngineHandler>) -> io::Result<Self> {
        Self::with(config, &Application::EngineIo(handler))
    }

    fn with(config: Config, application: &Application) -> io::Result<Self> {
        let config = Arc::new(config);
        let (mut shards, mut threads) = (Vec::new(), Vec::new());
        let deflating = Arc::<AtomicUsize>::default();
        for number in 0..config.shards.clamp(1, 250) {
            let (tx, rx) = mpsc::channel(WAITING_COMMANDS);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (config, application) = (Arc::clone(&config), application.clone());
            let deflating = Arc::clone(&deflating);
            let verdicts = tx.downgrade();
            let thread = std::thread::Builder::new().name(format!("shard-{number}"));
            threads.push(thread.spawn(move || {
                runtime.block_on(shard::run(number, config, application, rx, verdicts, deflating));
            })?);
            shards.push(tx);
        }
        Ok(Self(Arc::new(Inner {
            config,
            shards,
            threads: Mutex::new(threads),
            next: AtomicUsize::new(0),
            sessions: Arc::default(),
            deflating,
            upgrades: TaskTracker::new(),
            closing: CancellationToken::new(),
        })))
    }

    /// How the server was made to behave.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Sends a frame to every member of a room in the frame's namespace. It is deflated here, once,
    /// if anybody takes it so and it is worth it.
    pub async fn publish(&self, room: &Room, frame: Arc<Frame>) {
        if let Some(least) = self.0.config.deflate_from
            && self.0.deflating.load(Ordering::Relaxed) > 0
        {
            frame.deflate(least);
        }
        let at = Instant::now();
        for number in 0..self.0.shards.len() {
            let (room, frame) = (room.clone(), Arc::clone(&frame));
            self.send(number, Command::Publish { room, frame, at }).await;
        }
    }

    /// Sends a frame to one socket.
    pub async fn emit(&self, socket: SocketId, frame: Arc<Frame>) {
        self.send(socket.shard(), Command::Emit { socket, frame }).await;
    }

    /// Answers an event with one argument. What cannot be encoded is answered with `null`.
    pub async fn ack<T: Serialize>(&self, socket: SocketId, ack: AckId, argument: &T) {
        let args = serde_json::to_string(&[argument]).unwrap_or_else(|_| "[null]".into());
        self.send(socket.shard(), Command::Ack { socket, ack, args }).await;
    }

    /// Sends an event with one argument and waits for the client's answer, at most `limit`.
    ///
    /// # Errors
    /// When the client is gone or does not answer, or the argument cannot be encoded.
    pub async fn ask<T: Serialize>(
        &self,
        socket: SocketId,
        event: &str,
        argument: &T,
        limit: Duration,
    ) -> Result<Vec<Box<RawValue>>, AskError> {
        Ok(self.ask_binary(socket, event, argument, limit).await?.args)
    }

    /// The same for an answer that may have attachments.
    ///
    /// # Errors
    /// When the client is gone or does not answer, or the argument cannot be encoded.
    pub async fn ask_binary<T: Serialize>(
        &self,
        socket: SocketId,
        event: &str,
        argument: &T,
        limit: Duration,
    ) -> Result<Answer, AskError> {
        let args = serde_json::to_string(&(event, argument)).map_err(FrameError::from)?;
        let (answer, answered) = oneshot::channel();
        self.send(socket.shard(), Command::Ask { socket, args, answer }).await;
        match tokio::time::timeout(limit, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(AskError::Gone),
            Err(_) => Err(AskError::Timeout),
        }
    }

    /// Puts a socket into a room.
    pub async fn join(&self, socket: SocketId, room: Room) {
        self.send(socket.shard(), Command::Join { socket, room }).await;
    }

    /// Takes a socket out of a room.
    pub async fn leave(&self, socket: SocketId, room: &Room) {
        let room = room.clone();
        self.send(socket.shard(), Command::Leave { socket, room }).await;
    }

    /// Ends a socket: a DISCONNECT packet, and the end of the connection when it has no other
    /// namespace.
    pub async fn disconnect(&self, socket: SocketId, reason: DisconnectReason) {
        self.send(socket.shard(), Command::Disconnect { socket, reason }).await;
    }

    /// Figures of all shards.
    pub async fn snapshot(&self) -> Snapshot {
        let mut all = Snapshot::default();
        for number in 0..self.0.shards.len() {
            let (reply, snapshot) = oneshot::channel();
            self.send(number, Command::Snapshot { reply }).await;
            if let Ok(snapshot) = snapshot.await {
                all.add(snapshot);
            }
        }
        all
    }

    /// Ends the server: says `farewell` to each socket, lets what waits go out for at most
    /// `grace`, closes every connection and joins the threads.
    pub async fn shutdown(
        &self,
        grace: Duration,
        farewell: impl Fn(SocketId) -> Option<Arc<Frame>> + Send + Sync + 'static,
    ) {
        self.0.closing.cancel();
        self.0.upgrades.close();
        self.0.upgrades.wait().await;
        let farewell = Arc::new(farewell);
        let mut ends = Vec::new();
        for number in 0..self.0.shards.len() {
            let (done, end) = oneshot::channel();
            let farewell = Arc::clone(&farewell) as Arc<_>;
            self.send(number, Command::Shutdown { grace, farewell, done }).await;
            ends.push(end);
        }
        for end in ends {
            // A shard that ended before has nothing to say.
            let _ = end.await;
        }
        let threads =
            std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a shard panicked");
                }
            }
        });
        // Only a panic inside could fail it, and that is logged above.
        let _ = joined.await;
    }

    /// Gives a command to a shard; one that has ended has nothing left to command.
    pub(crate) async fn send(&self, shard: usize, command: Command) {
        if let Some(shard) = self.0.shards.get(shard) {
            let _ = shard.send(command).await;
        }
    }

    /// A place for one more session, unless there are too many.
    pub(crate) fn reserve(&self) -> Option<Reserved> {
        let place = Reserved(Arc::clone(&self.0.sessions));
        let before = self.0.sessions.fetch_add(1, Ordering::Relaxed);
        // Over the limit, the place is given back as it is dropped.
        (before < self.0.config.limits.sessions).then_some(place)
    }

    /// The shard for the next session, in turn.
    pub(crate) fn next_shard(&self) -> usize {
        self.0.next.fetch_add(1, Ordering::Relaxed) % self.0.shards.len()
    }

    pub(crate) fn upgrades(&self) -> &TaskTracker {
        &self.0.upgrades
    }

    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }
}

/// A session's place among those of the server; given back when it is dropped.
pub(crate) struct Reserved(Arc<AtomicUsize>);

impl Drop for Reserved {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A session id: the server's tag where it has one, the shard's number, then 120 random bits.
pub(crate) fn new_sid(node: Option<&NodeTag>, shard: usize) -> Result<Box<str>, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes[1..])?;
    bytes[0] = shard as u8;
    let random = URL_SAFE_NO_PAD.encode(bytes);
    Ok(node.map_or_else(|| random.clone(), |node| node.name(&random)).into())
}

/// The shard that a session id names.
pub(crate) fn shard_of(sid: &str) -> Option<usize> {
    let random = node::random_part(sid);
    // 22 characters are 16 bytes; anything else is not ours. Another server's is not known there.
    let bytes = (random.len() == 22).then(|| URL_SAFE_NO_PAD.decode(random).ok())??;
    bytes.first().map(|shard| usize::from(*shard))
}
