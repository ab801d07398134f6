//! Who looks.

use serde::{Deserialize, Serialize};

/// What an account or a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reports as an agent; sees nothing. Of tokens only.
    Agent,
    /// Sees the devices of its scope; changes nothing but its own password.
    Viewer,
    /// Sees and changes everything.
    Admin,
}

impl Role {
    /// The name used in the API, in the store and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Viewer => "viewer",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "agent" => Ok(Self::Agent),
            "viewer" => Ok(Self::Viewer),
            "admin" => Ok(Self::Admin),
            other => {
                Err(format!("unknown role {other:?}: use viewer or admin, or agent for a token"))
            }
        }
    }
}
