//! What lasts: accounts, sessions, tokens, sign-in links, the inventory of devices, their sealed
//! secrets and the audit log.
//!
//! An embedded SQLite database in WAL mode, or a PostgreSQL that nodes share. The running hubs and
//! the command line may use it at the same time. A change is on the disk when its call returns. SQL
//! stays within what both speak; `db` knows where they differ.

mod accounts;
mod audit;
mod changes;
mod copy;
mod credentials;
mod database;
mod db;
mod devices;
mod enrollment;
pub mod inventory;
mod links;
mod password;
mod sealed;
mod secret;
mod sessions;
mod tokens;

use std::{path::Path, time::Duration};

use kobel_wire::{DeviceUuid, Role};
use sqlx::{
    Connection as _, Executor as _, PgConnection,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub use accounts::Account;
pub use audit::{Actor, AuditActor, AuditEntry, AuditQuery};
pub use changes::Changes;
pub use copy::{Copied, CopyError, CopyStep, copy_to_postgres};
pub use database::{Database, DatabaseUrlError, PostgresUrl};
pub use devices::{DeviceKey, StoredDevice};
pub use enrollment::{
    ENROLLMENT_PREFIX, EnrollError, Enrolled, Enrollee, Enrollment, EnrollmentRequest, agent_token,
    enrollment_number,
};
pub use links::NewLink;
pub use password::{MIN_PASSWORD, Passwords};
pub use sealed::{SecretError, SecretKeys};
pub use sessions::NewSession;
pub use tokens::{NewToken, Token, TokenRequest, TokenState};

use crate::access::DeviceScope;
use db::{Db, query};

/// The database's file inside the data folder.
pub const FILE: &str = "kobel.db";

/// How long a call waits while another one writes.
const BUSY: Duration = Duration::from_secs(5);

/// How long a call waits for a connection over the network.
const CONNECT: Duration = Duration::from_secs(5);

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(sqlx::Error),
    /// The database does not answer, or lets nobody in now.
    #[error("the database cannot be reached: {0}")]
    Unreachable(sqlx::Error),
    /// The database cannot be brought to this version's schema.
    #[error("the database cannot be migrated: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// Something is being copied into the database.
    #[error(
        "the database holds an unfinished copy of another one: finish it by kobel store migrate first"
    )]
    UnfinishedCopy,
    /// The database does not answer in time.
    #[error("the database does not answer")]
    Silent,
    /// The name is in use.
    #[error("there is a {0} named {1:?} already; choose another name")]
    NameTaken(&'static str, String),
    /// The name is not a name.
    #[error(
        "{0:?} is no {1} name: use 1 to 64 characters without control characters or spaces at the ends"
    )]
    BadName(String, &'static str),
    /// No such thing.
    #[error("there is no {0} {1:?}; `kobel {0} list` shows them")]
    NotFound(&'static str, String),
    /// Several are called so.
    #[error("{1} {0} are called {2:?}: name the one that you mean by its number or UUID")]
    Ambiguous(&'static str, usize, String),
    /// A field of a device is wrong.
    #[error(transparent)]
    Field(#[from] inventory::FieldError),
    /// Another device has this name or address.
    #[error("{field}: the device {by:?} has {value} already")]
    Taken {
        /// Which of the two.
        field: &'static str,
        /// What both would have.
        value: String,
        /// Who has it.
        by: String,
    },
    /// Somebody changed it meanwhile.
    #[error(
        "revision: the device was changed meanwhile (it is at {now}, the change was made for \
         {asked}); look at it again, then repeat the change"
    )]
    Changed {
        /// The revision that the change was made for.
        asked: i64,
        /// The one that it is at.
        now: i64,
    },
    /// The machine that the hub runs on.
    #[error("{0:?} is the machine that the hub runs on; it is always watched")]
    Local(String),
    /// Only what was deleted can be purged.
    #[error("{0:?} is not deleted: delete it first, then purge it")]
    NotDeleted(String),
    /// It has no agent with a key of its own.
    #[error("the agent of {0:?} has no key of its own that could be revoked")]
    NoAgentKey(String),
    /// A secret cannot be sealed or opened.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The last admin would be gone.
    #[error("{0:?} is the only admin: make another one first")]
    LastAdmin(String),
    /// An account of the role of agents.
    #[error(
        "an account is an admin or a viewer; an agent has a token: kobel token create NAME --role agent"
    )]
    AgentAccount,
    /// Too short a password.
    #[error("a password has at least {MIN_PASSWORD} characters")]
    ShortPassword,
    /// Hashing failed.
    #[error("the password could not be hashed: {0}")]
    Hash(String),
    /// No randomness from the system.
    #[error("the system gives no randomness: {0}")]
    Random(#[from] getrandom::Error),
    /// A row that this version cannot read.
    #[error("the database holds something unreadable in {0}: {1}")]
    Corrupt(&'static str, String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let away = match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed => true,
            // Connection exceptions, no place left, shutting down, starting (PostgreSQL, appendix A).
            sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                code.len() == 5
                    && (code.starts_with("08")
                        || ["53300", "57P01", "57P02", "57P03"].contains(&code.as_ref()))
            }),
            _ => false,
        };
        if away { Self::Unreachable(error) } else { Self::Database(error) }
    }
}

