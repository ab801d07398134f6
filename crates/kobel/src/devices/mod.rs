//! The devices that the hub dials over SSH: from what the inventory says of them to what reads
//! them.

mod dial;
mod here;
mod hub_key;
pub(crate) mod import;
pub(crate) mod probe;
pub(crate) mod spec;
pub(crate) mod ssh_config;

pub(crate) use dial::OverSsh;
pub(crate) use here::{Here, not_looked_for};
pub(crate) use hub_key::HubKey;
