//! What people say of a device, checked as a whole.

use kobel_wire::{SourceKind, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CollectOptions, PinnedKey, SignInMethod, SshAddress, SshSettings};

const TAGS: usize = 32;
const JUMPS: usize = 5;
const IGNORED: usize = 64;
const HOST_KEYS: usize = 32;
const NOTES: usize = 4_096;
const PATH: usize = 1_024;

/// A field that is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct FieldError {
    /// The field, such as `options.period`.
    pub field: String,
    /// What is wrong and what would be right.
    pub why: String,
}

/// Shorthand of this module.
pub(crate) fn wrong(field: impl Into<String>, why: impl Into<String>) -> FieldError {
    FieldError { field: field.into(), why: why.into() }
}

/// What people say of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeviceSpec {
    /// What they call it; the host, where they say nothing.
    pub name: String,
    /// Where the hub dials it; `None` for a device that reports by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<SshAddress>,
    /// Words that they put on it.
    pub tags: Vec<String>,
    /// The one group that they put it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What they want to remember of it.
    pub notes: String,
    /// Whether it is read.
    pub enabled: bool,
    /// How it is read.
    pub options: CollectOptions,
    /// How the hub signs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshSettings>,
}

impl Default for DeviceSpec {
    fn default() -> Self {
        Self {
            name: String::new(),
            address: None,
            tags: Vec::new(),
            group: None,
            notes: String::new(),
            enabled: true,
            options: CollectOptions::default(),
            ssh: None,
        }
    }
}

impl DeviceSpec {
    /// A device at an address, everything else as usual.
    pub fn at(address: SshAddress) -> Self {
        let ssh = Some(SshSettings::default());
        Self { name: address.host.clone(), address: Some(address), ssh, ..Self::default() }
    }

    /// This with what a JSON merge patch (RFC 7396) says of it.
    ///
    /// # Errors
    /// The field that is unknown or of a wrong type.
    pub fn patched(&self, patch: &Map<String, Value>) -> Result<Self, FieldError> {
        let mut whole = serde_json::to_value(self).unwrap_or_default();
        for (field, value) in patch {
            // These are merged field by field; anything but an object would undo all of it.
            if matches!(field.as_str(), "options" | "ssh")
                && !(value.is_object() || value.is_null())
            {
                return Err(wrong(field.clone(), "expected an object"));
            }
        }
        merge(&mut whole, &Value::Object(patch.clone()));
        serde_path_to_error::deserialize(whole).map_err(|error| {
            let path = error.path().to_string();
            let field = if path == "." { String::from("body") } else { path };
            wrong(field, error.into_inner().to_string())
        })
    }

    /// Brings it into the form that is stored.
    ///
    /// # Errors
    /// The field that cannot be, and why.
    pub fn checked(mut self, source: SourceKind, now: Timestamp) -> Result<Self, FieldError> {
        if source == SourceKind::Ssh {
            self.check_ssh(now)?;
        } else {
            self.check_not_dialled()?;
        }
        self.name = named("name", &self.name)?;
        self.group = match self.group.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(group) => Some(named("group", group)?),
        };
        let mut tags: Vec<String> = Vec::with_capacity(self.tags.len());
        for (at, tag) in self.tags.iter().enumerate() {
            let tag = named(&format!("tags[{at}]"), tag)?;
            if tag.contains(',') {
                return Err(wrong(format!("tags[{at}]"), "a tag has no comma; give several tags"));
            }
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        at_most("tags", tags.len(), TAGS)?;
        self.tags = tags;
        at_most("notes", self.notes.chars().count(), NOTES)?;
        if self.notes.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err(wrong("notes", "control characters other than new lines and tabs"));
        }
        Ok(self)
    }

    fn check_not_dialled(&self) -> Result<(), FieldError> {
        let not_here = |field: &str| {
            let why =
                "this device is not read over SSH; its name, tags, group and notes can be set";
            Err(wrong(field, why))
        };
        match self {
            Self { address: Some(_), .. } => not_here("address"),
            Self { ssh: Some(_), .. } => not_here("ssh"),
            Self { enabled: false, .. } => not_here("enabled"),
            _ if self.options != CollectOptions::default() => not_here("options"),
            _ => Ok(()),
        }
    }

    fn check_ssh(&mut self, now: Timestamp) -> Result<(), FieldError> {
        let Some(address) = &self.address else {
            return Err(wrong("address", "missing: write it as ssh://me@host"));
        };
        if address.user.is_none() {
            let why = format!("no user: write it as ssh://USER@{}", address.host);
            return Err(wrong("address", why));
        }
        if self.name.trim().is_empty() {
            self.name = address.host.chars().take(64).collect();
        }
        let own = address.host_port();
        self.options.check()?;
        let ssh = self.ssh.get_or_insert_default();
        ssh.check(&own, now)
    }
}

