//! Closes the sockets of credentials that hold no longer.
//!
//! A token is revoked by the command line in another process, or by the page in this one: both
//! write the database, and the database says cheaply whether anybody did.

use std::{sync::Arc, time::Duration};

use kobel_collect::agent::AgentLinks;
use kobel_hub::{hub::HubHandle, store::Store};
use kobel_wire::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Known;

/// How often the database is asked; sockets must be closed within a second.
const EACH: Duration = Duration::from_millis(250);

/// How long after a change the credentials are looked at with each tick.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// However quiet the database is, credentials are looked at so often.
const AT_LEAST_EACH: Duration = Duration::from_secs(60);

/// How often it is written down which tokens were used.
const NOTE_USE: Duration = Duration::from_secs(30);

/// Watches until cancelled. A store that fails is asked again: it must not let anybody stay by
/// failing once.
pub(crate) async fn watch(
    store: Store,
    hub: HubHandle,
    agents: AgentLinks,
    known: Arc<Known>,
    cancel: CancellationToken,
) {
    let mut tick = interval(EACH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut note = interval(NOTE_USE);
    note.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changes = store.changes();
    // Somebody may have been looked up just before a change and come in just after: look again.
    let mut look_until = Instant::now();
    let mut looked = Instant::now();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return note_use(&store, &known).await,
            _ = note.tick() => {
                note_use(&store, &known).await;
                continue;
            }
            _ = tick.tick() => {}
        }
        let now = Instant::now();
        match changes.happened().await {
            Ok(false) if now > look_until && now < looked + AT_LEAST_EACH => continue,
            Ok(false) => {}
            Ok(true) => look_until = now + LOOK_AGAIN,
            Err(error) => tracing::error!(%error, "cannot ask the store for changes"),
        }
        // Before anything else: nobody comes in by what was known before the change.
        known.forget();
        looked = now;
        let mut held = hub.credentials().await;
        held.extend(agents.credentials());
        for (credential, access) in held {
            match store.access_by(credential, Timestamp::now()).await {
                Ok(Some(now)) if now == access => {}
                Ok(_) => {
                    tracing::info!(?credential, "revoked or changed: its sockets are closed");
                    hub.revoke(credential).await;
                    agents.revoke(credential);
                }
                Err(error) => {
                    tracing::error!(%error, "cannot look up a credential");
                    changes.again();
                }
            }
        }
    }
}

async fn note_use(store: &Store, known: &Known) {
    let used = known.take_used();
    if !used.is_empty()
        && let Err(error) = store.note_use(&used, Timestamp::now()).await
    {
        tracing::warn!(%error, "cannot write down which tokens were used");
    }
}
