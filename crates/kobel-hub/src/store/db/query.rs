//! A statement with its values, and the rows that it gives, for either engine.

use sqlx::{
    ColumnIndex, Decode, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, Type, postgres::PgRow,
    sqlite::SqliteRow,
};

use super::{On, in_time};

/// A value of a statement. Also the absence of one has a type, which PostgreSQL wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Bool(Option<bool>),
}

/// A statement; `$1` stands for the first value.
pub(in crate::store) struct Query {
    sql: SqlStr,
    values: Vec<Value>,
}

/// A row.
pub(in crate::store) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What a statement did that gives no rows.
pub(in crate::store) struct Done {
    rows: u64,
}

/// Makes a statement, in the words that both engines know.
pub(in crate::store) fn query(sql: impl SqlSafeStr) -> Query {
    Query { sql: sql.into_sql_str(), values: Vec::new() }
}

macro_rules! with_values {
    ($engine:ty, $query:expr) => {{
        let mut query = sqlx::query::<$engine>($query.sql);
        for value in $query.values {
            query = match value {
                Value::Integer(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
                Value::Bool(value) => query.bind(value),
            };
        }
        query
    }};
}

impl Query {
    /// Gives the next value.
    pub(in crate::store) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    fn for_sqlite(self) -> sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments> {
        with_values!(Sqlite, self)
    }

    fn for_postgres(
        mut self,
    ) -> sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments> {
        for value in &mut self.values {
            if let Value::Text(Some(text)) = value {
                // PostgreSQL has no text with a NUL in it. What is looked for becomes the same.
                *text = without_nul(std::mem::take(text));
            }
        }
        with_values!(Postgres, self)
    }

    /// Runs it for what it does.
    pub(in crate::store) async fn execute<'a>(
        self,
        on: impl Into<On<'a>>,
    ) -> Result<Done, sqlx::Error> {
        let rows = match on.into() {
            On::Sqlite(on) => self.for_sqlite().execute(on).await?.rows_affected(),
            On::SqliteConnection(on) => self.for_sqlite().execute(on).await?.rows_affected(),
            On::Postgres(on) => in_time(self.for_postgres().execute(on)).await?.rows_affected(),
            On::PostgresConnection(on) => {
                in_time(self.for_postgres().execute(on)).await?.rows_affected()
            }
        };
        Ok(Done { rows })
    }

    /// Every row.
    pub(in crate::store) async fn fetch_all<'a>(
        self,
        on: impl Into<On<'a>>,
    ) -> Result<Vec<Row>, sqlx::Error> {
        let of_sqlite = |rows: Vec<_>| rows.into_iter().map(Row::Sqlite).collect();
        let of_postgres = |rows: Vec<_>| rows.into_iter().map(Row::Postgres).collect();
        match on.into() {
            On::Sqlite(on) => self.for_sqlite().fetch_all(on).await.map(of_sqlite),
            On::SqliteConnection(on) => self.for_sqlite().fetch_all(on).await.map(of_sqlite),
            On::Postgres(on) => in_time(self.for_postgres().fetch_all(on)).await.map(of_postgres),
            On::PostgresConnection(on) => {
                in_time(self.for_postgres().fetch_all(on)).await.map(of_postgres)
            }
        }
    }

    /// The first row, if there is one.
    pub(in crate::store) async fn fetch_optional<'a>(
        self,
        on: impl Into<On<'a>>,
    ) -> Result<Option<Row>, sqlx::Error> {
        match on.into() {
            On::Sqlite(on) => Ok(self.for_sqlite().fetch_optional(on).await?.map(Row::Sqlite)),
            On::SqliteConnection(on) => {
                Ok(self.for_sqlite().fetch_optional(on).await?.map(Row::Sqlite))
            }
            On::Postgres(on) => {
                Ok(in_time(self.for_postgres().fetch_optional(on)).await?.map(Row::Postgres))
            }
            On::PostgresConnection(on) => {
                Ok(in_time(self.for_postgres().fetch_optional(on)).await?.map(Row::Postgres))
            }
        }
    }

    /// The first row, which there is.
    pub(in crate::store) async fn fetch_one<'a>(
        self,
        on: impl Into<On<'a>>,
    ) -> Result<Row, sqlx::Error> {
        self.fetch_optional(on).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

/// A text as PostgreSQL can hold it.
pub(in crate::store) fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

impl Row {
    /// The value of a column.
    pub(in crate::store) fn try_get<'r, T, I>(&'r self, column: I) -> Result<T, sqlx::Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
        I: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

impl Done {
    /// How many rows it changed.
    pub(in crate::store) fn rows_affected(&self) -> u64 {
        self.rows
    }
}

macro_rules! values {
    ($($kind:ident: $($from:ty => $to:expr),+;)+) => {$($(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$kind(Some($to(value)))
            }
        }
        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::$kind(value.map($to))
            }
        }
    )+)+};
}

values! {
    Integer: i64 => std::convert::identity, &i64 => |value: &i64| *value;
    Text: String => std::convert::identity, &str => str::to_owned, &String => String::clone;
    Bytes: Vec<u8> => std::convert::identity, &[u8] => <[u8]>::to_vec;
    Bool: bool => std::convert::identity;
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::Text(value.clone())
    }
}
