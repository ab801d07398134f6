//! Tries a host step by step, for whoever adds it.

use std::sync::{Arc, Mutex, PoisonError};

use kobel_wire::{DeviceId, DeviceUuid, Engine, EngineKind};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    collector::Collector,
    connect::{SshConnection, Step, Steps},
    docker::SshEngine,
    error::SshError,
    spec::{Docker, HostKey, SshSpec},
};
use crate::{Target, docker::Reach, text::clean};

/// How a step went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Which one.
    pub step: Step,
    /// Whether it went well.
    pub ok: bool,
    /// What came out, or what is wrong.
    pub message: String,
    /// What to do, where something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The host's key, of the step that checks it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_key: Option<CheckedKey>,
}

/// A host key, and whether somebody must say that it is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckedKey {
    /// `host:port`.
    pub host: String,
    /// As `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// What is pinned instead; empty where nothing is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pinned: Vec<String>,
    /// Whether it is taken for right.
    pub accepted: bool,
}

/// Tries a host as it would be read: resolve, connect, host key, sign-in, shell, metrics, Docker.
/// Tells each step as it ends, and stops at the first that fails but for the last: a host without
/// Docker is a good one. `told` may hang up: then nothing more is tried. Takes at most some minutes.
/// Gives the host keys that were taken for the first time.
pub async fn check(spec: &SshSpec, told: &mpsc::Sender<Checked>) -> Vec<HostKey> {
    let steps = Telling { told: told.clone(), pinned: Mutex::default() };
    let tried = async {
        if let Err(failed) = try_all(spec, &steps, told).await {
            // Nobody may listen any more.
            let _ = told.send(failed).await;
        }
    };
    tokio::select! {
        () = tried => {}
        () = told.closed() => {}
    }
    steps.pinned.into_inner().unwrap_or_else(PoisonError::into_inner)
}

async fn try_all(
    spec: &SshSpec,
    steps: &Telling,
    told: &mpsc::Sender<Checked>,
) -> Result<(), Checked> {
    let connection = SshConnection::open(spec, steps).await.map_err(failed)?;
    let connection = Arc::new(connection);
    // Of no device that the hub knows.
    let target = Target { device: DeviceUuid::generate(), id: DeviceId(0) };
    let shell = |why: String| failed(SshError::Shell { host: spec.host.to_string(), why });
    let (mut collector, introduced) = Collector::start(target, Arc::clone(&connection) as _)
        .await
        .map_err(|error| shell(clean(&error.to_string(), 300)))?;
    let facts = introduced.facts;
    let what = [facts.os, facts.kernel, facts.arch].into_iter().flatten().collect::<Vec<_>>();
    let _ = told.send(well(Step::Shell, format!("{}: {}", facts.hostname, what.join(", ")))).await;

    let sample =
        collector.sample(false).await.map_err(|error| shell(clean(&error.to_string(), 300)))?;
    let mut given = Vec::new();
    let mut note = |is: bool, name: &'static str| {
        if is {
            given.push(name);
        }
    };
    note(sample.load.is_some(), "load");
    note(sample.memory.is_some(), "memory");
    note(sample.swap.is_some(), "swap");
    note(!sample.cores.is_empty() || facts.cpu_count.is_some(), "cpu");
    note(!sample.interfaces.is_empty(), "network");
    note(sample.pressure.is_some(), "pressure");
    note(sample.temperature.is_some(), "temperature");
    if given.is_empty() {
        let message = introduced.lacks.unwrap_or_else(|| "it gives no metrics".to_owned());
        let remedy = "Kobel reads /proc of Linux. Check that it is mounted there and that the \
                      user may read it.";
        return Err(Checked {
            step: Step::Metrics,
            ok: false,
            message,
            remedy: Some(remedy.to_owned()),
            host_key: None,
        });
    }
    let _ = told.send(well(Step::Metrics, given.join(", "))).await;

    let socket = match &spec.docker {
        Docker::CgroupOnly => {
            let what = "not asked, as set: containers are read from their cgroups";
            let _ = told.send(well(Step::Docker, what.to_owned())).await;
            return Ok(());
        }
        Docker::Off => {
            let _ = told.send(well(Step::Docker, "not looked for, as set".to_owned())).await;
            return Ok(());
        }
        Docker::Auto => None,
        Docker::At(path) => Some(path.clone()),
    };
    match SshEngine::new(connection, socket).reach().await {
        Ok(reached) => {
            let name = match reached.engine.kind {
                Some(EngineKind::Podman) => "Podman",
                _ => "Docker",
            };
            let version = reached.engine.version.unwrap_or_default();
            let message = format!("{name} {version} by {}", reached.endpoint);
            let _ = told.send(well(Step::Docker, message)).await;
            Ok(())
        }
        Err(engine) => Err(missing(*engine)),
    }
}

fn well(step: Step, message: String) -> Checked {
    Checked { step, ok: true, message, remedy: None, host_key: None }
}

fn missing(engine: Engine) -> Checked {
    let message = engine.message.unwrap_or_else(|| "no engine was found".to_owned());
    Checked { step: Step::Docker, ok: false, message, remedy: None, host_key: None }
}

fn failed(error: SshError) -> Checked {
    let step = match &error {
        SshError::Resolve { .. } => Step::Resolve,
        SshError::Connect { .. } | SshError::Handshake { .. } => Step::Connect,
        SshError::HostKeyUnknown { .. } | SshError::HostKeyChanged { .. } => Step::HostKey,
        SshError::Credential(_) | SshError::Refused { .. } | SshError::Lost { .. } => Step::SignIn,
        SshError::Shell { .. } => Step::Shell,
    };
    let (message, remedy) = (error.to_string(), Some(error.remedy().to_owned()));
    let key = |host: String, fingerprint: String, pinned: Vec<String>| {
        Some(CheckedKey { host, fingerprint, pinned, accepted: false })
    };
    let host_key = match error {
        SshError::HostKeyUnknown { host, fingerprint } => key(host, fingerprint, Vec::new()),
        SshError::HostKeyChanged { host, fingerprint, pinned } => key(host, fingerprint, pinned),
        _ => None,
    };
    Checked { step, ok: false, message, remedy, host_key }
}

/// Tells the steps of a connection.
struct Telling {
    told: mpsc::Sender<Checked>,
    pinned: Mutex<Vec<HostKey>>,
}

impl Steps for Telling {
    fn done(&self, step: Step, what: String) {
        // Full: whoever listens is far behind, and sees at least how it ends.
        let _ = self.told.try_send(well(step, what));
    }

    fn pin(&self, key: HostKey) {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner).push(key);
    }
}
