//! TLS to the hub, and whose certificates are believed.

use std::{fmt, fs, io, path::Path, str::FromStr, sync::Arc};

use ring::digest::{SHA256, digest};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The largest file of certificates that is read.
const LARGEST: u64 = 1 << 20;

/// Whose certificates are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those of the authorities that this machine trusts (`SSL_CERT_FILE` names others).
    #[default]
    System,
    /// Those that these signed, and these themselves. A certificate that signs itself, as `openssl
    /// req -x509` makes it, is an authority by its own words, which no server's may be (RFC 5280,
    /// section 4.2.1.9); who names it here means it.
    Authorities(Vec<CertificateDer<'static>>),
    /// The one with this fingerprint, whatever is in it.
    Fingerprint(Fingerprint),
}

/// Why a file names no authorities.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read.
    #[error("cannot read the certificates in {0}: {1}")]
    Unreadable(String, io::Error),
    /// There are none in it.
    #[error(
        "{0} holds no certificate: it should have lines from -----BEGIN CERTIFICATE----- to \
         -----END CERTIFICATE-----"
    )]
    None(String),
}

impl Trust {
    /// Trust in the certificates of a PEM file.
    ///
    /// # Errors
    /// When it cannot be read, or has none.
    pub fn in_file(path: &Path) -> Result<Self, TrustError> {
        let name = || path.display().to_string();
        let unreadable = |error| TrustError::Unreadable(name(), error);
        if fs::metadata(path).map_err(unreadable)?.len() > LARGEST {
            return Err(TrustError::None(name()));
        }
        let pem = fs::read(path).map_err(unreadable)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        match found {
            Ok(certificates) if !certificates.is_empty() => Ok(Self::Authorities(certificates)),
            _ => Err(TrustError::None(name())),
        }
    }
}

/// SHA-256 of a certificate as it goes over the wire, written as `openssl x509 -fingerprint` does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Why a text is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no SHA-256 fingerprint: that is 64 hexadecimal digits, as of \
     openssl x509 -noout -fingerprint -sha256 -in CERT"
)]
pub struct FingerprintError(String);

impl Fingerprint {
    fn of(certificate: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, certificate).as_ref());
        Self(bytes)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let wrong = || FingerprintError(text.chars().take(120).collect());
        // What openssl and others write before it.
        let lower = text.trim().to_ascii_lowercase();
        let rest = lower.strip_prefix("sha256").unwrap_or(&lower).trim_start();
        let rest = rest.strip_prefix("fingerprint").unwrap_or(rest);
        let rest = rest.trim_start_matches([':', '=', ' ']);
        let digits: Option<Vec<u8>> = rest
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let digits = digits.ok_or_else(wrong)?;
        let (pairs, odd) = digits.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        match (bytes.try_into(), odd.is_empty()) {
            (Ok(bytes), true) => Ok(Self(bytes)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if n == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// What makes TLS of a TCP connection. Cloned freely.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// Reads the roots.
    ///
    /// # Errors
    /// When there are none.
    pub(super) fn new(trust: &Trust) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier::new(trust, Arc::clone(&provider))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Does the handshake.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.0.connect(name, stream).await
    }
}

/// Checks as the web does, but for what was named, and says of what it refuses how to name it.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Trust,
    /// `None` where one certificate alone is believed.
    roots: Option<Arc<WebPkiServerVerifier>>,
}

impl Verifier {
    fn new(trust: &Trust, provider: Arc<CryptoProvider>) -> io::Result<Self> {
        let certificates = match trust {
            Trust::System => rustls_native_certs::load_native_certs().certs,
            Trust::Authorities(certificates) => certificates.clone(),
            Trust::Fingerprint(_) => {
                return Ok(Self { provider, trust: trust.clone(), roots: None });
            }
        };
        let mut roots = RootCertStore::empty();
        let (taken, _) = roots.add_parsable_certificates(certificates);
        if taken == 0 {
            return Err(io::Error::other(
                "this machine trusts no certificate authority: install ca-certificates, or name \
                 the hub's by --hub-ca",
            ));
        }
        let roots = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
        let roots = Some(roots.build().map_err(io::Error::other)?);
        Ok(Self { provider, trust: trust.clone(), roots })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let found = Fingerprint::of(certificate);
        let is_named = match &self.trust {
            Trust::System => false,
            Trust::Authorities(named) => named.contains(certificate),
            Trust::Fingerprint(named) => *named == found,
        };
        if is_named {
            return Ok(ServerCertVerified::assertion());
        }
        let Some(roots) = &self.roots else {
            return Err(TlsError::General(format!(
                "the hub's certificate is another one than --hub-fingerprint says: its SHA-256 \
                 fingerprint is {found}; if it was renewed, give that one"
            )));
        };
        roots.verify_server_cert(certificate, intermediates, name, ocsp, now).map_err(|error| {
            TlsError::General(format!(
                "the hub's certificate is not trusted ({error}): if it is your hub's own, name it \
                 or its authority by --hub-ca FILE, or check on the hub that its SHA-256 \
                 fingerprint is {found} and give that by --hub-fingerprint"
            ))
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_programs_write_them() {
        let found = Fingerprint::of(b"certificate");
        let text = found.to_string();
        assert_eq!(text.len(), 95);
        for written in [
            text.clone(),
            text.replace(':', "").to_lowercase(),
            format!("sha256 Fingerprint={text}\n"),
            format!("SHA256:{text}"),
        ] {
            assert_eq!(written.parse::<Fingerprint>(), Ok(found), "{written}");
        }
        for bad in ["", "AA", &text[1..], &format!("{text}:00"), &text.replace('A', "G"), "sha256:"]
        {
            assert!(bad.len() > 95 || bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
        assert!(format!("{text}:00").parse::<Fingerprint>().is_err());
    }

    #[test]
    fn a_file_without_certificates_is_said() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "nonsense").unwrap();
        let said = Trust::in_file(file.path()).unwrap_err().to_string();
        assert!(said.contains("BEGIN CERTIFICATE"), "{said}");
        let missing = Trust::in_file(Path::new("/nowhere/ca.pem")).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/ca.pem"), "{missing}");
    }
}
