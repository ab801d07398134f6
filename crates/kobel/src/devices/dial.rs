//! The sources of the devices that the hub dials.

use std::sync::Arc;

use kobel_collect::{
    CollectStats, Target, local,
    ssh::{Ignore, SshReports, SshSource},
};
use kobel_hub::{
    demand::Demand,
    ingest::Ingest,
    logs::live::LogSources,
    store::{SecretKeys, Store, StoreError, inventory::DeviceRecord},
};
use kobel_wire::{DeviceState, SourceKind};
use tokio::time::Duration;
use tokio_util::sync::CancellationToken;

use super::{here::Here, spec::dialled};
use crate::serve::{Dial, Pins, Reading};

/// Makes sources that read over SSH.
#[derive(Clone)]
pub(crate) struct OverSsh {
    /// What devices say of themselves is told here.
    pub(crate) ingest: Ingest,
    /// Where the hub finds the logs of their containers.
    pub(crate) logs: LogSources,
    /// Counts.
    pub(crate) stats: Arc<CollectStats>,
    /// Where their secrets are.
    pub(crate) store: Store,
    /// What those are sealed with.
    pub(crate) keys: SecretKeys,
    /// Reads this machine, which in a cluster is a device like others.
    pub(crate) here: Here,
}

impl Dial for OverSsh {
    fn source(
        &self,
        device: &DeviceRecord,
        demand: Demand,
        pins: Pins,
        cancel: CancellationToken,
    ) -> Reading {
        if device.source == SourceKind::Local {
            let target = Target { device: device.device_uuid, id: device.id };
            let here = self.here.clone();
            return Box::pin(async move {
                here.ingest.facts(target.device, local::facts());
                here.ingest.state(target.device, DeviceState::Online, None);
                here.read(target, demand, cancel).await;
            });
        }
        let (this, device) = (self.clone(), device.clone());
        Box::pin(async move {
            let uuid = device.device_uuid;
            // Opened now, so that no secret lies in memory while the source waits for its turn.
            let spec = match dialled(&device, &this.store, &this.keys).await {
                Ok(spec) => spec,
                Err(error) => {
                    tracing::error!(device = %device.spec.name, %error, "cannot sign in to a device");
                    this.ingest.state(uuid, DeviceState::AuthFailed, Some(reason(&error)));
                    return cancel.cancelled().await;
                }
            };
            let to = SshReports {
                ingest: this.ingest,
                demand,
                logs: this.logs,
                stats: this.stats,
                pin: Arc::new(move |key| pins.pin(key.host, key.fingerprint)),
            };
            let target = Target { device: uuid, id: device.id };
            let period = Duration::from_secs(device.spec.options.period.into());
            let ignore = Ignore {
                mounts: device.spec.options.ignore_mounts,
                interfaces: device.spec.options.ignore_interfaces,
            };
            let source = SshSource::new(target, spec, period, to).ignoring(ignore);
            source.run(Duration::ZERO, cancel).await;
        })
    }
}

/// For everybody who may see the device: without names of files.
fn reason(error: &StoreError) -> String {
    match error {
        StoreError::Field(error) => format!("It cannot be dialled: {error}."),
        _ => {
            "Its secrets cannot be opened. The hub's log says why; set them anew, or put the file \
              of their keys back."
                .to_owned()
        }
    }
}
