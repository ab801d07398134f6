//! Where a container engine may be.

use std::{fmt, io, path::PathBuf};

use bollard::{API_DEFAULT_VERSION, Docker};
use kobel_wire::{Engine, EngineKind, EngineState};
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::dial::{Connection, Dial, Dialing, LIMIT, Reach, Reached, Reaching, failed, identify};
use crate::text::clean;

/// Places to look for an engine, in their order.
#[derive(Debug, Clone)]
pub struct Endpoints(Vec<Endpoint>);

/// Why a text names no engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no address of a container engine: use unix:///run/docker.sock or tcp://127.0.0.1:2375"
)]
pub struct EndpointError(String);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Unix(PathBuf),
    Tcp(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl Endpoints {
    /// As the command line of Docker finds its engine: `DOCKER_HOST` alone, if it is set. Else the
    /// usual sockets of Docker and Podman, the system's before the user's own.
    pub fn from_env() -> Self {
        Self::of(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        if let Some(host) = variable("DOCKER_HOST") {
            match Self::only(&host) {
                Ok(only) => return only,
                Err(error) => tracing::warn!(%error, "DOCKER_HOST is not used"),
            }
        }
        let below = |name: &str, path: &str| Some(PathBuf::from(variable(name)?).join(path));
        let sockets = [
            Some("/var/run/docker.sock".into()),
            below("XDG_RUNTIME_DIR", "docker.sock"),
            below("HOME", ".docker/run/docker.sock"),
            Some("/run/podman/podman.sock".into()),
            below("XDG_RUNTIME_DIR", "podman/podman.sock"),
        ];
        Self(sockets.into_iter().flatten().map(Endpoint::Unix).collect())
    }

    /// This one only: `unix:///path`, `/path` or `tcp://host:port`.
    ///
    /// # Errors
    /// When the text is none of these.
    pub fn only(endpoint: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError(endpoint.to_owned());
        let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
        if path.starts_with('/') {
            return Ok(Self(vec![Endpoint::Unix(path.into())]));
        }
        let address = endpoint.strip_prefix("tcp://").ok_or_else(wrong)?.trim_end_matches('/');
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        Ok(Self(vec![Endpoint::Tcp(address.to_owned())]))
    }

    /// The first engine that answers; or what to say of their absence.
    async fn connect(&self) -> Result<Reached, Engine> {
        let mut worst: Option<Engine> = None;
        for endpoint in &self.0 {
            match endpoint.connect().await {
                Ok(reached) => return Ok(reached),
                Err(engine) => {
                    // One that is there and fails says more than one that is not there.
                    let better = engine.state != EngineState::Absent
                        && worst.as_ref().is_none_or(|w| w.state == EngineState::Absent);
                    if better {
                        worst = Some(engine);
                    }
                }
            }
        }
        Err(worst.unwrap_or_else(|| self.absent()))
    }

    /// A bare connection to the first that takes one; the error of the first where none does.
    async fn open(&self) -> io::Result<Connection> {
        let mut first = None;
        for endpoint in &self.0 {
            let opened: io::Result<Connection> = match endpoint {
                Endpoint::Unix(path) => UnixStream::connect(path).await.map(|s| Box::new(s) as _),
                Endpoint::Tcp(at) => {
                    TcpStream::connect(at.as_str()).await.map(|s| Box::new(s) as _)
                }
            };
            match opened {
                Ok(stream) => return Ok(stream),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(first.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }

    fn absent(&self) -> Engine {
        let tried: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        let tried = match tried.as_slice() {
            [only] => format!("nobody listens on {only}"),
            all => format!("nobody listens on any of {}", all.join(", ")),
        };
        let message = format!(
            "No Docker or Podman here: {tried}. Start it, or name its socket by --docker; Kobel \
             connects by itself when it appears."
        );
        failed(EngineState::Absent, self.0.first().map(ToString::to_string), message)
    }
}

impl Reach for Endpoints {
    fn reach(&self) -> Reaching<'_> {
        Box::pin(async { self.connect().await.map_err(Box::new) })
    }
}

impl Dial for Endpoints {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(self.open())
    }
}

impl Endpoint {
    async fn connect(&self) -> Result<Reached, Engine> {
        // Once by hand, for the system's own word on what is wrong.
        let tried = timeout(LIMIT, async {
            match self {
                Self::Unix(path) => UnixStream::connect(path).await.map(drop),
                Self::Tcp(address) => TcpStream::connect(address.as_str()).await.map(drop),
            }
        });
        match tried.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(self.refused(&error)),
            Err(_) => return Err(self.error("no answer in 10 s")),
        }
        let seconds = LIMIT.as_secs();
        let docker = match self {
            Self::Unix(_) => {
                Docker::connect_with_unix(&self.to_string(), seconds, API_DEFAULT_VERSION)
            }
            Self::Tcp(_) => {
                Docker::connect_with_http(&self.to_string(), seconds, API_DEFAULT_VERSION)
            }
        };
        identify(docker, &self.to_string()).await.map_err(|what| self.error(&what))
    }

    fn refused(&self, error: &io::Error) -> Engine {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Endpoints(vec![self.clone()]).absent()
            }
            io::ErrorKind::PermissionDenied => {
                let message = format!(
                    "No right to use Docker: the socket {self} may not be opened by this user. \
                     Add the user to the group that owns it (sudo usermod -aG docker USER) and \
                     start Kobel again."
                );
                failed(EngineState::Denied, Some(self.to_string()), message)
            }
            _ => self.error(&error.to_string()),
        }
    }

    fn error(&self, what: &str) -> Engine {
        let what = clean(what, 300);
        let message = format!("Docker at {self} cannot be read: {what}. Kobel tries again.");
        failed(EngineState::Error, Some(self.to_string()), message)
    }
}

