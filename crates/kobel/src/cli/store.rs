//! `kobel store`: the database as a whole.

use std::{
    io::{IsTerminal, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::{Args, Subcommand};
use kobel_hub::store::{CopyStep, Database, PostgresUrl, copy_to_postgres};
use tokio_util::sync::CancellationToken;

use super::CliError;
use crate::{
    config::{self, Common, SecretText},
    data_folder,
};

/// What can be done with the database as a whole.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Copy everything from SQLite into a PostgreSQL that nodes can share
    #[command(after_help = EXAMPLES)]
    Migrate(Migrate),
}

const EXAMPLES: &str = "\
Accounts, sessions, tokens, devices, sealed secrets and the audit log go over with their numbers:
whoever is signed in stays so. The hub must not run meanwhile. A copy that was interrupted goes on
where it ended when the command is given again; at the end every row is compared. The original stays
as it is.

What stays in the data folder: stored log lines, and the file of the secrets' keys, which every node
needs: copy it to them, or name it by --secret-key-file.

Examples:
  KOBEL_DATABASE_URL=postgres://kobel:…@db/kobel kobel store migrate
      this user's data, into that database, which hubs are then started with
  kobel store migrate --from sqlite:/var/lib/kobel --to postgres://kobel@db/kobel
      with the password in PGPASSWORD, ~/.pgpass or --database-password-file";

/// `kobel store migrate`.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// What is copied: sqlite for the data folder's database, or sqlite:FOLDER [default: sqlite]
    #[arg(long, value_name = "DATABASE", default_value = "sqlite", hide_default_value = true)]
    from: From,
    /// Where to: an empty database, postgres://user@host/database [default: --database-url]
    #[arg(long, value_name = "URL")]
    to: Option<SecretText>,
}

/// A SQLite database; `None` for the one of the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct From(Option<PathBuf>);

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("sqlite") {
            Some("") => Ok(Self(None)),
            Some(rest) if rest.len() > 1 && rest.starts_with(':') => {
                let path = Path::new(rest[1..].trim_start_matches("//"));
                // The file itself is as good as its folder.
                let named = path.file_name().is_some_and(|name| name == kobel_hub::store::FILE);
                let folder = if named { path.parent() } else { None };
                Ok(Self(Some(folder.unwrap_or(path).to_owned())))
            }
            _ => Err("only SQLite is copied: write it as sqlite, or sqlite:FOLDER".into()),
        }
    }
}

impl Command {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let Self::Migrate(migrate) = self;
        migrate.run(common).await
    }
}

impl Migrate {
    async fn run(self, common: &Common) -> Result<(), CliError> {
        let folder = match self.from.0 {
            Some(folder) => folder,
            None => config::data_folder_of(common)?,
        };
        let to = target(common, self.to.as_ref())?;
        if !data_folder::has_store(&folder) {
            return Err(kobel_hub::store::CopyError::NoSource(folder).into());
        }
        // No hub may run on it; and none starts until this ends.
        let base = data_folder::base_url(&folder).unwrap_or_default();
        let _lock = data_folder::lock(&folder, &base)?;

        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let signal = tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stopping.cancel();
            }
        });
        eprintln!("Copying {} to {to}.", folder.display());
        let mut shown = Shown { terminal: std::io::stderr().is_terminal(), table: "" };
        let copied = copy_to_postgres(&folder, &to, |step| {
            shown.step(step);
            !stop.is_cancelled()
        });
        let copied = copied.await;
        signal.abort();
        shown.end();
        let copied = copied?;
        eprintln!(
            "{} rows are there and the same. Start hubs with KOBEL_DATABASE_URL set to it.",
            copied.rows
        );
        if copied.secrets > 0 {
            let keys = config::secret_key_file_of(common, None)?;
            eprintln!(
                "{} of them are secrets: they open with the keys in {} only. Copy that file to \
                 every node.",
                copied.secrets,
                keys.display()
            );
        }
        Ok(())
    }
}

fn target(common: &Common, to: Option<&SecretText>) -> Result<PostgresUrl, CliError> {
    let url = match to {
        Some(to) => Database::Postgres(config::postgres_of(common, to)?),
        None => config::database_of(common)?,
    };
    match url {
        Database::Postgres(url) => Ok(url),
        Database::Folder(_) => Err(CliError::NoTarget),
    }
}

/// How far it is: a line that changes on a terminal, a line a table elsewhere.
struct Shown {
    terminal: bool,
    table: &'static str,
}

impl Shown {
    fn step(&mut self, step: CopyStep) {
        match step {
            CopyStep::Copied { table, rows, of } if self.terminal => {
                if self.table != table {
                    self.end();
                    self.table = table;
                }
                eprint!("\r{table}: {rows} of {of}");
                let _ = std::io::stderr().flush();
            }
            CopyStep::Copied { table, rows, of } => {
                if rows == of {
                    eprintln!("{table}: {rows} of {of}");
                }
            }
            CopyStep::Checked { table, rows } => {
                self.end();
                eprintln!("{table}: {rows} compared, the same");
            }
            CopyStep::Anew => {
                self.end();
                eprintln!("What was copied before does not fit any more: copying all anew.");
            }
        }
    }

    fn end(&mut self) {
        if self.terminal && !std::mem::take(&mut self.table).is_empty() {
            eprintln!();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        for (text, folder) in [
            ("sqlite", None),
            ("sqlite:/var/lib/kobel", Some("/var/lib/kobel")),
            ("sqlite:///var/lib/kobel", Some("/var/lib/kobel")),
            ("sqlite:data/kobel.db", Some("data")),
        ] {
            assert_eq!(text.parse(), Ok(From(folder.map(PathBuf::from))), "{text}");
        }
        for bad in ["postgres://h/d", "sqlite:", "sqlite3", ""] {
            assert!(bad.parse::<From>().is_err(), "{bad}");
        }
    }
}
