//! `kobel agent`
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "these comments are the text of --help"
)]

mod key;
mod sign_in;
mod unit;

pub(crate) use key::KeyFileError;
use sign_in::SignIn;

use std::{fs, io, path::PathBuf};

use clap::{Args, Subcommand};
use kobel_collect::{
    agent::{Hub, Machine},
    docker::Endpoints,
    local,
};
use kobel_hub::store::inventory::Listed;
use kobel_wire::Timestamp;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::{CliError, link::HubTrust, secret::actor};
use crate::{
    config::{Common, Docker, LogFormat},
    logging,
    serve::Signals,
};

/// Shown below `--help`.
pub(super) const EXAMPLES: &str = "\
The agent dials the hub and nothing dials the agent, so it may stand behind NAT or a firewall. What
somebody watches comes each second, the rest as a summary (least, mean and greatest) each half minute.
While the hub is away summaries wait for up to an hour, the oldest go first.

By an enrollment token (kobel token create NAME --enroll) it makes a key of its own at the first start,
which the hub takes for this machine alone; it lies in the data folder, and is what the agent signs in
by from then on. A token of the role agent is used as it is, at each start.

It ends with status 77 when the hub does not take the token or the key: to try again would be in vain.
Everything else it waits for, and tries again by itself.

Examples:
  kobel token create web-1 --enroll
      on the hub: a token for one machine, for an hour
  kobel agent --hub https://kobel.example.com --token-file /etc/kobel/agent.token
      here: report this machine and its containers
  KOBEL_HUB=http://10.0.0.5:8000 KOBEL_TOKEN=kobel_… kobel agent --docker off
      without containers; the token does not stand in the list of processes
  kobel agent --hub https://10.0.0.5:8443 --hub-fingerprint AA:BB:… --token-file agent.token
      a hub whose certificate signs itself
  kobel agent install --hub https://kobel.example.com > /etc/systemd/system/kobel-agent.service
      a unit for systemd, which says itself what else to do
  kobel agent revoke web-1
      on the hub: that machine's key holds no longer

Stop it by Ctrl-C or SIGTERM: its device stays on the hub, as an unreachable one.";

/// The largest file that is read for a token.
const LONGEST_TOKEN: u64 = 4_096;

/// Options of `kobel agent`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Agent {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    report: Report,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a unit for systemd that runs the agent as a user of its own
    #[command(after_help = unit::EXAMPLES)]
    Install(unit::Install),
    /// Revoke the key of a device's agent, where the hub runs; its link ends within a second
    #[command(after_help = "Example:\n  kobel agent revoke web-1")]
    Revoke {
        /// The device's name, number or UUID
        device: String,
    },
}

#[derive(Debug, Args)]
struct Report {
    /// The hub, such as https://kobel.example.com
    #[arg(long, value_name = "URL", env = "KOBEL_HUB")]
    hub: Option<Hub>,

    /// An enrollment token or one of the role agent; it stands in the list of processes, so better
    /// use --token-file or KOBEL_TOKEN
    #[arg(
        long,
        value_name = "TOKEN",
        env = "KOBEL_TOKEN",
        hide_env_values = true,
        conflicts_with = "token_file"
    )]
    token: Option<String>,

    /// A file that holds the token alone
    #[arg(long, value_name = "FILE", env = "KOBEL_TOKEN_FILE")]
    token_file: Option<PathBuf>,

    #[command(flatten)]
    trust: HubTrust,

    /// What the hub calls this machine when it comes for the first time [default: its host name]
    #[arg(long, value_name = "NAME", env = "KOBEL_NAME")]
    name: Option<String>,

    /// A tag that the hub puts on it when it comes for the first time [repeatable]
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,

    /// Where the container engine is: auto, off, cgroup-only (no socket is touched: containers that
    /// run, without names, images and logs), or an address such as unix:///run/podman/podman.sock
    #[arg(long, value_name = "ADDRESS", env = "KOBEL_DOCKER", default_value = "auto")]
    docker: Docker,

    /// Which log lines there are: error, warn, info, debug or trace
    #[arg(long, value_name = "FILTER", env = "KOBEL_LOG", default_value = "info")]
    log: String,

    /// How they look
    #[arg(
        long,
        value_name = "FORMAT",
        env = "KOBEL_LOG_FORMAT",
        value_enum,
        default_value = "human"
    )]
    log_format: LogFormat,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// Nobody gave one.
    #[error(
        "no token: give a file that holds it by --token-file, or the token by KOBEL_TOKEN; make it \
         on the hub: kobel token create NAME --enroll"
    )]
    Missing,
    /// The file cannot be read.
    #[error("cannot read the token in {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// The file holds something else.
    #[error("{0} holds no token alone: it should have one line, kobel_…")]
    Strange(PathBuf),
}

