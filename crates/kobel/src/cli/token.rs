//! `kobel token`
#![allow(rustdoc::broken_intra_doc_links, reason = "these comments are the text of --help")]

use std::time::Duration;

use clap::{Args, Subcommand};
use kobel_hub::store::{Account, EnrollmentRequest, Store, TokenRequest, TokenState};
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
  kobel token create web-1 --enroll
      for the first contact of one agent within an hour: it gets a key of its own for it
  kobel token create rack-7 --enroll --uses 40 --expires 1d --tag rack-7 --group eu
      for 40 agents within a day; what they add has that tag and is in that group
  kobel token create web-1 --role agent
      for an agent, at each start: it reports, and sees nothing";

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
    /// How long it holds, such as 90d [default: until it is revoked; with --enroll one hour]
    #[arg(long, value_name = "TIME")]
    expires: Option<Span>,
    /// A token by which agents enroll: each makes a key of its own that is good for its machine alone
    #[arg(long, conflicts_with_all = ["role", "devices"])]
    enroll: bool,
    /// How many agents it enrolls [default: 1]
    #[arg(long, value_name = "NUMBER", requires = "enroll")]
    uses: Option<u32>,
    /// A tag of what it adds [repeatable]
    #[arg(long = "tag", value_name = "TAG", requires = "enroll")]
    tags: Vec<String>,
    /// The group of what it adds
    #[arg(long, value_name = "GROUP", requires = "enroll")]
    group: Option<String>,
}

/// How long an enrollment token holds where nobody says.
const ENROLLMENT: Duration = Duration::from_secs(3_600);

impl Create {
    async fn enrollment(self, account: &Account, store: &Store) -> Result<(), CliError> {
        let now = Timestamp::now();
        let request = EnrollmentRequest {
            account: account.id,
            name: &self.name,
            uses: self.uses.unwrap_or(1),
            lifetime: self.expires.map_or(ENROLLMENT, |span| span.0),
            tags: self.tags,
            group: self.group,
        };
        let made = store.create_enrollment(&request, now).await?;
        println!("{}", made.secret);
        let hosts =
            if request.uses == 1 { "one agent".into() } else { format!("{} agents", request.uses) };
        let until = made.expires_at.map_or_else(String::new, |at| format!(" until {at}"));
        eprintln!(
            "Token {} enrolls {hosts}{until}. It is shown this once. On the host, with the token in \
             a file or in KOBEL_TOKEN:\n  kobel agent --hub URL --token-file FILE",
            self.name
        );
        Ok(())
    }
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
                if asked.enroll {
                    return asked.enrollment(&account, store).await;
                }
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
                            TokenState::UsedUp => "used up",
                        };
                        let state = match token.enrolled {
                            Some((used, uses)) => format!("{state}, {used} of {uses} used"),
                            None => state.to_owned(),
                        };
                        // An enrollment token does nothing but that.
                        let role = match token.enrolled {
                            Some(_) => "enroll".to_owned(),
                            None => token.role.to_string(),
                        };
                        [
                            token.id.to_string(),
                            token.name,
                            token.account,
                            role,
                            scope_text(&token.devices),
                            state,
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
