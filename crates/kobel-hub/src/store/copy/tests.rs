//! A copy from a real SQLite to a real PostgreSQL.

use std::time::Duration;

use kobel_wire::{Role, SourceKind, Timestamp};
use serde_json::json;

use super::*;
use crate::{
    access::DeviceScope,
    store::{
        Actor, Database, TokenRequest,
        inventory::{DeviceChange, SecretKind},
        testing::Place,
    },
};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + ms)
}

async fn url() -> PostgresUrl {
    match Place::postgres().await.database {
        Database::Postgres(url) => url,
        Database::Folder(_) => unreachable!(),
    }
}

async fn copy(place: &Place, url: &PostgresUrl) -> Result<Copied, CopyError> {
    copy_to_postgres(place.folder.path(), url, &mut |_| true).await
}

/// A store with something in every table, and numbers whose rows are gone.
async fn filled() -> (Place, String) {
    let place = Place::sqlite();
    let store = place.open().await;
    let admin = store.first_admin(at(0)).await.unwrap().id;
    store.add_account("gone", Role::Viewer, &DeviceScope::All, at(0)).await.unwrap();
    store.remove_account("gone").await.unwrap();
    store.start_session(admin, Duration::from_secs(60), at(0)).await.unwrap();
    store.make_link(admin, Duration::from_secs(60), at(0)).await.unwrap();
    let request = TokenRequest {
        account: admin,
        name: "ci",
        role: Role::Viewer,
        devices: DeviceScope::All,
        lifetime: None,
    };
    let token = store.create_token(&request, at(0)).await.unwrap().secret;
    // PostgreSQL has no text like this one.
    store.device(SourceKind::Agent, "a\0b", "näme\0\u{1f600}", at(0)).await.unwrap();
    let body = json!({ "address": "me@web-1", "secrets": { "password": "planted" } });
    let asked = DeviceChange::of(body.as_object().unwrap().clone()).unwrap();
    store.add_device(&asked, &place.keys(), &Actor::Hub, at(0)).await.unwrap();
    // More than a batch.
    for n in 0..BATCH + 7 {
        query("INSERT INTO audit (at, actor_kind, actor, action) VALUES ($1, 'hub', 'x', 'y')")
            .bind(i64::try_from(n).unwrap())
            .execute(&store.pool)
            .await
            .unwrap();
    }
    store.close().await;
    (place, token)
}

#[tokio::test]
async fn everything_goes_over_and_goes_on() {
    let (place, token) = filled().await;
    let url = url().await;
    let mut steps = Vec::new();
    let copied = copy_to_postgres(place.folder.path(), &url, |step| {
        steps.push(step);
        true
    });
    let copied = copied.await.unwrap();
    assert_eq!((copied.secrets, copied.rows > BATCH as u64), (1, true));
    let checked = steps.iter().filter(|step| matches!(step, CopyStep::Checked { .. })).count();
    assert_eq!(checked, TABLES.len());

    let (old, new) = (place.open().await, Store::open_postgres(&url).await.unwrap());
    let all = crate::store::inventory::Listed::All;
    let devices = new.inventory(all).await.unwrap();
    assert_eq!(devices.len(), 2);
    assert_eq!(devices[1], old.inventory(all).await.unwrap()[1]);
    let keys = place.keys();
    let secret = new.device_secret(devices[1].device_uuid, SecretKind::Password, &keys);
    assert_eq!(secret.await.unwrap().unwrap().as_str(), "planted");
    assert!(new.by_token(&token, at(1)).await.unwrap().is_some());
    // What an agent is known by leads to the same device.
    let known = new.device(SourceKind::Agent, "a\0b", "x", at(1)).await.unwrap();
    assert_eq!(known.uuid, devices[0].device_uuid);
    // The number of the account that is gone is not used again, here or there.
    let add = |store: Store| async move {
        store.add_account("ann", Role::Viewer, &DeviceScope::All, at(0)).await.unwrap().id
    };
    assert_eq!(add(old).await, add(new).await);

    let again = copy(&place, &url).await.unwrap_err();
    assert!(matches!(again, CopyError::NotEmpty("accounts", 2)), "{again}");
}

#[tokio::test]
async fn a_copy_that_was_cut_off_goes_on_and_no_hub_starts_on_it() {
    let (place, _) = filled().await;
    let url = url().await;
    // At every step in turn: wherever it ends, the next one gets further.
    for end in 0.. {
        let mut left = end;
        let mut step = |_| {
            left -= 1;
            left >= 0
        };
        match copy_to_postgres(place.folder.path(), &url, &mut step).await {
            Ok(_) => break,
            Err(CopyError::Stopped) => {}
            Err(error) => panic!("{error}"),
        }
        let refused = Store::open_postgres(&url).await.unwrap_err();
        assert!(matches!(refused, StoreError::UnfinishedCopy), "{refused}");
        assert!(end < 100);
    }
    let store = Store::open_postgres(&url).await.unwrap();
    assert_eq!(count(&store.pool, "audit").await.unwrap(), 508);
}

#[tokio::test]
async fn a_source_that_was_written_since_is_copied_anew() {
    let (place, _) = filled().await;
    let url = url().await;
    let mut left = 12;
    let cut = copy_to_postgres(place.folder.path(), &url, |_| {
        left -= 1;
        left > 0
    });
    assert!(matches!(cut.await, Err(CopyError::Stopped)));
    let store = place.open().await;
    query("UPDATE devices SET name = 'other' WHERE id = 1").execute(&store.pool).await.unwrap();
    store.close().await;
    let mut anew = false;
    let step = |step| {
        anew |= step == CopyStep::Anew;
        true
    };
    copy_to_postgres(place.folder.path(), &url, step).await.unwrap();
    assert!(anew);
    let store = Store::open_postgres(&url).await.unwrap();
    let name = query("SELECT name FROM devices WHERE id = 1").fetch_one(&store.pool).await.unwrap();
    assert_eq!(name.try_get::<&str, _>(0).unwrap(), "other");
}

#[tokio::test]
async fn a_difference_is_found() {
    let (place, _) = filled().await;
    let url = url().await;
    // A trigger of somebody's own changes what is written.
    let store = Store::open_postgres(&url).await.unwrap();
    for sql in [
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN NEW.action := 'z'; RETURN NEW; END $$",
        "CREATE TRIGGER spoil BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION spoil()",
    ] {
        query(sql).execute(&store.pool).await.unwrap();
    }
    let differs = copy(&place, &url).await.unwrap_err();
    assert!(matches!(differs, CopyError::Differs("audit")), "{differs}");
    let nothing = Place::sqlite();
    let nothing = copy(&nothing, &url).await.unwrap_err();
    assert!(matches!(nothing, CopyError::NoSource(_)), "{nothing}");
}

/// A table that a migration adds must be copied, too.
#[tokio::test]
async fn every_table_is_copied() {
    let store = Place::postgres().await.open().await;
    let rows = query(
        "SELECT table_name::text FROM information_schema.tables \
         WHERE table_schema = current_schema() AND table_name <> '_sqlx_migrations'",
    );
    let rows = rows.fetch_all(&store.pool).await.unwrap();
    let mut tables: Vec<String> = rows.iter().map(|row| row.try_get(0).unwrap()).collect();
    let mut copied = TABLES.map(str::to_owned).to_vec();
    tables.sort();
    copied.sort();
    assert_eq!(tables, copied);
}
