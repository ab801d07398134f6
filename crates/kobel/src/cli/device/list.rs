//! `kobel device list` and `show`
#![allow(rustdoc::broken_intra_doc_links, reason = "these comments are the text of --help")]

use clap::Args;
use kobel_hub::store::inventory::{DeviceRecord, Listed};
use kobel_wire::SourceKind;

use super::{CliError, plain, print_json};
use crate::{
    cli::{open, table::table},
    config::Common,
};

/// Shown below `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  kobel device list --tag web
  kobel device list --group prod --json
  kobel device list --deleted";

/// Options of `kobel device list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only with this tag [repeatable: any of them]
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only of this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only of this source: local, ssh, agent or simulated
    #[arg(long, value_name = "SOURCE")]
    source: Option<SourceKind>,
    /// Only those that were deleted and not purged
    #[arg(long)]
    deleted: bool,
    /// JSON, with all that is stored
    #[arg(long)]
    json: bool,
}

/// Options of `kobel device show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The device's name, number or UUID
    device: String,
    /// JSON
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let (store, _) = open(common).await?;
        let listed = if self.deleted { Listed::Deleted } else { Listed::Present };
        let mut devices = store.inventory(listed).await?;
        devices.retain(|device| {
            let spec = &device.spec;
            (self.tags.is_empty() || self.tags.iter().any(|tag| spec.tags.contains(tag)))
                && (self.group.is_none() || self.group == spec.group)
                && self.source.is_none_or(|source| source == device.source)
        });
        if self.json {
            print_json(&devices);
            return Ok(());
        }
        let rows: Vec<_> = devices.iter().map(row).collect();
        print!("{}", table(["ID", "NAME", "SOURCE", "ADDRESS", "GROUP", "TAGS", "READ"], &rows));
        Ok(())
    }
}

fn row(device: &DeviceRecord) -> [String; 7] {
    let spec = &device.spec;
    let address = spec.address.as_ref().map(ToString::to_string);
    let read = match (device.deleted_at, spec.enabled) {
        (Some(at), _) => format!("deleted {at}"),
        (None, true) => "yes".to_owned(),
        (None, false) => "no".to_owned(),
    };
    [
        device.id.to_string(),
        plain(&spec.name),
        device.source.as_str().to_owned(),
        plain(&address.unwrap_or_default()),
        plain(spec.group.as_deref().unwrap_or_default()),
        plain(&spec.tags.join(", ")),
        read,
    ]
}

impl Show {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let (store, _) = open(common).await?;
        let device = store.find_device(&self.device, Listed::All).await?;
        if self.json {
            print_json(&device);
            return Ok(());
        }
        let spec = &device.spec;
        let mut lines = vec![
            ("name", spec.name.clone()),
            ("uuid", device.device_uuid.to_string()),
            ("number", device.id.to_string()),
            ("source", device.source.as_str().to_owned()),
        ];
        let mut add = |name, text: String| {
            if !text.is_empty() {
                lines.push((name, text));
            }
        };
        add("address", spec.address.as_ref().map(ToString::to_string).unwrap_or_default());
        add("group", spec.group.clone().unwrap_or_default());
        add("tags", spec.tags.join(", "));
        add("notes", spec.notes.replace('\n', " / "));
        if device.source == SourceKind::Ssh {
            add("read", if spec.enabled { "yes" } else { "no" }.into());
            let options = serde_json::to_value(&spec.options).unwrap_or_default();
            for (name, value) in options.as_object().into_iter().flatten() {
                add("option", format!("{name} {}", text(value)));
            }
        }
        if let Some(ssh) = &spec.ssh {
            let methods = serde_json::to_value(&ssh.sign_in).unwrap_or_default();
            add("signs in by", text(&methods));
            add("key file", ssh.identity_file.clone().unwrap_or_default());
            let jump: Vec<_> = ssh.jump.iter().map(ToString::to_string).collect();
            add("through", jump.join(", "));
            for key in &ssh.host_keys {
                add("host key", format!("{} of {}", key.fingerprint, key.host));
            }
        }
        for secret in &device.secrets {
            add("secret", format!("{}, set {}", secret.kind.as_str(), secret.set_at));
        }
        add("added", device.created_at.to_string());
        add("changed", device.changed_at.map(|at| at.to_string()).unwrap_or_default());
        add("deleted", device.deleted_at.map(|at| at.to_string()).unwrap_or_default());
        for (name, value) in lines {
            println!("{name:12}{}", plain(&value));
        }
        Ok(())
    }
}

fn text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
