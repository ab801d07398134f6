//! Why a host cannot be read over SSH, and what to do about it.

use kobel_wire::DeviceState;

/// Why a host cannot be read over SSH.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshError {
    /// The name has no address.
    #[error("{host} has no address: {why}")]
    Resolve {
        /// The name.
        host: String,
        /// The system's words.
        why: String,
    },
    /// Nobody answers there.
    #[error("no connection to {host}: {why}")]
    Connect {
        /// `host:port`.
        host: String,
        /// The system's words.
        why: String,
    },
    /// Who answers does not speak SSH as we do.
    #[error("{host} answers, and the SSH handshake fails: {why}")]
    Handshake {
        /// `host:port`.
        host: String,
        /// What failed.
        why: String,
    },
    /// The first time that this host is met.
    #[error("the host key of {host} is not known yet: {fingerprint}")]
    HostKeyUnknown {
        /// `host:port`.
        host: String,
        /// As `ssh-keygen -l` shows it.
        fingerprint: String,
    },
    /// It is another host, or its key was changed.
    #[error("the host key of {host} has changed: it is {fingerprint}, and {} was pinned", pinned.join(" or "))]
    HostKeyChanged {
        /// `host:port`.
        host: String,
        /// What it is now.
        fingerprint: String,
        /// What it was.
        pinned: Vec<String>,
    },
    /// A key or an agent here that cannot be used.
    #[error("{0}")]
    Credential(String),
    /// The host let nobody in.
    #[error(
        "{host} refused the sign-in of {user}: tried {}, it takes {}",
        list(tried),
        list(offered)
    )]
    Refused {
        /// `host:port`.
        host: String,
        /// The user.
        user: String,
        /// What was tried.
        tried: Vec<String>,
        /// What the host says that it takes.
        offered: Vec<String>,
    },
    /// The connection is gone.
    #[error("the connection to {host} broke: {why}")]
    Lost {
        /// `host:port`.
        host: String,
        /// What failed.
        why: String,
    },
    /// Signed in, and no command runs there as it should.
    #[error("{host} runs no commands for us: {why}")]
    Shell {
        /// `host:port`.
        host: String,
        /// What failed.
        why: String,
    },
}

fn list(words: &[String]) -> String {
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

impl SshError {
    /// The state of the device by it.
    pub fn state(&self) -> DeviceState {
        match self {
            Self::HostKeyUnknown { .. } | Self::Credential(_) | Self::Refused { .. } => {
                DeviceState::AuthFailed
            }
            Self::HostKeyChanged { .. } => DeviceState::HostKeyChanged,
            _ => DeviceState::Unreachable,
        }
    }

    /// Whether it stays so until somebody changes something: then nothing is tried again, since
    /// a host may ban an address that insists.
    pub fn is_final(&self) -> bool {
        self.state() != DeviceState::Unreachable
    }

    /// What to do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "Check the host's name, or use its address.",
            Self::Connect { .. } => {
                "Check that the host is on, that sshd listens on this port, and that no firewall is \
                 in between. Kobel tries again by itself."
            }
            Self::Handshake { .. } => {
                "Check that it is an SSH server of this century that answers on this port. Kobel \
                 tries again by itself."
            }
            Self::HostKeyUnknown { .. } => {
                "Compare the fingerprint with the host's (on the host: ssh-keygen -lf \
                 /etc/ssh/ssh_host_ed25519_key.pub), then accept it."
            }
            Self::HostKeyChanged { .. } => {
                "If the host was installed anew, compare the fingerprint on the host, then accept \
                 it. If not, somebody may sit in between: Kobel does not sign in."
            }
            Self::Credential(_) => "Give the device another key or password.",
            Self::Refused { .. } => {
                "Check the user's name, and that the public key stands in ~/.ssh/authorized_keys \
                 there. Kobel does not try again until the device is changed, since hosts ban \
                 addresses that insist."
            }
            Self::Lost { .. } => "Kobel connects again by itself.",
            Self::Shell { .. } => {
                "Check that the user may run commands there: no ForceCommand, no nologin shell, and \
                 MaxSessions above 0. Kobel tries again by itself."
            }
        }
    }

    /// Why, and what to do, in one text.
    pub fn told(&self) -> String {
        let why = self.to_string();
        let mut letters = why.chars();
        let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
        format!("{first}{}. {}", letters.as_str(), self.remedy())
    }
}
