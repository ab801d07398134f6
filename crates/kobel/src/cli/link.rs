//! Options of the commands that dial a hub over the agent link.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "these comments are the text of --help"
)]

use std::path::PathBuf;

use clap::Args;
use kobel_collect::agent::{Fingerprint, Hub, Trust};

use super::CliError;

/// Whose certificate is believed.
#[derive(Debug, Args)]
pub(super) struct HubTrust {
    /// A file of certificates (PEM) that the hub's may be signed by, in place of the authorities
    /// that this machine trusts; the hub's own certificate where it signs itself
    #[arg(long, value_name = "FILE", env = "KOBEL_HUB_CA", conflicts_with = "hub_fingerprint")]
    hub_ca: Option<PathBuf>,

    /// The SHA-256 fingerprint of the one certificate that is believed, as of: openssl x509 -noout
    /// -fingerprint -sha256 -in CERT
    #[arg(long, value_name = "SHA256", env = "KOBEL_HUB_FINGERPRINT")]
    hub_fingerprint: Option<Fingerprint>,
}

impl HubTrust {
    /// The hub, believed by what the options say.
    pub(super) fn of(&self, hub: Hub) -> Result<Hub, CliError> {
        let trust = match (&self.hub_fingerprint, &self.hub_ca) {
            (Some(fingerprint), _) => Trust::Fingerprint(*fingerprint),
            (None, Some(file)) => Trust::in_file(file)?,
            (None, None) => Trust::System,
        };
        Ok(hub.trusting(trust)?)
    }
}
