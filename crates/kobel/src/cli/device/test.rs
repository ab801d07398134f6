//! `kobel device test`
#![allow(rustdoc::broken_intra_doc_links, reason = "these comments are the text of --help")]

use clap::Args;
use kobel_collect::ssh::HostKey;
use kobel_hub::store::inventory::{DeviceChange, DeviceSpec, Listed};
use kobel_wire::{DeviceUuid, Timestamp};
use tokio::sync::mpsc;

use super::{CliError, Inventory, change::confirmed, plain, said};
use crate::{
    cli::secret::{KeyFile, actor},
    config::Common,
    devices::{
        probe::{self, Outcome, Told},
        spec::{Secrets, ssh_spec},
    },
};

/// Shown below `--help`.
pub(super) const EXAMPLES: &str = "\
Each step is told as it ends: resolve, connect, host key, sign-in, shell, metrics, Docker. When all is well
with a device that the hub had given up, such as after a refused sign-in, the hub tries it again.

Examples:
  kobel device test web-1
  kobel device test --all --json";

/// Options of `kobel device test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The devices' names, numbers or UUIDs
    #[arg(required_unless_present = "all")]
    devices: Vec<String>,
    /// Every device that is read over SSH
    #[arg(long, conflicts_with = "devices")]
    all: bool,
    /// A line of JSON for each step
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: KeyFile,
}

impl Test {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let inventory = Inventory::open(common, self.keys).await?;
        let mut devices = Vec::new();
        for name in &self.devices {
            devices.push(inventory.store.find_device(name, Listed::Present).await?);
        }
        if self.all {
            devices = inventory.store.inventory(Listed::Present).await?;
            devices.retain(|device| device.spec.address.is_some());
        }
        let mut failed = 0;
        for device in devices {
            if device.spec.address.is_none() {
                return Err(CliError::NotDialled(device.spec.name));
            }
            if !self.json {
                eprintln!("{}", said(&device));
            }
            let none = DeviceChange::default();
            let uuid = device.device_uuid;
            let Tried { reads, unknown, .. } =
                inventory.probe(&device.spec, Some(uuid), &none, self.json).await?;
            if let (Some((host, fingerprint)), false) = (unknown, self.json) {
                let question = format!("Is {fingerprint} the right key of {}?", plain(&host));
                if confirmed(&question)? {
                    let now = Timestamp::now();
                    let pinned = inventory
                        .store
                        .pin_host_key(uuid, Some(&host), &fingerprint, false, &actor(), now)
                        .await?;
                    eprintln!("{} is pinned; kobel device test {} goes on.", host, pinned.id);
                }
            }
            if reads {
                inventory.store.retry_device(uuid, &actor(), Timestamp::now()).await?;
            } else {
                failed += 1;
            }
        }
        if failed > 0 { Err(CliError::DevicesFailed(failed)) } else { Ok(()) }
    }
}

impl Inventory {
    /// Tries a device and tells each step.
    pub(super) async fn probe(
        &self,
        spec: &DeviceSpec,
        known: Option<DeviceUuid>,
        change: &DeviceChange,
        json: bool,
    ) -> Result<Tried, CliError> {
        let mut secrets = Secrets::open(spec, known, &self.store, &self.keys).await?;
        secrets.with(change);
        let spec = ssh_spec(spec, &secrets)?;
        let (send, mut told) = mpsc::channel::<Told>(probe::WAITING);
        let mut unknown = None;
        let telling = async {
            while let Some(step) = told.recv().await {
                if let Some(key) = &step.key
                    && key.known == "unknown"
                {
                    unknown = Some((key.host.clone(), key.fingerprint.clone()));
                }
                tell(&step, json);
            }
        };
        let (probed, ()) = tokio::join!(probe::probe(&spec, send), telling);
        Ok(Tried { reads: probed.reads, unknown, new_keys: probed.new_keys })
    }
}

/// What came of a test.
pub(super) struct Tried {
    /// Whether the device can be read.
    pub(super) reads: bool,
    /// The host and its key that nobody said is right.
    pub(super) unknown: Option<(String, String)>,
    /// Host keys that were taken for the first time.
    pub(super) new_keys: Vec<HostKey>,
}

fn tell(step: &Told, json: bool) {
    if json {
        // Beside what the command itself says as JSON.
        eprintln!("{}", serde_json::to_string(step).unwrap_or_default());
        return;
    }
    let name = serde_json::to_value(step.step).unwrap_or_default();
    let name = name.as_str().unwrap_or_default().replace('-', " ");
    let mark = match step.state {
        Outcome::Ok => "ok",
        Outcome::Warning => "!",
        Outcome::Failed => "failed",
        Outcome::Skipped => "-",
    };
    eprintln!("  {name:10} {mark:7} {}", plain(&step.message));
    if let Some(remedy) = &step.remedy {
        eprintln!("  {:18} {}", "", plain(remedy));
    }
}
