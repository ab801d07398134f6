//! From one engine to the other: everything in a SQLite file, into an empty PostgreSQL.
//!
//! Rows go over in batches by rising number, each batch a transaction, so that a copy that was cut
//! off goes on behind the last one. A table of its own in the target says that the copy is not
//! finished: no hub starts on such a target, and no copy on any other that holds something. At the
//! end every table of both is read through again and compared.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;

use super::{
    FILE, PostgresUrl, Store, StoreError,
    db::{Change, Connection, Db, On, Row, Value, query, without_nul},
};

/// The tables, each behind those that it refers to.
const TABLES: [&str; 7] =
    ["accounts", "sessions", "tokens", "sign_in_links", "devices", "secrets", "audit"];

/// What says in the target that a copy is under way.
const MARK: &str = "unfinished_copy";

/// Rows of a batch. Of the widest table they have fewer values than a statement may.
const BATCH: usize = 500;

/// Held by the one copy that runs. "kobel copy", shortened.
const COPYING: i64 = 0x6b_6f_62_65_6c_63_70;

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyStep {
    /// Rows of a table are copied.
    Copied {
        /// Which table.
        table: &'static str,
        /// How many of its rows are there.
        rows: u64,
        /// Of how many.
        of: u64,
    },
    /// A table is the same in both.
    Checked {
        /// Which table.
        table: &'static str,
        /// How many rows it has.
        rows: u64,
    },
    /// What an earlier copy left does not fit any more: it begins anew.
    Anew,
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Rows of all tables.
    pub rows: u64,
    /// Secrets among them: they open with the same file of keys only.
    pub secrets: u64,
}

/// Why a database is not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is nothing to copy.
    #[error("there is no database {0}: name its folder, such as --from sqlite:/var/lib/kobel")]
    NoSource(PathBuf),
    /// There is something else in the target.
    #[error(
        "the target is not empty ({0} has {1} row(s)), and holds no unfinished copy: nothing was \
         changed; name an empty database"
    )]
    NotEmpty(&'static str, u64),
    /// Another one runs.
    #[error("another copy into this database is under way")]
    Busy,
    /// It was told to end.
    #[error("stopped; the same command goes on where this one ended")]
    Stopped,
    /// The copy is not what was copied.
    #[error(
        "the copy of {0} differs from the original; nothing uses it yet: run the same command again, \
         or name another empty database"
    )]
    Differs(&'static str),
    /// The schemas have come apart.
    #[error("{0} has other columns in the target than in the source")]
    Schema(&'static str),
    /// One of the two failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for CopyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Text,
    Bytes,
    Bool,
}

struct Table {
    name: &'static str,
    /// The first one is the number.
    columns: Vec<(String, Kind)>,
}

/// Copies the database in `folder` into an empty PostgreSQL, or goes on with it. Nobody writes the
/// source meanwhile. `step` hears how far it is, and ends it by `false`.
///
/// # Errors
/// When it cannot be; the source is never changed but to this version's schema.
pub async fn copy_to_postgres(
    folder: &Path,
    target: &PostgresUrl,
    mut step: impl FnMut(CopyStep) -> bool + Send,
) -> Result<Copied, CopyError> {
    let file = folder.join(FILE);
    if !file.is_file() {
        return Err(CopyError::NoSource(file));
    }
    let source = Store::open(folder).await?;
    let target = Store::open_unfinished(target).await?;
    let mut copying = target.pool.acquire().await?;
    let free: bool = query("SELECT pg_try_advisory_lock($1)")
        .bind(COPYING)
        .fetch_one(&mut copying)
        .await?
        .try_get(0)?;
    if !free {
        return Err(CopyError::Busy);
    }
    // Writers wait; what is read below is one state.
    let mut from = source.pool.begin().await?;
    let mut copy = Copy { from: &mut from, to: &target.pool, step: &mut step };
    let copied = copy.run().await;
    // The lock is the connection's: it must not go back to the pool and hold it there.
    query("SELECT pg_advisory_unlock($1)").bind(COPYING).execute(&mut copying).await?;
    drop(copying);
    from.rollback().await?;
    source.close().await;
    target.close().await;
    copied
}

/// Whether a copy into this database was begun and not finished.
pub(super) async fn is_unfinished(db: &Db) -> Result<bool, sqlx::Error> {
    let found = query("SELECT to_regclass($1) IS NOT NULL").bind(MARK).fetch_one(db).await?;
    found.try_get(0)
}

struct Copy<'a> {
    from: &'a mut Change,
    to: &'a Db,
    step: &'a mut (dyn FnMut(CopyStep) -> bool + Send),
}