impl StoreError {
    /// Whether it is what was asked for that is wrong, not the store.
    pub fn is_of_the_request(&self) -> bool {
        matches!(self, Self::Field(_) | Self::Taken { .. } | Self::Changed { .. })
    }
}

/// The database. Cloned freely.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Db,
    passwords: Passwords,
}

impl Store {
    /// Opens the database in this folder, makes it where there is none, and brings it to this
    /// version's schema.
    ///
    /// # Errors
    /// When the file cannot be opened, or was written by a newer version.
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(folder.join(FILE))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What was acknowledged survives a power cut, too.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
        sqlx::migrate!("./migrations/sqlite").run(&pool).await?;
        Ok(Self { pool: Db::Sqlite(pool), passwords: Passwords::new() })
    }

    /// Opens a database that nodes share, and brings it to this version's schema. Of nodes that
    /// start at once, one does.
    ///
    /// # Errors
    /// When it does not answer, lets nobody in, or was written by a newer version.
    pub async fn open_postgres(url: &PostgresUrl) -> Result<Self, StoreError> {
        let store = Self::open_unfinished(url).await?;
        if copy::is_unfinished(&store.pool).await? {
            return Err(StoreError::UnfinishedCopy);
        }
        Ok(store)
    }

    async fn open_unfinished(url: &PostgresUrl) -> Result<Self, StoreError> {
        // A migration may take longer than a statement else may.
        let mut own = tokio::time::timeout(CONNECT, PgConnection::connect_with(url.options()))
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
        sqlx::migrate!("./migrations/postgres").run(&mut own).await?;
        own.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(CONNECT)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // A server that still works on what nobody waits for any more gives it up.
                    let limits = format!(
                        "SET statement_timeout = '{0}s'; SET lock_timeout = '{1}s'; \
                         SET idle_in_transaction_session_timeout = '60s'",
                        db::STATEMENT.as_secs(),
                        BUSY.as_secs(),
                    );
                    connection.execute(sqlx::AssertSqlSafe(limits)).await?;
                    Ok(())
                })
            })
            .connect_with(url.options().clone())
            .await?;
        Ok(Self { pool: Db::Postgres(pool), passwords: Passwords::new() })
    }

    /// Opens a database wherever it is.
    ///
    /// # Errors
    /// As [`Store::open`] and [`Store::open_postgres`].
    pub async fn open_database(database: &Database) -> Result<Self, StoreError> {
        match database {
            Database::Folder(folder) => Self::open(folder).await,
            Database::Postgres(url) => Self::open_postgres(url).await,
        }
    }

    /// Whether other nodes use the database, too.
    pub fn is_shared(&self) -> bool {
        matches!(self.pool, Db::Postgres(_))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes it; writes under way are finished.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A name that people give: printable, not empty, not long.
fn checked_name<'a>(name: &'a str, what: &'static str) -> Result<&'a str, StoreError> {
    let good = (1..=64).contains(&name.chars().count())
        && name.trim() == name
        && !name.chars().any(char::is_control);
    if good { Ok(name) } else { Err(StoreError::BadName(name.to_owned(), what)) }
}

fn role_of(text: &str) -> Result<Role, StoreError> {
    text.parse().map_err(|e| StoreError::Corrupt("role", e))
}

/// A scope as its column: `NULL` for every device.
fn scope_to_column(scope: &DeviceScope) -> Option<String> {
    match scope {
        DeviceScope::All => None,
        DeviceScope::Only(devices) => {
            let quoted: Vec<_> = devices.iter().map(|uuid| format!("\"{uuid}\"")).collect();
            Some(format!("[{}]", quoted.join(",")))
        }
    }
}

fn scope_of(column: Option<String>) -> Result<DeviceScope, StoreError> {
    let Some(column) = column else {
        return Ok(DeviceScope::All);
    };
    let devices: Vec<DeviceUuid> =
        serde_json::from_str(&column).map_err(|e| StoreError::Corrupt("devices", e.to_string()))?;
    Ok(DeviceScope::Only(devices.into_iter().collect()))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