impl Agent {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        match self.command {
            Some(Command::Install(install)) => {
                print!("{}", install.unit());
                Ok(())
            }
            Some(Command::Revoke { device }) => {
                let (store, _) = super::open(common).await?;
                let device = store.find_device(&device, Listed::Present).await?;
                let now = Timestamp::now();
                store.revoke_agent_key(device.device_uuid, &actor(), now).await?;
                eprintln!(
                    "The key of {:?} is revoked; its link is being closed.",
                    device.spec.name
                );
                Ok(())
            }
            None => self.report.run(common).await,
        }
    }
}

impl Report {
    async fn run(self, common: &Common) -> Result<(), CliError> {
        logging::start(self.log_format, &self.log)?;
        let token = self.token()?;
        let hub = self.trust.of(self.hub.ok_or(CliError::NoHub)?)?;
        let facts = local::facts();
        let engines = match &self.docker {
            Docker::Off | Docker::CgroupOnly => None,
            Docker::Auto => Some(Endpoints::from_env()),
            // Checked when the options were read.
            Docker::At(address) => Endpoints::only(address).ok(),
        };
        let machine = Machine {
            instance: instance(local::machine_id().as_deref(), &facts.hostname),
            name: self.name.unwrap_or(facts.hostname),
            tags: self.tags,
            engines,
            cgroups: self.docker == Docker::CgroupOnly,
        };
        let sign_in = SignIn::choose(token, common, &hub, &machine)?;
        let mut signals = Signals::new().map_err(CliError::Signals)?;
        let cancel = CancellationToken::new();
        tracing::info!(%hub, name = machine.name, "reporting");
        // As large as all that a link may do.
        let mut running = Box::pin(sign_in.report(hub, machine, cancel.clone()));
        loop {
            tokio::select! {
                ended = &mut running => return ended,
                signal = signals.next() => {
                    if cancel.is_cancelled() {
                        return Ok(());
                    }
                    tracing::info!(signal, "shutting down; once more to end at once");
                    cancel.cancel();
                }
            }
        }
    }

    /// The token that was given, if one was.
    fn token(&self) -> Result<Option<String>, TokenError> {
        if let Some(token) = &self.token {
            return Ok(Some(token.trim().to_owned()));
        }
        let Some(file) = &self.token_file else { return Ok(None) };
        let unreadable = |error| TokenError::Unreadable(file.clone(), error);
        if fs::metadata(file).map_err(unreadable)?.len() > LONGEST_TOKEN {
            return Err(TokenError::Strange(file.clone()));
        }
        let text = fs::read_to_string(file).map_err(unreadable)?;
        match text.trim() {
            token if token.is_empty() || token.contains(char::is_whitespace) => {
                Err(TokenError::Strange(file.clone()))
            }
            token => Ok(Some(token.to_owned())),
        }
    }
}

/// What lasts of the agent. The machine's id itself must not leave it (machine-id(5)), so a hash
/// does. Where there is none, as in most containers, the host's name has to do.
fn instance(machine_id: Option<&str>, hostname: &str) -> String {
    let what = machine_id.unwrap_or(hostname);
    let hash = Sha256::new().chain_update("kobel agent\0").chain_update(what).finalize();
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(file: Option<PathBuf>) -> Report {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            report: Report,
        }
        let mut report = Line::parse_from(["agent"]).report;
        (report.token, report.token_file) = (None, file);
        report
    }

    #[test]
    fn a_file_holds_the_token_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            report(Some(file.clone())).token().map_err(|error| error.to_string())
        };
        assert_eq!(read("kobel_7_secret\n"), Ok(Some("kobel_7_secret".to_owned())));
        for strange in ["", "\n", "kobel_7_secret other", &"x".repeat(5_000)] {
            let said = read(strange).unwrap_err();
            // It could be another secret.
            assert!(said.contains("no token alone") && !said.contains("other"), "{said}");
        }
        let missing = report(Some(folder.path().join("nothing"))).token().unwrap_err();
        assert!(missing.to_string().contains("nothing"));
        assert_eq!(report(None).token().unwrap(), None);
    }

    #[test]
    fn the_machines_id_does_not_leave_it() {
        let id = "0123456789abcdef0123456789abcdef";
        let name = instance(Some(id), "web");
        assert_eq!((name.len(), &name), (32, &instance(Some(id), "db")));
        assert!(!name.contains(&id[..8]) && name != instance(None, "web"));
    }
}
