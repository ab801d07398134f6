//! The devices that the hub dials over SSH: from what the inventory says of them to what reads
//! them.

mod hub_key;

pub(crate) use hub_key::HubKey;

use kobel_hub::{demand::Demand, ingest::Ingest, store::inventory::DeviceRecord};
use kobel_wire::DeviceState;
use tokio_util::sync::CancellationToken;

use crate::serve::{Dial, Reading};

/// Says of every device that this version does not dial.
pub(crate) struct NotYet(pub(crate) Ingest);

impl Dial for NotYet {
    fn source(&self, device: &DeviceRecord, _: Demand, cancel: CancellationToken) -> Reading {
        let reason = "this version of Kobel does not read hosts over SSH yet";
        self.0.state(device.device_uuid, DeviceState::Unreachable, Some(reason.into()));
        Box::pin(cancel.cancelled_owned())
    }
}