impl CollectOptions {
    fn check(&self) -> Result<(), FieldError> {
        if !(1..=60).contains(&self.period) {
            return Err(wrong("options.period", "use 1 to 60 (seconds)"));
        }
        if let Some(socket) = &self.docker_socket {
            absolute("options.dockerSocket", socket)?;
        }
        for (name, patterns) in [
            ("options.ignoreMounts", &self.ignore_mounts),
            ("options.ignoreInterfaces", &self.ignore_interfaces),
        ] {
            at_most(name, patterns.len(), IGNORED)?;
            for (at, pattern) in patterns.iter().enumerate() {
                let fits = !pattern.is_empty() && pattern.len() <= PATH;
                if !fits || pattern.chars().any(char::is_control) {
                    let why = "use 1 to 1,024 characters without control characters";
                    return Err(wrong(format!("{name}[{at}]"), why));
                }
            }
        }
        Ok(())
    }
}

impl SshSettings {
    fn check(&mut self, own: &str, now: Timestamp) -> Result<(), FieldError> {
        let mut methods: Vec<SignInMethod> = Vec::new();
        for method in &self.sign_in {
            if !methods.contains(method) {
                methods.push(*method);
            }
        }
        if methods.is_empty() {
            let why = "name at least one of hub-key, key, key-file, agent and password";
            return Err(wrong("ssh.signIn", why));
        }
        self.sign_in = methods;
        match (&self.identity_file, self.sign_in.contains(&SignInMethod::KeyFile)) {
            (Some(path), _) => absolute("ssh.identityFile", path)?,
            (None, true) => {
                let why = "missing: key-file signs in by a private key in a file on the hub's \
                           machine; name it";
                return Err(wrong("ssh.identityFile", why));
            }
            (None, false) => {}
        }
        at_most("ssh.jump", self.jump.len(), JUMPS)?;
        for (at, hop) in self.jump.iter().enumerate() {
            if hop.user.is_none() {
                let why = format!("no user: write it as ssh://USER@{}", hop.host);
                return Err(wrong(format!("ssh.jump[{at}]"), why));
            }
        }
        at_most("ssh.hostKeys", self.host_keys.len(), HOST_KEYS)?;
        let mut keys: Vec<PinnedKey> = Vec::with_capacity(self.host_keys.len());
        for (at, mut key) in self.host_keys.drain(..).enumerate() {
            if key.host.is_empty() {
                own.clone_into(&mut key.host);
            } else {
                let field = || format!("ssh.hostKeys[{at}].host");
                let host: SshAddress =
                    key.host.parse().map_err(|e| wrong(field(), format!("{e}")))?;
                key.host = host.host_port();
            }
            check_fingerprint(&format!("ssh.hostKeys[{at}].fingerprint"), &key.fingerprint)?;
            key.pinned_at = key.pinned_at.min(now);
            if !keys.iter().any(|k| k.host == key.host && k.fingerprint == key.fingerprint) {
                keys.push(key);
            }
        }
        self.host_keys = keys;
        Ok(())
    }
}

/// Whether it is a fingerprint as `ssh-keygen -l` shows it.
///
/// # Errors
/// That this field is none.
pub fn check_fingerprint(field: &str, text: &str) -> Result<(), FieldError> {
    let is = text.strip_prefix("SHA256:").is_some_and(|hash| {
        hash.len() == 43 && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b))
    });
    if is {
        return Ok(());
    }
    let why = "expected SHA256: and 43 characters, as ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub \
               shows it on the host";
    Err(wrong(field, why))
}

fn named(field: &str, name: &str) -> Result<String, FieldError> {
    let name = name.trim();
    let fits = (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if fits {
        Ok(name.to_owned())
    } else {
        Err(wrong(field, "use 1 to 64 characters without control characters"))
    }
}

fn absolute(field: &str, path: &str) -> Result<(), FieldError> {
    let fits = path.starts_with('/') && path.len() <= PATH && !path.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(wrong(field, "use an absolute path, such as /run/docker.sock")) }
}

