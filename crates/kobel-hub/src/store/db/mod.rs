//! The engine below the store: SQLite, or PostgreSQL.
//!
//! The rest of the store speaks one SQL to both and does not ask which one it is. What differs is
//! here: how a writer keeps the others out, and how long an engine on the network may take.

mod query;

use std::{future::Future, io, time::Duration};

use sqlx::{
    PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool, Transaction,
    pool::PoolConnection,
};

pub(super) use query::{Row, Value, query, without_nul};

/// How long a statement may take on the network. A server that hangs must not hang the hub.
pub(super) const STATEMENT: Duration = Duration::from_secs(10);

/// How long what is under way may take when the pool closes.
const CLOSE: Duration = Duration::from_secs(2);

/// The lock that every change in PostgreSQL holds to its end, as SQLite has one writer at a time:
/// what a change read before it writes is still so. "kobel" in ASCII.
const WRITER: i64 = 0x6b_6f_62_65_6c;

/// Connections to the database. Cloned freely.
#[derive(Debug, Clone)]
pub(super) enum Db {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A connection, or the one of a change under way.
pub(super) struct Connection(Inner);

enum Inner {
    Sqlite(PoolConnection<Sqlite>),
    SqliteChange(Transaction<'static, Sqlite>),
    Postgres(PoolConnection<Postgres>),
    PostgresChange(Transaction<'static, Postgres>),
}

/// A change: all of it or nothing, one at a time. Dropped, it did not happen.
pub(super) struct Change(Connection);

/// What a query runs on.
pub(super) enum On<'a> {
    Sqlite(&'a SqlitePool),
    SqliteConnection(&'a mut SqliteConnection),
    Postgres(&'a PgPool),
    PostgresConnection(&'a mut PgConnection),
}

impl Db {
    /// A connection to read from.
    pub(super) async fn acquire(&self) -> Result<Connection, sqlx::Error> {
        Ok(Connection(match self {
            Self::Sqlite(pool) => Inner::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => Inner::Postgres(pool.acquire().await?),
        }))
    }

    /// Begins a change. Nobody else changes anything until it ends, in this process or another, on
    /// this machine or another.
    pub(super) async fn begin(&self) -> Result<Change, sqlx::Error> {
        Ok(Change(Connection(match self {
            Self::Sqlite(pool) => Inner::SqliteChange(pool.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => {
                let mut change = in_time(pool.begin()).await?;
                let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(WRITER);
                in_time(lock.execute(&mut *change)).await?;
                Inner::PostgresChange(change)
            }
        })))
    }

    /// Closes every connection; what is under way is finished.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => {
                // One that hangs is left to itself.
                let _ = tokio::time::timeout(CLOSE, pool.close()).await;
            }
        }
    }
}

impl Change {
    /// It happened, and lasts.
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self.0.0 {
            Inner::SqliteChange(change) => change.commit().await,
            Inner::PostgresChange(change) => in_time(change.commit()).await,
            Inner::Sqlite(_) | Inner::Postgres(_) => Ok(()),
        }
    }

    /// It did not happen.
    pub(super) async fn rollback(self) -> Result<(), sqlx::Error> {
        match self.0.0 {
            Inner::SqliteChange(change) => change.rollback().await,
            Inner::PostgresChange(change) => in_time(change.rollback()).await,
            Inner::Sqlite(_) | Inner::Postgres(_) => Ok(()),
        }
    }
}

impl std::ops::Deref for Change {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl std::ops::DerefMut for Change {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}

impl<'a> From<&'a Db> for On<'a> {
    fn from(db: &'a Db) -> Self {
        match db {
            Db::Sqlite(pool) => Self::Sqlite(pool),
            Db::Postgres(pool) => Self::Postgres(pool),
        }
    }
}

impl<'a> From<&'a mut Connection> for On<'a> {
    fn from(connection: &'a mut Connection) -> Self {
        match &mut connection.0 {
            Inner::Sqlite(connection) => Self::SqliteConnection(connection),
            Inner::SqliteChange(change) => Self::SqliteConnection(change),
            Inner::Postgres(connection) => Self::PostgresConnection(connection),
            Inner::PostgresChange(change) => Self::PostgresConnection(change),
        }
    }
}

/// What is asked of a server on the network, ended when it takes too long.
pub(super) async fn in_time<T>(
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(STATEMENT, asked).await {
        Ok(answer) => answer,
        Err(_) => {
            let why = format!("no answer within {} s", STATEMENT.as_secs());
            Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, why)))
        }
    }
}