impl Copy<'_> {
    async fn run(&mut self) -> Result<Copied, CopyError> {
        let mut tables = Vec::with_capacity(TABLES.len());
        for name in TABLES {
            tables.push(self.table(name).await?);
        }
        let went_on = is_unfinished(self.to).await?;
        if !went_on {
            for name in TABLES {
                let rows = count(self.to, name).await?;
                if rows > 0 {
                    return Err(CopyError::NotEmpty(name, rows));
                }
            }
            let sql = format!("CREATE TABLE {MARK} (began BIGINT)");
            query(AssertSqlSafe(sql)).execute(self.to).await?;
        }
        self.copy(&tables).await?;
        let copied = match self.check(&tables).await {
            // The source was written since the copy was cut off.
            Err(CopyError::Differs(_)) if went_on => {
                self.tell(CopyStep::Anew)?;
                self.empty().await?;
                self.copy(&tables).await?;
                self.check(&tables).await?
            }
            checked => checked?,
        };
        self.continue_numbers().await?;
        let sql = format!("DROP TABLE {MARK}");
        query(AssertSqlSafe(sql)).execute(self.to).await?;
        Ok(copied)
    }

    fn tell(&mut self, step: CopyStep) -> Result<(), CopyError> {
        if (self.step)(step) { Ok(()) } else { Err(CopyError::Stopped) }
    }

    async fn table(&mut self, name: &'static str) -> Result<Table, CopyError> {
        let rows = query(
            "SELECT column_name::text, data_type::text FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
        )
        .bind(name)
        .fetch_all(self.to)
        .await?;
        let mut columns = Vec::with_capacity(rows.len());
        for row in &rows {
            let kind = match row.try_get::<&str, _>(1)? {
                "bigint" => Kind::Integer,
                "text" => Kind::Text,
                "bytea" => Kind::Bytes,
                "boolean" => Kind::Bool,
                _ => return Err(CopyError::Schema(name)),
            };
            columns.push((row.try_get::<String, _>(0)?, kind));
        }
        let own = query("SELECT name FROM pragma_table_info($1)").bind(name);
        let own = own.fetch_all(&mut **self.from).await?;
        let mut own: Vec<String> =
            own.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let mut others: Vec<_> = columns.iter().map(|(name, _)| name.clone()).collect();
        own.sort();
        others.sort();
        let id_first = columns.first().is_some_and(|(name, _)| name == "id");
        if own != others || !id_first {
            return Err(CopyError::Schema(name));
        }
        Ok(Table { name, columns })
    }

    async fn copy(&mut self, tables: &[Table]) -> Result<(), CopyError> {
        for table in tables {
            let of = count(&mut **self.from, table.name).await?;
            let mut rows = count(self.to, table.name).await?;
            let mut last = last_number(self.to, table.name).await?;
            self.tell(CopyStep::Copied { table: table.name, rows, of })?;
            loop {
                let batch = table.batch(self.from, last).await?;
                let Some(newest) = batch.last().map(|row| number(row)) else { break };
                table.insert(self.to, &batch).await?;
                last = newest;
                rows += batch.len() as u64;
                self.tell(CopyStep::Copied { table: table.name, rows, of })?;
            }
        }
        Ok(())
    }

    async fn check(&mut self, tables: &[Table]) -> Result<Copied, CopyError> {
        let mut copied = Copied { rows: 0, secrets: 0 };
        for table in tables {
            let source = table.digest(self.from).await?;
            let target = table.digest(&mut self.to.acquire().await?).await?;
            if source != target {
                return Err(CopyError::Differs(table.name));
            }
            copied.rows += source.0;
            if table.name == "secrets" {
                copied.secrets = source.0;
            }
            self.tell(CopyStep::Checked { table: table.name, rows: source.0 })?;
        }
        Ok(copied)
    }

    async fn empty(&self) -> Result<(), CopyError> {
        let sql = format!("TRUNCATE {}", TABLES.join(", "));
        query(AssertSqlSafe(sql)).execute(self.to).await?;
        Ok(())
    }

    /// A number is never used twice, also where its row is gone: the sequences go on where SQLite's
    /// stand.
    async fn continue_numbers(&mut self) -> Result<(), CopyError> {
        for name in TABLES {
            let row = query("SELECT seq FROM sqlite_sequence WHERE name = $1").bind(name);
            let row = row.fetch_optional(&mut **self.from).await?;
            let used: i64 = row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
            query("SELECT setval(pg_get_serial_sequence($1, 'id'), $2, $3)")
                .bind(name)
                .bind(used.max(1))
                .bind(used > 0)
                .execute(self.to)
                .await?;
        }
        Ok(())
    }
}

