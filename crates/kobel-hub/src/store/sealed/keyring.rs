//! The keys that secrets are sealed with: a file outside of the database.
//!
//! One line a key: `kobel-secret-key-1 <id> <base64 of 32 bytes>`. The first one seals; the others
//! only open, while a rotation is under way.

use std::{
    fmt::{self, Write as _},
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use zeroize::Zeroizing;

use super::SecretError;

/// What every line begins with.
const FORM: &str = "kobel-secret-key-1";

/// More than a file of keys ever is.
const LARGEST: u64 = 64 * 1024;

/// A key.
struct Key {
    id: String,
    bytes: Zeroizing<[u8; 32]>,
}

/// The keys of a file; the first one seals.
pub(super) struct Keyring(Vec<Key>);

/// Sealed bytes, and what they were sealed with.
pub(super) struct Sealed {
    pub(super) key_id: String,
    pub(super) nonce: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

impl Keyring {
    /// A ring of one new key.
    pub(super) fn generate() -> Result<Self, SecretError> {
        Ok(Self(vec![new_key()?]))
    }

    /// Reads a file; `None` where there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, SecretError> {
        let unusable = |error| SecretError::KeyFile(path.to_owned(), error);
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(unusable)?,
        };
        let about = file.metadata().map_err(unusable)?;
        if others_may_read(&about, own_user()) {
            return Err(SecretError::KeyFileOpen(path.to_owned(), about.mode() & 0o777));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(LARGEST).read_to_string(&mut text).map_err(unusable)?;
        let wrong = |line: usize| SecretError::KeyFileWrong(path.to_owned(), line + 1);
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(FORM), Some(id), Some(key), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(wrong(number));
            };
            let decoded = STANDARD_NO_PAD.decode(key).map_err(|_| wrong(number))?;
            let decoded = Zeroizing::new(decoded);
            let mut bytes = Zeroizing::new([0; 32]);
            if decoded.len() != bytes.len() {
                return Err(wrong(number));
            }
            bytes.copy_from_slice(&decoded);
            keys.push(Key { id: id.to_owned(), bytes });
        }
        if keys.is_empty() { Err(wrong(0)) } else { Ok(Some(Self(keys))) }
    }

    /// Writes the file anew; on the disk when it returns, and whole at any instant.
    pub(super) fn write(&self, path: &Path) -> Result<(), SecretError> {
        let mut text = Zeroizing::new(String::from(
            "# Keys of Kobel's sealed secrets. Keep a copy apart from the database: without it they\n\
             # cannot be read.\n",
        ));
        for key in &self.0 {
            let encoded = Zeroizing::new(STANDARD_NO_PAD.encode(*key.bytes));
            // To a string: it never fails.
            let _ = writeln!(text, "{FORM} {} {}", key.id, *encoded);
        }
        replace(path, text.as_bytes()).map_err(|error| SecretError::KeyFile(path.to_owned(), error))
    }

    /// This with a new key that seals from now on.
    pub(super) fn with_new(mut self) -> Result<Self, SecretError> {
        self.0.insert(0, new_key()?);
        Ok(self)
    }

    /// Only the key that seals.
    pub(super) fn newest_only(mut self) -> Self {
        self.0.truncate(1);
        self
    }

    /// The id of the key that seals.
    pub(super) fn newest(&self) -> &str {
        self.0.first().map_or("", |key| &key.id)
    }

    /// Seals a secret. `bound`: what it belongs to; it opens for nothing else.
    pub(super) fn seal(&self, secret: &[u8], bound: &[u8]) -> Result<Sealed, SecretError> {
        let key = self.0.first().ok_or(SecretError::Sealing)?;
        let mut nonce = [0_u8; 24];
        getrandom::fill(&mut nonce).map_err(SecretError::Random)?;
        let cipher = XChaCha20Poly1305::new((&*key.bytes).into());
        let payload = Payload { msg: secret, aad: bound };
        let sealed = cipher.encrypt(&XNonce::from(nonce), payload);
        let bytes = sealed.map_err(|_| SecretError::Sealing)?;
        Ok(Sealed { key_id: key.id.clone(), nonce: nonce.to_vec(), bytes })
    }

    /// Opens what was sealed for `bound`.
    pub(super) fn open(
        &self,
        sealed: &Sealed,
        bound: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let key = self.0.iter().find(|key| key.id == sealed.key_id);
        let key = key.ok_or_else(|| SecretError::KeyMissing(sealed.key_id.clone()))?;
        let nonce: [u8; 24] =
            sealed.nonce.as_slice().try_into().map_err(|_| SecretError::Damaged)?;
        let cipher = XChaCha20Poly1305::new((&*key.bytes).into());
        let payload = Payload { msg: sealed.bytes.as_slice(), aad: bound };
        let opened = cipher.decrypt(&XNonce::from(nonce), payload);
        opened.map(Zeroizing::new).map_err(|_| SecretError::Damaged)
    }
}

