//! The certificate's file and the key's.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    InconsistentKeys, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::{CertifiedKey, SingleCertAndKey},
};

/// The most bytes of a file; a chain of certificates has a few thousand.
const MOST: u64 = 1 << 20;

/// What stands before a key that a password protects (RFC 7468, section 11; RFC 1421).
const ENCRYPTED: [&str; 2] = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];

/// Why a certificate and a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the file {} of --tls-{}: {}", .0.display(), .1, .2)]
    Unreadable(PathBuf, &'static str, io::Error),
    /// What stands in a file is no PEM.
    #[error("the file {} of --tls-{} is no valid PEM: {}", .0.display(), .1, .2)]
    NoPem(PathBuf, &'static str, pem::Error),
    /// No certificate.
    #[error(
        "there is no certificate in {}: --tls-cert takes PEM, with BEGIN CERTIFICATE in it, the \
         server's own certificate first",
        .0.display()
    )]
    NoCertificate(PathBuf),
    /// No key.
    #[error(
        "there is no private key in {}: --tls-key takes PEM, with BEGIN PRIVATE KEY, BEGIN RSA \
         PRIVATE KEY or BEGIN EC PRIVATE KEY in it",
        .0.display()
    )]
    NoKey(PathBuf),
    /// The key needs a password.
    #[error(
        "the private key in {} is protected by a password: take that off by openssl pkey -in \
         FILE -out NEW, and keep NEW readable by the hub only",
        .0.display()
    )]
    Encrypted(PathBuf),
    /// The key is of another certificate.
    #[error(
        "the private key in {} does not match the first certificate in {}: that must be the \
         server's own, those between it and the root come after it",
        key.display(), cert.display()
    )]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's.
        key: PathBuf,
    },
    /// The key is of a kind that TLS has no use for, or broken.
    #[error("the file {} of --tls-{} cannot be used: {}", .0.display(), .1, .2)]
    Unusable(PathBuf, &'static str, rustls::Error),
    /// The library refused what it was given.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// The two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    /// The certificates, the server's own first.
    pub cert: PathBuf,
    /// Its private key; may be the same file.
    pub key: PathBuf,
}

/// What tells a changed file: a new time, another inode (a rename over it), another length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp([Option<(i64, i64, u64, u64)>; 2]);

impl Files {
    /// How the files are now, by a look at the folder. One that is not there counts as changed.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp([&self.cert, &self.key].map(|path| {
            let data = fs::metadata(path).ok()?;
            Some((data.mtime(), data.mtime_nsec(), data.ino(), data.len()))
        }))
    }

    /// Reads them and makes of them what a handshake needs.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub(crate) fn load(&self) -> Result<ServerConfig, TlsError> {
        let chain = certificates(&self.cert)?;
        let provider = ring::default_provider();
        let key = provider
            .key_provider
            .load_private_key(private_key(&self.key)?)
            .map_err(|error| TlsError::Unusable(self.key.clone(), "key", error))?;
        let pair = CertifiedKey::new(chain, key);
        match pair.keys_match() {
            // A kind of key that the library cannot compare is found out by the clients.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(TlsError::Mismatch { cert: self.cert.clone(), key: self.key.clone() });
            }
            Err(error) => return Err(TlsError::Unusable(self.cert.clone(), "cert", error)),
        }
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Clients that come back, all at once after a restart of the network, skip the signature.
        // Nothing is kept for them here, and a new certificate comes with new keys for tickets.
        config.ticketer = ring::Ticketer::new()?;
        Ok(config)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path, "cert")?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::NoPem(path.to_owned(), "cert", error))?;
    if chain.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(chain) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path, "key")?;
    let protected = String::from_utf8_lossy(&text);
    if ENCRYPTED.iter().any(|mark| protected.contains(mark)) {
        return Err(TlsError::Encrypted(path.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(path.to_owned()),
        error => TlsError::NoPem(path.to_owned(), "key", error),
    })
}

fn read(path: &Path, option: &'static str) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error| TlsError::Unreadable(path.to_owned(), option, error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MOST {
        let large = io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB");
        return Err(unreadable(large));
    }
    Ok(bytes)
}
