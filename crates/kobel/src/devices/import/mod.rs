//! Devices from what people have already: `~/.ssh/config`, an inventory of Ansible, an export.
//!
//! Text in; what can be taken, and what not and why, out. Nothing is added here.

mod ansible;

use kobel_hub::store::inventory::{SecretKind, SshAddress};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::ssh_config::{HostOptions, SshConfig};

/// The longest text that is read.
pub(crate) const LARGEST: usize = 4 << 20;

/// The most devices of one text.
pub(crate) const MOST: usize = 10_000;

/// What kind of text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    /// `ssh_config(5)`, such as ~/.ssh/config
    SshConfig,
    /// An inventory of Ansible, INI
    AnsibleIni,
    /// An inventory of Ansible, YAML
    AnsibleYaml,
    /// What `kobel device export --format json` writes
    Json,
}

/// What a text holds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What can be taken.
    pub(crate) taken: Vec<Candidate>,
    /// What cannot.
    pub(crate) left: Vec<Left>,
}

/// A device that can be taken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    /// Where it stands, where that is known.
    pub(crate) line: Option<usize>,
    /// What it is called.
    pub(crate) name: String,
    /// The body of a create.
    pub(crate) body: Map<String, Value>,
    /// What was left out of it, and why.
    pub(crate) remarks: Vec<String>,
}

/// A device that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Left {
    /// Where it stands, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// What it is called there.
    pub(crate) name: String,
    /// Why not.
    pub(crate) reason: String,
}

/// What is filled in where the text is silent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    /// The user to sign in as.
    pub(crate) user: Option<String>,
    /// What `~` stands for in names of files; `None`: such files are left out.
    pub(crate) home: Option<String>,
    /// How to sign in where the text does not name a key.
    pub(crate) sign_in: Vec<&'static str>,
}

/// What a host is, as far as a text says.
#[derive(Debug, Default)]
struct Host {
    line: Option<usize>,
    name: String,
    host: String,
    port: Option<u16>,
    user: Option<String>,
    jump: Vec<String>,
    identity_file: Option<String>,
    tags: Vec<String>,
    group: Option<String>,
    remarks: Vec<String>,
}

/// Reads a text. `include` gives the files that a `~/.ssh/config` includes.
///
/// # Errors
/// Why nothing of it can be read.
pub(crate) fn read(
    format: Format,
    text: &str,
    defaults: &Defaults,
    include: &mut dyn FnMut(&str) -> Vec<String>,
) -> Result<Found, String> {
    if text.len() > LARGEST {
        return Err(format!("text: more than {LARGEST} bytes"));
    }
    let found = match format {
        Format::SshConfig => ssh_config(text, defaults, include),
        Format::AnsibleIni => ansible::ini(text)?.found(defaults),
        Format::AnsibleYaml => ansible::yaml(text)?.found(defaults),
        Format::Json => export(text)?,
    };
    if found.taken.len() > MOST {
        return Err(format!("text: {} devices; {MOST} are the most at once", found.taken.len()));
    }
    Ok(found)
}

fn ssh_config(
    text: &str,
    defaults: &Defaults,
    include: &mut dyn FnMut(&str) -> Vec<String>,
) -> Found {
    let config = SshConfig::parse(text, include);
    let mut found = Found::default();
    for (line, name) in config.hosts() {
        let HostOptions { host_name, user, port, identity_files, jump, not_followed } =
            config.lookup(&name);
        let line = Some(line).filter(|line| *line > 0);
        if let Some(reason) = not_followed.into_iter().next() {
            found.left.push(Left { line, name, reason });
            continue;
        }
        // A hop may itself be a name of this file.
        let jump = jump.iter().map(|hop| resolve_hop(&config, hop, defaults)).collect();
        let host = Host {
            line,
            host: host_name.unwrap_or_else(|| name.clone()),
            name,
            port,
            user,
            jump,
            identity_file: identity_files.into_iter().next(),
            ..Host::default()
        };
        found.add(host, defaults);
    }
    found
}

