//! `kobel device add` and `key`
#![allow(rustdoc::broken_intra_doc_links, reason = "these comments are the text of --help")]

use std::path::Path;

use clap::Args;
use kobel_hub::store::inventory::{DeviceChange, PinnedKey, SignInMethod, SshAddress};
use kobel_wire::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    CliError, Inventory,
    change::confirmed,
    import::ssh_config_of_the_user,
    options::{Collecting, Labels, Signing},
    plain, print_json, said,
};
use crate::{
    cli::secret::{KeyFile, actor},
    config::Common,
    devices::{
        HubKey,
        import::{Defaults, resolve_hop},
    },
};

/// Shown below `--help`.
pub(super) const EXAMPLES: &str = "\
Nothing is installed on the host. The name may be one of ~/.ssh/config: its HostName, User, Port,
IdentityFile and ProxyJump are taken then. The host's key is shown and must be confirmed. Signing in is
tried by the hub's own key, by your SSH agent, and by what ~/.ssh/config names; or as the options say.
The hub's key needs a line in ~/.ssh/authorized_keys there, which is printed.

Examples:
  kobel device add ssh://me@web-1
      asks whether its host key is right, tries it, and adds it
  kobel device add web-1 --tag web --group prod --accept-new
      a name of ~/.ssh/config; its first host key is taken without asking
  kobel device add me@10.0.0.7:2222 --jump me@gate -i ~/.ssh/id_ed25519
      through another host, by the key in a file
  kobel device add me@nas --ask-password
      by a password, which the hub keeps sealed
  kobel device add me@later --no-test --accept-new
      a host that is not there yet";

/// Shown below `kobel device key --help`.
pub(super) const KEY_EXAMPLES: &str = "\
The line lets the hub run commands and reach the container engine's socket, and nothing else: no
terminal, no agent forwarding.

Example:
  kobel device key | ssh me@web-1 'mkdir -p -m 700 ~/.ssh && cat >> ~/.ssh/authorized_keys'";

/// Options of `kobel device add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Where it is: ssh://user@host:port, user@host, or a name of ~/.ssh/config
    address: String,
    #[command(flatten)]
    labels: Labels,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    collecting: Collecting,
    /// Add it without trying it
    #[arg(long)]
    no_test: bool,
    /// Do not read it yet
    #[arg(long)]
    disable: bool,
    /// JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: KeyFile,
}

/// Options of `kobel device key`.
#[derive(Debug, Args)]
pub(crate) struct Key {
    /// Only the public key and its comment, without what it may do
    #[arg(long)]
    bare: bool,
    #[command(flatten)]
    keys: KeyFile,
}

impl Key {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let inventory = Inventory::open(common, self.keys).await?;
        let key = HubKey::of(&inventory.store, &inventory.keys, &actor()).await?;
        println!("{}", if self.bare { key.public_key } else { key.authorized_keys });
        Ok(())
    }
}

