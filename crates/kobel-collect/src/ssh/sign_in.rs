//! Signs in, by the ways that were given, in their order.

use std::{path::Path, sync::Arc};

use russh::{
    MethodKind, MethodSet,
    client::{AuthResult, Handle, KeyboardInteractiveAuthResponse},
    keys::{PrivateKey, PrivateKeyWithHashAlg, agent::client::AgentClient, decode_secret_key},
};
use tokio::time::timeout;

use super::{
    connect::{Client, STEP, words},
    error::SshError,
    spec::{Hop, Secret, SignIn},
};
use crate::text::clean;

/// The most keys of an agent that are shown to a host: sshd counts each (`MaxAuthTries` is 6).
const AGENT_KEYS: usize = 5;

/// The longest private key that is read from a file, bytes.
const KEY_FILE: u64 = 64 << 10;

/// Rounds of questions that are answered with the password.
const ROUNDS: usize = 4;

/// What was tried at one host, and what it says that it takes.
struct Attempt<'a> {
    handle: &'a mut Handle<Client>,
    hop: &'a Hop,
    tried: Vec<String>,
    offered: MethodSet,
    /// What here was no good, if nothing else was either.
    unusable: Option<SshError>,
}

/// Signs in; gives by what.
pub(super) async fn sign_in(
    handle: &mut Handle<Client>,
    hop: &Hop,
    ways: &[SignIn],
) -> Result<String, SshError> {
    let mut attempt = Attempt {
        handle,
        hop,
        tried: Vec::new(),
        offered: MethodSet::client_supported(),
        unusable: None,
    };
    // More than one way may be asked for (AuthenticationMethods in sshd_config(5)): whoever comes
    // next goes on where the one before got to.
    for way in ways {
        let name = match way {
            SignIn::Key { name, .. } => name.clone(),
            SignIn::KeyFile { path, .. } => path.display().to_string(),
            SignIn::Agent(_) => "the agent's keys".to_owned(),
            SignIn::Password(_) => "the password".to_owned(),
        };
        let limit = timeout(STEP, attempt.by(way, &name));
        let lost = |why| SshError::Lost { host: hop.to_string(), why };
        match limit.await {
            Ok(Ok(true)) => return Ok(name),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(lost("no answer to the sign-in in 10 s".to_owned())),
        }
    }
    if attempt.tried.is_empty()
        && let Some(unusable) = attempt.unusable
    {
        return Err(unusable);
    }
    Err(SshError::Refused {
        host: hop.to_string(),
        user: hop.user.clone(),
        tried: attempt.tried,
        offered: attempt.offered.iter().map(|kind| <&str>::from(kind).to_owned()).collect(),
    })
}

