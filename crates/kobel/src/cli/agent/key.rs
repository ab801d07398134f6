//! The agent's own key, in a file that only its owner may read.
//!
//! The secret is written before the hub hears of it: an agent that ends in between asks for the same
//! key again. A file is of one hub and one machine; on a copy of the machine's disk it is not used.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use kobel_collect::agent::{AgentSecret, Hub};
use kobel_hub::store::agent_token;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The largest file that is read.
const LARGEST: u64 = 4_096;

/// Why the key cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    /// The file cannot be read.
    #[error("cannot read the agent's key in {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// The file holds something else.
    #[error("{0} holds no key of an agent; remove it to enroll anew")]
    Strange(PathBuf),
    /// It cannot be written.
    #[error("cannot keep the agent's key in {0}: {1}; name a folder for it by --data")]
    Unwritable(PathBuf, io::Error),
}

/// What the file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// The hub, for people who look.
    hub: String,
    /// Whose machine the key is.
    instance: String,
    /// The number of the enrollment token that it came by.
    enrollment: i64,
    /// The key's number; none until the hub has given it.
    token: Option<i64>,
    secret: String,
}

/// A key, as far as it has come.
pub(super) struct OwnKey {
    /// The number of the enrollment token that it came by.
    pub(super) enrollment: i64,
    /// The secret.
    pub(super) secret: AgentSecret,
    /// Its number, once the hub has given it.
    pub(super) token: Option<i64>,
}

impl OwnKey {
    /// What the agent signs in by, once it can.
    pub(super) fn sign_in(&self) -> Option<String> {
        Some(agent_token(self.token?, self.secret.expose()))
    }
}

/// The file of a hub's key.
pub(super) struct KeyFile {
    path: PathBuf,
    hub: String,
    instance: String,
}

impl KeyFile {
    /// That of this hub, in this folder.
    pub(super) fn of(folder: &Path, hub: &Hub, instance: &str) -> Self {
        let hub = hub.to_string();
        let hash = Sha256::digest(hub.as_bytes());
        let short: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let path = folder.join(format!("agent-{short}.key"));
        Self { path, hub, instance: instance.to_owned() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The key, if one is kept and it is this machine's.
    pub(super) fn read(&self) -> Result<Option<OwnKey>, KeyFileError> {
        let unreadable = |error| KeyFileError::Unreadable(self.path.clone(), error);
        let strange = || KeyFileError::Strange(self.path.clone());
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
            Ok(found) if found.len() > LARGEST => return Err(strange()),
            Ok(_) => {}
        }
        let text = fs::read(&self.path).map_err(unreadable)?;
        // The parser's words could repeat the secret.
        let kept: Kept = serde_json::from_slice(&text).map_err(|_| strange())?;
        if kept.hub != self.hub {
            return Err(strange());
        }
        if kept.instance != self.instance {
            tracing::warn!(file = %self.path.display(),
                "the key there is another machine's, of which this one may be a copy: not used");
            return Ok(None);
        }
        let secret = AgentSecret::kept(kept.secret);
        Ok(Some(OwnKey { enrollment: kept.enrollment, secret, token: kept.token }))
    }

    /// Keeps the key: on the disk when it returns, whole or not at all.
    pub(super) fn write(&self, key: &OwnKey) -> Result<(), KeyFileError> {
        let unwritable = |error| KeyFileError::Unwritable(self.path.clone(), error);
        let kept = Kept {
            hub: self.hub.clone(),
            instance: self.instance.clone(),
            enrollment: key.enrollment,
            token: key.token,
            secret: key.secret.expose().to_owned(),
        };
        // Plain data with text keys is always written.
        let mut text = serde_json::to_string_pretty(&kept).unwrap_or_default();
        text.push('\n');
        let new = self.path.with_extension("new");
        // What a crash left behind.
        let _ = fs::remove_file(&new);
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            match self.path.parent() {
                Some(folder) => File::open(folder)?.sync_all(),
                None => Ok(()),
            }
        };
        write().map_err(unwritable)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn hub(text: &str) -> Hub {
        text.parse().unwrap()
    }

    #[test]
    fn a_key_is_kept_for_its_hub_and_its_machine() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::of(folder.path(), &hub("http://10.0.0.5:8000"), "abc");
        assert!(file.read().unwrap().is_none());
        let mut key =
            OwnKey { enrollment: 7, secret: AgentSecret::generate().unwrap(), token: None };
        file.write(&key).unwrap();
        let kept = file.read().unwrap().unwrap();
        assert_eq!((kept.enrollment, kept.sign_in()), (7, None));
        assert_eq!(kept.secret, key.secret);
        key.token = Some(12);
        file.write(&key).unwrap();
        let kept = file.read().unwrap().unwrap();
        assert_eq!(kept.sign_in().unwrap(), format!("kobel_12_{}", key.secret.expose()));
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");

        // Another hub is never shown it, nor is it another machine's.
        let other = KeyFile::of(folder.path(), &hub("http://10.0.0.6:8000"), "abc");
        assert!(other.read().unwrap().is_none());
        let copy = KeyFile::of(folder.path(), &hub("http://10.0.0.5:8000"), "xyz");
        assert!(copy.read().unwrap().is_none());
    }

    #[test]
    fn what_is_no_key_is_said_without_repeating_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::of(folder.path(), &hub("http://10.0.0.5:8000"), "abc");
        for strange in ["", "secret", "{\"secret\":\"s3cret\"}", &"x".repeat(5_000)] {
            fs::write(file.path(), strange).unwrap();
            let said = file.read().err().unwrap().to_string();
            assert!(said.contains("remove it") && !said.contains("s3cret"), "{said}");
        }
        let nowhere = KeyFile::of(Path::new("/nowhere"), &hub("http://10.0.0.5:8000"), "abc");
        let key = OwnKey { enrollment: 7, secret: AgentSecret::generate().unwrap(), token: None };
        assert!(nowhere.write(&key).unwrap_err().to_string().contains("--data"));
    }
}