/// Whether anybody may read the file but this process's user and root. Where it is not this user's
/// own, its group is how this user reads it, as with a secret that Kubernetes mounts.
fn others_may_read(file: &fs::Metadata, user: Option<u32>) -> bool {
    let handed_over = user.is_some_and(|user| user != file.uid());
    file.mode() & if handed_over { 0o037 } else { 0o077 } != 0
}

fn own_user() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|own| own.uid())
}

fn new_key() -> Result<Key, SecretError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(SecretError::Random)?;
    let mut id = [0; 8];
    getrandom::fill(&mut id).map_err(SecretError::Random)?;
    let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Key { id, bytes })
}

/// By a file beside it that takes its place: a crash leaves the old one or the new one.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    // The name, too, must outlive a power cut.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_sealed_opens_for_what_it_is_bound_to_only() {
        let ring = Keyring::generate().unwrap();
        let sealed = ring.seal(b"hunter2", b"device 1").unwrap();
        assert_eq!(**ring.open(&sealed, b"device 1").unwrap(), *b"hunter2");
        assert!(matches!(ring.open(&sealed, b"device 2"), Err(SecretError::Damaged)));
        let other = Keyring::generate().unwrap();
        assert!(matches!(other.open(&sealed, b"device 1"), Err(SecretError::KeyMissing(_))));
        let mut changed = ring.seal(b"hunter2", b"device 1").unwrap();
        changed.bytes[0] ^= 1;
        assert!(matches!(ring.open(&changed, b"device 1"), Err(SecretError::Damaged)));
        // Equal secrets do not look equal.
        assert_ne!(ring.seal(b"hunter2", b"x").unwrap().bytes[..7], sealed.bytes[..7]);
    }

    #[test]
    fn a_file_is_private_and_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        assert!(Keyring::read(&path).unwrap().is_none());
        let ring = Keyring::generate().unwrap();
        let sealed = ring.seal(b"x", b"y").unwrap();
        ring.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let two = Keyring::read(&path).unwrap().unwrap().with_new().unwrap();
        two.write(&path).unwrap();
        let two = Keyring::read(&path).unwrap().unwrap();
        assert_ne!(two.newest(), ring.newest());
        assert_eq!(**two.open(&sealed, b"y").unwrap(), *b"x");
        assert!(two.newest_only().open(&sealed, b"y").is_err());
        assert!(!format!("{ring:?}").contains(&STANDARD_NO_PAD.encode(*ring.0[0].bytes)));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        let file = fs::metadata(&path).unwrap();
        assert!(others_may_read(&file, Some(file.uid())) && others_may_read(&file, None));
        assert!(!others_may_read(&file, Some(file.uid() + 1)), "handed over by its group");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = Keyring::read(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        for text in ["", "kobel-secret-key-1 a", "kobel-secret-key-1 a !!", "other a b", "# x\n"] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let error = Keyring::read(&path).unwrap_err();
            assert!(matches!(error, SecretError::KeyFileWrong(..)), "{text:?} {error}");
        }
    }
}
