//! Whether anybody wrote the database.

use std::time::Duration;

use sqlx::{
    PgPool, Sqlite, SqlitePool,
    pool::PoolConnection,
    postgres::{PgListener, PgPoolOptions},
};

use super::{
    Store, StoreError,
    db::{Db, in_time},
};

/// What the triggers of the tables in PostgreSQL notify when a change is committed.
const CHANNEL: &str = "kobel_changes";

/// How long a try to listen may take. The next one is soon; a longer one would try ever less often.
const LISTEN: Duration = Duration::from_secs(2);

/// Tells whether the database was written since it was last asked, by this process or another.
pub struct Changes(Engine);

enum Engine {
    Sqlite {
        pool: SqlitePool,
        /// Kept for this alone: SQLite's `data_version` tells of the writes of other connections.
        connection: Option<PoolConnection<Sqlite>>,
        version: Option<i64>,
    },
    Postgres {
        pool: PgPool,
        /// A connection of its own, so that it takes none from those who ask and write.
        listener: Option<PgListener>,
        /// What was notified while nobody listened may have been anything.
        unheard: bool,
    },
}

impl Store {
    /// A way to ask for changes. The first answer is yes.
    pub fn changes(&self) -> Changes {
        Changes(match &self.pool {
            Db::Sqlite(pool) => {
                Engine::Sqlite { pool: pool.clone(), connection: None, version: None }
            }
            Db::Postgres(pool) => {
                Engine::Postgres { pool: pool.clone(), listener: None, unheard: true }
            }
        })
    }
}

impl Changes {
    /// Whether there was a change since the last question.
    ///
    /// # Errors
    /// When the database does not answer; the next answer is then yes.
    pub async fn happened(&mut self) -> Result<bool, StoreError> {
        match &mut self.0 {
            Engine::Sqlite { pool, connection, version } => {
                let asked = data_version(pool, connection).await;
                if asked.is_err() {
                    *version = None;
                    *connection = None;
                }
                let now = asked?;
                Ok(version.replace(now) != Some(now))
            }
            Engine::Postgres { pool, listener, unheard } => {
                let asked = notified(pool, listener).await;
                if asked.is_err() {
                    *unheard = true;
                    *listener = None;
                }
                Ok(asked? | std::mem::take(unheard))
            }
        }
    }

    /// Makes the next answer yes.
    pub fn again(&mut self) {
        match &mut self.0 {
            Engine::Sqlite { version, .. } => *version = None,
            Engine::Postgres { unheard, .. } => *unheard = true,
        }
    }
}

async fn data_version(
    pool: &SqlitePool,
    connection: &mut Option<PoolConnection<Sqlite>>,
) -> Result<i64, StoreError> {
    let connection = match connection {
        Some(connection) => connection,
        none => none.insert(pool.acquire().await?),
    };
    Ok(sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut **connection).await?)
}

/// Asks the server something on the connection that listens: the answer comes after what was
/// notified before, and a connection that is dead without a word is noticed.
async fn notified(pool: &PgPool, listener: &mut Option<PgListener>) -> Result<bool, sqlx::Error> {
    let listener = match listener {
        Some(listener) => listener,
        none => none.insert(in_time(listen(pool)).await?),
    };
    in_time(sqlx::query("SELECT 1").execute(&mut *listener)).await?;
    let mut any = false;
    while listener.next_buffered().is_some() {
        any = true;
    }
    Ok(any)
}

async fn listen(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let own = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(LISTEN)
        .idle_timeout(None)
        .max_lifetime(None);
    let own = own.connect_with(pool.connect_options().as_ref().clone()).await?;
    let mut listener = PgListener::connect_with(&own).await?;
    listener.ignore_pool_close_event(true);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}
