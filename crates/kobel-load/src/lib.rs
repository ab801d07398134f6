//! A load generator with real Socket.IO clients: thousands in a process, each of which connects,
//! subscribes, reads every event, answers pings, and returns when it is lost.
//!
//! It knows the protocol and nothing of the server's insides: what it says about a server is what
//! a client sees, and what /proc says. [`run`] is the whole; `kobel load` and the program
//! `kobel-load` are thin around it.
//!
//! ## Where to start reading
//!
//! * `prepare` makes a plan of the options, `run` goes through the phases and reads the server's costs.
//! * `team` are the workers, in a thread or in processes of their own; `plan` is what they are told
//!   and say.
//! * `worker` is the loop: one thread, one epoll, a small state for each connection.
//! * `client` is a session without I/O, `protocol` what it reads and writes.

#![forbid(unsafe_code)]

mod args;
mod client;
mod plan;
mod prepare;
mod probe;
mod progress;
mod protocol;
mod report;
mod run;
mod scenario;
mod server;
mod team;
mod worker;

use std::path::PathBuf;

pub use args::{EXAMPLES, FormatArg, LoadArgs, RoomArg, SampleRate, Target};
pub use plan::Transport;
pub use report::{Opening, PhaseReport, Quantiles, Report, Server, Storm};
pub use run::run;

/// Why a run could not be done. Connections that fail are not among it: they are in the report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// What is to be emitted is wrong.
    #[error("{0}")]
    Emit(String),
    /// The scenario cannot be read.
    #[error("{path}: {why}", path = path.display())]
    Scenario {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The server's name has no address.
    #[error("{host}: no address for that name: {why}")]
    Resolve {
        /// The name.
        host: String,
        /// What the system says.
        why: String,
    },
    /// The devices could not be learned.
    #[error("cannot learn the devices from the dashboard: {0}")]
    Devices(String),
    /// There is no device.
    #[error("the dashboard has no devices: --room device needs one")]
    NoDevices,
    /// A worker could not be started, or ended.
    #[error("a worker process: {0}")]
    Worker(std::io::Error),
    /// A worker gave up.
    #[error("{0}")]
    GaveUp(String),
    /// The connections did not come to rest.
    #[error("after {seconds} s there are {live} of {connections} connections: {errors}")]
    Restless {
        /// How long it was waited.
        seconds: u64,
        /// Those that were there.
        live: u32,
        /// Those that should be.
        connections: u32,
        /// What happened to the others.
        errors: String,
    },
    /// A process was named that is not there.
    #[error("--server-pid: there is no process {0}")]
    NoProcess(u32),
    /// The report cannot be written.
    #[error("{path}: {error}", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}
