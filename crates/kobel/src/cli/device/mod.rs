//! `kobel device`: the inventory on the command line. It writes the store itself; a hub that runs
//! on it notices within a second.
#![allow(rustdoc::broken_intra_doc_links, reason = "these comments are the text of --help")]

mod add;
mod change;
mod export;
mod import;
mod list;
mod options;
mod test;

use clap::Subcommand;
use kobel_hub::store::{SecretKeys, Store, inventory::DeviceRecord};
use serde::Serialize;

use super::{CliError, open, secret::KeyFile};
use crate::config::Common;

/// What can be done with devices.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a host that the hub reads over SSH; nothing is installed there
    #[command(after_help = add::EXAMPLES)]
    Add(Box<add::Add>),
    /// List the devices
    #[command(after_help = list::EXAMPLES)]
    List(list::List),
    /// Show all that is stored of a device
    #[command(after_help = "Example:\n  kobel device show web-1 --json")]
    Show(list::Show),
    /// Try to reach devices, and say at which step it fails and what to do
    #[command(after_help = test::EXAMPLES)]
    Test(test::Test),
    /// Change a device; what is not named stays
    #[command(after_help = change::EDIT_EXAMPLES)]
    Edit(Box<change::Edit>),
    /// Take a device out; its history is kept until it is purged
    #[command(after_help = "Example:\n  kobel device rm web-1", alias = "remove")]
    Rm(change::Rm),
    /// Take a deleted device back in
    #[command(after_help = "Example:\n  kobel device restore web-1")]
    Restore(change::Named),
    /// Forget a deleted device for good; stored log lines go with their age
    #[command(after_help = "Example:\n  kobel device purge web-1 --yes")]
    Purge(change::Purge),
    /// Add the hosts of ~/.ssh/config or of an Ansible inventory
    #[command(after_help = import::EXAMPLES)]
    Import(import::Import),
    /// Write the devices as JSON, CSV or an Ansible inventory, without secrets
    #[command(after_help = export::EXAMPLES)]
    Export(export::Export),
    /// Print the hub's public key, as a line for ~/.ssh/authorized_keys on a host
    #[command(after_help = add::KEY_EXAMPLES)]
    Key(add::Key),
}

/// The store and the keys of its secrets.
pub(super) struct Inventory {
    store: Store,
    keys: SecretKeys,
}

impl Inventory {
    async fn open(common: &Common, keys: KeyFile) -> Result<Self, CliError> {
        let keys = keys.keys(common)?;
        let (store, _) = open(common).await?;
        Ok(Self { store, keys })
    }
}

impl Command {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        match self {
            Self::Add(add) => Box::pin(add.run(common)).await,
            Self::List(list) => list.run(common).await,
            Self::Show(show) => show.run(common).await,
            Self::Test(test) => Box::pin(test.run(common)).await,
            Self::Edit(edit) => Box::pin(edit.run(common)).await,
            Self::Rm(rm) => rm.run(common).await,
            Self::Restore(named) => named.restore(common).await,
            Self::Purge(purge) => purge.run(common).await,
            Self::Import(import) => Box::pin(import.run(common)).await,
            Self::Export(export) => export.run(common).await,
            Self::Key(key) => key.run(common).await,
        }
    }
}

/// JSON for programs, indented for people who look at it.
fn print_json<T: Serialize>(value: &T) {
    // Plain data with text keys is always written.
    println!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
}

/// A text of others on a terminal: nothing in it steers that.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A device in a sentence.
fn said(device: &DeviceRecord) -> String {
    match &device.spec.address {
        Some(address) => format!("{} ({address})", plain(&device.spec.name)),
        None => plain(&device.spec.name),
    }
}
