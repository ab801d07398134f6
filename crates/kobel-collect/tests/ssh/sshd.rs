//! A real sshd of OpenSSH on a loopback port, with a configuration and keys of its own.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use kobel_collect::ssh::{Docker, Hop, HostKeys, Secret, SignIn, SshSpec};

/// Stopped when dropped.
pub(crate) struct Sshd {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
    running: Option<Child>,
}

impl Sshd {
    /// Starts one that lets root in by the key `id`, with these lines of configuration before the
    /// usual ones (the first of a kind counts, sshd_config(5)).
    pub(crate) fn start(lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Whatever else starts meanwhile takes another one.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut sshd = Self { folder, port, running: None };
        sshd.keygen("host", "ed25519", "");
        sshd.keygen("id", "ed25519", "");
        sshd.authorize(&["id"], "");
        let at = |name: &str| sshd.at(name).display().to_string();
        let config = format!(
            "{lines}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\n\
             AuthorizedKeysFile {}\nPermitRootLogin yes\nStrictModes no\nUsePAM no\n\
             PrintMotd no\nMaxStartups 100\nLogLevel DEBUG1\n",
            at("host"),
            at("authorized_keys"),
        );
        fs::write(sshd.at("config"), config).unwrap();
        sshd.up();
        sshd
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a key pair in the folder.
    pub(crate) fn keygen(&self, name: &str, kind: &str, passphrase: &str) {
        let at = self.at(name);
        let _ = fs::remove_file(&at);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-N", passphrase, "-C", name, "-f"])
            .arg(at)
            .status()
            .expect("this test needs openssh-client");
        assert!(made.success());
    }

    /// Lets these keys in, each with these options.
    pub(crate) fn authorize(&self, names: &[&str], options: &str) {
        let key = |name: &&str| {
            let public = fs::read_to_string(self.at(&format!("{name}.pub"))).unwrap();
            format!("{options} {public}").trim_start().to_owned()
        };
        let keys: String = names.iter().map(key).collect();
        fs::write(self.at("authorized_keys"), keys).unwrap();
    }

    /// The text of a private key.
    pub(crate) fn key(&self, name: &str) -> Secret {
        Secret::new(fs::read_to_string(self.at(name)).unwrap())
    }

    pub(crate) fn up(&mut self) {
        fs::create_dir_all("/run/sshd").unwrap();
        let log = fs::File::options().create(true).append(true).open(self.at("log")).unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .arg("-D")
            .arg("-e")
            .arg("-f")
            .arg(self.at("config"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("this test needs openssh-server, and root to start it");
        self.running = Some(child);
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("sshd does not answer:\n{}", self.log());
    }

    /// Ends it and the sessions that it began.
    pub(crate) fn down(&mut self) {
        if self.running.is_some() {
            for pid in self.sessions() {
                signal("KILL", pid);
            }
        }
        let Some(mut child) = self.running.take() else { return };
        signal("KILL", child.id());
        let _ = child.wait();
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().unwrap().id()
    }

    /// The processes below it, the deepest last.
    pub(crate) fn sessions(&self) -> Vec<u32> {
        below(self.pid())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    /// This host by its key `id`, whatever its host key.
    pub(crate) fn spec(&self) -> SshSpec {
        let sign_in =
            SignIn::Key { key: self.key("id"), passphrase: None, name: "the test's key".into() };
        self.spec_by("root", sign_in)
    }

    pub(crate) fn spec_by(&self, user: &str, sign_in: SignIn) -> SshSpec {
        SshSpec {
            host: self.hop(user),
            jumps: Vec::new(),
            sign_in: vec![sign_in],
            host_keys: HostKeys { pinned: Vec::new(), accept_new: true },
            docker: Docker::Off,
        }
    }

    pub(crate) fn hop(&self, user: &str) -> Hop {
        Hop { host: "127.0.0.1".into(), port: self.port, user: user.into() }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.down();
    }
}

/// The processes below this one, the deepest last.
pub(crate) fn below(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

pub(crate) fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .stderr(Stdio::null())
        .status();
}

static USERS: AtomicU32 = AtomicU32::new(0);

/// A user of this machine; removed when dropped.
pub(crate) struct User(pub(crate) String);

impl User {
    /// One with this login shell and password.
    pub(crate) fn new(shell: &str, password: &str) -> Self {
        let number = USERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("kobel-{}-{number}", std::process::id());
        let made = Command::new("useradd").args(["-M", "-d", "/", "-s", shell, &name]).status();
        assert!(made.expect("this test needs useradd, and root").success());
        let user = Self(name);
        let hash = Command::new("openssl").args(["passwd", "-6", password]).output().unwrap();
        let hash = String::from_utf8(hash.stdout).unwrap();
        let set = Command::new("usermod").args(["-p", hash.trim(), &user.0]).status().unwrap();
        assert!(set.success());
        user
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(&self.0).stderr(Stdio::null()).status();
    }
}
