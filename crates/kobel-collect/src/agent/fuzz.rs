//! The hub's side as a fuzz target meets it: no socket, no store, nothing but bytes.

use std::sync::Arc;

use bytes::Bytes;
use kobel_hub::{
    access::{Access, CredentialId, DeviceScope},
    ingest,
    store::StoredDevice,
};
use kobel_wire::{DeviceId, DeviceUuid, Role, Timestamp};
use tokio::time::Instant;

use super::{
    Claim, Client, Hello, LogRelay,
    registry::Registry,
    session::{Session, Step},
};

/// Lets an agent with two devices sign in, and takes these bytes for its next messages: each one's
/// length stands before it in two bytes, little-endian. Whatever they are, it must come back.
pub fn receive(mut bytes: &[u8]) {
    let registry = Registry::default();
    let access = Arc::new(Access { role: Role::Agent, devices: DeviceScope::All });
    let seat = registry.enter(CredentialId::Token(1), access);
    let (ingest, _inbox) = ingest::channel();
    let mut session =
        Session::new(registry, ingest, Arc::default(), seat.link, LogRelay::default());
    let wall = Timestamp::from_millis(1_795_000_000_000);
    let now = Instant::now();
    let hello = Hello {
        instance: "fuzz".to_owned(),
        software: String::new(),
        source: kobel_wire::SourceKind::Agent,
        logs: true,
    };
    let claim = |key: &str| Claim {
        key: key.to_owned(),
        name: key.to_owned(),
        tags: Vec::new(),
        facts: kobel_wire::Facts::default(),
        engine: kobel_wire::Engine::unknown(wall),
    };
    let mut client = Client::new(hello, vec![claim("a"), claim("b")]);
    while let Some(message) = client.next(wall, now) {
        let Some(answer) = take(&mut session, &message.into(), wall, now) else { return };
        if client.receive(&prost::Message::encode_to_vec(&answer)).is_err() {
            return;
        }
    }
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (message, rest) = rest.split_at(length);
        bytes = rest;
        // What the hub says is no business of the other side's decoder; what it does not expect is.
        let _ = client.receive(message);
        if take(&mut session, &Bytes::copy_from_slice(message), wall, now).is_none() {
            return;
        }
    }
}

/// `None` where the link ends.
fn take(
    session: &mut Session,
    message: &Bytes,
    wall: Timestamp,
    now: Instant,
) -> Option<kobel_wire::proto::HubMessage> {
    match session.receive(message, wall, now).ok()? {
        Step::Nothing => Some(kobel_wire::proto::HubMessage::default()),
        Step::Say(say) => Some(say),
        Step::Claim(claims) => {
            let stored = claims.devices.iter().map(|(device, _, claim)| {
                let (uuid, id) = (DeviceUuid::generate(), DeviceId(u64::from(*device)));
                Some(StoredDevice {
                    uuid,
                    id,
                    name: claim.name.clone(),
                    tags: Vec::new(),
                    group: None,
                })
            });
            let stored = stored.collect();
            Some(session.claimed(claims, stored, wall).answer)
        }
    }
}
