//! `kobel device import`
#![allow(rustdoc::broken_intra_doc_links, reason = "these comments are the text of --help")]

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use kobel_hub::store::inventory::DeviceChange;
use kobel_wire::Timestamp;
use serde_json::{Value, json};

use super::{CliError, Inventory, plain, print_json};
use crate::{
    cli::secret::{KeyFile, actor},
    config::Common,
    devices::{
        import::{self, Candidate, Defaults, Format, Found, LARGEST, Left},
        ssh_config::SshConfig,
    },
};

/// Shown below `--help`.
pub(super) const EXAMPLES: &str = "\
What the file says of a host is taken as far as it goes: name, address, port, user, key file, jump
hosts; the groups of an Ansible inventory become tags, the first one the group. Passwords are never
taken. Host keys are pinned by the first contact (--accept-new), or must be confirmed one by one.

Examples:
  kobel device import --dry-run
      what would be taken of ~/.ssh/config, and what not and why
  kobel device import inventory.ini --tag ansible
  kobel device import hosts.yaml --user deploy --accept-new
  kobel device import devices.json
      what kobel device export wrote";

/// Options of `kobel device import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file; - is the standard input [default: ~/.ssh/config]
    file: Option<PathBuf>,
    /// What kind of file it is [default: by its name and what is in it]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Say what would be done, and do nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Only hosts whose name fits; * is anything [repeatable]
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// The user to sign in as, where the file names none [default: yours]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// One more tag for each of them [repeatable]
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// The group of each of them, whatever the file says
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Take each host's first key without asking, and pin it
    #[arg(long)]
    accept_new: bool,
    /// JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: KeyFile,
}

impl Import {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let home = std::env::var("HOME").ok().filter(|home| home.starts_with('/'));
        let file = match (&self.file, &home) {
            (Some(file), _) => file.clone(),
            (None, Some(home)) => Path::new(home).join(".ssh/config"),
            (None, None) => return Err(CliError::Import("name a file".into())),
        };
        let text = read(&file)
            .map_err(|error| CliError::Import(format!("{}: {error}", file.display())))?;
        let format = self.format.unwrap_or_else(|| guessed(&file, &text));
        let defaults = Defaults {
            user: self.user.clone().or_else(|| std::env::var("USER").ok()),
            home: home.clone(),
            sign_in: vec!["hub-key", "agent"],
        };
        let mut include = |pattern: &str| included(pattern, home.as_deref());
        let mut found = import::read(format, &text, &defaults, &mut include)
            .map_err(|error| CliError::Import(format!("{}: {error}", file.display())))?;
        if !self.only.is_empty() {
            let fits = |name: &str| {
                self.only.iter().any(|only| crate::devices::ssh_config::matches(only, name))
            };
            found.taken.retain(|candidate| fits(&candidate.name));
            found.left.retain(|left| fits(&left.name));
        }
        for candidate in &mut found.taken {
            self.label(candidate);
        }
        let inventory = Inventory::open(common, self.keys.clone()).await?;
        let taken = add(&inventory, &mut found, self.dry_run).await?;
        self.report(&taken, &found.left);
        if !found.left.is_empty() && taken.is_empty() {
            return Err(CliError::Import("nothing was taken".into()));
        }
        Ok(())
    }

    fn label(&self, candidate: &mut Candidate) {
        let body = &mut candidate.body;
        let mut tags: Vec<Value> = match body.remove("tags") {
            Some(Value::Array(tags)) => tags,
            _ => Vec::new(),
        };
        tags.extend(self.tags.iter().map(|tag| Value::from(tag.as_str())));
        body.insert("tags".into(), tags.into());
        if let Some(group) = &self.group {
            body.insert("group".into(), group.as_str().into());
        }
        if self.accept_new
            && let Value::Object(ssh) = body.entry("ssh").or_insert_with(|| json!({}))
        {
            ssh.insert("hostKeyPolicy".into(), "accept-new".into());
        }
    }

    fn report(&self, taken: &[Candidate], left: &[Left]) {
        if self.json {
            let taken: Vec<_> = taken
                .iter()
                .map(|c| {
                    json!({ "line": c.line, "name": c.name, "address": c.body.get("address"),
                        "remarks": c.remarks })
                })
                .collect();
            print_json(&json!({ "taken": taken, "left": left, "dryRun": self.dry_run }));
            return;
        }
        let would = if self.dry_run { "would be " } else { "" };
        let at = |line: Option<usize>| line.map(|n| format!("line {n}: ")).unwrap_or_default();
        for candidate in taken {
            let address = candidate.body.get("address").and_then(Value::as_str).unwrap_or("");
            println!(
                "{}{} {would}taken as {}",
                at(candidate.line),
                plain(&candidate.name),
                plain(address)
            );
            for remark in &candidate.remarks {
                println!("    {}", plain(remark));
            }
        }
        for Left { line, name, reason } in left {
            println!("{}{} left out: {}", at(*line), plain(name), plain(reason));
        }
        println!("{} {would}taken, {} left out", taken.len(), left.len());
    }
}

