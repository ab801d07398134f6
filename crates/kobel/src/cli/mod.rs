//! The command line.

mod agent;
mod api;
mod device;
mod link;
mod logs;
mod node;
mod search;
mod secret;
mod simulate;
mod store;
mod table;
mod token;
mod user;

use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource};
use kobel_collect::agent::{DialError, EnrollError, Hub, HubUrlError, TrustError, TrustWithoutTls};
use kobel_hub::{
    access::DeviceScope,
    store::{Database, PostgresUrl, Store, StoreError},
};
use kobel_wire::DeviceUuid;

use crate::{
    config::{self, Common, Config, ConfigError, SecretText, ServeOptions},
    data_folder::{self, DataFolderError},
    logging,
    serve::{self, ServeError},
};

/// A real-time monitoring hub: servers and containers, live, for as many as want to look.
#[derive(Debug, Parser)]
#[command(name = "kobel", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  kobel serve                     watch this machine; prints a link to sign in
  kobel device add ssh://me@web-1 watch another machine, over SSH
  kobel token create ci           a token for a program that reads along
  kobel user add ann              an account for somebody who looks
  kobel logs -f web               the log of a container, and what comes
  kobel search timeout            that word in the logs of all of them
  kobel agent --hub URL           report this machine to a hub elsewhere
  kobel simulate                  a hundred made-up servers, to see what it looks like
  kobel <command> --help          more about a command";

const SERVE_EXAMPLES: &str = "\
Each option is also a KOBEL_… variable and a key of kobel.toml; a flag wins over a variable, and a
variable over the file. For example:

  # ~/.config/kobel/kobel.toml
  listen = \"0.0.0.0:8000\"
  public-url = \"https://kobel.example.com\"
  allowed-hosts = [\"kobel.lan\"]

Examples:
  kobel serve
      this machine and its containers on http://127.0.0.1:8000
  kobel serve --listen 0.0.0.0:8000 --allowed-host kobel.lan
      for the network, by that name, too
  kobel serve --listen 0.0.0.0:8443 --tls-cert fullchain.pem --tls-key privkey.pem
      for the network, by https; docs/proxy.md is about proxies in its place
  kobel serve --docker unix:///run/podman/podman.sock
      containers of Podman
  kobel serve --log-format json --log info,kobel_collect=debug
      log lines for a collector, more of them about collecting

Stop it by Ctrl-C or SIGTERM: viewers are told and come back by themselves.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch this machine and its containers, and serve the page, the API and the live connection
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<ServeOptions>),
    /// Tokens by which programs sign in
    #[command(subcommand)]
    Token(token::Command),
    /// Accounts of people
    #[command(subcommand)]
    User(user::Command),
    /// The hosts that the hub watches
    #[command(subcommand)]
    Device(device::Command),
    /// The secrets that the hub keeps sealed
    #[command(subcommand)]
    Secret(secret::Command),
    /// The database as a whole
    #[command(subcommand)]
    Store(store::Command),
    /// Lines of containers' logs, stored and as they come
    #[command(after_help = logs::EXAMPLES)]
    Logs(logs::Logs),
    /// Find lines in the logs of all containers
    #[command(after_help = search::EXAMPLES)]
    Search(search::Search),
    /// The nodes that act as one hub
    #[command(subcommand)]
    Node(node::Command),
    /// Report this machine and its containers to a hub elsewhere
    #[command(after_help = agent::EXAMPLES)]
    Agent(Box<agent::Agent>),
    /// Attach made-up servers and containers to a hub, as agents of real ones would
    #[command(after_help = simulate::EXAMPLES)]
    Simulate(simulate::Simulate),
    /// Load a hub, or any other Socket.IO server, with real clients, and measure what they get
    #[command(after_help = kobel_load::EXAMPLES)]
    Load(Box<kobel_load::LoadArgs>),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "a password on the command line can be read by everybody on this machine: name the database \
         by the variable KOBEL_DATABASE_URL or in kobel.toml, or its password by \
         --database-password-file, PGPASSWORD or ~/.pgpass"
    )]
    PasswordInSight,
    #[error("no database to copy to: name it by KOBEL_DATABASE_URL, or by --to")]
    NoTarget,
    #[error(transparent)]
    Copy(#[from] kobel_hub::store::CopyError),
    #[error("cannot read the password: {0}")]
    Password(std::io::Error),
    #[error(transparent)]
    Field(#[from] kobel_hub::store::inventory::FieldError),
    #[error("{0}")]
    Address(String),
    #[error("nothing to change: name what is to be otherwise; kobel device edit --help shows how")]
    NothingToChange,
    #[error("not confirmed: nothing was done; say --yes where nobody can be asked")]
    NotConfirmed,
    #[error(
        "the host key was not confirmed, so nothing was added: compare it on the host, then add it by \
         --accept-host-key {0}, or take the first key without asking by --accept-new"
    )]
    HostKeyNotConfirmed(String),
    #[error("cannot import: {0}")]
    Import(String),
    #[error("{0:?} is not read over SSH: there is nothing to test")]
    NotDialled(String),
    #[error("{0} cannot be read; the steps say why")]
    DevicesFailed(usize),
    #[error("the two passwords differ")]
    PasswordsDiffer,
    #[error(
        "no hub's data is in {0}: name a hub by --hub and a token of the role agent by --token \
         (kobel token create NAME --role agent, where the hub runs), or its folder by --data"
    )]
    NoToken(PathBuf),
    #[error("no hub: name it by --hub or KOBEL_HUB, such as --hub https://kobel.example.com")]
    NoHub,
    #[error(transparent)]
    AgentToken(#[from] agent::TokenError),
    #[error(transparent)]
    AgentKey(#[from] agent::KeyFileError),
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    #[error(
        "the hub at {0} does not take this machine's key (in {1}): {2}. To enroll it anew, make an \
         enrollment token on the hub (kobel token create NAME --enroll) and give that to the agent"
    )]
    KeyRefused(Hub, PathBuf, String),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    TrustWithoutTls(#[from] TrustWithoutTls),
    #[error(transparent)]
    HubUrl(#[from] HubUrlError),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Api(#[from] api::ApiError),
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Load(#[from] kobel_load::LoadError),
    #[error("some connections failed; the report says which")]
    LoadFailed,
}

/// The status for what a person must change first (sysexits.h, EX_NOPERM): whoever starts a program
/// again when it fails knows by it not to.
const NOT_PERMITTED: u8 = 77;

impl CliError {
    /// The status that the process ends with.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::Dial(DialError::Unauthorized(..) | DialError::BadToken)
            | Self::Enroll(EnrollError::Refused(..) | EnrollError::BadToken)
            | Self::KeyRefused(..) => NOT_PERMITTED,
            _ => 1,
        }
    }
}

