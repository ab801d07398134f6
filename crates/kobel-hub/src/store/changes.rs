//! Whether anybody wrote the database.

use sqlx::{Row, Sqlite, SqlitePool, pool::PoolConnection};

use super::{Store, StoreError};

/// Tells whether the database was written since it was last asked, by this process or another.
pub struct Changes {
    pool: SqlitePool,
    /// Kept for this alone: SQLite's `data_version` tells of the writes of other connections.
    connection: Option<PoolConnection<Sqlite>>,
    version: Option<i64>,
}

impl Store {
    /// A way to ask for changes. The first answer is yes.
    pub fn changes(&self) -> Changes {
        Changes { pool: self.pool.clone(), connection: None, version: None }
    }
}

impl Changes {
    /// Whether there was a change since the last question.
    ///
    /// # Errors
    /// When the database does not answer; the next answer is then yes.
    pub async fn happened(&mut self) -> Result<bool, StoreError> {
        let asked = self.ask().await;
        if asked.is_err() {
            self.again();
            self.connection = None;
        }
        let version = asked?;
        Ok(self.version.replace(version) != Some(version))
    }

    /// Makes the next answer yes.
    pub fn again(&mut self) {
        self.version = None;
    }

    async fn ask(&mut self) -> Result<i64, StoreError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.pool.acquire().await?),
        };
        Ok(sqlx::query("PRAGMA data_version").fetch_one(&mut **connection).await?.try_get(0)?)
    }
}