impl Attempt<'_> {
    async fn by(&mut self, way: &SignIn, name: &str) -> Result<bool, SshError> {
        match way {
            SignIn::Key { key, passphrase, .. } => {
                self.by_text(key.reveal(), passphrase.as_ref(), name).await
            }
            SignIn::KeyFile { path, passphrase } => match read(path).await {
                Ok(key) => self.by_text(key.reveal(), passphrase.as_ref(), name).await,
                Err(why) => {
                    Ok(self.skip(format!("the key file {} cannot be read: {why}", path.display())))
                }
            },
            SignIn::Agent(socket) => self.by_agent(socket).await,
            SignIn::Password(password) => self.by_password(password).await,
        }
    }

    fn skip(&mut self, why: String) -> bool {
        self.unusable.get_or_insert(SshError::Credential(why));
        false
    }

    async fn by_text(
        &mut self,
        text: &str,
        passphrase: Option<&Secret>,
        name: &str,
    ) -> Result<bool, SshError> {
        if !self.takes(MethodKind::PublicKey) {
            return Ok(false);
        }
        // Its own words could quote the text.
        let key = match decode_secret_key(text, passphrase.map(Secret::reveal)) {
            Ok(key) => key,
            Err(russh::keys::Error::KeyIsEncrypted) => {
                return Ok(self.skip(format!("{name} is encrypted: give its passphrase")));
            }
            Err(_) if passphrase.is_some() => {
                return Ok(self.skip(format!(
                    "{name} does not open: the passphrase is wrong, or it is no private key"
                )));
            }
            Err(_) => {
                return Ok(self.skip(format!(
                    "{name} is no private key that can be read: use one in the OpenSSH or PEM form"
                )));
            }
        };
        self.by_key(key, name).await
    }

    async fn by_key(&mut self, key: PrivateKey, name: &str) -> Result<bool, SshError> {
        self.tried.push(name.to_owned());
        let hash = self.rsa_hash(key.algorithm().is_rsa()).await?;
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        let result = self.handle.authenticate_publickey(self.hop.user.clone(), key).await;
        let result = result.map_err(|error| self.lost(&error))?;
        self.taken(result)
    }

    /// SHA-2 for an RSA key (RFC 8332), the better one that the host knows.
    async fn rsa_hash(&mut self, rsa: bool) -> Result<Option<russh::keys::HashAlg>, SshError> {
        if !rsa {
            return Ok(None);
        }
        let best =
            self.handle.best_supported_rsa_hash().await.map_err(|error| self.lost(&error))?;
        // A host that does not say is taken for one that knows what all do since 2016.
        Ok(best.unwrap_or(Some(russh::keys::HashAlg::Sha256)))
    }

    async fn by_agent(&mut self, socket: &Path) -> Result<bool, SshError> {
        if !self.takes(MethodKind::PublicKey) {
            return Ok(false);
        }
        let mut agent = match AgentClient::connect_uds(socket).await {
            Ok(agent) => agent,
            Err(error) => {
                let why = clean(&error.to_string(), 200);
                return Ok(self.skip(format!(
                    "the SSH agent at {} does not answer: {why}",
                    socket.display()
                )));
            }
        };
        let keys = match agent.request_identities().await {
            Ok(keys) => keys,
            Err(error) => {
                let why = clean(&error.to_string(), 200);
                return Ok(self.skip(format!("the SSH agent gives no keys: {why}")));
            }
        };
        if keys.is_empty() {
            return Ok(self.skip("the SSH agent has no keys: add one by ssh-add".to_owned()));
        }
        for key in keys.iter().take(AGENT_KEYS) {
            let key = key.public_key().into_owned();
            let comment = clean(key.comment().as_str_lossy(), 100);
            self.tried.push(format!("the agent's key {comment}"));
            let hash = self.rsa_hash(key.algorithm().is_rsa()).await?;
            let user = self.hop.user.clone();
            match self.handle.authenticate_publickey_with(user, key, hash, &mut agent).await {
                Ok(result) => {
                    if self.taken(result)? {
                        return Ok(true);
                    }
                }
                // The agent's own refusal, as of a key that asks for a touch.
                Err(error) => {
                    let why = clean(&error.to_string(), 200);
                    self.skip(format!("the SSH agent did not sign: {why}"));
                }
            }
        }
        Ok(false)
    }

    async fn by_password(&mut self, password: &Secret) -> Result<bool, SshError> {
        if self.takes(MethodKind::Password) {
            self.tried.push("the password".to_owned());
            let user = self.hop.user.clone();
            let result = self.handle.authenticate_password(user, password.reveal()).await;
            let result = result.map_err(|error| self.lost(&error))?;
            if self.taken(result)? {
                return Ok(true);
            }
            // A second try with the same could only count against us, but where the host takes
            // passwords by questions only, the first was none.
            if self.offered.contains(&MethodKind::Password) {
                return Ok(false);
            }
        }
        if !self.takes(MethodKind::KeyboardInteractive) {
            return Ok(false);
        }
        self.tried.push("the password as an answer (keyboard-interactive)".to_owned());
        let user = self.hop.user.clone();
        let mut answer = self
            .handle
            .authenticate_keyboard_interactive_start(user, None::<String>)
            .await
            .map_err(|error| self.lost(&error))?;
        for _ in 0..ROUNDS {
            match answer {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, .. } => {
                    self.offered = remaining_methods;
                    return Ok(false);
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                    // What is echoed is no password: a code, a user name. Nobody is here to answer.
                    let reply = |echo: bool| {
                        if echo { String::new() } else { password.reveal().to_owned() }
                    };
                    let replies = prompts.iter().map(|prompt| reply(prompt.echo)).collect();
                    answer = self
                        .handle
                        .authenticate_keyboard_interactive_respond(replies)
                        .await
                        .map_err(|error| self.lost(&error))?;
                }
            }
        }
        Ok(false)
    }

    fn takes(&self, kind: MethodKind) -> bool {
        self.offered.contains(&kind)
    }

    fn taken(&mut self, result: AuthResult) -> Result<bool, SshError> {
        match result {
            AuthResult::Success => Ok(true),
            AuthResult::Failure { remaining_methods, .. } => {
                if self.handle.is_closed() {
                    let why = "it closed the connection at the sign-in".to_owned();
                    return Err(SshError::Lost { host: self.hop.to_string(), why });
                }
                self.offered = remaining_methods;
                Ok(false)
            }
        }
    }

    fn lost(&self, error: &russh::Error) -> SshError {
        SshError::Lost { host: self.hop.to_string(), why: words(error) }
    }
}

async fn read(path: &Path) -> Result<Secret, String> {
    let told = |error: std::io::Error| error.to_string();
    let meta = tokio::fs::metadata(path).await.map_err(told)?;
    if !meta.is_file() || meta.len() > KEY_FILE {
        return Err("it is no file of a key's size".to_owned());
    }
    tokio::fs::read_to_string(path).await.map(Secret::new).map_err(told)
}
