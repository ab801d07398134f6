//! A host at the level of SSH's protocol: answers the requests of the loops as a good host does, or
//! as a bad one. What a good one says was recorded from this machine.

use std::{
    collections::HashMap,
    io::Write,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use russh::{
    Channel, ChannelId,
    keys::{Algorithm, PrivateKey},
    server::{
        Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey, run_stream,
    },
};
use tokio::net::TcpListener;

/// What a host does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Good,
    /// Answers after 1.5 s, as one whose processes have no place left.
    Late,
    /// Answers nothing.
    Hangs,
    /// Says without end what nobody asked for.
    Endless,
    /// An answer that never ends.
    EndlessAnswer,
    /// Answers another request.
    WrongSeq,
    /// A line of 32 MB in an answer.
    HugeLine,
    /// Terminal codes in names, and numbers that cannot be.
    Lies,
}

type Answers = HashMap<(Vec<u8>, String), Arc<str>>;

/// What was recorded, by command and request.
#[derive(Default)]
pub(crate) struct Recorded(Mutex<Answers>);

impl Recorded {
    fn answer(&self, command: &[u8], what: &str) -> Arc<str> {
        let key = (command.to_vec(), what.to_owned());
        if let Some(known) = self.0.lock().unwrap().get(&key) {
            return Arc::clone(known);
        }
        let mut child = Command::new("sh")
            .args(["-c", std::str::from_utf8(command).unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(format!("1 {what}\n").as_bytes()).unwrap();
        let said = String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned();
        let inner = said.strip_prefix("@B 1\n").unwrap().strip_suffix("@E 1\n").unwrap();
        let answer: Arc<str> = inner.into();
        self.0.lock().unwrap().insert(key, Arc::clone(&answer));
        answer
    }
}

struct Host {
    behaviour: Behaviour,
    recorded: Arc<Recorded>,
    /// The commands that run, and what was read of their requests.
    loops: HashMap<ChannelId, (Vec<u8>, Vec<u8>)>,
    begun: std::time::SystemTime,
}

impl Handler for Host {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _: &str,
        _: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        self.loops.insert(channel, (command.to_vec(), Vec::new()));
        if self.behaviour == Behaviour::Endless {
            session.data(channel, b"hello there\n".repeat(100_000))?;
        }
        Ok(())
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some((command, read)) = self.loops.get_mut(&channel) else { return Ok(()) };
        read.extend_from_slice(data);
        while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = read.drain(..=end).collect();
            let line = String::from_utf8(line).unwrap();
            let (seq, what) = line.trim().split_once(' ').unwrap();
            let answer = self.recorded.answer(command, what);
            let seconds = self.begun.elapsed().unwrap().as_secs_f64() + 1_000.0;
            let uptime = format!("/proc/uptime:{seconds:.2} 1.0\n");
            let good = format!("@B {seq}\n{answer}{uptime}@E {seq}\n").into_bytes();
            let said = match self.behaviour {
                Behaviour::Good => good,
                Behaviour::Late => {
                    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
                    good
                }
                Behaviour::Hangs | Behaviour::Endless => continue,
                Behaviour::EndlessAnswer => {
                    [format!("@B {seq}\n").into_bytes(), b"/x:1\n".repeat(600_000)].concat()
                }
                Behaviour::WrongSeq => b"@B 99\n@E 99\n".to_vec(),
                Behaviour::HugeLine => {
                    [format!("@B {seq}\n").into_bytes(), vec![b'x'; 32 << 20], b"\n".to_vec(), {
                        good[format!("@B {seq}\n").len()..].to_vec()
                    }]
                    .concat()
                }
                Behaviour::Lies => format!(
                    "@B {seq}\n/uname:Linux:\x1b[31mevil\x07$(reboot):1:x\n\
                     /proc/uptime:-5 nan\n/proc/loadavg:inf -1 1e999\n\
                     /proc/meminfo:MemTotal: 18446744073709551615 kB\n\
                     /proc/meminfo:MemAvailable: 99999999999999999999999 kB\n\
                     /proc/net/dev:\n/proc/net/dev:\n\
                     /proc/net/dev:\x1b]0;x\x07eth0: -1 2 3\n\
                     /proc/net/dev:../../etc: 18446744073709551615 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n\
                     /df:x 1 99999999999999999999 1 1% /\x1b[2J\n/ps:1 (\x1b[2J) 1 2 3 4\n@E {seq}\n"
                )
                .into_bytes(),
            };
            session.data(channel, said)?;
        }
        Ok(())
    }
}

/// Listens on a loopback port until the runtime ends; gives the port.
pub(crate) async fn listen(behaviour: Behaviour, recorded: Arc<Recorded>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let key = PrivateKey::random(&mut rand_core(), Algorithm::Ed25519).unwrap();
    let config = Arc::new(Config { keys: vec![key], ..Config::default() });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let host = Host {
                behaviour,
                recorded: Arc::clone(&recorded),
                loops: HashMap::new(),
                begun: std::time::SystemTime::now(),
            };
            let config = Arc::clone(&config);
            tokio::spawn(async move {
                if let Ok(session) = run_stream(config, stream, host).await {
                    let _ = session.await;
                }
            });
        }
    });
    port
}

fn rand_core() -> impl russh::keys::ssh_key::rand_core::CryptoRng {
    russh::keys::key::safe_rng()
}