impl Cli {
    /// What this process was called with. Ends it where that is nothing to do.
    ///
    /// # Errors
    /// When a password stands there: everybody on the machine can read the command line of a process.
    pub(crate) fn from_command_line() -> Result<Self, CliError> {
        let matches = Self::command().get_matches();
        let cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        let mut at = Some(&matches);
        while let Some(matches) = at {
            for url in ["database_url", "to"] {
                if matches.try_contains_id(url).unwrap_or(false)
                    && matches.value_source(url) == Some(ValueSource::CommandLine)
                    && matches
                        .try_get_one::<SecretText>(url)
                        .ok()
                        .flatten()
                        .is_some_and(|url| PostgresUrl::has_password(url.reveal()))
                {
                    return Err(CliError::PasswordInSight);
                }
            }
            at = matches.subcommand().map(|(_, below)| below);
        }
        Ok(cli)
    }

    /// Does what the command says.
    pub(crate) async fn run(self) -> Result<(), CliError> {
        match self.command {
            Command::Serve(options) => {
                let config = Config::load(&self.common, *options)?;
                logging::start(config.log_format, &config.log)?;
                Ok(serve::run(config).await?)
            }
            Command::Logs(logs) => Box::pin(logs.run(&self.common)).await,
            Command::Node(command) => Box::pin(command.run(&self.common)).await,
            Command::Search(search) => Box::pin(search.run(&self.common)).await,
            Command::Agent(agent) => Box::pin(agent.run(&self.common)).await,
            Command::Simulate(simulate) => Box::pin(simulate.run(&self.common)).await,
            Command::Load(args) => {
                // Its loop is as large as all that it may do.
                let report = Box::pin(kobel_load::run(*args)).await?;
                print!("{report}");
                if report.failed() { Err(CliError::LoadFailed) } else { Ok(()) }
            }
            Command::Token(command) => command.run(&open(&self.common).await?.0).await,
            Command::Device(command) => Box::pin(command.run(&self.common)).await,
            Command::Secret(command) => command.run(&self.common).await,
            Command::Store(command) => Box::pin(command.run(&self.common)).await,
            Command::User(command) => {
                let (store, folder) = open(&self.common).await?;
                command.run(&store, &folder).await
            }
        }
    }
}

/// The store of the data folder, or the one that nodes share; hubs may run on it meanwhile.
async fn open(common: &Common) -> Result<(Store, PathBuf), CliError> {
    let folder = config::data_folder_of(common)?;
    let database = config::database_of(common)?;
    data_folder::make(&folder)?;
    Ok((Store::open_database(&database).await?, folder))
}

/// As [`open`], where a hub ever ran; else `None`.
async fn open_used(common: &Common) -> Result<Option<(Store, PathBuf)>, CliError> {
    match config::database_of(common)? {
        Database::Folder(folder) if !data_folder::has_store(&folder) => Ok(None),
        _ => open(common).await.map(Some),
    }
}

fn scope(devices: Vec<DeviceUuid>) -> DeviceScope {
    if devices.is_empty() {
        DeviceScope::All
    } else {
        DeviceScope::Only(devices.into_iter().collect())
    }
}

fn scope_text(scope: &DeviceScope) -> String {
    match scope {
        DeviceScope::All => "all".into(),
        DeviceScope::Only(devices) if devices.len() == 1 => "1 device".into(),
        DeviceScope::Only(devices) => format!("{} devices", devices.len()),
    }
}

#[cfg(test)]
mod tests;
