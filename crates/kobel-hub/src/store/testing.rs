//! Databases for the store's tests: the embedded one, and those of a real PostgreSQL.

use std::{
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::Connection as _;
use tempfile::TempDir;

use super::{Database, PostgresUrl, SecretKeys, Store};

/// A folder and an empty database, of one test.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) database: Database,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let database = Database::Folder(folder.path().to_owned());
        Self { folder, database }
    }

    pub(crate) async fn postgres() -> Self {
        let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(Server::start));
        let database = server.await.unwrap().database().await;
        Self { folder: TempDir::new().unwrap(), database: Database::Postgres(database) }
    }

    /// Opens it, as one more process would.
    pub(crate) async fn open(&self) -> Store {
        Store::open_database(&self.database).await.unwrap()
    }

    pub(crate) fn keys(&self) -> SecretKeys {
        SecretKeys::in_file(self.folder.path().join("secret.key"))
    }
}

/// Makes of each `async fn name(place: Place)` a test on SQLite and one on PostgreSQL.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::store::testing::Place::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::store::testing::Place::postgres().await).await;
            })+
        }
    };
}
pub(crate) use on_both;

/// Between two looks at a server that starts.
const EACH_TRY: Duration = Duration::from_millis(20);

/// One for all tests of the process; each has a database of its own.
static SERVER: OnceLock<Server> = OnceLock::new();

struct Server {
    port: u16,
    databases: AtomicU32,
    /// Its input is closed by the end of this process, however it ends: then the server is stopped.
    _keeper: Child,
}

/// Stops the server by its id and takes its folder away when nobody holds the input any more.
const KEEPER: &str = r#"
"$1/postgres" -D "$2/data" -p "$3" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c fsync=off -c max_connections=300 >"$2/log" 2>&1 &
server=$!
read -r _
kill -INT "$server"
wait "$server"
rm -rf "$2"
"#;

impl Server {
    fn start() -> Self {
        let programs = programs();
        let folder = TempDir::new().unwrap().keep();
        // It refuses to run as root.
        let owner = (id("-u", None) == 0).then(|| {
            let (uid, gid) = (id("-u", Some("postgres")), id("-g", Some("postgres")));
            chown(&folder, Some(uid), Some(gid)).unwrap();
            (uid, gid)
        });
        let command = |program: &Path| {
            let mut command = Command::new(program);
            command.current_dir(&folder).process_group(0);
            if let Some((uid, gid)) = owner {
                command.uid(uid).gid(gid);
            }
            command
        };
        let made = command(&programs.join("initdb"))
            .args(["-U", "kobel", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"])
            .arg("-D")
            .arg(folder.join("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let keeper = command(Path::new("/bin/sh"))
            .args(["-c", KEEPER, "keeper"])
            .args([programs.as_os_str(), folder.as_os_str(), port.to_string().as_ref()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut tries = 0..1_500;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(tries.next().is_some(), "PostgreSQL does not start: {}", log());
            std::thread::sleep(EACH_TRY);
        }
        Self { port, databases: AtomicU32::new(0), _keeper: keeper }
    }

    fn url(&self, database: &str) -> PostgresUrl {
        let url = format!("postgres://kobel@127.0.0.1:{}/{database}", self.port);
        PostgresUrl::read(&url, None).unwrap()
    }

    async fn database(&self) -> PostgresUrl {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut tries = 0..1_500;
        let mut own = loop {
            // It listens a moment before it lets anybody in.
            match sqlx::PgConnection::connect_with(self.url("postgres").options()).await {
                Ok(own) => break own,
                Err(error) => assert!(tries.next().is_some(), "{error}"),
            }
            tokio::time::sleep(EACH_TRY).await;
        };
        let sql = format!("CREATE DATABASE {name}");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut own).await.unwrap();
        own.close().await.unwrap();
        self.url(&name)
    }
}

/// Where PostgreSQL's programs are: Debian does not put them on the PATH.
fn programs() -> PathBuf {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<_> = debian.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    let found = folders.into_iter().rev().find(|folder| folder.join("initdb").exists());
    found.expect("PostgreSQL is not installed: make setup")
}

fn id(option: &str, user: Option<&str>) -> u32 {
    let told = Command::new("id").arg(option).args(user).output().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().parse().unwrap()
}
