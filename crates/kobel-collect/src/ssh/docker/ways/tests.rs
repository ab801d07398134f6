use std::process::Stdio;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::join,
    net::{UnixListener, UnixStream},
    process::Command,
};

use super::*;
use crate::ssh::remote::Opening;

/// This machine as a remote one.
struct Here {
    /// What sshd says to a forwarding.
    forwards: bool,
    /// What comes before the output of a command.
    path: String,
}

impl Remote for Here {
    fn exec<'a>(&'a self, command: &'a str) -> Opening<'a> {
        Box::pin(async move {
            let mut child = Command::new("sh")
                .args(["-c", command])
                .env("PATH", &self.path)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .map_err(|error| RemoteError::Refused(error.to_string()))?;
            let stream = join(child.stdout.take().unwrap(), child.stdin.take().unwrap());
            tokio::spawn(async move { child.wait().await });
            Ok(Box::new(stream) as Connection)
        })
    }

    fn unix<'a>(&'a self, path: &'a str) -> Opening<'a> {
        Box::pin(async move {
            if !self.forwards {
                return Err(RemoteError::Refused("open failed".to_owned()));
            }
            let stream = UnixStream::connect(path).await;
            stream.map(|s| Box::new(s) as _).map_err(|e| RemoteError::Refused(e.to_string()))
        })
    }
}

/// An engine that says its version on a socket.
fn engine(folder: &std::path::Path) -> SocketPath {
    let at = folder.join("engine.sock");
    let listener = UnixListener::bind(&at).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = |request: Request<Incoming>| async move {
                assert!(request.uri().path().ends_with("/version"), "{}", request.uri());
                assert!(request.uri().authority().is_none());
                let body =
                    r#"{"Version": "28.5.1", "ApiVersion": "1.51", "MinAPIVersion": "1.24"}"#;
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(body))))
            };
            tokio::spawn(
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)),
            );
        }
    });
    SocketPath::new(at.to_str().unwrap()).unwrap()
}

/// Programs of this machine alone, under a `PATH` of their own.
fn programs(folder: &std::path::Path, scripts: &[(&str, &str)]) -> String {
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).unwrap();
    for name in ["sh", "id"] {
        let path = format!("/bin/{name}");
        let path = if std::path::Path::new(&path).exists() { path } else { format!("/usr{path}") };
        std::os::unix::fs::symlink(path, bin.join(name)).unwrap();
    }
    for (name, script) in scripts {
        use std::os::unix::fs::PermissionsExt;
        let at = bin.join(name);
        std::fs::write(&at, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    bin.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_forwarding_is_the_first_way() {
    let folder = tempfile::tempdir().unwrap();
    let socket = engine(folder.path());
    let path = programs(folder.path(), &[("docker", "exit 1")]);
    let remote = SshEngine::new(Arc::new(Here { forwards: true, path }), Some(socket.clone()));
    let reached = remote.look().await.unwrap();
    assert_eq!(reached.endpoint, format!("ssh: unix://{socket}"));
    assert_eq!(reached.engine.version.as_deref(), Some("28.5.1"));
    assert!(remote.dial().await.is_ok());
}

#[tokio::test]
async fn where_forwarding_is_refused_a_program_joins_the_streams() {
    let folder = tempfile::tempdir().unwrap();
    let socket = engine(folder.path());
    // The test's own python is the bridge: which program it is does not matter to the stream.
    let bridge = folder.path().join("bridge.py");
    std::fs::write(
        &bridge,
        "import os, socket, sys, threading\n\
         s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n\
         def up():\n    while d := os.read(0, 65536): s.sendall(d)\n\
         threading.Thread(target=up, daemon=True).start()\n\
         while d := s.recv(65536): os.write(1, d)\n",
    )
    .unwrap();
    let script = format!(
        "[ \"$1 $2 $3 $4\" = \"-H unix://{socket} system dial-stdio\" ] || exit 1\n\
         PATH=/usr/local/bin:/usr/bin:/bin exec python3 {} {socket}",
        bridge.display()
    );
    let path = programs(folder.path(), &[("docker", &script)]);
    let remote = SshEngine::new(Arc::new(Here { forwards: false, path }), Some(socket));
    let reached = remote.look().await.unwrap();
    assert_eq!(reached.endpoint, "ssh: docker system dial-stdio");
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = programs(folder.path(), &[]);
    let nowhere = SocketPath::new("/nowhere/d.sock").unwrap();
    let remote =
        SshEngine::new(Arc::new(Here { forwards: true, path: path.clone() }), Some(nowhere));
    let absent = remote.look().await.unwrap_err();
    assert_eq!(absent.state, EngineState::Absent);
    assert!(remote.dial().await.is_err());
    assert_eq!(remote.patience(), REST, "each look starts a shell there");

    // There, but no way leads to it.
    let socket = engine(folder.path());
    let remote = SshEngine::new(Arc::new(Here { forwards: false, path }), Some(socket));
    let error = remote.look().await.unwrap_err();
    assert_eq!(error.state, EngineState::Error);
    assert!(error.message.unwrap().contains("AllowStreamLocalForwarding"));
}

#[test]
fn a_socket_that_may_not_be_opened_is_denied() {
    let denied = vec![SocketPath::new("/run/docker.sock").unwrap()];
    let engine = missing(&Found { denied, whole: true, ..Found::default() }, None);
    assert_eq!(engine.state, EngineState::Denied);
    assert!(engine.message.unwrap().contains("usermod"));
}

/// A host that is not connected.
struct Away;

impl Remote for Away {
    fn exec<'a>(&'a self, _: &'a str) -> Opening<'a> {
        Box::pin(async { Err(RemoteError::Gone("not connected".to_owned())) })
    }

    fn unix<'a>(&'a self, path: &'a str) -> Opening<'a> {
        self.exec(path)
    }
}

#[tokio::test]
async fn a_host_that_is_away_is_asked_as_soon_as_it_is_back() {
    let remote = SshEngine::new(Arc::new(Away), None);
    assert_eq!(remote.look().await.unwrap_err().state, EngineState::Unknown);
    assert_eq!(remote.patience(), SOON);
}
