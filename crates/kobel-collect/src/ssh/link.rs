//! A host that is connected, or not, or again: what is behind it does not notice the difference.

use std::sync::{Arc, PoisonError, RwLock};

use super::{
    connect::SshConnection,
    remote::{Opening, Remote, RemoteError},
};

/// The host's connection of the moment.
#[derive(Default)]
pub(super) struct Link(RwLock<Option<Arc<SshConnection>>>);

impl Link {
    pub(super) fn set(&self, connection: Option<Arc<SshConnection>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    /// Whether there is no connection, or one that is known to be gone.
    pub(super) fn is_closed(&self) -> bool {
        self.get().map_or(true, |connection| connection.is_closed())
    }

    fn get(&self) -> Result<Arc<SshConnection>, RemoteError> {
        let connection = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        connection.ok_or_else(|| RemoteError::Gone("the host is not connected".to_owned()))
    }
}

impl Remote for Link {
    fn exec<'a>(&'a self, command: &'a str) -> Opening<'a> {
        Box::pin(async move { self.get()?.exec(command).await })
    }

    fn unix<'a>(&'a self, path: &'a str) -> Opening<'a> {
        Box::pin(async move { self.get()?.unix(path).await })
    }
}
