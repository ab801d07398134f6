//! Files that are good, bad and new; handshakes by them.

use std::{path::Path, sync::Arc};

use rcgen::generate_simple_self_signed;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::*;

/// A new certificate for localhost, and its key, PEM.
fn pair() -> (String, String) {
    let made = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn files(folder: &Path, (cert, key): &(String, String)) -> Files {
    let files = Files { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    std::fs::write(&files.cert, cert).unwrap();
    std::fs::write(&files.key, key).unwrap();
    files
}

#[test]
fn what_is_wrong_is_said_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = pair();
    let (_, other_key) = pair();
    let broken = cert.replacen("MII", "!!!", 1);
    let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    let protected = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n".to_owned();
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned();
    let large = "x".repeat(2 << 20);
    for (cert, key, file, says) in [
        (&String::new(), &key, "cert.pem", "no certificate"),
        (&"nonsense".to_owned(), &key, "cert.pem", "BEGIN CERTIFICATE"),
        (&key, &key, "cert.pem", "no certificate"),
        (&broken, &key, "cert.pem", "no valid PEM"),
        (&no_der, &key, "cert.pem", "cannot be used"),
        (&large, &key, "cert.pem", "larger than 1 MiB"),
        (&cert, &String::new(), "key.pem", "no private key"),
        (&cert, &cert, "key.pem", "BEGIN PRIVATE KEY"),
        (&cert, &protected, "key.pem", "openssl pkey"),
        (&cert, &no_key, "key.pem", "cannot be used"),
        (&cert, &other_key, "key.pem", "does not match"),
        (&cert, &other_key, "cert.pem", "does not match"),
    ] {
        let files = files(folder.path(), &(cert.clone(), key.clone()));
        let error = files.load().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(file) && error.contains(says), "{says}: {error:?}");
    }
    let absent = Files { cert: folder.path().join("absent.pem"), key: "/".into() };
    let error = absent.load().unwrap_err().to_string();
    assert!(error.contains("absent.pem of --tls-cert: No such file"), "{error}");
    let folder_as_key = Files { key: "/".into(), ..files(folder.path(), &(cert, key)) };
    let error = folder_as_key.load().unwrap_err().to_string();
    assert!(error.contains("--tls-key: Is a directory"), "{error}");
}

#[test]
fn one_file_may_hold_both_and_text_around_them() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = pair();
    let both = folder.path().join("both.pem");
    std::fs::write(&both, format!("subject=CN = localhost\n{key}\nissuer\n{cert}")).unwrap();
    Files { cert: both.clone(), key: both }.load().unwrap();
}

/// A new certificate is in use soon after it was written; one that is no good changes nothing.
#[tokio::test(start_paused = true)]
async fn a_renewed_certificate_is_used_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), &pair());
    let (mut tls, renewal) = Tls::load(files.clone()).unwrap();
    let cancel = CancellationToken::new();
    let running = tokio::spawn(renewal.run(cancel.clone()));
    let before = Arc::clone(&tls.config.borrow_and_update());

    std::fs::write(&files.key, "nonsense").unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!tls.config.has_changed().unwrap());
    assert!(Arc::ptr_eq(&before, &tls.config.borrow()));

    self::files(folder.path(), &pair());
    timeout(Duration::from_secs(10), tls.config.changed()).await.unwrap().unwrap();
    assert!(!Arc::ptr_eq(&before, &tls.config.borrow()));
    cancel.cancel();
    running.await.unwrap();
}

async fn listening(tls: Tls) -> (std::net::SocketAddr, tokio::task::JoinHandle<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        let mut stream = tls.accept(listener.accept().await?.0).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.write_all(b"hello").await?;
        stream.shutdown().await
    });
    (address, accepting)
}

#[tokio::test]
async fn a_handshake_agrees_on_http_1() {
    let folder = tempfile::tempdir().unwrap();
    let made = pair();
    let (tls, _renewal) = Tls::load(files(folder.path(), &made)).unwrap();
    let (address, accepting) = listening(tls).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made.0.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
    accepting.await.unwrap().unwrap();
}

#[tokio::test]
async fn plain_http_is_told_to_use_https_and_anything_else_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, _renewal) = Tls::load(files(folder.path(), &pair())).unwrap();
    for (sent, answered) in [
        (&b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"[..], true),
        (b"\x16\x03\x01\x00\x05hello", false),
        (b"\x00\xff\xff\xff\xff\xff\xff\xff\xff", false),
        (b"", false),
    ] {
        let (address, accepting) = listening(tls.clone()).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(answer.starts_with("HTTP/1.1 400 "), answered, "{sent:?}: {answer}");
        assert_eq!(answer.contains("use https://"), answered, "{answer}");
        accepting.await.unwrap().unwrap_err();
    }
}
