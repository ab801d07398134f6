//! The Protocol Buffers messages of `proto/kobel/v1`, and [`Metrics`] from samples and back.
//!
//! The messages are plain data by prost, one module for the whole package. What reads them from
//! outside bounds them before it decodes: see [`decode_metrics`].

use bytes::Bytes;
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, decode_key, skip_field},
};

use crate::{Sample, Timestamp};

pub use v1::*;

// Written by prost from the .proto files, whose comments it takes over: what those leave out, and
// how prost writes Rust, is not for this workspace's lints.
#[allow(missing_docs, unreachable_pub, rust_2018_idioms, clippy::all)]
mod v1 {
    include!(concat!(env!("OUT_DIR"), "/kobel.v1.rs"));
}

/// Why bytes are not a [`Metrics`] message.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MetricsError {
    /// More devices than the reader will hold.
    #[error("a metrics message of more than {limit} devices")]
    TooManyDevices {
        /// What the reader allows.
        limit: usize,
    },
    /// Not Protocol Buffers, or a field of another type than it should be.
    #[error("not a metrics message: {0}")]
    Malformed(#[from] DecodeError),
}

/// The message `Metrics` of these samples, as its bytes. A sample's age is counted to
/// `timestamp`; one from after it is 0 ms old.
///
/// Percentages and temperatures keep the precision of an f32, rates are rounded to whole bytes
/// per second; a value that is not finite, and a rate below zero, is absent.
pub fn encode_metrics<'a>(
    timestamp: Timestamp,
    samples: impl Iterator<Item = &'a Sample>,
) -> Vec<u8> {
    let devices = samples.map(|sample| device_metrics(timestamp, sample)).collect();
    Metrics { timestamp_ms: timestamp.as_millis(), devices }.encode_to_vec()
}

/// Reads a message `Metrics` of at most `limit` devices. The devices are counted before anything
/// is allocated: two bytes of input would else make a structure of 150.
///
/// # Errors
/// See [`MetricsError`].
pub fn decode_metrics(bytes: &[u8], limit: usize) -> Result<Metrics, MetricsError> {
    const DEVICES: u32 = 2;
    let mut rest = bytes;
    let mut devices = 0;
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(&mut rest)?;
        skip_field(wire_type, tag, &mut rest, DecodeContext::default())?;
        if tag == DEVICES {
            devices += 1;
            if devices > limit {
                return Err(MetricsError::TooManyDevices { limit });
            }
        }
    }
    Ok(Metrics::decode(Bytes::copy_from_slice(bytes))?)
}

fn device_metrics(timestamp: Timestamp, sample: &Sample) -> DeviceMetrics {
    let age = timestamp.as_millis().saturating_sub(sample.sampled_at.as_millis());
    DeviceMetrics {
        id: sample.id.0,
        state: DeviceState::from(sample.state).into(),
        age_ms: u64::try_from(age).unwrap_or(0),
        cpu: single(sample.cpu),
        memory: single(sample.memory),
        disk: single(sample.disk),
        temperature: single(sample.temperature),
        network_in: whole(sample.network_in),
        network_out: whole(sample.network_out),
        iowait: single(sample.iowait),
        load1: single(sample.load.map(|load| load[0])),
        swap: single(sample.swap),
        disk_read: whole(sample.disk_read),
        disk_write: whole(sample.disk_write),
        uptime: whole(sample.uptime),
    }
}

fn single(value: Option<f64>) -> Option<f32> {
    value.map(|value| value as f32).filter(|value| value.is_finite())
}

fn whole(value: Option<f64>) -> Option<u64> {
    value.filter(|value| value.is_finite() && *value >= 0.0).map(|value| value.round() as u64)
}

impl From<crate::DeviceState> for DeviceState {
    fn from(state: crate::DeviceState) -> Self {
        match state {
            crate::DeviceState::Online => Self::Online,
            crate::DeviceState::Slow => Self::Slow,
            crate::DeviceState::Stale => Self::Stale,
            crate::DeviceState::Unreachable => Self::Unreachable,
            crate::DeviceState::AuthFailed => Self::AuthFailed,
            crate::DeviceState::HostKeyChanged => Self::HostKeyChanged,
        }
    }
}

