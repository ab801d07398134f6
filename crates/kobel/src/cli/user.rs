//! `kobel user`
#![allow(rustdoc::broken_intra_doc_links, reason = "these comments are the text of --help")]

use std::{
    io::{self, BufRead, IsTerminal},
    path::Path,
};

use clap::Subcommand;
use kobel_hub::store::Store;
use kobel_wire::{DeviceUuid, Role, Timestamp};

use super::{CliError, scope, scope_text, table::table};
use crate::serve::{LINK_LIFETIME, link_base};

/// What can be done with accounts.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account, and a link by which it signs in first
    #[command(after_help = "Example:\n  kobel user add ann --role viewer")]
    Add {
        /// The name to sign in by
        name: String,
        /// What it may do: viewer or admin
        #[arg(long, value_name = "ROLE", default_value = "viewer")]
        role: Role,
        /// A device that it may see; without one it sees every device [repeatable]
        #[arg(long = "device", value_name = "UUID")]
        devices: Vec<DeviceUuid>,
    },
    /// List the accounts
    List,
    /// Make a link that signs an account in once, within an hour
    Link {
        /// The account
        name: String,
    },
    /// Set an account's password; asked for, or read from standard input. Its sessions end
    #[command(
        after_help = "Examples:\n  kobel user password ann\n  pass show kobel | kobel user password ann"
    )]
    Password {
        /// The account
        name: String,
    },
    /// Change what an account may do and see; its live connections are closed and come back
    Access {
        /// The account
        name: String,
        /// What it may do: viewer or admin
        #[arg(long, value_name = "ROLE")]
        role: Option<Role>,
        /// A device that it may see [repeatable]
        #[arg(long = "device", value_name = "UUID", conflicts_with = "all_devices")]
        devices: Vec<DeviceUuid>,
        /// It may see every device
        #[arg(long)]
        all_devices: bool,
    },
    /// Remove an account with its sessions and tokens
    Remove {
        /// The account
        name: String,
    },
}

impl Command {
    pub(super) async fn run(self, store: &Store, folder: &Path) -> Result<(), CliError> {
        let now = Timestamp::now();
        match self {
            Self::Add { name, role, devices } => {
                store.add_account(&name, role, &scope(devices), now).await?;
                eprintln!("User {name} ({role}) is made. This link signs in once, within an hour:");
                print_link(store, folder, &name).await?;
            }
            Self::List => {
                let rows: Vec<_> = store
                    .accounts()
                    .await?
                    .into_iter()
                    .map(|account| {
                        [
                            account.name,
                            account.role.to_string(),
                            scope_text(&account.devices),
                            if account.has_password { "set" } else { "none" }.to_owned(),
                            account.created_at.to_string(),
                        ]
                    })
                    .collect();
                print!("{}", table(["NAME", "ROLE", "SEES", "PASSWORD", "MADE"], &rows));
            }
            Self::Link { name } => print_link(store, folder, &name).await?,
            Self::Password { name } => {
                let account = store.account(&name).await?;
                store.set_password(account.id, &ask(&name)?, None).await?;
                eprintln!("The password of {name} is set; its sessions have ended.");
            }
            Self::Access { name, role, devices, all_devices } => {
                let account = store.account(&name).await?;
                let devices = match (all_devices, devices.is_empty()) {
                    (true, _) => scope(Vec::new()),
                    (false, true) => account.devices,
                    (false, false) => scope(devices),
                };
                let role = role.unwrap_or(account.role);
                store.set_access(&name, role, &devices).await?;
                eprintln!("User {name} is now {role} and sees: {}.", scope_text(&devices));
            }
            Self::Remove { name } => {
                store.remove_account(&name).await?;
                eprintln!("User {name} is removed.");
            }
        }
        Ok(())
    }
}

async fn print_link(store: &Store, folder: &Path, name: &str) -> Result<(), CliError> {
    let account = store.account(name).await?;
    let link = store.make_link(account.id, LINK_LIFETIME, Timestamp::now()).await?;
    println!("{}/sign-in#{}", link_base(folder), link.secret);
    Ok(())
}

/// Asks twice on a terminal; else reads a line.
fn ask(name: &str) -> Result<String, CliError> {
    if io::stdin().is_terminal() {
        let ask = |prompt: String| rpassword::prompt_password(prompt).map_err(CliError::Password);
        let password = ask(format!("New password of {name}: "))?;
        if ask("Once more: ".into())? != password {
            return Err(CliError::PasswordsDiffer);
        }
        return Ok(password);
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(CliError::Password)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
