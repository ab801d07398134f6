//! From what the engine says of a container to our own words.

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum as Status, HealthStatusEnum,
};
use kobel_wire::{
    Container, ContainerId, ContainerState, DeviceUuid, Health, LogPolicy, Timestamp,
};

use crate::text::clean;

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
/// `off`: the lines of this container are not to be stored.
const LOGS: &str = "kobel.logs";

/// A container as it can be shown, and when it last ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Described {
    pub(super) container: Container,
    pub(super) finished_at: Option<Timestamp>,
}

impl Described {
    /// What an inspect says; `None` where it names no container.
    pub(super) fn of(device: DeviceUuid, inspect: ContainerInspectResponse) -> Option<Self> {
        let id: ContainerId = inspect.id?.parse().ok()?;
        let (config, state) = (inspect.config.unwrap_or_default(), inspect.state);
        let labels = config.labels.unwrap_or_default();
        let label = |name| labels.get(name).map(|text| clean(text, 128));
        let name = inspect.name.unwrap_or_default();
        let known = state_of(state.as_ref().and_then(|s| s.status));
        let time = |text: Option<&String>| Timestamp::parse(text?);
        let ended = !known.is_up() && known != ContainerState::Created;
        let health = state.as_ref().and_then(|s| s.health.as_ref()?.status);
        let created = inspect.created;
        let container = Container {
            device_uuid: device,
            container_id: id,
            name: clean(name.trim_start_matches('/'), 255),
            image: clean(&config.image.unwrap_or_default(), 512),
            project: label(PROJECT),
            service: label(SERVICE),
            state: known,
            status: String::new(),
            health: health.and_then(health_of).filter(|_| known.is_up()),
            exit_code: state.as_ref().and_then(|s| s.exit_code).filter(|_| ended),
            created_at: time(created.as_ref()),
            started_at: state.as_ref().and_then(|s| time(s.started_at.as_ref())),
            restart_count: inspect.restart_count.and_then(|count| count.try_into().ok()),
            logs: (label(LOGS).as_deref() == Some("off")).then_some(LogPolicy::Off),
            cpu: None,
            memory: None,
            memory_limit: None,
            network_in: None,
            network_out: None,
            block_read: None,
            block_write: None,
            pids: None,
        };
        let finished_at = state.as_ref().and_then(|s| time(s.finished_at.as_ref()));
        Some(Self { container, finished_at })
    }

    /// Renews the status for people, as `docker ps` words it; true if it changed.
    pub(super) fn renew_status(&mut self, now: Timestamp) -> bool {
        let status = self.status(now);
        let changed = self.container.status != status;
        self.container.status = status;
        changed
    }

    fn status(&self, now: Timestamp) -> String {
        let container = &self.container;
        let since = |at: Option<Timestamp>| {
            at.map(|at| duration((now.as_millis() - at.as_millis()).max(0) / 1000))
        };
        let up = || match since(container.started_at) {
            Some(time) => format!("Up {time}"),
            None => "Up".into(),
        };
        let ended = |word: &str| {
            let code = container.exit_code.unwrap_or(0);
            match since(self.finished_at) {
                Some(time) => format!("{word} ({code}) {time} ago"),
                None => format!("{word} ({code})"),
            }
        };
        match container.state {
            ContainerState::Created => "Created".into(),
            ContainerState::Paused => format!("{} (Paused)", up()),
            ContainerState::Running => match container.health {
                Some(Health::Healthy) => format!("{} (healthy)", up()),
                Some(Health::Unhealthy) => format!("{} (unhealthy)", up()),
                Some(Health::Starting) => format!("{} (health: starting)", up()),
                None => up(),
            },
            ContainerState::Restarting => ended("Restarting"),
            ContainerState::Exited => ended("Exited"),
            ContainerState::Removing => "Removal In Progress".into(),
            ContainerState::Dead => "Dead".into(),
            ContainerState::Removed => "Removed".into(),
            ContainerState::Unknown => "Unknown".into(),
        }
    }
}

fn state_of(status: Option<Status>) -> ContainerState {
    match status {
        Some(Status::CREATED) => ContainerState::Created,
        // On its way out, but its processes are there.
        Some(Status::RUNNING | Status::STOPPING) => ContainerState::Running,
        Some(Status::PAUSED) => ContainerState::Paused,
        Some(Status::RESTARTING) => ContainerState::Restarting,
        Some(Status::REMOVING) => ContainerState::Removing,
        Some(Status::EXITED) => ContainerState::Exited,
        Some(Status::DEAD) => ContainerState::Dead,
        Some(Status::EMPTY) | None => ContainerState::Unknown,
    }
}