/// Adds what can be taken; what the inventory refuses is left out, too.
async fn add(
    inventory: &Inventory,
    found: &mut Found,
    dry_run: bool,
) -> Result<Vec<Candidate>, CliError> {
    let mut taken = Vec::new();
    for candidate in std::mem::take(&mut found.taken) {
        let change = DeviceChange { patch: candidate.body.clone(), ..DeviceChange::default() };
        let tried = inventory
            .store
            .try_device(&change, &inventory.keys, &actor(), Timestamp::now(), dry_run)
            .await;
        match tried {
            Ok(()) => taken.push(candidate),
            Err(error) if error.is_of_the_request() => found.left.push(Left {
                line: candidate.line,
                name: candidate.name,
                reason: error.to_string(),
            }),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(taken)
}

/// `~/.ssh/config` with what it includes; empty where there is none.
pub(super) fn ssh_config_of_the_user(home: Option<&str>) -> SshConfig {
    let text = home.and_then(|home| read(&Path::new(home).join(".ssh/config")).ok());
    SshConfig::parse(&text.unwrap_or_default(), &mut |pattern| included(pattern, home))
}

fn read(file: &Path) -> io::Result<String> {
    let most = LARGEST as u64 + 1;
    let mut text = String::new();
    if file == Path::new("-") {
        io::stdin().take(most).read_to_string(&mut text)?;
    } else {
        fs::File::open(file)?.take(most).read_to_string(&mut text)?;
    }
    Ok(text)
}

fn guessed(file: &Path, text: &str) -> Format {
    let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let first = text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#'));
    match (extension, first.unwrap_or_default()) {
        ("json", _) => Format::Json,
        ("yml" | "yaml", _) => Format::AnsibleYaml,
        ("ini", _) => Format::AnsibleIni,
        (_, line) if line.starts_with("[{") || line == "[" => Format::Json,
        (_, line) if line == "---" || line.ends_with(':') => Format::AnsibleYaml,
        (_, line) if line.starts_with('[') || line.contains("ansible_") => Format::AnsibleIni,
        _ => Format::SshConfig,
    }
}

/// The files of an `Include`: relative to ~/.ssh; `*` in the last part of the name.
fn included(pattern: &str, home: Option<&str>) -> Vec<String> {
    let Some(home) = home else { return Vec::new() };
    let path = match pattern.strip_prefix("~/") {
        Some(rest) => Path::new(home).join(rest),
        None => Path::new(home).join(".ssh").join(pattern),
    };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let own = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            path.is_file() && crate::devices::ssh_config::matches(name, own)
        })
        .collect();
    names.sort();
    names.iter().filter_map(|path| read(path).ok()).collect()
}