impl Add {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let inventory = Inventory::open(common, self.keys.clone()).await?;
        let (no_test, json) = (self.no_test, self.json);
        let mut change = self.change()?;
        let now = Timestamp::now();
        let mut spec = change.described(now)?;
        // What stands in the way is said before anybody is asked anything.
        inventory.store.try_device(&change, &inventory.keys, &actor(), now, true).await?;
        let key = HubKey::of(&inventory.store, &inventory.keys, &actor()).await?;
        let mut read = true;
        if !no_test {
            read = loop {
                let tried = inventory.probe(&spec, None, &change, json).await?;
                let ssh = spec.ssh.get_or_insert_default();
                let Some((host, fingerprint)) = tried.unknown else {
                    // Taken by --accept-new: from now on it is this one.
                    ssh.host_keys.extend(tried.new_keys.into_iter().map(|key| PinnedKey {
                        host: key.host,
                        fingerprint: key.fingerprint,
                        pinned_at: now,
                    }));
                    let keys = serde_json::to_value(&ssh.host_keys).unwrap_or_default();
                    change.patch.entry("ssh").or_insert_with(|| json!({}))["hostKeys"] = keys;
                    break tried.reads;
                };
                eprintln!("\nThe host key of {} is not known yet:\n  {fingerprint}", plain(&host));
                eprintln!(
                    "On the host: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub shows it."
                );
                if !confirmed("Is this the right host?")? {
                    return Err(CliError::HostKeyNotConfirmed(fingerprint));
                }
                ssh.host_keys.push(PinnedKey { host, fingerprint, pinned_at: now });
                let keys = serde_json::to_value(&ssh.host_keys).unwrap_or_default();
                change.patch.entry("ssh").or_insert_with(|| json!({}))["hostKeys"] = keys;
            };
        }
        let added = inventory.store.add_device(&change, &inventory.keys, &actor(), now).await?;
        if json {
            print_json(&added);
        } else {
            eprintln!("\n{} is added as number {}.", said(&added), added.id);
        }
        let methods = added.spec.ssh.map(|ssh| ssh.sign_in).unwrap_or_default();
        let by_hub_key = methods.contains(&SignInMethod::HubKey);
        if (!read || no_test) && by_hub_key {
            let address = added.spec.address;
            let user = address.as_ref().and_then(|address| address.user.clone());
            eprintln!(
                "\nThe hub signs in by its own key. Put this line into ~/.ssh/authorized_keys of {} \
                 there:\n\n{}\n\nThen: kobel device test {}",
                plain(user.as_deref().unwrap_or("the user")),
                key.authorized_keys,
                added.id
            );
        } else if !read {
            eprintln!(
                "\nIt cannot be read yet. When that is mended: kobel device test {}",
                added.id
            );
        }
        Ok(())
    }

    /// What is asked for, with what `~/.ssh/config` says of the host.
    fn change(self) -> Result<DeviceChange, CliError> {
        let mut patch = Map::new();
        let home = std::env::var("HOME").ok().filter(|home| home.starts_with('/'));
        let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
        let mut address: SshAddress =
            self.address.parse().map_err(|error| CliError::Address(format!("{error}")))?;
        let config = ssh_config_of_the_user(home.as_deref());
        let said = config.lookup(&address.host);
        let alias = address.host.clone();
        let mut ssh = Map::new();
        if let Some(host) = said.host_name {
            address.host = host;
        }
        if let (Some(port), false) = (said.port, names_a_port(&self.address)) {
            address.port = port;
        }
        address.user = address.user.or(said.user).or_else(|| user.clone());
        let defaults = Defaults { user, home: home.clone(), sign_in: Vec::new() };
        let hops = if self.signing.jump.is_empty() { said.jump } else { self.signing.jump.clone() };
        if !hops.is_empty() {
            let hops: Vec<_> =
                hops.iter().map(|hop| resolve_hop(&config, hop, &defaults)).collect();
            ssh.insert("jump".into(), json!(hops));
        }
        let mut signing = self.signing;
        // Said above, by names of the file, too.
        signing.jump.clear();
        if signing.methods().is_empty() {
            let mut methods = vec!["hub-key", "agent"];
            if let Some(file) = identity_file(&said.identity_files, home.as_deref()) {
                ssh.insert("identityFile".into(), file.into());
                methods.push("key-file");
            }
            ssh.insert("signIn".into(), json!(methods));
        }
        patch.insert("address".into(), address.to_string().into());
        patch.insert("name".into(), alias.into());
        patch.insert("ssh".into(), ssh.into());
        if self.disable {
            patch.insert("enabled".into(), Value::Bool(false));
        }
        self.labels.patch(&mut patch);
        self.collecting.patch(&mut patch);
        signing.change(patch)
    }
}

fn names_a_port(text: &str) -> bool {
    let rest = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    rest.rsplit_once(':').is_some_and(|(_, port)| !port.contains([']', '/']))
}

/// The key file that `~/.ssh/config` names, or one that ssh(1) would try, where it is there.
fn identity_file(named: &[String], home: Option<&str>) -> Option<String> {
    let home = home?;
    let full = |file: &String| match file.strip_prefix("~/") {
        Some(rest) => format!("{home}/{rest}"),
        None => file.clone(),
    };
    let usual = ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| format!("{home}/.ssh/{name}"));
    let mut files = named.iter().map(full).chain(usual);
    files.find(|file| file.starts_with('/') && Path::new(file).is_file())
}
