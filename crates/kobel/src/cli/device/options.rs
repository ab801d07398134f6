//! The options of a device on the command line, as the change that they make.
#![allow(rustdoc::broken_intra_doc_links, reason = "these comments are the text of --help")]

use std::io::{self, BufRead, IsTerminal};

use clap::Args;
use kobel_hub::store::inventory::{DeviceChange, SecretChange, SecretKind};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::super::CliError;

/// What people say of a device.
#[derive(Debug, Default, Args)]
pub(super) struct Labels {
    /// What to call it [default: the host]
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// A word to find it by, such as web [repeatable]
    #[arg(long = "tag", value_name = "TAG")]
    pub(super) tags: Vec<String>,
    /// The one group that it is in, such as prod
    #[arg(long, value_name = "GROUP")]
    pub(super) group: Option<String>,
    /// What to remember of it
    #[arg(long, value_name = "TEXT")]
    pub(super) notes: Option<String>,
}

/// How a device is read.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "How it is read")]
pub(super) struct Collecting {
    /// The least seconds between two samples, however closely somebody looks [default: 1]
    #[arg(long, value_name = "SECONDS")]
    period: Option<u8>,
    /// How containers are found: auto, off, or cgroup-only, which never touches the engine's socket:
    /// those that run, with what they use, without names, images and logs [default: auto]
    #[arg(long, value_name = "USE")]
    docker: Option<String>,
    /// The container engine's socket there, where it is none of the usual ones
    #[arg(long, value_name = "PATH")]
    docker_socket: Option<String>,
    /// A mount point to leave out; * is anything [repeatable]
    #[arg(long = "ignore-mount", value_name = "PATH")]
    ignore_mounts: Vec<String>,
    /// A network interface to leave out; * is anything [repeatable]
    #[arg(long = "ignore-interface", value_name = "NAME")]
    ignore_interfaces: Vec<String>,
}

/// How the hub signs in.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "How the hub signs in")]
pub(super) struct Signing {
    /// By the hub's own key, which it makes itself
    #[arg(long)]
    hub_key: bool,
    /// By the private key in this file on the hub's machine
    #[arg(long, short = 'i', value_name = "FILE")]
    pub(super) identity_file: Option<String>,
    /// By the SSH agent that the hub finds in SSH_AUTH_SOCK
    #[arg(long)]
    agent: bool,
    /// By a password, which is asked for
    #[arg(long)]
    ask_password: bool,
    /// By a password: the first line of the standard input
    #[arg(long, conflicts_with = "ask_password")]
    password_stdin: bool,
    /// By a private key that the hub keeps: the whole standard input
    #[arg(long, conflicts_with_all = ["password_stdin"])]
    private_key_stdin: bool,
    /// The key's passphrase, which is asked for
    #[arg(long)]
    ask_passphrase: bool,
    /// A host on the way, such as me@gate; several in their order [repeatable]
    #[arg(long = "jump", short = 'J', value_name = "ADDRESS", value_delimiter = ',')]
    pub(super) jump: Vec<String>,
    /// Take the host's first key without asking, also later, and pin it
    #[arg(long)]
    pub(super) accept_new: bool,
    /// The host key that is right, as ssh-keygen -l shows it: SHA256:… [repeatable]
    #[arg(long = "accept-host-key", value_name = "FINGERPRINT")]
    pub(super) host_keys: Vec<String>,
}

impl Labels {
    pub(super) fn patch(&self, patch: &mut Map<String, Value>) {
        let texts = [("name", &self.name), ("group", &self.group), ("notes", &self.notes)];
        for (field, text) in texts {
            if let Some(text) = text {
                patch.insert(field.into(), text.as_str().into());
            }
        }
        if !self.tags.is_empty() {
            patch.insert("tags".into(), json!(self.tags));
        }
    }
}

impl Collecting {
    pub(super) fn patch(&self, patch: &mut Map<String, Value>) {
        let mut options = Map::new();
        if let Some(period) = self.period {
            options.insert("period".into(), period.into());
        }
        for (field, text) in [("docker", &self.docker), ("dockerSocket", &self.docker_socket)] {
            if let Some(text) = text {
                options.insert(field.into(), text.as_str().into());
            }
        }
        for (field, list) in
            [("ignoreMounts", &self.ignore_mounts), ("ignoreInterfaces", &self.ignore_interfaces)]
        {
            if !list.is_empty() {
                options.insert(field.into(), json!(list));
            }
        }
        if !options.is_empty() {
            patch.insert("options".into(), options.into());
        }
    }
}

impl Signing {
    /// The ways to sign in that are named.
    pub(super) fn methods(&self) -> Vec<&'static str> {
        let named = [
            (self.hub_key, "hub-key"),
            (self.private_key_stdin, "key"),
            (self.identity_file.is_some(), "key-file"),
            (self.agent, "agent"),
            (self.ask_password || self.password_stdin, "password"),
        ];
        named.into_iter().filter_map(|(is, method)| is.then_some(method)).collect()
    }

    /// The change that these make; reads and asks for secrets.
    pub(super) fn change(self, mut patch: Map<String, Value>) -> Result<DeviceChange, CliError> {
        let mut ssh = match patch.remove("ssh") {
            Some(Value::Object(ssh)) => ssh,
            _ => Map::new(),
        };
        let methods = self.methods();
        if !methods.is_empty() {
            ssh.insert("signIn".into(), json!(methods));
        }
        if let Some(file) = &self.identity_file {
            ssh.insert("identityFile".into(), absolute(file).into());
        }
        if !self.jump.is_empty() {
            ssh.insert("jump".into(), json!(self.jump));
        }
        if self.accept_new {
            ssh.insert("hostKeyPolicy".into(), "accept-new".into());
        }
        if !self.host_keys.is_empty() {
            let keys: Vec<_> =
                self.host_keys.iter().map(|key| json!({ "fingerprint": key })).collect();
            ssh.insert("hostKeys".into(), keys.into());
        }
        if !ssh.is_empty() {
            patch.insert("ssh".into(), ssh.into());
        }
        let mut change = DeviceChange { patch, ..DeviceChange::default() };
        let mut set = |kind, secret| change.secrets.push((kind, SecretChange::Set(secret)));
        if self.ask_password {
            set(SecretKind::Password, ask("Password of the user there: ")?);
        } else if self.password_stdin {
            let mut line = Zeroizing::new(String::new());
            io::stdin().lock().read_line(&mut line).map_err(CliError::Password)?;
            set(SecretKind::Password, Zeroizing::new(line.trim_end_matches(['\r', '\n']).into()));
        }
        if self.private_key_stdin {
            let key = Zeroizing::new(io::read_to_string(io::stdin()).map_err(CliError::Password)?);
            set(SecretKind::PrivateKey, key);
        }
        if self.ask_passphrase {
            set(SecretKind::Passphrase, ask("Passphrase of the key: ")?);
        }
        Ok(change)
    }
}

/// Without an echo; piped in, a line.
fn ask(prompt: &str) -> Result<Zeroizing<String>, CliError> {
    let secret = if io::stdin().is_terminal() {
        rpassword::prompt_password(prompt).map_err(CliError::Password)?
    } else {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(CliError::Password)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    Ok(Zeroizing::new(secret))
}

/// The shell has filled in `~`; what is left is relative to here.
fn absolute(file: &str) -> String {
    let path = std::path::absolute(file);
    path.map_or_else(|_| file.to_owned(), |path| path.to_string_lossy().into_owned())
}
