//! The way to a remote host's engine: found once, and again when it is no good any more.

use std::{
    fmt, io,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use kobel_wire::{Engine, EngineState};
use tokio::{io::AsyncReadExt, time::timeout};

use super::probe::{self, ANSWER, Found, Program, SocketPath};
use crate::{
    docker::{
        Connection, Dial, Dialing, Reach, Reached, Reaching,
        dial::{LIMIT, failed, identify, tunnel},
    },
    ssh::remote::{Remote, RemoteError},
    text::clean,
};

/// How long until a host without an engine is asked again: a shell is started there for it. And until
/// it is asked at all, once it is connected.
const REST: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(1);

/// A stream to an engine on a remote host.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// A forwarding to its socket.
    Forward(SocketPath),
    /// A program that joins its output to the socket.
    Program(Program, Option<SocketPath>),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(path) => write!(f, "unix://{path}"),
            Self::Program(Program::Docker, _) => f.write_str("docker system dial-stdio"),
            Self::Program(Program::Podman, _) => f.write_str("podman system dial-stdio"),
            Self::Program(program, path) => {
                f.write_str(if *program == Program::Socat { "socat to " } else { "nc to " })?;
                match path {
                    Some(path) => write!(f, "unix://{path}"),
                    None => f.write_str("the engine"),
                }
            }
        }
    }
}

impl Way {
    /// The command of a program's way. Nothing of it came from the host but paths that were checked.
    fn command(program: Program, path: Option<&SocketPath>) -> String {
        let path = path.map_or("", SocketPath::as_str);
        match program {
            Program::Docker if path.is_empty() => "exec docker system dial-stdio".to_owned(),
            Program::Docker => format!("exec docker -H unix://{path} system dial-stdio"),
            Program::Podman => "exec podman system dial-stdio".to_owned(),
            Program::Socat => format!("exec socat - UNIX-CONNECT:{path}"),
            Program::Netcat => format!("exec nc -U {path}"),
        }
    }
}

/// The engine of a host behind a [`Remote`]. Cloned freely.
#[derive(Clone)]
pub struct SshEngine {
    remote: Arc<dyn Remote>,
    only: Option<SocketPath>,
    /// The way that worked last.
    way: Arc<RwLock<Option<Way>>>,
    /// Whether the host was there when it was asked last.
    answered: Arc<AtomicBool>,
}

impl SshEngine {
    /// The engine of this host: at this socket, or wherever one usually is.
    pub fn new(remote: Arc<dyn Remote>, only: Option<SocketPath>) -> Self {
        Self { remote, only, way: Arc::default(), answered: Arc::default() }
    }

    fn way(&self) -> Option<Way> {
        self.way.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, way: Option<Way>) {
        *self.way.write().unwrap_or_else(PoisonError::into_inner) = way;
    }

    async fn open(&self, way: &Way) -> Result<Connection, RemoteError> {
        match way {
            Way::Forward(path) => self.remote.unix(path.as_str()).await,
            Way::Program(program, path) => {
                self.remote.exec(&Way::command(*program, path.as_ref())).await
            }
        }
    }

    async fn look(&self) -> Result<Reached, Engine> {
        let probed = self.probe().await;
        self.answered.store(!matches!(probed, Err(RemoteError::Gone(_))), Relaxed);
        let found = match probed {
            Ok(found) => found,
            // A host that is not there says so itself; of its engine nothing is known.
            Err(RemoteError::Gone(why)) => {
                return Err(failed(
                    EngineState::Unknown,
                    None,
                    format!("The host cannot be reached: {}", clean(&why, 300)),
                ));
            }
            // No command may be run there. A forwarding may still be allowed.
            Err(RemoteError::Refused(_)) => Found::default(),
        };
        let mut failure = None;
        for way in ways(&found, self.only.as_ref()) {
            self.set(Some(way.clone()));
            let name = format!("ssh: {way}");
            match identify(tunnel(Arc::new(self.clone())), &name).await {
                Ok(reached) => return Ok(reached),
                Err(what) => drop(failure.get_or_insert((name, what))),
            }
        }
        self.set(None);
        Err(missing(&found, failure))
    }

    /// Asks the host what there is.
    async fn probe(&self) -> Result<Found, RemoteError> {
        let command = probe::command(self.only.as_ref());
        let asked = timeout(LIMIT, async {
            let stream = self.remote.exec(&command).await?;
            let mut answer = Vec::new();
            // Whatever came until it broke off is read.
            let _ = stream.take(ANSWER as u64).read_to_end(&mut answer).await;
            Ok(answer)
        });
        match asked.await {
            Ok(answer) => answer.map(|answer| probe::read(&answer)),
            Err(_) => Err(RemoteError::Refused("no answer in 10 s".to_owned())),
        }
    }
}

impl Reach for SshEngine {
    fn reach(&self) -> Reaching<'_> {
        Box::pin(async { self.look().await.map_err(Box::new) })
    }

    fn patience(&self) -> Duration {
        // A host that is not connected was asked nothing.
        if self.answered.load(Relaxed) { REST } else { SOON }
    }
}

impl Dial for SshEngine {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(async {
            let way = self.way().ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotConnected, "no engine was found there yet")
            })?;
            self.open(&way).await.map_err(io::Error::other)
        })
    }
}

/// The ways to try, the best first.
fn ways(found: &Found, only: Option<&SocketPath>) -> Vec<Way> {
    // Where nothing is known, as where no command may be run: the usual sockets.
    let usual = || {
        let usual = ["/var/run/docker.sock", "/run/podman/podman.sock"];
        let usual = usual.iter().filter_map(|path| SocketPath::new(path).ok());
        only.cloned().map_or_else(|| usual.collect(), |only| vec![only])
    };
    let open = if found.whole { found.open.clone() } else { usual() };
    let mut ways: Vec<_> = open.iter().cloned().map(Way::Forward).collect();
    if !found.whole {
        return ways;
    }
    let has = |program| found.programs.contains(&program);
    if has(Program::Docker) && (only.is_none() || !open.is_empty()) {
        ways.push(Way::Program(Program::Docker, only.cloned()));
    }
    for program in [Program::Socat, Program::Netcat] {
        if has(program) {
            ways.extend(open.iter().map(|path| Way::Program(program, Some(path.clone()))));
        }
    }
    if has(Program::Podman) && only.is_none() {
        ways.push(Way::Program(Program::Podman, None));
    }
    ways
}

/// What to say where no way led to an engine.
fn missing(found: &Found, failure: Option<(String, String)>) -> Engine {
    if let Some(path) = found.denied.first()
        && found.open.is_empty()
    {
        let message = format!(
            "No right to use the engine there: the socket {path} may not be opened by the user \
             that signs in. Add the user to the group that owns it (on the host: sudo usermod -aG \
             docker USER), or use a rootless engine; Kobel tries again by itself."
        );
        return failed(EngineState::Denied, Some(format!("ssh: unix://{path}")), message);
    }
    match failure {
        Some((name, what)) if found.whole && !found.open.is_empty() => {
            let message = format!(
                "The engine there cannot be read ({name}): {}. If the host's sshd refuses \
                 forwarding, allow it (AllowStreamLocalForwarding yes), or install docker's \
                 command line, socat or nc there. Kobel tries again.",
                clean(&what, 300)
            );
            failed(EngineState::Error, Some(name), message)
        }
        _ => {
            let message = "No Docker or Podman there: none of the usual sockets exists. Start it, \
                           or name its socket in the device's options; Kobel connects by itself \
                           when it appears.";
            failed(EngineState::Absent, None, message.to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
