//! Who may see what.
//!
//! A [`Principal`] is who signed in and by which credential; its [`Access`] is the part that
//! permission depends on. Viewers with equal access share frames, so permission is asked once per
//! room and access at delivery, not once per viewer.

use std::{collections::BTreeSet, sync::Arc};

use kobel_wire::{DeviceUuid, Role, Timestamp};

/// The number of an account in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub i64);

/// The credential that somebody signed in by. When it is revoked, its sockets close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CredentialId {
    /// A session of the page, by its number in the store.
    Session(i64),
    /// An API token, by its number in the store.
    Token(i64),
}

/// The devices that an account or a token may see.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DeviceScope {
    /// Every device, also those that come later.
    All,
    /// Only these.
    Only(BTreeSet<DeviceUuid>),
}

/// What permission depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Access {
    /// What its holder may do.
    pub role: Role,
    /// What its holder may see.
    pub devices: DeviceScope,
}

impl Access {
    /// Whether nothing is hidden from its holder, not even what does not exist.
    pub fn sees_all(&self) -> bool {
        self.role != Role::Agent && self.devices == DeviceScope::All
    }

    /// Whether the device, and so its containers, may be seen.
    pub fn may_see(&self, device: DeviceUuid) -> bool {
        match &self.devices {
            // An agent reports on devices; it sees none.
            _ if self.role == Role::Agent => false,
            DeviceScope::All => true,
            DeviceScope::Only(devices) => devices.contains(&device),
        }
    }

    /// Whether how the hub reads and signs in to devices may be seen and changed.
    pub fn may_see_settings(&self) -> bool {
        self.role == Role::Admin && self.sees_all()
    }

    /// Whether the hub's own figures may be seen: they tell of everybody who is connected.
    pub fn may_see_system(&self) -> bool {
        self.role == Role::Admin
    }
}

/// Somebody who signed in.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The account.
    pub account: AccountId,
    /// The account's name, for logs.
    pub name: Arc<str>,
    /// What it may do and see.
    pub access: Arc<Access>,
    /// How it signed in.
    pub credential: CredentialId,
    /// When the credential ends by itself.
    pub expires_at: Option<Timestamp>,
}
