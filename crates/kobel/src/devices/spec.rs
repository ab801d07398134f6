//! From what the inventory says of a device to what dials it.

use std::path::PathBuf;

use kobel_collect::ssh::{
    Docker, Hop, HostKey, HostKeys, Secret, SignIn, SshSpec, docker::SocketPath,
};
use kobel_hub::store::{
    Actor, SecretKeys, Store, StoreError,
    inventory::{
        DeviceChange, DeviceRecord, DeviceSpec, DockerUse, FieldError, HostKeyPolicy, SecretChange,
        SecretKind, SignInMethod, SshAddress, SshSettings,
    },
};
use kobel_wire::DeviceUuid;
use zeroize::Zeroizing;

use super::hub_key;

/// The secrets of a device, opened.
#[derive(Default)]
pub(crate) struct Secrets {
    password: Option<Zeroizing<String>>,
    private_key: Option<Zeroizing<String>>,
    passphrase: Option<Zeroizing<String>>,
    hub_key: Option<Zeroizing<String>>,
}

impl Secrets {
    /// Those that signing in to this device takes. `known`: the device that has them, where it is
    /// in the inventory.
    pub(crate) async fn open(
        spec: &DeviceSpec,
        known: Option<DeviceUuid>,
        store: &Store,
        keys: &SecretKeys,
    ) -> Result<Self, StoreError> {
        let mut secrets = Self::default();
        let default = SshSettings::default();
        let methods = &spec.ssh.as_ref().unwrap_or(&default).sign_in;
        let needs = |wanted: &[SignInMethod]| methods.iter().any(|m| wanted.contains(m));
        if needs(&[SignInMethod::HubKey]) {
            secrets.hub_key = Some(hub_key::private(store, keys, &Actor::Hub).await?);
        }
        let Some(uuid) = known else { return Ok(secrets) };
        let open = async |kind| store.device_secret(uuid, kind, keys).await;
        if needs(&[SignInMethod::Password]) {
            secrets.password = open(SecretKind::Password).await?;
        }
        if needs(&[SignInMethod::Key]) {
            secrets.private_key = open(SecretKind::PrivateKey).await?;
        }
        if needs(&[SignInMethod::Key, SignInMethod::KeyFile]) {
            secrets.passphrase = open(SecretKind::Passphrase).await?;
        }
        Ok(secrets)
    }
}

impl Secrets {
    /// Also those that a change sets, in the place of those that are stored.
    pub(crate) fn with(&mut self, change: &DeviceChange) {
        for (kind, change) in &change.secrets {
            let secret = match change {
                SecretChange::Set(secret) => Some(secret.clone()),
                SecretChange::Remove => None,
            };
            match kind {
                SecretKind::Password => self.password = secret,
                SecretKind::PrivateKey => self.private_key = secret,
                SecretKind::Passphrase => self.passphrase = secret,
            }
        }
    }
}

/// What dials a known device.
///
/// # Errors
/// When a secret does not open, or what is stored cannot be dialled.
pub(crate) async fn dialled(
    device: &DeviceRecord,
    store: &Store,
    keys: &SecretKeys,
) -> Result<SshSpec, StoreError> {
    let secrets = Secrets::open(&device.spec, Some(device.device_uuid), store, keys).await?;
    Ok(ssh_spec(&device.spec, &secrets)?)
}

/// What dials a device as it is described.
///
/// # Errors
/// The field that stands in the way.
pub(crate) fn ssh_spec(spec: &DeviceSpec, secrets: &Secrets) -> Result<SshSpec, FieldError> {
    let wrong = |field: &str, why: String| FieldError { field: field.into(), why };
    let address = spec.address.as_ref();
    let address = address.ok_or_else(|| wrong("address", "missing".into()))?;
    let default = SshSettings::default();
    let ssh = spec.ssh.as_ref().unwrap_or(&default);
    let secret = |text: &Zeroizing<String>| Secret::new(text.to_string());
    let passphrase = || secrets.passphrase.as_ref().map(secret);
    let mut sign_in = Vec::with_capacity(ssh.sign_in.len());
    for method in &ssh.sign_in {
        match method {
            SignInMethod::HubKey => {
                sign_in.extend(secrets.hub_key.as_ref().map(|key| SignIn::Key {
                    key: secret(key),
                    passphrase: None,
                    name: "the hub's key".into(),
                }));
            }
            SignInMethod::Key => {
                sign_in.extend(secrets.private_key.as_ref().map(|key| SignIn::Key {
                    key: secret(key),
                    passphrase: passphrase(),
                    name: "the device's key".into(),
                }));
            }
            SignInMethod::KeyFile => {
                let path = ssh.identity_file.as_ref().map(PathBuf::from);
                sign_in.extend(path.map(|path| SignIn::KeyFile { path, passphrase: passphrase() }));
            }
            // Where the hub has no agent there is none to ask.
            SignInMethod::Agent => {
                let socket = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
                sign_in.extend(socket.map(|path| SignIn::Agent(path.into())));
            }
            SignInMethod::Password => {
                sign_in
                    .extend(secrets.password.as_ref().map(|text| SignIn::Password(secret(text))));
            }
        }
    }
    let docker = match (spec.options.docker, &spec.options.docker_socket) {
        (DockerUse::Auto, None) => Docker::Auto,
        (DockerUse::Auto, Some(path)) => Docker::At(
            SocketPath::new(path)
                .map_err(|error| wrong("options.dockerSocket", error.to_string()))?,
        ),
        (DockerUse::CgroupOnly, _) => Docker::CgroupOnly,
        (DockerUse::Off, _) => Docker::Off,
    };
    let pinned = ssh
        .host_keys
        .iter()
        .map(|key| HostKey { host: key.host.clone(), fingerprint: key.fingerprint.clone() })
        .collect();
    let accept_new = ssh.host_key_policy == HostKeyPolicy::AcceptNew;
    Ok(SshSpec {
        host: hop(address),
        jumps: ssh.jump.iter().map(hop).collect(),
        sign_in,
        host_keys: HostKeys { pinned, accept_new },
        docker,
    })
}

fn hop(address: &SshAddress) -> Hop {
    Hop {
        host: address.host.clone(),
        port: address.port,
        user: address.user.clone().unwrap_or_default(),
    }
}
