//! `kobel token`
#![allow(rustdoc::broken_intra_doc_links, reason = "these comments are the text of --help")]

use clap::{Args, Subcommand};
use kobel_hub::store::{Store, TokenRequest, TokenState};
use kobel_wire::{DeviceUuid, Role, Timestamp};

use super::{CliError, scope, scope_text, table::table};
use crate::config::Span;

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token; it is shown once
    #[command(after_help = CREATE_EXAMPLES)]
    Create(Create),
    /// List the tokens, without their secrets
    List,
    /// Revoke a token; its live connections are closed within a second
    #[command(after_help = "Example:\n  kobel token revoke ci")]
    Revoke {
        /// The token's name or number, as `kobel token list` shows it
        name: String,
    },
}

const CREATE_EXAMPLES: &str = "\
Examples:
  kobel token create wallboard
      sees every device, until it is revoked
  kobel token create ci --expires 90d --device 0198c0de-0000-7000-8000-0000000000ab
      sees one device, for 90 days
  kobel token create web-1 --role agent
      for an agent: it reports, and sees nothing";

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What to call it
    name: String,
    /// Whose token it is; it does and sees no more than that account [default: the first admin]
    #[arg(long, value_name = "USER")]
    account: Option<String>,
    /// What it may do: viewer, admin, or agent for an agent to report by
    #[arg(long, value_name = "ROLE", default_value = "viewer")]
    role: Role,
    /// A device that it may see; without one it sees what its account sees [repeatable]
    #[arg(long = "device", value_name = "UUID")]
    devices: Vec<DeviceUuid>,
    /// How long it holds, such as 90d [default: until it is revoked]
    #[arg(long, value_name = "TIME")]
    expires: Option<Span>,
}

impl Command {
    pub(super) async fn run(self, store: &Store) -> Result<(), CliError> {
        let now = Timestamp::now();
        match self {
            Self::Create(asked) => {
                let account = match &asked.account {
                    Some(name) => store.account(name).await?,
                    None => store.first_admin(now).await?,
                };
                let request = TokenRequest {
                    account: account.id,
                    name: &asked.name,
                    role: asked.role,
                    devices: scope(asked.devices),
                    lifetime: asked.expires.map(|span| span.0),
                };
                let made = store.create_token(&request, now).await?;
                println!("{}", made.secret);
                let until = match made.expires_at {
                    Some(at) => format!("until {at}"),
                    None => "until it is revoked".into(),
                };
                eprintln!(
                    "Token {} ({}) of {} holds {until}. It is shown this once: keep it safe.",
                    asked.name, asked.role, account.name
                );
            }
            Self::List => {
                let rows: Vec<_> = store
                    .tokens(now)
                    .await?
                    .into_iter()
                    .map(|token| {
                        let time = |at: Option<Timestamp>| {
                            at.map_or_else(|| "never".to_owned(), |at| at.to_string())
                        };
                        let state = match token.state {
                            TokenState::Valid => "valid",
                            TokenState::Expired => "expired",
                            TokenState::Revoked => "revoked",
                        };
                        [
                            token.id.to_string(),
                            token.name,
                            token.account,
                            token.role.to_string(),
                            scope_text(&token.devices),
                            state.to_owned(),
                            time(token.expires_at),
                            time(token.last_used_at),
                        ]
                    })
                    .collect();
                let head = ["ID", "NAME", "USER", "ROLE", "SEES", "STATE", "EXPIRES", "LAST USED"];
                print!("{}", table(head, &rows));
            }
            Self::Revoke { name } => {
                store.revoke_token(&name, now).await?;
                eprintln!("Token {name} is revoked; its live connections are being closed.");
            }
        }
        Ok(())
    }
}