/// What people call an engine.
pub(super) fn name_of(kind: Option<EngineKind>) -> &'static str {
    match kind {
        Some(EngineKind::Podman) => "Podman",
        _ => "Docker",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_host_alone_else_the_usual_sockets() {
        let names = |endpoints: Endpoints| -> Vec<_> {
            endpoints.0.iter().map(ToString::to_string).collect()
        };
        let set = |name: &str| (name == "DOCKER_HOST").then(|| "unix:///x/d.sock".to_owned());
        assert_eq!(names(Endpoints::of(set)), ["unix:///x/d.sock"]);
        let usual = |name: &str| match name {
            "XDG_RUNTIME_DIR" => Some("/run/user/7".into()),
            // One that cannot be used is passed over.
            "DOCKER_HOST" => Some("ssh://host".into()),
            _ => None,
        };
        assert_eq!(
            names(Endpoints::of(usual)),
            [
                "unix:///var/run/docker.sock",
                "unix:///run/user/7/docker.sock",
                "unix:///run/podman/podman.sock",
                "unix:///run/user/7/podman/podman.sock"
            ]
        );
    }

    #[test]
    fn addresses() {
        for good in ["unix:///a.sock", "/a.sock", "tcp://127.0.0.1:2375", "tcp://[::1]:2375/"] {
            assert!(Endpoints::only(good).is_ok(), "{good}");
        }
        for bad in ["", "a.sock", "unix://a", "tcp://host", "tcp://:1", "ssh://host", "http://a:1"]
        {
            assert!(Endpoints::only(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn what_is_missing_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.sock");
        let endpoints = Endpoints::only(path.to_str().unwrap()).unwrap();
        let absent = endpoints.connect().await.unwrap_err();
        assert_eq!(absent.state, EngineState::Absent);
        assert!(absent.message.unwrap().contains("nobody listens on unix:///"));
        // A socket that nobody answers on any more, as after a crash.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert_eq!(endpoints.connect().await.unwrap_err().state, EngineState::Absent);
    }

    #[tokio::test]
    async fn somebody_who_is_no_engine_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let _ =
                    tokio::io::AsyncWriteExt::write_all(&mut socket, b"\x1b[31m nonsense").await;
            }
        });
        let error = Endpoints::only(path.to_str().unwrap()).unwrap().connect().await.unwrap_err();
        assert_eq!(error.state, EngineState::Error);
        assert!(!error.message.unwrap().contains('\x1b'));
    }
}