fn health_of(status: HealthStatusEnum) -> Option<Health> {
    match status {
        HealthStatusEnum::STARTING => Some(Health::Starting),
        HealthStatusEnum::HEALTHY => Some(Health::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(Health::Unhealthy),
        HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => None,
    }
}

/// What a health event says: "health_status: healthy".
pub(super) fn health_in(action: &str) -> Option<Health> {
    match action.strip_prefix("health_status:")?.trim() {
        "healthy" => Some(Health::Healthy),
        "unhealthy" => Some(Health::Unhealthy),
        "starting" => Some(Health::Starting),
        _ => None,
    }
}

/// A length of time as `docker ps` words it (`HumanDuration` in docker/go-units).
fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 14 => format!("{} days", hours / 24),
        () if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn device() -> DeviceUuid {
        "0198c0de-0000-7000-8000-0000000000ab".parse().unwrap()
    }

    #[expect(clippy::needless_pass_by_value, reason = "so that json!() stands bare in the calls")]
    fn inspect(state: serde_json::Value) -> Described {
        let inspect = serde_json::from_value(json!({
            "Id": "a".repeat(64),
            "Name": "/web\u{1b}[31m",
            "Created": "2026-11-18T11:00:00.123456789Z",
            "RestartCount": 2,
            "Config": { "Image": "nginx:1", "Labels": { PROJECT: "shop", SERVICE: "web", LOGS: "off" } },
            "State": state,
        }));
        let mut described = Described::of(device(), inspect.unwrap()).unwrap();
        described.renew_status(Timestamp::parse("2026-11-18T11:06:40Z").unwrap());
        described
    }

    #[test]
    fn a_running_container() {
        let Described { container, .. } = inspect(json!({
            "Status": "running", "ExitCode": 0,
            "StartedAt": "2026-11-18T11:03:20.5Z", "FinishedAt": "0001-01-01T00:00:00Z",
            "Health": { "Status": "healthy" },
        }));
        assert_eq!(container.name, "web[31m");
        assert_eq!(container.project.as_deref(), Some("shop"));
        assert_eq!(container.logs, Some(LogPolicy::Off));
        assert_eq!(container.status, "Up 3 minutes (healthy)");
        assert_eq!((container.state, container.exit_code), (ContainerState::Running, None));
        assert_eq!((container.health, container.restart_count), (Some(Health::Healthy), Some(2)));
    }

    #[test]
    fn containers_that_do_not_run() {
        let ended = json!({
            "Status": "exited", "ExitCode": 137, "FinishedAt": "2026-11-18T11:06:38Z",
            "Health": { "Status": "unhealthy" },
        });
        let Described { container, .. } = inspect(ended);
        assert_eq!(container.status, "Exited (137) 2 seconds ago");
        assert_eq!((container.exit_code, container.health), (Some(137), None));
        for (state, status) in [
            (json!({ "Status": "created" }), "Created"),
            (json!({ "Status": "paused" }), "Up (Paused)"),
            (json!({ "Status": "restarting", "ExitCode": 1 }), "Restarting (0)"),
            (json!({ "Status": "removing" }), "Removal In Progress"),
            (json!({}), "Unknown"),
        ] {
            assert_eq!(inspect(state).container.status, status);
        }
    }

    #[test]
    fn what_is_no_container_is_none() {
        for id in [json!(null), json!("web"), json!("../../etc")] {
            let inspect = serde_json::from_value(json!({ "Id": id })).unwrap();
            assert_eq!(Described::of(device(), inspect), None);
        }
    }

    #[test]
    fn durations_as_docker_words_them() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (3_599, "59 minutes"),
            (3_600, "About an hour"),
            (5_400, "2 hours"),
            (86_400 * 3, "3 days"),
            (86_400 * 21, "3 weeks"),
            (86_400 * 90, "3 months"),
            (86_400 * 800, "2 years"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn health_events() {
        assert_eq!(health_in("health_status: unhealthy"), Some(Health::Unhealthy));
        assert_eq!(health_in("health_status"), None);
        assert_eq!(health_in("start"), None);
    }
}
