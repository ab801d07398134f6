//! Which devices are asked for.

use kobel_hub::store::inventory::Listed;
use kobel_wire::{DeviceState, SourceKind};
use serde::Deserialize;
use serde_json::Value;

use super::{super::error::ApiError, answer::Shown};

/// Devices of a page, at most and where nobody says.
const PAGE: usize = 10_000;

/// What `GET /devices` asks for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) listed: Listed,
    words: Option<String>,
    state: Option<DeviceState>,
    tag: Option<String>,
    group: Option<String>,
    source: Option<SourceKind>,
    limit: Option<usize>,
    offset: usize,
}

impl Asked {
    /// Reads the parameters; names the one that is wrong.
    pub(super) fn read(parameters: Vec<(String, String)>) -> Result<Self, ApiError> {
        let mut asked = Self::default();
        for (name, value) in parameters {
            let wrong = |why: &str| ApiError::field(&name, why);
            match name.as_str() {
                _ if value.is_empty() => {}
                "q" => asked.words = Some(value.to_lowercase()),
                "tag" => asked.tag = Some(value),
                "group" => asked.group = Some(value),
                "state" => {
                    let state = DeviceState::deserialize(Value::String(value));
                    asked.state = Some(state.map_err(|_| {
                        wrong(
                            "expected online, slow, stale, unreachable, auth-failed or \
                             host-key-changed",
                        )
                    })?);
                }
                "source" => {
                    asked.source = Some(value.parse().map_err(|why: String| wrong(&why))?);
                }
                "deleted" => {
                    asked.listed = match value.as_str() {
                        "true" => Listed::Deleted,
                        "false" => Listed::Present,
                        "all" => Listed::All,
                        _ => return Err(wrong("expected true, false or all")),
                    };
                }
                "limit" => {
                    let given = value.parse().ok().filter(|given| (1..=PAGE).contains(given));
                    let given = given.ok_or_else(|| wrong("expected a number from 1 to 10000"))?;
                    asked.limit = Some(given);
                }
                "offset" => {
                    asked.offset = value.parse().map_err(|_| wrong("expected a number"))?;
                }
                _ => {
                    let known = "unknown; use q, state, tag, group, source, deleted, limit, offset";
                    let name: String = name.chars().take(40).collect();
                    return Err(ApiError::field(&name, known));
                }
            }
        }
        Ok(asked)
    }

    /// Whether a device is one of those.
    pub(super) fn fits(&self, device: &Shown) -> bool {
        let has = |words: &str| {
            let address = device.address.as_ref().map(ToString::to_string);
            let texts = [Some(&device.name), address.as_ref(), device.group.as_ref()];
            let mut texts = texts.into_iter().flatten().chain(&device.tags);
            texts.any(|text| text.to_lowercase().contains(words))
        };
        self.words.as_deref().is_none_or(has)
            && self
                .state
                .is_none_or(|state| device.live.as_ref().is_some_and(|live| live.state == state))
            && self.tag.as_ref().is_none_or(|tag| device.tags.contains(tag))
            && self.group.is_none() | (self.group == device.group)
            && self.source.is_none_or(|source| device.source == source)
    }

    /// The part of the list that is asked for.
    pub(super) fn page(&self, mut devices: Vec<Shown>) -> Vec<Shown> {
        devices.drain(..self.offset.min(devices.len()));
        devices.truncate(self.limit.unwrap_or(PAGE));
        devices
    }
}
