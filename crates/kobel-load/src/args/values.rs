//! Values of options: how they are written, and what is refused.

use std::{str::FromStr, time::Duration};

use clap::ValueEnum;

/// Where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address: write it as http://hub.example.com:8000");
        let rest = match text.split_once("://") {
            None => text,
            Some(("http" | "ws", rest)) => rest,
            Some(("https" | "wss", _)) => {
                return Err("TLS is not spoken here: measure behind whatever ends it".into());
            }
            Some(_) => return Err(wrong()),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or_else(wrong)?;
                (host, after.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = port.map_or(Ok(80), |port| port.parse().map_err(|_| wrong()))?;
        let good = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
        if host.is_empty() || !good(host) || !good(path) || path.contains(['?', '#']) {
            return Err(wrong());
        }
        let path = if path.len() > 1 { path } else { "/socket.io/" };
        Ok(Self { host: host.into(), port, path: path.into() })
    }
}

impl Target {
    /// Host and port as they stand in a `Host` header.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What a viewer of a Kobel subscribes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomArg {
    /// The dashboard.
    Dashboard,
    /// A device in turn.
    EachDevice,
    /// A device, by its uuid.
    Device(String),
    /// A container, by the engine's id.
    Container(String),
    /// The fleet.
    Fleet,
}

impl FromStr for RoomArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "dashboard" => Ok(Self::Dashboard),
            None if text == "fleet" => Ok(Self::Fleet),
            None if text == "device" => Ok(Self::EachDevice),
            Some(("device", id)) if !id.is_empty() => Ok(Self::Device(id.into())),
            Some(("container", id)) if !id.is_empty() => Ok(Self::Container(id.into())),
            _ => Err(format!(
                "{text:?} is no room: write dashboard, fleet, device, device:UUID or container:ID"
            )),
        }
    }
}

/// The format of a Kobel's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// JSON.
    Json,
    /// Protocol Buffers.
    Protobuf,
    /// METR, version 1.
    Metr,
    /// METR, version 2.
    Metr2,
}

impl FormatArg {
    /// The `format` and the `version` of a subscribe.
    pub(crate) fn asked(self) -> (&'static str, Option<u8>) {
        match self {
            Self::Json => ("json", None),
            Self::Protobuf => ("protobuf", None),
            Self::Metr => ("metr", None),
            Self::Metr2 => ("metr", Some(2)),
        }
    }
}

/// How often a Kobel sends samples, in seconds: `None` by the viewer's tier.
pub type SampleRate = Option<u8>;

pub(crate) fn sample_rate(text: &str) -> Result<SampleRate, String> {
    match text {
        "auto" => Ok(None),
        _ => text
            .parse()
            .ok()
            .filter(|seconds| (1..=60).contains(seconds))
            .map(Some)
            .ok_or_else(|| format!("{text:?} is neither auto nor whole seconds from 1 to 60")),
    }
}

/// A length of time as people write it.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no length of time: write it as 500ms, 25s or 1m 30s");
    let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    span.try_into().map_err(|_| wrong())
}

pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let good = |rate: &f64| rate.is_finite() && (0.0..=1e9).contains(rate);
    text.parse().ok().filter(good).ok_or_else(|| format!("{text:?} is no number from 0 up"))
}

pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let good = |percent: &f64| (0.0..=100.0).contains(percent);
    text.parse().ok().filter(good).ok_or_else(|| format!("{text:?} is not between 0 and 100"))
}

pub(crate) fn header(text: &str) -> Result<String, String> {
    let good = text.split_once(':').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
    });
    if good && !text.contains(['\r', '\n']) {
        Ok(text.into())
    } else {
        Err(format!("{text:?} is no header: write it as 'Name: value'"))
    }
}

pub(crate) fn stamp(text: &str) -> Result<String, String> {
    if !text.is_empty() && !text.contains(['"', '\\']) {
        Ok(text.into())
    } else {
        Err("a key is a name without quotes, such as ts".into())
    }
}
