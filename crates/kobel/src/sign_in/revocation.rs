//! Closes the sockets of credentials that hold no longer.
//!
//! A token is revoked by the command line in another process, or by the page in this one: both
//! write the database, and the database says cheaply whether anybody did.

use std::{collections::HashSet, sync::Arc, time::Duration};

use kobel_collect::agent::AgentLinks;
use kobel_hub::{
    hub::HubHandle,
    store::{Store, StoreError},
};
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

/// How long what is known of credentials lets people in while the store does not answer. As long as
/// it does not, hardly anything can be revoked there either.
const KNOWN_WITHOUT_STORE: Duration = Duration::from_secs(600);

/// The most credentials that are looked up again beside those of sockets. Others are forgotten.
const LOOKED_UP: usize = 1_000;

/// How often it is written down which tokens were used.
const NOTE_USE: Duration = Duration::from_secs(30);

/// Watches until cancelled. A store that fails is asked again, and everybody is looked at when it
/// answers: it must not let anybody stay by failing once.
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
    let mut answered = Instant::now();
    let mut away = false;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return note_use(&store, &known).await,
            _ = note.tick() => {
                note_use(&store, &known).await;
                continue;
            }
            _ = tick.tick() => {}
        }
        let happened = changes.happened().await;
        let now = Instant::now();
        if happened.is_ok() && std::mem::take(&mut away) {
            tracing::info!("the store answers again");
        }
        match &happened {
            Err(error) => {
                if !away {
                    tracing::error!(%error, "cannot ask the store for changes; it is tried again");
                }
                away = true;
                if now > answered + KNOWN_WITHOUT_STORE {
                    known.forget();
                }
                continue;
            }
            Ok(false) if now > look_until && now < looked + AT_LEAST_EACH => {
                answered = now;
                continue;
            }
            Ok(false) => {}
            Ok(true) => look_until = now + LOOK_AGAIN,
        }
        // However quiet it was: what it said of credentials is asked anew now and then.
        let changed = happened.is_ok_and(|happened| happened) || now >= looked + AT_LEAST_EACH;
        answered = now;
        if changed {
            // Before anything else: nobody comes in by what was known before the change.
            known.forget();
        }
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
        if let Err(error) = confirm(&store, &known).await {
            tracing::error!(%error, "cannot look up a credential");
            changes.again();
        }
    }
}

/// Looks up who was known before the change.
async fn confirm(store: &Store, known: &Known) -> Result<(), StoreError> {
    let mut good = HashSet::new();
    for (credential, access) in known.unsure().into_iter().take(LOOKED_UP) {
        if store.access_by(credential, Timestamp::now()).await?.is_some_and(|now| now == access) {
            good.insert(credential);
        }
    }
    known.confirm(&good);
    Ok(())
}

async fn note_use(store: &Store, known: &Known) {
    let used = known.take_used();
    if !used.is_empty()
        && let Err(error) = store.note_use(&used, Timestamp::now()).await
    {
        tracing::warn!(%error, "cannot write down which tokens were used");
    }
}
