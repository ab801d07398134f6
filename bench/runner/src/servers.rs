//! The servers that are compared, started one at a time and stopped by their process.

use std::{
    env, fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use serde::Serialize;

/// Where the server listens.
pub(crate) const PORT: u16 = 3190;

/// The core of the server, and that of its clients.
pub(crate) const SERVER_CORE: &str = "0";
pub(crate) const CLIENT_CORE: &str = "1";

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// One send(2) for each event and connection.
    Floor,
    Kobel,
    Socketioxide,
    /// Node's socket.io with the native bufferutil.
    NodeBufferutil,
    Node,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor: bare send",
            Self::Kobel => "Kobel",
            Self::Socketioxide => "socketioxide",
            Self::NodeBufferutil => "Node socket.io, bufferutil",
            Self::Node => "Node socket.io",
        }
    }
}

/// What a server publishes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publish {
    pub(crate) rooms: u32,
    pub(crate) rate: f64,
    pub(crate) payload: u32,
    /// Joins before the first event.
    pub(crate) joins: u32,
}

/// A running server; stopped when dropped.
pub(crate) struct Running {
    child: Child,
}

/// A command on a core, that ends with this process. In a session of its own, so that
/// [`before_others`] is about it alone.
pub(crate) fn pinned(core: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "setsid", "taskset", "-c", core])
        .arg(program)
        .stdin(Stdio::null());
    command
}

/// Other work on the machine is not to be measured: the process goes first, where that is allowed.
/// The kernel weighs sessions before it weighs what is in them (sched(7), "The autogroup feature").
pub(crate) fn before_others(child: &Child) {
    // Not root, or no such feature: then the machine should have nothing else to do.
    let _ = fs::write(format!("/proc/{}/autogroup", child.id()), "-20");
}

impl Running {
    pub(crate) fn start(kind: Kind, publish: Publish, folder: &Path) -> Result<Self, String> {
        if TcpStream::connect(("127.0.0.1", PORT)).is_ok() {
            return Err(format!("something listens on port {PORT} already"));
        }
        let own = env::current_exe().map_err(|error| error.to_string())?;
        let beside = |name: &str| pinned(SERVER_CORE, &own.with_file_name(name));
        let node = || {
            let mut command = pinned(SERVER_CORE, Path::new("node"));
            command.arg(folder.join("node/server.js"));
            command
        };
        let mut command = match kind {
            Kind::Floor => beside("bench-floor"),
            Kind::Kobel => beside("bench-kobel"),
            Kind::Socketioxide => beside("bench-socketioxide"),
            Kind::NodeBufferutil => node(),
            Kind::Node => {
                let mut command = node();
                command.env("WS_NO_BUFFER_UTIL", "1");
                command
            }
        };
        command
            .env("PORT", PORT.to_string())
            .env("ROOMS", publish.rooms.to_string())
            .env("RATE", publish.rate.to_string())
            .env("PAYLOAD", publish.payload.to_string())
            .env("JOINS", publish.joins.to_string())
            .stdout(Stdio::null());
        let child = command.spawn().map_err(|error| format!("{}: {error}", kind.name()))?;
        let mut running = Self { child };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", PORT)).is_err() {
            if let Ok(Some(status)) = running.child.try_wait() {
                return Err(format!("{} did not start: {status}", kind.name()));
            }
            if begun.elapsed() > Duration::from_secs(10) {
                return Err(format!("{} does not listen", kind.name()));
            }
            sleep(Duration::from_millis(20));
        }
        before_others(&running.child);
        // What it does at its start is done.
        sleep(Duration::from_millis(300));
        Ok(running)
    }

    /// `setpriv` and those after it become the server itself, so it is its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Without regard: nothing of a server's end is measured. It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
