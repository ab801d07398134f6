//! Typed ids. Parsing validates once, at the edge; afterwards an id is known to be good.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a UUID in its hyphenated form.
    #[error("not a UUID: expected the form 0198c0de-0000-7000-8000-000000000000")]
    NotUuid,
    /// Not a container id of Docker or Podman.
    #[error("not a container id: expected 12 to 64 hexadecimal digits")]
    NotContainerId,
}

/// The identity of a monitored host, for ever: a UUIDv7 (RFC 9562, section 5.7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct DeviceUuid(Uuid);

impl DeviceUuid {
    /// No device's: for what is said of a device that somebody else names.
    pub const NIL: Self = Self(Uuid::nil());

    /// A new identity from the current time and the system's randomness.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl FromStr for DeviceUuid {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        // `Uuid` also reads braces and URNs; a room's name must have one spelling only.
        let uuid = Uuid::try_parse(text).map_err(|_| IdError::NotUuid)?;
        let one_spelling = text.len() == 36 && !text.bytes().any(|b| b.is_ascii_uppercase());
        if one_spelling { Ok(Self(uuid)) } else { Err(IdError::NotUuid) }
    }
}

impl<'de> Deserialize<'de> for DeviceUuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for DeviceUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for DeviceUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The short number of a device, unique for ever; the binary formats name a device by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceId(pub u64);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The engine's full id of a container: lower-case hexadecimal digits, 64 of them with Docker and
/// Podman.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if (12..=64).contains(&text.len()) && text.bytes().all(hex) {
            Ok(Self(text.into()))
        } else {
            Err(IdError::NotContainerId)
        }
    }
}

impl<'de> Deserialize<'de> for ContainerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_uuid_has_one_spelling() {
        let good = "0198c0de-0000-7000-8000-0000000000ab";
        assert_eq!(good.parse::<DeviceUuid>().unwrap().to_string(), good);
        for bad in [
            "",
            "0198C0DE-0000-7000-8000-0000000000AB",
            "0198c0de0000700080000000000000ab",
            "{0198c0de-0000-7000-8000-0000000000ab}",
            "urn:uuid:0198c0de-0000-7000-8000-0000000000ab",
            "0198c0de-0000-7000-8000-0000000000a\n",
        ] {
            assert_eq!(bad.parse::<DeviceUuid>(), Err(IdError::NotUuid), "{bad:?}");
        }
    }

    #[test]
    fn a_container_id_is_hexadecimal() {
        assert!("a".repeat(64).parse::<ContainerId>().is_ok());
        assert!("0123456789ab".parse::<ContainerId>().is_ok());
        for bad in ["", "web-1", "0123456789AB", "0123456789ab\u{0}", &"a".repeat(65)] {
            assert_eq!(bad.parse::<ContainerId>(), Err(IdError::NotContainerId), "{bad:?}");
        }
    }
}