/// A hop of `ProxyJump` as an address, by what the file says of its name.
pub(crate) fn resolve_hop(config: &SshConfig, hop: &str, defaults: &Defaults) -> String {
    let Ok(mut address) = hop.parse::<SshAddress>() else { return hop.to_owned() };
    let options = config.lookup(&address.host);
    let said_port = hop.rsplit_once(':').is_some();
    address.user = address.user.or(options.user).or_else(|| defaults.user.clone());
    if let (Some(port), false) = (options.port, said_port) {
        address.port = port;
    }
    address.host = options.host_name.unwrap_or(address.host);
    address.to_string()
}

/// A list of devices as they are exported.
fn export(text: &str) -> Result<Found, String> {
    let devices: Vec<Map<String, Value>> =
        serde_json::from_str(text).map_err(|error| format!("text: {error}"))?;
    let mut found = Found::default();
    for (at, mut body) in devices.into_iter().enumerate() {
        let named = body.get("name").and_then(Value::as_str).map(str::to_owned);
        let name = named.unwrap_or_else(|| format!("[{at}]"));
        if body.get("address").is_none_or(Value::is_null) {
            let reason = "no address: it is not read over SSH".to_owned();
            found.left.push(Left { line: None, name, reason });
            continue;
        }
        let mut remarks = Vec::new();
        // Which secrets it had where it was exported; they must be set anew.
        if let Some(Value::Array(secrets)) = body.remove("secrets")
            && !secrets.is_empty()
        {
            remarks.push("its secrets are not in the export: set them anew".to_owned());
            let stored = [("password", SecretKind::Password), ("key", SecretKind::PrivateKey)];
            if let Some(Value::Array(methods)) =
                body.get_mut("ssh").and_then(|ssh| ssh.get_mut("signIn"))
            {
                methods.retain(|method| !stored.iter().any(|(word, _)| method == word));
                if methods.is_empty() {
                    methods.push("hub-key".into());
                }
            }
        }
        for known in ["deviceUuid", "id", "source", "revision", "createdAt", "changedAt"] {
            body.remove(known);
        }
        found.taken.push(Candidate { line: None, name, body, remarks });
    }
    Ok(found)
}

impl Found {
    fn leave(&mut self, line: Option<usize>, name: &str, reason: impl Into<String>) {
        self.left.push(Left { line, name: name.to_owned(), reason: reason.into() });
    }

    fn add(&mut self, host: Host, defaults: &Defaults) {
        let mut address: SshAddress = match host.host.parse() {
            Ok(address) => address,
            Err(error) => {
                let error: kobel_hub::store::inventory::SshAddressError = error;
                return self.leave(host.line, &host.name, error.to_string());
            }
        };
        address.port = host.port.unwrap_or(address.port);
        address.user = host.user.or(address.user).or_else(|| defaults.user.clone());
        let mut remarks = host.remarks;
        let mut ssh = json!({ "jump": host.jump });
        let file =
            host.identity_file.and_then(|file| match (file.strip_prefix("~/"), &defaults.home) {
                (Some(rest), Some(home)) => Some(format!("{home}/{rest}")),
                (Some(_), None) => {
                    remarks.push(format!(
                        "the key file {file} is left out: nobody says whose ~ it is"
                    ));
                    None
                }
                (None, _) if file.starts_with('/') && !file.contains('%') => Some(file),
                (None, _) => {
                    remarks
                        .push(format!("the key file {file} is left out: it is no absolute path"));
                    None
                }
            });
        let mut methods = defaults.sign_in.clone();
        if let Some(file) = file {
            ssh["identityFile"] = file.into();
            methods.insert(0, "key-file");
        }
        if !methods.is_empty() {
            ssh["signIn"] = json!(methods);
        }
        let mut body = json!({
            "name": host.name, "address": address.to_string(), "tags": host.tags, "ssh": ssh,
        });
        if let Some(group) = host.group {
            body["group"] = group.into();
        }
        if let Value::Object(body) = body {
            let (line, name) = (host.line, host.name);
            self.taken.push(Candidate { line, name, body, remarks });
        }
    }
}

#[cfg(test)]
mod tests;
