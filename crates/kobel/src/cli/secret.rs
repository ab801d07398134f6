//! `kobel secret`
#![allow(rustdoc::broken_intra_doc_links, reason = "these comments are the text of --help")]

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kobel_hub::store::{Actor, SecretKeys};
use kobel_wire::Timestamp;

use super::{CliError, open};
use crate::config::{self, Common};

/// What can be done with the secrets of devices.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Seal every secret with a new key, and forget the old one; a hub may run meanwhile
    #[command(after_help = ROTATE_EXAMPLES)]
    Rotate {
        #[command(flatten)]
        keys: KeyFile,
    },
}

const ROTATE_EXAMPLES: &str = "\
Passwords and private keys of devices, and the hub's own SSH key, are sealed with a key that lies in a
file outside of the database. Both keys are in the file until every secret is sealed with the new one,
so a crash loses nothing; then run it again. Keep a copy of the file apart from copies of the database.

Example:
  kobel secret rotate";

/// Where the keys of the secrets are.
#[derive(Debug, Clone, Args)]
pub(super) struct KeyFile {
    /// The file of the keys that secrets are sealed with [default: as the hub has it]
    #[arg(long, value_name = "FILE", env = "KOBEL_SECRET_KEY_FILE")]
    secret_key_file: Option<PathBuf>,
}

impl KeyFile {
    /// The keys, by the flag, the variable or the configuration.
    pub(super) fn keys(self, common: &Common) -> Result<SecretKeys, CliError> {
        let path = config::secret_key_file_of(common, self.secret_key_file)?;
        Ok(SecretKeys::in_file(path))
    }
}

impl Command {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let Self::Rotate { keys } = self;
        let keys = keys.keys(common)?;
        let (store, _) = open(common).await?;
        let count = store.rotate_secrets(&keys, &actor(), Timestamp::now()).await?;
        let secrets = if count == 1 { "secret is" } else { "secrets are" };
        eprintln!("{count} {secrets} sealed with a new key, in {}.", keys.path().display());
        Ok(())
    }
}

/// Whoever runs the command, by the system's name for the user.
pub(super) fn actor() -> Actor {
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    let named = name.ok().filter(|name| !name.is_empty());
    Actor::Cli(named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw())))
}
