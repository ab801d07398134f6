//! A Docker daemon with a folder and a socket of its own.

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use kobel_wire::ContainerId;

const IMAGE: &str = "kobel-test:latest";

/// Stopped, with its containers, when dropped.
pub(crate) struct Daemon {
    folder: tempfile::TempDir,
    running: Option<Child>,
}

impl Daemon {
    /// Starts one, with an image of nothing but busybox.
    pub(crate) fn start() -> Self {
        assert!(fs::exists("/bin/busybox").unwrap(), "this test needs busybox-static");
        let mut daemon = Self { folder: tempfile::tempdir().unwrap(), running: None };
        daemon.up();
        let bin = daemon.at("root/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for applet in ["sh", "sleep", "seq", "head", "cat", "tr", "usleep"] {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        let tar = daemon.at("root.tar");
        let root = daemon.at("root");
        let made = Command::new("tar").arg("cf").arg(&tar).arg("-C").arg(root).arg(".").status();
        assert!(made.unwrap().success());
        daemon.run(&["import", tar.to_str().unwrap(), IMAGE]);
        daemon
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where it answers.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.at("docker.sock").display())
    }

    /// Starts it again, and waits until it answers. On a busy machine it may give up on its own
    /// containerd; then once more.
    pub(crate) fn up(&mut self) {
        for _ in 0..3 {
            self.running = Some(self.spawn());
            for _ in 0..600 {
                if self.command(&["version"]).status.success() {
                    return;
                }
                if self.running.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some()) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            self.down("TERM");
        }
        panic!("dockerd does not answer:\n{}", fs::read_to_string(self.at("log")).unwrap());
    }

    fn spawn(&self) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.at("log")).unwrap();
        let flag = |name: &str, file: &str| format!("--{name}={}", self.at(file).display());
        Command::new("dockerd")
            .args([flag("data-root", "data"), flag("exec-root", "exec"), flag("pidfile", "pid")])
            .arg(format!("--host={}", self.host()))
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--live-restore"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("this test needs dockerd, and root to start it")
    }

    /// Ends it by this signal; containers go on (live restore).
    pub(crate) fn down(&mut self, signal: &str) {
        if let Some(mut child) = self.running.take() {
            let _ = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
            child.wait().unwrap();
        }
        // The containerd of a daemon that was killed ends with it. Where nobody reaps that, as in
        // a container without an init, the next daemon takes its id for a living one's.
        if signal == "KILL" {
            let _ = fs::remove_file(self.at("exec/containerd/containerd.pid"));
        }
    }

    /// `docker …`, as it ends.
    pub(crate) fn command(&self, args: &[&str]) -> Output {
        Command::new("docker").args(["-H", &self.host()]).args(args).output().unwrap()
    }

    /// `docker …`; gives what it printed.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = self.command(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {args:?}: {error}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Starts a container that runs this script.
    pub(crate) fn sh(&self, name: &str, options: &[&str], script: &str) -> ContainerId {
        let mut args = vec!["run", "-d", "--name", name, "--network=none"];
        args.extend(options);
        args.extend([IMAGE, "sh", "-c", script]);
        self.run(&args).parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.running.is_some() {
            let listed = self.command(&["ps", "-aq"]);
            let ids = String::from_utf8_lossy(&listed.stdout).into_owned();
            let ids: Vec<&str> = ids.split_whitespace().collect();
            if !ids.is_empty() {
                self.command(&[&["rm", "-f"], ids.as_slice()].concat());
            }
        }
        self.down("TERM");
        // With live restore the daemon mounts its data folder onto itself, and leaves it so: then
        // the folder could not be removed.
        let _ = Command::new("umount").arg(self.at("data")).stderr(Stdio::null()).status();
    }
}
