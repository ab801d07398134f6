//! The folder of the database: private, and of one running hub.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

const LOCK: &str = "kobel.lock";

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataFolderError {
    /// It cannot be made or opened.
    #[error("cannot use the data folder {0}: {1}; choose another one by --data")]
    Unusable(PathBuf, io::Error),
    /// A hub runs on it.
    #[error(
        "another kobel ({1}) runs on the data folder {0}; stop it, or choose another folder by --data"
    )]
    InUse(PathBuf, String),
}

/// The lock of a running hub on its folder; given back when it is dropped, by the kernel at the
/// latest.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Makes the folder, readable by its owner only, where there is none.
pub(crate) fn make(folder: &Path) -> Result<(), DataFolderError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| DataFolderError::Unusable(folder.to_owned(), error))
}

/// Takes the folder for this process, which serves under `base_url`.
pub(crate) fn lock(folder: &Path, base_url: &str) -> Result<Lock, DataFolderError> {
    make(folder)?;
    let unusable = |error: io::Error| DataFolderError::Unusable(folder.to_owned(), error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join(LOCK))
        .map_err(unusable)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        // Only to say who it is.
        let _ = file.read_to_string(&mut holder);
        let pid = holder.lines().next().unwrap_or("?");
        return Err(DataFolderError::InUse(folder.to_owned(), format!("process {pid}")));
    }
    let write = |mut file: &File| {
        file.set_len(0)?;
        file.write_all(format!("{}\n{base_url}\n", std::process::id()).as_bytes())
    };
    write(&file).map_err(unusable)?;
    Ok(Lock { _file: file })
}

/// Whether a hub ever ran on the folder.
pub(crate) fn has_store(folder: &Path) -> bool {
    folder.join(kobel_hub::store::FILE).exists()
}

/// Under which URL the hub on this folder serves, or served last.
pub(crate) fn base_url(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join(LOCK)).ok()?;
    text.lines().nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hub_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/b");
        let lock_a = lock(&data, "http://127.0.0.1:1").unwrap();
        let refused = lock(&data, "http://127.0.0.1:2").unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        assert_eq!(base_url(&data).as_deref(), Some("http://127.0.0.1:1"));
        drop(lock_a);
        lock(&data, "http://127.0.0.1:2").unwrap();
        assert_eq!(base_url(&data).as_deref(), Some("http://127.0.0.1:2"));
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&data).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o700);
    }
}
