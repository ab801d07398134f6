//! Sealed secrets against a real database and a real file of keys.

use super::*;
use crate::store::testing::{Place, on_both};

const SLOT: Slot<'static> = Slot { owner: "device-1", kind: "password" };

fn at() -> Timestamp {
    Timestamp::from_millis(0)
}

async fn seal(store: &Store, keys: &SecretKeys, slot: Slot<'_>, text: &str) {
    let mut change = store.pool.begin().await.unwrap();
    put(&mut change, keys, slot, text, at()).await.unwrap();
    change.commit().await.unwrap();
}

async fn open(store: &Store, keys: &SecretKeys, slot: Slot<'_>) -> Result<String, StoreError> {
    let mut from = store.pool.acquire().await?;
    Ok(get(&mut from, keys, slot).await?.map(|text| text.to_string()).unwrap_or_default())
}

on_both! {
    a_row_that_is_moved_opens_for_nobody,
    a_rotation_leaves_every_secret_and_no_old_key,
    a_rotation_that_a_crash_cut_off_loses_nothing_and_is_taken_up_again,
    keys_that_are_gone_are_not_made_anew,
}

async fn a_row_that_is_moved_opens_for_nobody(place: Place) {
    let (store, keys) = (place.open().await, place.keys());
    seal(&store, &keys, SLOT, "planted").await;
    assert_eq!(open(&store, &keys, SLOT).await.unwrap(), "planted");
    for sql in ["UPDATE secrets SET owner = 'device-2'", "UPDATE secrets SET kind = 'passphrase'"] {
        query(sql).execute(&store.pool).await.unwrap();
        let row = query("SELECT owner, kind FROM secrets").fetch_one(&store.pool).await.unwrap();
        let (owner, kind): (String, String) = (row.try_get(0).unwrap(), row.try_get(1).unwrap());
        let moved = open(&store, &keys, Slot { owner: &owner, kind: &kind }).await;
        assert!(matches!(moved, Err(StoreError::Secret(SecretError::Damaged))), "{sql}");
    }
}

async fn a_rotation_leaves_every_secret_and_no_old_key(place: Place) {
    let (store, keys) = (place.open().await, place.keys());
    let other = Slot { owner: "device-2", ..SLOT };
    seal(&store, &keys, SLOT, "one").await;
    seal(&store, &keys, other, "two").await;
    let before = std::fs::read_to_string(keys.path()).unwrap();
    let rotated = store.rotate_secrets(&keys, &Actor::Hub, at()).await.unwrap();
    assert_eq!(rotated, 2);
    let after = std::fs::read_to_string(keys.path()).unwrap();
    let lines = |text: &str| -> Vec<String> {
        text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(lines(&after).len(), 1);
    assert_ne!(lines(&before), lines(&after));
    assert_eq!(open(&store, &keys, SLOT).await.unwrap(), "one");
    assert_eq!(open(&store, &keys, other).await.unwrap(), "two");
}

async fn a_rotation_that_a_crash_cut_off_loses_nothing_and_is_taken_up_again(place: Place) {
    let (store, keys) = (place.open().await, place.keys());
    seal(&store, &keys, SLOT, "one").await;
    // As far as the file, and no further.
    keys.read().unwrap().with_new().unwrap().write(keys.path()).unwrap();
    assert_eq!(open(&store, &keys, SLOT).await.unwrap(), "one");
    // Both keys are in use.
    seal(&store, &keys, Slot { owner: "device-2", ..SLOT }, "two").await;
    assert_eq!(open(&store, &keys, SLOT).await.unwrap(), "one");
    store.rotate_secrets(&keys, &Actor::Hub, at()).await.unwrap();
    assert_eq!(open(&store, &keys, SLOT).await.unwrap(), "one");
    let text = std::fs::read_to_string(keys.path()).unwrap();
    assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 1);
}

async fn keys_that_are_gone_are_not_made_anew(place: Place) {
    let (store, keys) = (place.open().await, place.keys());
    seal(&store, &keys, SLOT, "one").await;
    std::fs::remove_file(keys.path()).unwrap();
    let mut change = store.pool.begin().await.unwrap();
    let refused = put(&mut change, &keys, SLOT, "two", at()).await.unwrap_err().to_string();
    assert!(refused.contains("put it back"), "{refused}");
    change.rollback().await.unwrap();
    assert!(open(&store, &keys, SLOT).await.is_err());
    assert!(!keys.path().exists());
}