impl DeviceState {
    /// The state as the hub knows it; `None` where the message does not say.
    pub fn known(self) -> Option<crate::DeviceState> {
        Some(match self {
            Self::Unspecified => return None,
            Self::Online => crate::DeviceState::Online,
            Self::Slow => crate::DeviceState::Slow,
            Self::Stale => crate::DeviceState::Stale,
            Self::Unreachable => crate::DeviceState::Unreachable,
            Self::AuthFailed => crate::DeviceState::AuthFailed,
            Self::HostKeyChanged => crate::DeviceState::HostKeyChanged,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{DeviceId, DeviceUuid};

    fn sample() -> Sample {
        let uuid: DeviceUuid = "0198c0de-0000-7000-8000-0000000000ab".parse().unwrap();
        let mut sample =
            Sample::empty(uuid, DeviceId(42), Timestamp::from_millis(1_795_000_000_000));
        sample.state = crate::DeviceState::Slow;
        sample.cpu = Some(12.34);
        sample.load = Some([0.5, 1.0, 2.0]);
        sample.network_in = Some(5e9);
        sample.network_out = Some(0.6);
        sample
    }

    #[test]
    fn a_sample_comes_back_and_what_is_absent_stays_absent() {
        let mut broken = sample();
        (broken.cpu, broken.memory, broken.swap) = (Some(f64::NAN), Some(1e300), Some(7.0));
        (broken.disk_read, broken.network_in) = (Some(-1.0), Some(f64::INFINITY));
        broken.sampled_at = Timestamp::from_millis(1_795_000_009_000);

        let at = Timestamp::from_millis(1_795_000_000_250);
        let bytes = encode_metrics(at, [&sample(), &broken].into_iter());
        let metrics = decode_metrics(&bytes, 2).unwrap();
        assert_eq!(metrics.timestamp_ms, at.as_millis());
        let whole = &metrics.devices[0];
        assert_eq!((whole.id, whole.age_ms, whole.state()), (42, 250, DeviceState::Slow));
        assert_eq!((whole.cpu, whole.memory, whole.load1), (Some(12.34), None, Some(0.5)));
        assert_eq!((whole.network_in, whole.network_out), (Some(5_000_000_000), Some(1)));
        let broken = &metrics.devices[1];
        assert_eq!((broken.cpu, broken.memory, broken.swap), (None, None, Some(7.0)));
        assert_eq!((broken.disk_read, broken.network_in, broken.age_ms), (None, None, 0));
    }

    #[test]
    fn every_state_has_its_number() {
        for number in 1..=6 {
            let state = DeviceState::try_from(number).unwrap();
            assert_eq!(DeviceState::from(state.known().unwrap()), state);
        }
        assert_eq!(DeviceState::Unspecified.known(), None);
    }

    #[test]
    fn more_devices_than_allowed_are_refused_before_they_are_decoded() {
        // Empty devices: two bytes each.
        let bytes = [0x12, 0x00].repeat(1001);
        assert_eq!(decode_metrics(&bytes, 1000), Err(MetricsError::TooManyDevices { limit: 1000 }));
        assert_eq!(decode_metrics(&bytes, 1001).unwrap().devices.len(), 1001);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(metrics) = decode_metrics(&bytes, 10) {
                prop_assert!(metrics.devices.len() <= 10);
            }
        }

        #[test]
        fn a_message_cut_short_is_no_panic(cut in 0usize..40) {
            let bytes = encode_metrics(Timestamp::from_millis(1_795_000_000_000), [&sample()].into_iter());
            // A cut between two fields is a message, too: the format has no length of its own.
            let _ = decode_metrics(&bytes[..cut.min(bytes.len())], 10);
        }
    }
}
