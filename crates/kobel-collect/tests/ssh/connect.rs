//! Host keys, ways to sign in, and the way there.

use std::{
    process::{Command, Stdio},
    sync::Mutex,
};

use kobel_collect::ssh::{
    HostKey, Secret, SignIn, SshConnection, SshError, SshSpec, Step, Steps, remote::Remote,
};
use kobel_wire::DeviceState;
use tokio::io::AsyncReadExt;

use crate::sshd::{Sshd, User};

#[derive(Default)]
struct Told(Mutex<(Vec<Step>, Vec<HostKey>)>);

impl Steps for Told {
    fn done(&self, step: Step, _: String) {
        self.0.lock().unwrap().0.push(step);
    }

    fn pin(&self, key: HostKey) {
        self.0.lock().unwrap().1.push(key);
    }
}

async fn open(spec: &SshSpec) -> Result<SshConnection, SshError> {
    SshConnection::open(spec, &Told::default()).await
}

async fn says(connection: &SshConnection, command: &str) -> String {
    let mut said = String::new();
    connection.exec(command).await.unwrap().read_to_string(&mut said).await.unwrap();
    said.trim().to_owned()
}

#[tokio::test]
async fn the_first_key_of_a_host_is_told_and_then_no_other_is_right() {
    let mut sshd = Sshd::start("");
    let mut spec = sshd.spec();
    spec.host_keys.accept_new = false;
    let fingerprint = {
        let shown =
            Command::new("ssh-keygen").arg("-lf").arg(sshd.at("host.pub")).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        shown.split_whitespace().nth(1).unwrap().to_owned()
    };
    // Nobody said that it is right: no sign-in is tried.
    let unknown = open(&spec).await.err().unwrap();
    let host = spec.host.to_string();
    let expected =
        SshError::HostKeyUnknown { host: host.clone(), fingerprint: fingerprint.clone() };
    assert_eq!(unknown, expected);
    assert!(unknown.is_final());

    spec.host_keys.accept_new = true;
    let told = Told::default();
    let connection = SshConnection::open(&spec, &told).await.unwrap();
    assert_eq!(says(&connection, "echo $0 hello").await.split(' ').next_back(), Some("hello"));
    let (steps, pinned) = told.0.into_inner().unwrap();
    assert_eq!(steps, [Step::Resolve, Step::Connect, Step::HostKey, Step::SignIn]);
    assert_eq!(pinned, [HostKey { host: host.clone(), fingerprint: fingerprint.clone() }]);
    spec.host_keys.pinned = pinned;

    sshd.down();
    sshd.keygen("host", "ed25519", "");
    sshd.up();
    let before = sshd.log().len();
    let changed = open(&spec).await.err().unwrap();
    let SshError::HostKeyChanged { pinned, .. } = &changed else { panic!("{changed}") };
    assert_eq!(*pinned, [fingerprint]);
    assert_eq!((changed.state(), changed.is_final()), (DeviceState::HostKeyChanged, true));
    // Nothing was told to whoever it is: neither who signs in nor by what.
    assert!(!sshd.log()[before..].contains("userauth-request"), "{}", &sshd.log()[before..]);
}

#[tokio::test]
async fn keys_of_each_kind_sign_in() {
    let sshd = Sshd::start("");
    for (name, kind, passphrase) in
        [("rsa", "rsa", ""), ("ecdsa", "ecdsa", ""), ("locked", "ed25519", "open sesame")]
    {
        sshd.keygen(name, kind, passphrase);
    }
    sshd.authorize(&["rsa", "ecdsa", "locked"], "restrict,port-forwarding");
    let by = |name: &str, passphrase: Option<&str>| {
        let passphrase = passphrase.map(|text| Secret::new(text.into()));
        sshd.spec_by("root", SignIn::Key { key: sshd.key(name), passphrase, name: name.into() })
    };
    for (name, passphrase) in [("rsa", None), ("ecdsa", None), ("locked", Some("open sesame"))] {
        let connection = open(&by(name, passphrase)).await.unwrap();
        assert_eq!(says(&connection, "id -u").await, "0", "{name}");
    }
    let file = SignIn::KeyFile { path: sshd.at("rsa"), passphrase: None };
    assert!(open(&sshd.spec_by("root", file)).await.is_ok());

    for (spec, words) in [
        (by("locked", None), "give its passphrase"),
        (by("locked", Some("friend")), "the passphrase is wrong"),
        (
            sshd.spec_by("root", SignIn::KeyFile { path: "/nowhere".into(), passphrase: None }),
            "cannot be read",
        ),
    ] {
        let error = open(&spec).await.err().unwrap();
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.is_final() && !error.told().contains("friend"));
    }
    // A key that the host does not know.
    let refused = open(&by("id", None)).await.err().unwrap();
    let SshError::Refused { tried, offered, .. } = &refused else { panic!("{refused}") };
    assert_eq!(*tried, ["id"]);
    assert!(offered.contains(&"publickey".to_owned()), "{offered:?}");
    assert_eq!((refused.state(), refused.is_final()), (DeviceState::AuthFailed, true));
}

