//! Where what lasts is kept.

use std::{fmt, path::PathBuf};

use sqlx::postgres::PgConnectOptions;

/// A database. Shown, it never says a password.
#[derive(Debug, Clone)]
pub enum Database {
    /// The file of SQLite in this folder.
    Folder(PathBuf),
    /// A PostgreSQL that nodes share.
    Postgres(PostgresUrl),
}

/// Where a PostgreSQL is, and how to sign in there.
#[derive(Clone)]
pub struct PostgresUrl(Box<PgConnectOptions>);

/// Why a URL leads to no database. Says nothing of what stands in it: a password may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Another scheme.
    #[error(
        "the database URL is none of PostgreSQL: write it as \
         postgres://user:password@host:5432/database?sslmode=verify-full"
    )]
    Scheme,
    /// Not a URL, or a parameter that cannot be.
    #[error(
        "the database URL cannot be read: write it as \
         postgres://user:password@host:5432/database?sslmode=verify-full, and in the password write \
         @, :, /, ?, # and % as %40, %3A, %2F, %3F, %23 and %25"
    )]
    Unreadable,
}

impl PostgresUrl {
    /// Reads `postgres://user:password@host:port/database`, with the parameters of libpq, such as
    /// `sslmode` and `sslrootcert`. What is not said is taken from PGHOST, PGUSER and so on, as
    /// libpq does, and the password from the file of PGPASSFILE.
    ///
    /// `password` is the one to use where it stands elsewhere.
    ///
    /// # Errors
    /// When it is none; without a word of its text.
    pub fn read(url: &str, password: Option<&str>) -> Result<Self, DatabaseUrlError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(DatabaseUrlError::Scheme);
        }
        let options: PgConnectOptions = url.parse().map_err(|_| DatabaseUrlError::Unreadable)?;
        // Of a password with a / in it the rest would be taken for a database, and shown as one.
        if options.get_database().is_some_and(|name| name.contains('@')) {
            return Err(DatabaseUrlError::Unreadable);
        }
        let options = match password {
            Some(password) => options.password(password),
            None => options,
        };
        Ok(Self(Box::new(options.application_name("kobel"))))
    }

    /// Whether a URL has a password in it.
    pub fn has_password(url: &str) -> bool {
        let Some((_, rest)) = url.split_once("://") else { return false };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let in_authority = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
        in_authority || rest.contains("password=")
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.0
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get_socket() {
            Some(socket) => write!(f, "postgres://{}", socket.display())?,
            None => write!(f, "postgres://{}:{}", self.0.get_host(), self.0.get_port())?,
        }
        // As the server does where none is named.
        let name = self.0.get_database().unwrap_or_else(|| self.0.get_username());
        write!(f, "/{name}")
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let url = "postgres://me:pl%40nted@db.example:5433/kobel?sslmode=require";
        let read = PostgresUrl::read(url, None).unwrap();
        assert_eq!(read.to_string(), "postgres://db.example:5433/kobel");
        let database = Database::Postgres(read);
        assert!(!format!("{database:?} {database}").contains("nted"));
        for bad in [
            "mysql://me:planted@h/d",
            "postgres://me:planted/x@h/d",
            "postgres://me:planted#x@h/d",
            "postgres://me:1/planted@h/d",
            "postgres://me:planted@h:x/d",
            "postgres://me:planted@h/d?sslmode=maybe",
            "planted",
        ] {
            let error = PostgresUrl::read(bad, None).unwrap_err().to_string();
            assert!(!error.contains("planted"), "{error}");
            assert!(error.contains("postgres://user:password@host"), "{error}");
        }
    }

    #[test]
    fn a_url_with_a_password_is_known() {
        for (url, has) in [
            ("postgres://me:x@h/d", true),
            ("postgres://me@h:5432/d", false),
            ("postgres://h/d?password=x", true),
            ("postgres://h:5432/d", false),
        ] {
            assert_eq!(PostgresUrl::has_password(url), has, "{url}");
        }
    }
}
