//! `kobel device edit`, `rm`, `restore` and `purge`
#![allow(rustdoc::broken_intra_doc_links, reason = "these comments are the text of --help")]

use std::io::{self, IsTerminal, Write};

use clap::Args;
use kobel_hub::store::inventory::{DeviceChange, Listed, SecretChange, SecretKind};
use kobel_wire::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    CliError, Inventory,
    options::{Collecting, Labels, Signing},
    plain, print_json, said,
};
use crate::{
    cli::{
        open,
        secret::{KeyFile, actor},
    },
    config::Common,
};

/// Shown below `--help`.
pub(super) const EDIT_EXAMPLES: &str = "\
Examples:
  kobel device edit web-1 --name front-1 --group prod
  kobel device edit web-1 --add-tag canary --remove-tag old
  kobel device edit web-1 --address ssh://me@192.0.2.7:2222
  kobel device edit web-1 --ask-password
  kobel device edit web-1 --disable
  kobel device edit web-1 --accept-host-key SHA256:…
      the only key that is right from now on";

/// Options of `kobel device edit`.
#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// The device's name, number or UUID
    device: String,
    /// Where it is: ssh://user@host:port
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    #[command(flatten)]
    labels: Labels,
    /// One more tag; --tag in its place sets all of them [repeatable]
    #[arg(long, value_name = "TAG", conflicts_with = "tags")]
    add_tag: Vec<String>,
    /// A tag to take off [repeatable]
    #[arg(long, value_name = "TAG", conflicts_with = "tags")]
    remove_tag: Vec<String>,
    /// In no group
    #[arg(long, conflicts_with = "group")]
    no_group: bool,
    /// Read it
    #[arg(long)]
    enable: bool,
    /// Do not read it; it stays in the inventory
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
    #[command(flatten)]
    collecting: Collecting,
    #[command(flatten)]
    signing: Signing,
    /// Forget a secret: password, private-key or passphrase [repeatable]
    #[arg(long, value_name = "SECRET", value_parser = secret_kind)]
    forget: Vec<SecretKind>,
    /// JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: KeyFile,
}

fn secret_kind(text: &str) -> Result<SecretKind, String> {
    let found = SecretKind::ALL.into_iter().find(|kind| kind.as_str() == text);
    found.ok_or_else(|| "expected password, private-key or passphrase".into())
}

impl Edit {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let inventory = Inventory::open(common, self.keys).await?;
        let device = inventory.store.find_device(&self.device, Listed::Present).await?;
        let mut patch = Map::new();
        self.labels.patch(&mut patch);
        self.collecting.patch(&mut patch);
        if let Some(address) = self.address {
            patch.insert("address".into(), address.into());
        }
        if !self.add_tag.is_empty() || !self.remove_tag.is_empty() {
            let kept = device.spec.tags.iter().filter(|tag| !self.remove_tag.contains(tag));
            let tags: Vec<_> = kept.chain(&self.add_tag).collect();
            patch.insert("tags".into(), json!(tags));
        }
        if self.no_group {
            patch.insert("group".into(), Value::Null);
        }
        if self.enable || self.disable {
            patch.insert("enabled".into(), self.enable.into());
        }
        let mut change: DeviceChange = self.signing.change(patch)?;
        change.secrets.extend(self.forget.into_iter().map(|kind| (kind, SecretChange::Remove)));
        if change.patch.is_empty() && change.secrets.is_empty() {
            return Err(CliError::NothingToChange);
        }
        let (keys, now) = (&inventory.keys, Timestamp::now());
        let uuid = device.device_uuid;
        let edited = inventory.store.edit_device(uuid, &change, keys, &actor(), now).await?;
        if self.json {
            print_json(&edited);
        } else if edited.revision == device.revision {
            eprintln!("{} is as it was.", said(&edited));
        } else {
            eprintln!("{} is changed.", said(&edited));
        }
        Ok(())
    }
}

/// A device.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The device's name, number or UUID
    device: String,
}

impl Named {
    pub(super) async fn restore(self, common: &Common) -> Result<(), CliError> {
        let (store, _) = open(common).await?;
        let device = store.find_device(&self.device, Listed::Deleted).await?;
        let device = store.restore_device(device.device_uuid, &actor(), Timestamp::now()).await?;
        eprintln!("{} is back.", said(&device));
        let needs = device.spec.ssh.iter().flat_map(|ssh| &ssh.sign_in);
        if needs.into_iter().any(|method| {
            use kobel_hub::store::inventory::SignInMethod::{Key, Password};
            matches!(method, Key | Password)
        }) {
            eprintln!(
                "Its secrets were forgotten: set them anew by kobel device edit {} --ask-password.",
                device.id
            );
        }
        Ok(())
    }
}

/// Options of `kobel device rm`.
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// The devices' names, numbers or UUIDs
    #[arg(required = true)]
    devices: Vec<String>,
}

impl Rm {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let (store, _) = open(common).await?;
        for named in &self.devices {
            let device = store.find_device(named, Listed::Present).await?;
            let gone = store.delete_device(device.device_uuid, &actor(), Timestamp::now()).await?;
            eprintln!(
                "{} is taken out. Its history stays until kobel device purge {}; kobel device \
                 restore {} takes it back in.",
                said(&gone),
                gone.id,
                gone.id
            );
        }
        Ok(())
    }
}

/// Options of `kobel device purge`.
#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// The deleted devices' names, numbers or UUIDs
    #[arg(required = true)]
    devices: Vec<String>,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

impl Purge {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let (store, _) = open(common).await?;
        for named in &self.devices {
            let device = store.find_device(named, Listed::All).await?;
            let question = format!("Forget {} for good?", plain(&device.spec.name));
            if device.deleted_at.is_some() && !self.yes && !confirmed(&question)? {
                return Err(CliError::NotConfirmed);
            }
            store.purge_device(device.device_uuid, &actor(), Timestamp::now()).await?;
            eprintln!("{} is forgotten.", said(&device));
        }
        Ok(())
    }
}

/// Asks a person; where nobody can be asked, the answer is no.
pub(super) fn confirmed(question: &str) -> Result<bool, CliError> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush().map_err(CliError::Password)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(CliError::Password)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