fn at_most(field: &str, count: usize, most: usize) -> Result<(), FieldError> {
    if count <= most { Ok(()) } else { Err(wrong(field, format!("{count}: {most} are the most"))) }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        patch.clone_into(target);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (field, value) in patch {
        if value.is_null() {
            target.remove(field);
        } else {
            merge(target.entry(field.as_str()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(patch: &Value) -> Result<DeviceSpec, FieldError> {
        let Value::Object(patch) = patch else { panic!() };
        DeviceSpec::default()
            .patched(patch)?
            .checked(SourceKind::Ssh, Timestamp::from_millis(1_000))
    }

    #[test]
    fn the_least_that_is_said_is_enough() {
        let spec = patched(&json!({ "address": "ssh://me@web-1" })).unwrap();
        assert_eq!((spec.name.as_str(), spec.enabled), ("web-1", true));
        assert_eq!(spec.ssh.unwrap().sign_in, [SignInMethod::HubKey]);
    }

    #[test]
    fn a_patch_changes_what_it_names_and_null_resets() {
        let before = patched(&json!({
            "address": "ssh://me@web-1", "name": "first", "tags": ["a", "b", "a"], "group": "g",
            "options": { "period": 5, "docker": "off" },
            "ssh": { "jump": ["ssh://me@gate"] },
        }))
        .unwrap();
        assert_eq!(before.tags, ["a", "b"]);
        let Value::Object(patch) = json!({ "group": null, "options": { "docker": null } }) else {
            panic!()
        };
        let after = before.patched(&patch).unwrap();
        assert_eq!((after.group, after.options.period), (None, 5));
        assert_eq!(after.options.docker, super::super::DockerUse::Auto);
        assert_eq!(after.ssh, before.ssh);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let key = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg";
        for (patch, field) in [
            (json!({}), "address"),
            (json!({ "address": "ssh://web-1" }), "address"),
            (json!({ "address": "ftp://x@y" }), "address"),
            (json!({ "address": 7 }), "address"),
            (json!({ "colour": "red" }), "colour"),
            (json!({ "name": "a\u{7}b" }), "name"),
            (json!({ "name": "n".repeat(65) }), "name"),
            (json!({ "tags": ["ok", "a,b"] }), "tags[1]"),
            (json!({ "tags": ["\n"] }), "tags[0]"),
            (json!({ "tags": "web" }), "tags"),
            (json!({ "notes": "x\u{1b}[2J" }), "notes"),
            (json!({ "options": { "period": 0 } }), "options.period"),
            (json!({ "options": { "docker": "maybe" } }), "options.docker"),
            (json!({ "options": 7 }), "options"),
            (json!({ "options": { "dockerSocket": "run/x" } }), "options.dockerSocket"),
            (json!({ "ssh": { "signIn": [] } }), "ssh.signIn"),
            (json!({ "ssh": { "signIn": ["key-file"] } }), "ssh.identityFile"),
            (json!({ "ssh": { "jump": ["gate"] } }), "ssh.jump[0]"),
            (
                json!({ "ssh": { "hostKeys": [{ "fingerprint": "MD5:x" }] } }),
                "ssh.hostKeys[0].fingerprint",
            ),
            (
                json!({ "ssh": { "hostKeys": [{ "fingerprint": key, "host": "a b" }] } }),
                "ssh.hostKeys[0].host",
            ),
        ] {
            let mut whole = json!({ "address": "ssh://me@web-1" });
            if patch != json!({}) {
                merge(&mut whole, &patch);
            } else {
                whole = patch.clone();
            }
            let error = patched(&whole).unwrap_err();
            assert_eq!(error.field, field, "{patch}: {error}");
        }
    }

    #[test]
    fn a_device_that_reports_by_itself_is_not_dialled() {
        let spec = DeviceSpec { name: "host".into(), ..DeviceSpec::default() };
        spec.clone().checked(SourceKind::Agent, Timestamp::from_millis(0)).unwrap();
        let dialled = DeviceSpec { address: "me@x".parse().ok(), ..spec };
        let error = dialled.checked(SourceKind::Agent, Timestamp::from_millis(0)).unwrap_err();
        assert_eq!(error.field, "address");
    }
}
