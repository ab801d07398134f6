//! What it takes to reach a host over SSH and to sign in there.

use std::{fmt, path::PathBuf, sync::Arc};

use zeroize::Zeroizing;

/// A secret text: wiped when dropped, never shown.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes a text in.
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A host that is dialled, and who signs in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user there.
    pub user: String,
}

impl fmt::Display for Hop {
    /// `host:port`, as host keys are pinned by.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// A way to sign in.
#[derive(Debug, Clone)]
pub enum SignIn {
    /// A private key, OpenSSH or PEM (RFC 4252, section 7).
    Key {
        /// Its text.
        key: Secret,
        /// What it is encrypted with.
        passphrase: Option<Secret>,
        /// What to call it in messages, such as "the hub's key".
        name: String,
    },
    /// A private key in a file on this machine.
    KeyFile {
        /// Where.
        path: PathBuf,
        /// What it is encrypted with.
        passphrase: Option<Secret>,
    },
    /// The keys of an agent (draft-miller-ssh-agent) on this socket.
    Agent(PathBuf),
    /// A password (RFC 4252, section 8), or the same as the answer to `keyboard-interactive`
    /// (RFC 4256).
    Password(Secret),
}

/// A host to read over SSH.
#[derive(Debug, Clone)]
pub struct SshSpec {
    /// The host itself.
    pub host: Hop,
    /// The hosts on the way, the first one first.
    pub jumps: Vec<Hop>,
    /// What is tried, in this order, at each of them.
    pub sign_in: Vec<SignIn>,
    /// The host keys that are right.
    pub host_keys: HostKeys,
    /// How containers are found.
    pub docker: Docker,
}

/// How containers are found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Docker {
    /// By the engine's socket, wherever one usually is.
    #[default]
    Auto,
    /// By the engine's socket at this path.
    At(super::docker::SocketPath),
    /// By the files of their cgroups: the engine's socket is never touched.
    CgroupOnly,
    /// Not at all.
    Off,
}

/// The host keys that are right, by `host:port`.
#[derive(Debug, Clone, Default)]
pub struct HostKeys {
    /// Host and fingerprint; a host may have several.
    pub pinned: Vec<HostKey>,
    /// Whether the first key of a host that has none pinned is taken.
    pub accept_new: bool,
}

/// A host's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// `host:port`.
    pub host: String,
    /// `SHA256:` and the hash in base64 without padding, as `ssh-keygen -l` shows it.
    pub fingerprint: String,
}

/// What is to be thought of a host's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is pinned.
    Known,
    /// The first of its host, and taken: it is to be pinned now.
    New,
    /// The first of its host; somebody must say that it is right.
    Unknown,
    /// Others are pinned, these.
    Changed(Vec<String>),
}

impl HostKeys {
    /// What is to be thought of this key.
    pub fn verdict(&self, key: &HostKey) -> Verdict {
        let pinned: Vec<_> = self.pinned.iter().filter(|known| known.host == key.host).collect();
        if pinned.iter().any(|known| known.fingerprint == key.fingerprint) {
            Verdict::Known
        } else if !pinned.is_empty() {
            Verdict::Changed(pinned.iter().map(|known| known.fingerprint.clone()).collect())
        } else if self.accept_new {
            Verdict::New
        } else {
            Verdict::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(host: &str, fingerprint: &str) -> HostKey {
        HostKey { host: host.into(), fingerprint: fingerprint.into() }
    }

    #[test]
    fn only_a_pinned_key_is_right() {
        let mut keys =
            HostKeys { pinned: vec![key("a:22", "x"), key("a:22", "y")], accept_new: true };
        assert_eq!(keys.verdict(&key("a:22", "y")), Verdict::Known);
        // Of a host with a pinned key no other one is taken, whatever the option says.
        assert_eq!(keys.verdict(&key("a:22", "z")), Verdict::Changed(vec!["x".into(), "y".into()]));
        assert_eq!(keys.verdict(&key("a:23", "x")), Verdict::New);
        keys.accept_new = false;
        assert_eq!(keys.verdict(&key("a:23", "x")), Verdict::Unknown);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let sign_in = SignIn::Password(Secret::new("hunter2".into()));
        assert!(!format!("{sign_in:?}").contains("hunter2"));
    }
}
