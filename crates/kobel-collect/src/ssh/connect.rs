//! Dials a host, over its jump hosts, and signs in.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use russh::{
    client::{self, Handle, Msg},
    keys::{HashAlg, PublicKeyOrCertificate},
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{
    error::SshError,
    sign_in::sign_in,
    spec::{Hop, HostKey, HostKeys, SshSpec, Verdict},
};
use crate::text::clean;

/// How long each step may take: to resolve, to connect, to shake hands, to sign in.
pub(super) const STEP: Duration = Duration::from_secs(10);

/// The most addresses of a name that are tried.
const ADDRESSES: usize = 4;

/// Something is sent when nothing came in this time; after three without an answer the connection
/// is given up.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Bytes of a channel that the host may send before we took any.
const WINDOW: u32 = 256 << 10;

/// Messages of a channel that wait in memory, each up to 32 KB. Full: the whole connection waits,
/// so whoever reads a channel must not wait for others.
const WAITING: usize = 16;

/// A connection that is signed in.
pub struct SshConnection {
    pub(super) handle: Handle<Client>,
    /// The connections that this one goes through; they end with it.
    _jumps: Vec<Handle<Client>>,
    host: Hop,
}

/// Hears of the steps, for a test of a host.
pub trait Steps: Send + Sync {
    /// A step was done, such as "resolve", and what came out.
    fn done(&self, step: Step, what: String);
    /// The first key of a host was taken, and must be pinned.
    fn pin(&self, key: HostKey);
}

/// A step on the way to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The name has an address.
    Resolve,
    /// Somebody answers there.
    Connect,
    /// It is who it should be.
    HostKey,
    /// It lets us in.
    SignIn,
    /// It runs commands.
    Shell,
    /// It gives metrics.
    Metrics,
    /// It gives its containers.
    Docker,
}

impl SshConnection {
    /// Dials, checks the host's key, signs in. Takes at most some 10 s a step and host.
    ///
    /// # Errors
    /// [`SshError`], with what to do.
    pub async fn open(spec: &SshSpec, steps: &dyn Steps) -> Result<Self, SshError> {
        let mut jumps: Vec<Handle<Client>> = Vec::new();
        for hop in &spec.jumps {
            let handle = through(jumps.last(), hop, spec, &Quiet(steps)).await?;
            jumps.push(handle);
        }
        let handle = through(jumps.last(), &spec.host, spec, steps).await?;
        Ok(Self { handle, _jumps: jumps, host: spec.host.clone() })
    }

    /// The host at the other end.
    pub fn host(&self) -> &Hop {
        &self.host
    }

    /// Whether it is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }
}

/// A hop on the way: its steps are not told, its key is pinned.
struct Quiet<'a>(&'a dyn Steps);

impl Steps for Quiet<'_> {
    fn done(&self, _: Step, _: String) {}

    fn pin(&self, key: HostKey) {
        self.0.pin(key);
    }
}

async fn through(
    before: Option<&Handle<Client>>,
    hop: &Hop,
    spec: &SshSpec,
    steps: &dyn Steps,
) -> Result<Handle<Client>, SshError> {
    let seen = Arc::new(Mutex::new(None));
    let client =
        Client { host: hop.to_string(), keys: spec.host_keys.clone(), seen: Arc::clone(&seen) };
    let config = Arc::new(config());
    let connected = match before {
        None => {
            let stream = dial(hop, steps).await?;
            timeout(STEP, client::connect_stream(config, stream, client)).await
        }
        Some(before) => {
            let gone = |why: String| SshError::Connect { host: hop.to_string(), why };
            let open =
                before.channel_open_direct_tcpip(hop.host.clone(), hop.port.into(), "127.0.0.1", 0);
            let channel = timeout(STEP, open)
                .await
                .map_err(|_| gone("no answer from the jump host in 10 s".to_owned()))?
                .map_err(|error| {
                    gone(format!("the jump host does not connect: {}", words(&error)))
                })?;
            steps.done(Step::Connect, format!("through {} to {hop}", "the jump host"));
            timeout(STEP, client::connect_stream(config, channel.into_stream(), client)).await
        }
    };
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    let host = hop.to_string();
    let mut handle = match (connected, &seen) {
        (Ok(Ok(handle)), _) => handle,
        (_, Some((HostKey { host, fingerprint }, Verdict::Unknown))) => {
            let (host, fingerprint) = (host.clone(), fingerprint.clone());
            return Err(SshError::HostKeyUnknown { host, fingerprint });
        }
        (_, Some((HostKey { host, fingerprint }, Verdict::Changed(pinned)))) => {
            let (host, fingerprint) = (host.clone(), fingerprint.clone());
            return Err(SshError::HostKeyChanged { host, fingerprint, pinned: pinned.clone() });
        }
        (Ok(Err(error)), _) => return Err(SshError::Handshake { host, why: words(&error) }),
        (Err(_), _) => {
            return Err(SshError::Handshake { host, why: "no answer in 10 s".to_owned() });
        }
    };
    if let Some((key, verdict)) = seen {
        let new = if verdict == Verdict::New { " (new; pinned from now on)" } else { "" };
        steps.done(Step::HostKey, format!("{}{new}", key.fingerprint));
        if verdict == Verdict::New {
            steps.pin(key);
        }
    }
    let how = sign_in(&mut handle, hop, &spec.sign_in).await?;
    steps.done(Step::SignIn, format!("{} by {how}", hop.user));
    Ok(handle)
}

async fn dial(hop: &Hop, steps: &dyn Steps) -> Result<TcpStream, SshError> {
    let unknown = |why: String| SshError::Resolve { host: hop.host.clone(), why };
    let found = timeout(STEP, lookup_host((hop.host.as_str(), hop.port)))
        .await
        .map_err(|_| unknown("no answer in 10 s".to_owned()))?
        .map_err(|error| unknown(error.to_string()))?;
    let addresses: Vec<_> = found.take(ADDRESSES).collect();
    let Some(first) = addresses.first() else {
        return Err(unknown("the name is there, and has no address".to_owned()));
    };
    steps.done(Step::Resolve, first.ip().to_string());
    let mut why = String::new();
    for address in addresses {
        match timeout(STEP, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                steps.done(Step::Connect, address.to_string());
                return Ok(stream);
            }
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => why = "no answer in 10 s".to_owned(),
        }
    }
    Err(SshError::Connect { host: hop.to_string(), why })
}

fn config() -> client::Config {
    client::Config {
        window_size: WINDOW,
        channel_buffer_size: WAITING,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: 3,
        // Each request is small and waits for its answer.
        nodelay: true,
        ..client::Config::default()
    }
}

/// The library's words, cut and made fit to show.
pub(super) fn words(error: &russh::Error) -> String {
    clean(&error.to_string(), 300)
}

/// What russh asks of us.
pub(super) struct Client {
    host: String,
    keys: HostKeys,
    seen: Arc<Mutex<Option<(HostKey, Verdict)>>>,
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let fingerprint = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.fingerprint(HashAlg::Sha256),
            // Its authority is nobody that we know; the key in it can be pinned as any.
            PublicKeyOrCertificate::Certificate(certificate) => {
                certificate.public_key().fingerprint(HashAlg::Sha256)
            }
        };
        let key = HostKey { host: self.host.clone(), fingerprint: fingerprint.to_string() };
        let verdict = self.keys.verdict(&key);
        let right = matches!(verdict, Verdict::Known | Verdict::New);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((key, verdict));
        Ok(right)
    }
}

/// A channel of a connection.
pub(super) type Channel = russh::Channel<Msg>;
