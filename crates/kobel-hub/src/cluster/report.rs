//! What an owner tells of a device.

use kobel_wire::{Container, DeviceState, Engine, Facts, Sample, Summary};
use serde::{Deserialize, Serialize};

use super::link::BusError;

/// Shorter messages are not packed.
const PACK: usize = 400;

/// The most that a message is unpacked to, bytes: some thousand containers.
const MOST: usize = 16 << 20;

/// What of a device is new, or all of it. JSON, so that nodes of two versions understand each other:
/// fields are added, and what is not known is left alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sample: Option<Sample>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) summaries: Vec<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) facts: Option<Facts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) engine: Option<Engine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<(DeviceState, Option<String>)>,
    /// All containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inventory: Option<Vec<Container>>,
    /// Containers that are new, changed or removed since.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) containers: Vec<Container>,
}

impl Report {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Packs a message: `0` and its JSON, or `1` and that by zstd.
pub(super) fn pack<T: Serialize>(message: &T) -> Result<Vec<u8>, BusError> {
    let mut bytes = vec![0];
    serde_json::to_writer(&mut bytes, message).map_err(BusError::message)?;
    if bytes.len() < PACK {
        return Ok(bytes);
    }
    let mut packed = vec![1];
    zstd::stream::copy_encode(&bytes[1..], &mut packed, 1).map_err(BusError::message)?;
    Ok(packed)
}

/// Unpacks a message.
pub(super) fn unpack<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, BusError> {
    let (how, rest) = bytes.split_first().ok_or_else(|| BusError::message("it is empty"))?;
    let read = match how {
        0 => serde_json::from_slice(rest),
        1 => {
            let mut plain = Vec::new();
            let decoder = zstd::stream::read::Decoder::new(rest).map_err(BusError::message)?;
            let mut decoder = std::io::Read::take(decoder, MOST as u64);
            std::io::Read::read_to_end(&mut decoder, &mut plain).map_err(BusError::message)?;
            serde_json::from_slice(&plain)
        }
        how => return Err(BusError::message(format!("it is packed by {how}"))),
    };
    read.map_err(BusError::message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let container = serde_json::json!({
            "deviceUuid": "0198c0de-0000-7000-8000-0000000000ab", "containerId": "a".repeat(64),
            "name": "web", "image": "x", "state": "running", "status": "Up",
        });
        let container: Container = serde_json::from_value(container).unwrap();
        for count in [0, 1, 500] {
            let report = Report {
                state: Some((DeviceState::Online, None)),
                inventory: Some(vec![container.clone(); count]),
                ..Report::default()
            };
            let packed = pack(&report).unwrap();
            assert_eq!(unpack::<Report>(&packed).unwrap(), report);
            assert!(count < 500 || packed.len() < 2_000, "{}", packed.len());
        }
        // What a newer version says beside.
        assert!(unpack::<Report>(b"\0{\"new\":1}").unwrap().is_empty());
    }

    #[test]
    fn a_bomb_is_bounded() {
        let mut bomb = vec![1];
        zstd::stream::copy_encode(std::io::repeat(b' ').take(1 << 30), &mut bomb, 1).unwrap();
        assert!(unpack::<Report>(&bomb).is_err());
    }

    use std::io::Read as _;

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack::<Report>(&bytes);
        }
    }
}
