//! How a device is read, and how the hub signs in there. No secret stands in any of it.

use kobel_wire::Timestamp;
use serde::{Deserialize, Serialize};

use super::SshAddress;

/// How a device is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CollectOptions {
    /// The least seconds between two samples, 1 to 60, however closely somebody looks.
    pub period: u8,
    /// How containers are found.
    pub docker: DockerUse,
    /// The engine's socket there, where it is none of the usual ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_socket: Option<String>,
    /// Mount points that are left out; `*` stands for anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore_mounts: Vec<String>,
    /// Network interfaces that are left out; `*` stands for anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore_interfaces: Vec<String>,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self {
            period: 1,
            docker: DockerUse::Auto,
            docker_socket: None,
            ignore_mounts: Vec::new(),
            ignore_interfaces: Vec::new(),
        }
    }
}

/// How containers are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DockerUse {
    /// By the engine's socket, where it may be used.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// By the files of cgroups only: the engine's socket is never touched.
    CgroupOnly,
}

/// How the hub signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SshSettings {
    /// What is tried, in this order.
    pub sign_in: Vec<SignInMethod>,
    /// The private key of [`SignInMethod::KeyFile`], a path on the hub's machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_file: Option<String>,
    /// The hosts on the way, the first one first. The hub signs in there by the same methods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jump: Vec<SshAddress>,
    /// What is done about a host key that is not pinned.
    pub host_key_policy: HostKeyPolicy,
    /// The host keys that are right.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_keys: Vec<PinnedKey>,
}

impl Default for SshSettings {
    fn default() -> Self {
        Self {
            sign_in: vec![SignInMethod::HubKey],
            identity_file: None,
            jump: Vec::new(),
            host_key_policy: HostKeyPolicy::default(),
            host_keys: Vec::new(),
        }
    }
}

/// A way to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignInMethod {
    /// The hub's own key, which it made itself and keeps sealed.
    HubKey,
    /// The device's own private key, kept sealed.
    Key,
    /// A private key in a file on the hub's machine.
    KeyFile,
    /// The agent of `SSH_AUTH_SOCK` in the hub's environment.
    Agent,
    /// A password, by `password` or `keyboard-interactive`, kept sealed.
    Password,
}

/// What is done about a host key that is not pinned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyPolicy {
    /// Only pinned keys are right.
    #[default]
    Pinned,
    /// The first key of a host that has none pinned is pinned; from then on only that.
    AcceptNew,
}

/// A host key that is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PinnedKey {
    /// Whose: `host:port`. Empty stands for the device's own address.
    #[serde(default)]
    pub host: String,
    /// `SHA256:` and the hash in base64, as `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// When it was pinned.
    #[serde(default = "Timestamp::now")]
    pub pinned_at: Timestamp,
}

/// A secret that the hub keeps for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SecretKind {
    /// The password of the user there.
    Password,
    /// A private key, OpenSSH or PEM.
    PrivateKey,
    /// What the private key, or that of the identity file, is encrypted with.
    Passphrase,
}

impl SecretKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Password, Self::PrivateKey, Self::Passphrase];

    /// The word used in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::PrivateKey => "private-key",
            Self::Passphrase => "passphrase",
        }
    }

    pub(crate) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}
