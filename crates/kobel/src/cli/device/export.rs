//! `kobel device export`
#![allow(rustdoc::broken_intra_doc_links, reason = "these comments are the text of --help")]

use std::{collections::BTreeMap, fmt::Write};

use clap::{Args, ValueEnum};
use kobel_hub::store::inventory::{DeviceRecord, Listed};
use serde_json::{Value, json};

use super::{CliError, print_json};
use crate::{cli::open, config::Common};

/// Shown below `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  kobel device export > devices.json
  kobel device export --format csv
  kobel device export --format ansible > inventory.yaml";

/// Options of `kobel device export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// What to write
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// All that is said of each device; kobel device import reads it
    Json,
    /// A line each
    Csv,
    /// An inventory of Ansible, YAML, with the groups and tags as its groups
    Ansible,
}

impl Export {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let (store, _) = open(common).await?;
        let devices = store.inventory(Listed::Present).await?;
        match self.format {
            Format::Json => print_json(&devices.iter().map(described).collect::<Vec<_>>()),
            Format::Csv => print!("{}", csv(&devices)),
            Format::Ansible => print!("{}", ansible(&devices)),
        }
        Ok(())
    }
}

/// What people say of it, and where it came from.
fn described(device: &DeviceRecord) -> Value {
    let mut value = serde_json::to_value(&device.spec).unwrap_or_default();
    value["source"] = device.source.as_str().into();
    let secrets: Vec<_> = device.secrets.iter().map(|secret| secret.kind.as_str()).collect();
    if !secrets.is_empty() {
        value["secrets"] = json!(secrets);
    }
    value
}

/// RFC 4180.
fn csv(devices: &[DeviceRecord]) -> String {
    let mut text = String::from("id,uuid,name,source,address,group,tags,enabled,notes\r\n");
    for device in devices {
        let spec = &device.spec;
        let cells = [
            device.id.to_string(),
            device.device_uuid.to_string(),
            spec.name.clone(),
            device.source.as_str().to_owned(),
            spec.address.as_ref().map(ToString::to_string).unwrap_or_default(),
            spec.group.clone().unwrap_or_default(),
            spec.tags.join(","),
            spec.enabled.to_string(),
            spec.notes.clone(),
        ];
        text.push_str(&cells.map(|text| cell(&text)).join(","));
        text.push_str("\r\n");
    }
    text
}

fn cell(text: &str) -> String {
    // A spreadsheet takes what begins so for a formula.
    let text = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// JSON strings are YAML's double-quoted ones, so every text is written as one.
fn ansible(devices: &[DeviceRecord]) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let mut hosts = String::new();
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for device in devices {
        let spec = &device.spec;
        let Some(address) = &spec.address else { continue };
        let ssh = spec.ssh.clone().unwrap_or_default();
        let mut vars = vec![
            ("ansible_host", quoted(&address.host)),
            ("ansible_port", address.port.to_string()),
        ];
        vars.extend(address.user.iter().map(|user| ("ansible_user", quoted(user))));
        vars.extend(
            ssh.identity_file.iter().map(|file| ("ansible_ssh_private_key_file", quoted(file))),
        );
        if !ssh.jump.is_empty() {
            let hops: Vec<_> = ssh.jump.iter().map(|hop| hop.to_string()).collect();
            let hops = hops.join(",").replace("ssh://", "");
            vars.push(("ansible_ssh_common_args", quoted(&format!("-J {hops}"))));
        }
        let _ = writeln!(hosts, "    {}:", quoted(&spec.name));
        for (name, value) in vars {
            let _ = writeln!(hosts, "      {name}: {value}");
        }
        for group in spec.group.iter().chain(&spec.tags) {
            let members = groups.entry(group_name(group)).or_default();
            if !members.contains(&spec.name.as_str()) {
                members.push(&spec.name);
            }
        }
    }
    let mut text = String::from("all:\n  hosts:");
    text.push_str(if hosts.is_empty() { " {}\n" } else { "\n" });
    text.push_str(&hosts);
    if !groups.is_empty() {
        text.push_str("  children:\n");
        for (group, members) in groups {
            let _ = writeln!(text, "    {}:\n      hosts:", quoted(&group));
            for name in members {
                let _ = writeln!(text, "        {}: {{}}", quoted(name));
            }
        }
    }
    text
}

/// Ansible's groups are names of variables, too.
fn group_name(text: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = text.chars().map(fits).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_only_ever_a_text() {
        assert_eq!(cell("a,\"b\"\nc"), "\"a,\"\"b\"\"\nc\"");
        assert_eq!(cell("=HYPERLINK(1)"), "'=HYPERLINK(1)");
        assert_eq!(cell("web"), "web");
        assert_eq!(group_name("prod-1 (new)"), "prod_1__new_");
        assert_eq!(group_name("1st"), "_1st");
    }
}