impl Table {
    fn list(&self) -> String {
        self.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The next rows behind a number.
    async fn batch(&self, from: &mut Connection, last: i64) -> Result<Vec<Vec<Value>>, CopyError> {
        let sql = format!(
            "SELECT {} FROM {} WHERE id > $1 ORDER BY id LIMIT {BATCH}",
            self.list(),
            self.name
        );
        let rows = query(AssertSqlSafe(sql)).bind(last).fetch_all(from).await?;
        Ok(rows.iter().map(|row| self.values(row)).collect::<Result<_, _>>()?)
    }

    fn values(&self, row: &Row) -> Result<Vec<Value>, sqlx::Error> {
        let value = |(at, (_, kind)): (usize, &(String, Kind))| {
            Ok(match kind {
                Kind::Integer => Value::Integer(row.try_get(at)?),
                Kind::Text => Value::Text(row.try_get::<Option<String>, _>(at)?.map(without_nul)),
                Kind::Bytes => Value::Bytes(row.try_get(at)?),
                Kind::Bool => Value::Bool(row.try_get(at)?),
            })
        };
        self.columns.iter().enumerate().map(value).collect()
    }

    async fn insert(&self, to: &Db, batch: &[Vec<Value>]) -> Result<(), CopyError> {
        let width = self.columns.len();
        let row = |row: usize| {
            let values: Vec<_> = (1..=width).map(|at| format!("${}", row * width + at)).collect();
            format!("({})", values.join(", "))
        };
        let rows: Vec<_> = (0..batch.len()).map(row).collect();
        let sql = format!("INSERT INTO {} ({}) VALUES {}", self.name, self.list(), rows.join(", "));
        let mut insert = query(AssertSqlSafe(sql));
        for value in batch.iter().flatten() {
            insert = insert.bind(value.clone());
        }
        insert.execute(to).await?;
        Ok(())
    }

    /// How many rows there are, and a digest of every value in them.
    async fn digest(&self, of: &mut Connection) -> Result<(u64, [u8; 32]), CopyError> {
        let mut digest = Sha256::new();
        let (mut rows, mut last) = (0, i64::MIN);
        loop {
            let batch = self.batch(of, last).await?;
            let Some(newest) = batch.last().map(|row| number(row)) else { break };
            for value in batch.iter().flatten() {
                value.put_into(&mut digest);
            }
            last = newest;
            rows += batch.len() as u64;
        }
        Ok((rows, digest.finalize().into()))
    }
}

impl Value {
    /// With its kind and its length, so that no two rows of values look alike.
    fn put_into(&self, digest: &mut Sha256) {
        let (kind, bytes) = match self {
            Self::Integer(value) => (b'i', value.map(|value| value.to_be_bytes().to_vec())),
            Self::Text(value) => (b't', value.as_ref().map(|text| text.as_bytes().to_vec())),
            Self::Bytes(value) => (b'b', value.clone()),
            Self::Bool(value) => (b'o', value.map(|value| vec![u8::from(value)])),
        };
        let length = bytes.as_ref().map_or(u64::MAX, |bytes| bytes.len() as u64);
        digest.update([kind]);
        digest.update(length.to_be_bytes());
        digest.update(bytes.unwrap_or_default());
    }
}

fn number(row: &[Value]) -> i64 {
    match row.first() {
        Some(Value::Integer(Some(number))) => *number,
        // Every table's first column is its number, which is never missing.
        _ => i64::MAX,
    }
}

async fn count<'a>(on: impl Into<On<'a>>, table: &str) -> Result<u64, CopyError> {
    let sql = format!("SELECT COUNT(*) FROM {table}");
    let rows: i64 = query(AssertSqlSafe(sql)).fetch_one(on).await?.try_get(0)?;
    Ok(rows.unsigned_abs())
}

async fn last_number(on: &Db, table: &str) -> Result<i64, CopyError> {
    let sql = format!("SELECT MAX(id) FROM {table}");
    let last: Option<i64> = query(AssertSqlSafe(sql)).fetch_one(on).await?.try_get(0)?;
    Ok(last.unwrap_or(i64::MIN))
}

#[cfg(test)]
mod tests;
