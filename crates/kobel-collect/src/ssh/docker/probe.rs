//! What of container engines there is on a host: one short script, and its answer.

use std::fmt;

/// The most of an answer that is read, bytes.
pub(super) const ANSWER: usize = 16 << 10;

/// The longest path of a socket: that of sun_path in unix(7).
const PATH: usize = 107;

/// Runs whatever the login shell is: one line, in single quotes, without a quote, a backslash or a
/// `!` inside. `$1` is the socket to look for instead of the usual ones, if there is one.
const SCRIPT: &str = concat!(
    "r=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}; ",
    "[ -n \"$1\" ] || set -- /var/run/docker.sock \"$r/docker.sock\" \"$HOME/.docker/run/docker.sock\" ",
    "/run/podman/podman.sock \"$r/podman/podman.sock\"; ",
    "for s in \"$@\"; do if [ -S \"$s\" ]; then if [ -r \"$s\" ] && [ -w \"$s\" ]; ",
    "then echo \"@open $s\"; else echo \"@denied $s\"; fi; fi; done; ",
    "for c in docker podman socat nc; do command -v $c >/dev/null 2>&1 && echo \"@has $c\"; ",
    "done; echo @end",
);

/// A path of a socket that may stand in a command of any login shell as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketPath(String);

/// Why a text is no [`SocketPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no path of a socket: it must begin with / and have only letters, digits and ._/+-@ \
     in it, and at most 107 of them"
)]
pub struct SocketPathError(String);

impl SocketPath {
    /// Checks a path.
    ///
    /// # Errors
    /// Where it is relative, too long, or has in it what a shell might read as something else.
    pub fn new(path: &str) -> Result<Self, SocketPathError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/+-@".contains(&byte);
        if path.starts_with('/') && path.len() <= PATH && path.bytes().all(plain) {
            Ok(Self(path.to_owned()))
        } else {
            Err(SocketPathError(path.chars().take(PATH).collect()))
        }
    }

    /// As a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the host answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    /// Sockets that this user may use.
    pub(super) open: Vec<SocketPath>,
    /// Sockets that it may not use.
    pub(super) denied: Vec<SocketPath>,
    /// Programs that are there, of those that were asked for.
    pub(super) programs: Vec<Program>,
    /// The answer came to its end.
    pub(super) whole: bool,
}

/// Programs that open a stream to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Docker,
    Podman,
    Socat,
    Netcat,
}

/// The command that looks for engines; for the one at `only`, where a path was given.
pub(super) fn command(only: Option<&SocketPath>) -> String {
    match only {
        Some(path) => format!("exec sh -c '{SCRIPT}' sh {path}"),
        None => format!("exec sh -c '{SCRIPT}' sh"),
    }
}

/// Reads the answer. Whatever else a shell says, such as a greeting, is passed over.
pub(super) fn read(answer: &[u8]) -> Found {
    let mut found = Found::default();
    for line in String::from_utf8_lossy(answer).lines() {
        let (word, rest) = line.trim_end_matches('\r').split_once(' ').unwrap_or((line.trim(), ""));
        match (word, SocketPath::new(rest)) {
            ("@open", Ok(path)) => found.open.push(path),
            ("@denied", Ok(path)) => found.denied.push(path),
            ("@has", _) => found.programs.extend(match rest {
                "docker" => Some(Program::Docker),
                "podman" => Some(Program::Podman),
                "socat" => Some(Program::Socat),
                "nc" => Some(Program::Netcat),
                _ => None,
            }),
            ("@end", _) => found.whole = true,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_shell_reads_more_into_the_script_than_sh_does() {
        for bad in ['\'', '\\', '!', '\n'] {
            assert!(!SCRIPT.contains(bad), "{bad:?}");
        }
    }

    #[test]
    fn only_plain_paths_become_part_of_a_command() {
        for good in ["/run/docker.sock", "/run/user/1000/podman/podman.sock", "/a-b_c+d@e.sock"] {
            assert_eq!(SocketPath::new(good).unwrap().as_str(), good);
        }
        let long = format!("/{}", "a".repeat(107));
        for bad in ["", "run", "/a b", "/$(id)", "/a'b", "/a\nb", "/a;b", "/~`", "/ä", &long] {
            assert!(SocketPath::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_is_read_through_noise() {
        let answer =
            b"Welcome to host!\r\n@open /run/docker.sock\r\n@denied /run/podman/podman.sock\n\
            @open /run/$(id).sock\n@has docker\n@has nc\n@has rm\n\xff\xfe\n@end\n";
        let path = |path| SocketPath::new(path).unwrap();
        assert_eq!(
            read(answer),
            Found {
                open: vec![path("/run/docker.sock")],
                denied: vec![path("/run/podman/podman.sock")],
                programs: vec![Program::Docker, Program::Netcat],
                whole: true,
            }
        );
        assert_eq!(read(b""), Found::default());
    }

    #[test]
    fn the_script_finds_a_socket_here() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("d.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&at).unwrap();
        let path = SocketPath::new(at.to_str().unwrap()).unwrap();
        let answer =
            std::process::Command::new("sh").args(["-c", &command(Some(&path))]).output().unwrap();
        let found = read(&answer.stdout);
        assert_eq!((found.open, found.whole), (vec![path], true));
    }
}