#[tokio::test]
async fn passwords_sign_in_and_are_told_to_nobody() {
    let user = User::new("/bin/sh", "correct horse");
    let by = |sshd: &Sshd, password: &str| {
        sshd.spec_by(&user.0, SignIn::Password(Secret::new(password.into())))
    };
    let sshd = Sshd::start("");
    let connection = open(&by(&sshd, "correct horse")).await.unwrap();
    assert_eq!(says(&connection, "id -un").await, user.0);
    let refused = open(&by(&sshd, "battery staple")).await.err().unwrap();
    assert!(matches!(refused, SshError::Refused { .. }), "{refused}");
    assert!(!refused.told().contains("staple"));
}

#[tokio::test]
async fn a_second_way_is_taken_where_the_host_asks_for_two() {
    let user = User::new("/bin/sh", "correct horse");
    let sshd = Sshd::start("AuthenticationMethods publickey,password");
    let mut spec = sshd.spec();
    spec.host.user.clone_from(&user.0);
    assert!(matches!(open(&spec).await.err().unwrap(), SshError::Refused { .. }));
    spec.sign_in.push(SignIn::Password(Secret::new("correct horse".into())));
    assert_eq!(says(&open(&spec).await.unwrap(), "id -un").await, user.0);
}

#[tokio::test]
async fn an_agent_signs() {
    let sshd = Sshd::start("");
    let socket = sshd.at("agent.sock");
    let mut agent = Command::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let by_agent = sshd.spec_by("root", SignIn::Agent(socket.clone()));
    while !socket.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let empty = open(&by_agent).await.err().unwrap();
    assert!(empty.to_string().contains("ssh-add"), "{empty}");
    let added = Command::new("ssh-add")
        .arg("-q")
        .arg(sshd.at("id"))
        .env("SSH_AUTH_SOCK", &socket)
        .status()
        .unwrap();
    assert!(added.success());
    assert_eq!(says(&open(&by_agent).await.unwrap(), "id -u").await, "0");
    agent.kill().unwrap();
    agent.wait().unwrap();
    let gone = open(&by_agent).await.err().unwrap();
    assert!(gone.to_string().contains("does not answer"), "{gone}");
}

#[tokio::test]
async fn jump_hosts_are_gone_through_in_order_and_checked_each() {
    let (gate, inner, target) = (Sshd::start(""), Sshd::start(""), Sshd::start(""));
    // One key for all.
    for sshd in [&gate, &inner] {
        std::fs::copy(target.at("id.pub"), sshd.at("authorized_keys")).unwrap();
    }
    let mut spec = target.spec();
    spec.jumps = vec![gate.hop("root"), inner.hop("root")];
    let told = Told::default();
    let connection = SshConnection::open(&spec, &told).await.unwrap();
    let came = says(&connection, "echo $SSH_CONNECTION").await;
    assert!(came.ends_with(&target.port.to_string()), "{came}");
    let hosts: Vec<_> = told.0.into_inner().unwrap().1.into_iter().map(|key| key.host).collect();
    let expected = [&gate, &inner, &target].map(|sshd| sshd.hop("root").to_string());
    assert_eq!(hosts, expected);

    spec.host_keys.accept_new = false;
    let unknown = open(&spec).await.err().unwrap();
    assert!(unknown.to_string().contains(&gate.hop("root").to_string()), "{unknown}");
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let mut sshd = Sshd::start("");
    sshd.down();
    let gone = open(&sshd.spec()).await.err().unwrap();
    assert!(matches!(gone, SshError::Connect { .. }), "{gone}");
    assert_eq!((gone.state(), gone.is_final()), (DeviceState::Unreachable, false));
    let mut spec = sshd.spec();
    spec.host.host = "no-such-host.invalid".into();
    assert!(matches!(open(&spec).await.err().unwrap(), SshError::Resolve { .. }));
    // Somebody else answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    spec.host = sshd.hop("root");
    spec.host.port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad\r\n\r\n").await;
        }
    });
    let error = open(&spec).await.err().unwrap();
    assert!(matches!(error, SshError::Handshake { .. }), "{error}");
}
