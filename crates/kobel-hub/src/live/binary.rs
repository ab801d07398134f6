//! Samples in the binary formats: the event `metrics` with one attachment, and beside it what an
//! envelope says.

use std::sync::Arc;

use bytes::Bytes;
use kobel_fanout::{Frame, Policy as FramePolicy};
use kobel_wire::{DeviceState, Sample, Timestamp, metr, proto};
use serde::Serialize;

use super::{
    delivery::{NAMESPACE, logged},
    fleet::LiveDevice,
    stream::Stream,
};
use crate::{request::Format, room::RoomName};

/// Where the attachment stands among the arguments.
#[derive(Serialize)]
struct Placeholder {
    _placeholder: bool,
    num: u8,
}

/// What an attachment is of. A listener that wants the bytes only takes the first argument.
#[derive(Serialize)]
struct About<'a> {
    room: &'a str,
    format: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u8>,
    timestamp: Timestamp,
    epoch: &'a str,
    seq: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Argument<'a> {
    Attachment(Placeholder),
    About(About<'a>),
}

/// The event `metrics`.
pub(super) fn frame(
    room: &RoomName,
    stream: &Stream,
    format: Format,
    data: Bytes,
    policy: FramePolicy,
    wall: Timestamp,
) -> Option<Arc<Frame>> {
    let version = match format {
        Format::Metr1 => Some(1),
        Format::Metr2 => Some(2),
        Format::Json | Format::Protobuf => None,
    };
    let arguments = [
        Argument::Attachment(Placeholder { _placeholder: true, num: 0 }),
        Argument::About(About {
            room: &room.to_string(),
            format: format.as_str(),
            version,
            timestamp: wall,
            epoch: &stream.epoch,
            seq: stream.seq,
        }),
    ];
    logged(Frame::binary_event(NAMESPACE, "metrics", &arguments, vec![data], policy))
}

/// One sample by itself; in METR version 2 a key frame.
pub(super) fn sample(format: Format, sample: &Sample, wall: Timestamp) -> Bytes {
    match format {
        Format::Json => Bytes::new(),
        Format::Protobuf => proto::encode_metrics(wall, std::iter::once(sample)).into(),
        Format::Metr1 => metr::encode_v1(wall, &[sample.into()]),
        Format::Metr2 => metr::KeyedEncoder::new(0).encode(wall, &[sample.into()]).bytes,
    }
}

/// The newest samples of devices. METR version 1 knows neither age nor state, so there a device is
/// absent that has no fresh values.
pub(super) fn fleet(format: Format, devices: &[&LiveDevice], wall: Timestamp) -> Bytes {
    let samples = devices.iter().filter_map(|live| live.sample.as_ref());
    match format {
        Format::Json | Format::Metr2 => Bytes::new(),
        Format::Protobuf => proto::encode_metrics(wall, samples).into(),
        Format::Metr1 => {
            let fresh =
                |sample: &&Sample| matches!(sample.state, DeviceState::Online | DeviceState::Slow);
            let records: Vec<_> = samples.filter(fresh).map(metr::Record::from).collect();
            metr::encode_v1(wall, &records)
        }
    }
}
