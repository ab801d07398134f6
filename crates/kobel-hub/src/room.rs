//! The named things that viewers subscribe to.

use std::{fmt, str::FromStr, sync::Arc};

use kobel_wire::{ContainerId, DeviceUuid};

use crate::logs::live::MEMBERS;

/// The longest name of a project or tag, in bytes.
const LONGEST: usize = 255;

/// A room's name, such as `device:0198c0de-…`, `container:3f2a…`, `dashboard:main`, `fleet:main`,
/// `system:main` or `logs:tag:web`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RoomName {
    /// One device: its samples, its containers' changes, its own changes.
    Device(DeviceUuid),
    /// One container: its changes.
    Container(ContainerId),
    /// All devices that the viewer may see, in batches.
    Dashboard,
    /// The newest values of all devices that the viewer may see, in one frame.
    Fleet,
    /// The hub's own figures.
    System,
    /// The logs of several containers in one.
    Logs(LogSelector),
}

/// Whose logs are in one: `device:<uuid>`, `project:<uuid>/<name>`, `project:<name>`, `tag:<tag>` or
/// `containers:<id>,<id>,…`. Cloned for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogSelector(Arc<Selected>);

/// What a [`LogSelector`] selects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Selected {
    /// All containers of a device.
    Device(DeviceUuid),
    /// Those of a Compose project, on one device or on all.
    Project(Option<DeviceUuid>, String),
    /// All containers of devices with this tag.
    Tag(String),
    /// These, in the order given.
    Containers(Vec<ContainerId>),
}

impl LogSelector {
    /// What it selects.
    pub fn selected(&self) -> &Selected {
        &self.0
    }
}

impl FromStr for LogSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORMS: &str = "expected device:<uuid>, project:<name>, project:<uuid>/<name>, \
                             tag:<tag> or containers:<id>,<id>,…";
        let (kind, of) = text.split_once(':').ok_or(FORMS)?;
        let named = |name: &str| {
            let wrong =
                name.is_empty() || name.len() > LONGEST || name.chars().any(char::is_control);
            if wrong { Err(format!("{kind}: expected a name")) } else { Ok(name.to_owned()) }
        };
        let selected = match kind {
            "device" => Selected::Device(of.parse().map_err(|e| format!("device: {e}"))?),
            "project" => {
                let on = of.split_once('/').and_then(|(on, name)| Some((on.parse().ok()?, name)));
                match on {
                    Some((device, name)) => Selected::Project(Some(device), named(name)?),
                    None => Selected::Project(None, named(of)?),
                }
            }
            "tag" => Selected::Tag(named(of)?),
            "containers" => {
                if of.split(',').count() > MEMBERS {
                    return Err(format!("containers: at most {MEMBERS}"));
                }
                let ids = of.split(',').map(str::parse).collect::<Result<_, _>>();
                Selected::Containers(ids.map_err(|e| format!("containers: {e}"))?)
            }
            _ => return Err(FORMS.into()),
        };
        Ok(Self(Arc::new(selected)))
    }
}

impl fmt::Display for LogSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Selected::Device(uuid) => write!(f, "device:{uuid}"),
            Selected::Project(Some(uuid), name) => write!(f, "project:{uuid}/{name}"),
            Selected::Project(None, name) => write!(f, "project:{name}"),
            Selected::Tag(tag) => write!(f, "tag:{tag}"),
            Selected::Containers(ids) => {
                f.write_str("containers:")?;
                for (n, id) in ids.iter().enumerate() {
                    let comma = if n > 0 { "," } else { "" };
                    write!(f, "{comma}{id}")?;
                }
                Ok(())
            }
        }
    }
}

/// The `type` of a room, by which subscriptions are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoomKind {
    /// `device:<uuid>`
    Device,
    /// `container:<id>`
    Container,
    /// `dashboard:main`
    Dashboard,
    /// `fleet:main`
    Fleet,
    /// `system:main`
    System,
    /// `logs:<selector>`
    Logs,
}

impl RoomKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Device, Self::Container, Self::Dashboard, Self::Fleet, Self::System, Self::Logs];

    /// The word used as `type` in a subscribe.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Container => "container",
            Self::Dashboard => "dashboard",
            Self::Fleet => "fleet",
            Self::System => "system",
            Self::Logs => "logs",
        }
    }
}

impl RoomName {
    /// Its kind.
    pub fn kind(&self) -> RoomKind {
        match self {
            Self::Device(_) => RoomKind::Device,
            Self::Container(_) => RoomKind::Container,
            Self::Dashboard => RoomKind::Dashboard,
            Self::Fleet => RoomKind::Fleet,
            Self::System => RoomKind::System,
            Self::Logs(_) => RoomKind::Logs,
        }
    }

    /// The part after the colon.
    pub fn id(&self) -> String {
        match self {
            Self::Device(uuid) => uuid.to_string(),
            Self::Container(id) => id.to_string(),
            Self::Logs(selector) => selector.to_string(),
            Self::Dashboard | Self::Fleet | Self::System => "main".into(),
        }
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(uuid) => write!(f, "device:{uuid}"),
            Self::Container(id) => write!(f, "container:{id}"),
            Self::Dashboard => f.write_str("dashboard:main"),
            Self::Fleet => f.write_str("fleet:main"),
            Self::System => f.write_str("system:main"),
            Self::Logs(selector) => write!(f, "logs:{selector}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_logs_are_in_one_is_read_and_written_the_same() {
        let uuid = "0198c0de-0000-7000-8000-0000000000ab";
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        for text in [
            format!("device:{uuid}"),
            format!("project:{uuid}/shop"),
            "project:shop".into(),
            "project:not-a-uuid/shop".into(),
            "tag:a:b, c".into(),
            format!("containers:{b},{a}"),
        ] {
            assert_eq!(text.parse::<LogSelector>().unwrap().to_string(), text);
        }
        let many = vec![a.as_str(); 51].join(",");
        for (text, wanted) in [
            ("web".to_owned(), "expected device:<uuid>"),
            ("image:x".into(), "expected device:<uuid>"),
            ("device:x".into(), "device: not a UUID"),
            ("tag:".into(), "tag: expected a name"),
            (format!("project:{uuid}/"), "project: expected a name"),
            (format!("tag:{}", "x".repeat(256)), "tag: expected a name"),
            ("containers:".into(), "containers: not a container id"),
            (format!("containers:{many}"), "containers: at most 50"),
        ] {
            let error = text.parse::<LogSelector>().unwrap_err();
            assert!(error.starts_with(wanted), "{error}");
        }
    }
}
