//! The first contact of an agent that has no key yet: it makes a secret, and gives the hub its hash
//! and an enrollment token for the number of a key.
//!
//! The secret never leaves the agent before it is a key, and the same request again gets the same
//! answer: an answer that was lost on its way costs nothing.

use std::{fmt, io};

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{
    Hub,
    dial::{CONNECT, FIRST_WAIT, LONGEST_WAIT, said},
    identity,
    machine::KEY,
    tls::Tls,
};
use crate::{
    backoff::{Backoff, random},
    text::clean,
};

/// Where a hub enrolls agents.
pub const ENROLL_PATH: &str = "/api/v1/agent/enroll";

/// The largest answer that is read.
const ANSWER: usize = 64 << 10;

/// Bytes of a secret; in base64url it is as long as that of any token.
const SECRET: usize = 32;

/// What an agent asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnrollmentRequest {
    /// What lasts of it.
    pub instance: String,
    /// What to call its machine where the hub does not know it yet.
    pub name: String,
    /// Words to put on it where the hub does not know it yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// SHA-256 of the secret, in hexadecimal digits.
    pub secret_sha256: String,
}

/// What it gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentAnswer {
    /// The key's number: the token is `kobel_<number>_<secret>`.
    pub token_id: i64,
    /// The device that it is good for.
    pub device_uuid: String,
    /// What that is called.
    pub name: String,
}

/// A request that is made fit for the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolling {
    /// What the agent's device is known by in the store.
    pub key: String,
    /// What to call it.
    pub name: String,
    /// Words to put on it.
    pub tags: Vec<String>,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The hub gives none; trying again is in vain until somebody changes something.
    #[error("the hub at {0} does not enroll this machine: {1}")]
    Refused(Hub, String),
    /// The hub does not know of enrollment.
    #[error(
        "nothing enrolls agents at {0}{ENROLL_PATH} ({1}): is that a hub of Kobel, and not an old \
         one? An old one takes a token of the role agent"
    )]
    NoEnrollment(Hub, String),
    /// TLS cannot be had.
    #[error("cannot speak TLS: {0}")]
    Tls(io::Error),
    /// The token cannot stand in a header.
    #[error("this is no token: it has characters that a token never has")]
    BadToken,
    /// No randomness from the system.
    #[error("the system gives no randomness: {0}")]
    Random(#[from] getrandom::Error),
}

/// The secret of a key, made here.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentSecret(Zeroizing<String>);

impl fmt::Debug for AgentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentSecret(…)")
    }
}

impl AgentSecret {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; SECRET]);
        getrandom::fill(bytes.as_mut_slice())?;
        Ok(Self(Zeroizing::new(base64url(bytes.as_slice()))))
    }

    /// One that was kept.
    pub fn kept(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the hub keeps of it.
    pub fn hash(&self) -> String {
        let hash = digest(&SHA256, self.0.as_bytes());
        hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// RFC 4648, section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..=group.len() {
            let letter = bits >> (18 - 6 * n) & 63;
            text.push(char::from(LETTERS[letter as usize]));
        }
    }
    text
}

impl EnrollmentRequest {
    /// Makes it fit: it comes from whoever has a token.
    ///
    /// # Errors
    /// The field that is wrong, and why.
    pub fn admitted(self) -> Result<Enrolling, (&'static str, &'static str)> {
        if !identity::is_name(&self.instance) {
            return Err(("instance", "use 1 to 64 letters, digits, '-', '_' or '.'"));
        }
        let name = clean(self.name.trim(), 64).trim().to_owned();
        if name.is_empty() {
            return Err(("name", "use 1 to 64 characters"));
        }
        let tags = self.tags.iter().take(16).map(|tag| clean(tag.trim(), 64));
        let secret_hash = hash_of(&self.secret_sha256)
            .ok_or(("secretSha256", "use 64 hexadecimal digits, SHA-256 of the secret"))?;
        Ok(Enrolling {
            key: format!("{}/{KEY}", self.instance),
            name,
            tags: tags.filter(|tag| !tag.is_empty()).collect(),
            secret_hash,
        })
    }
}

fn hash_of(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    if rest.is_empty() { bytes.try_into().ok() } else { None }
}

/// Enrolls with a hub; while nobody answers it tries again, after waits that grow to half a minute.
/// `None` when cancelled.
///
/// # Errors
/// When the hub refuses in a way that only a person can change.
pub async fn enroll(
    hub: &Hub,
    token: &str,
    request: &EnrollmentRequest,
    cancel: &CancellationToken,
) -> Result<Option<EnrollmentAnswer>, EnrollError> {
    let tls = hub.tls().map_err(EnrollError::Tls)?;
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        let asked = tokio::select! {
            () = cancel.cancelled() => return Ok(None),
            asked = timeout(CONNECT, ask(hub, tls.as_ref(), token, request)) => asked,
        };
        let why = match asked {
            Ok(Ok(answer)) => return Ok(Some(answer)),
            Ok(Err(Failed::ForGood(error))) => return Err(error),
            Ok(Err(Failed::ForNow(why))) => why,
            Err(_) => format!("no answer for {} s", CONNECT.as_secs()),
        };
        let wait = backoff.wait(random());
        tracing::warn!(%hub, why, wait_ms = wait.as_millis() as u64,
            "not enrolled yet; trying again");
        tokio::select! {
            () = cancel.cancelled() => return Ok(None),
            () = sleep(wait) => {}
        }
    }
}

enum Failed {
    ForGood(EnrollError),
    ForNow(String),
}

async fn ask(
    hub: &Hub,
    tls: Option<&Tls>,
    token: &str,
    request: &EnrollmentRequest,
) -> Result<EnrollmentAnswer, Failed> {
    let for_now = |error: &dyn fmt::Display| Failed::ForNow(error.to_string());
    // Plain data with text keys is always written.
    let body = serde_json::to_vec(request).unwrap_or_default();
    let request = Request::post(format!("{}{ENROLL_PATH}", hub.base()))
        .header(header::HOST, hub.authority())
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| Failed::ForGood(EnrollError::BadToken))?;
    let stream = hub.connect(tls).await.map_err(|error| for_now(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| for_now(&error))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| for_now(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER).collect().await;
        let body = body.map_err(|error| for_now(&error))?.to_bytes();
        Ok((status, body))
    };
    // The connection lives in this task, and ends with it.
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    let (status, body) = tokio::select! {
        done = &mut exchange => done?,
        ended = &mut connection => {
            ended.map_err(|error| for_now(&error))?;
            // What it has read is still to be taken.
            exchange.await?
        }
    };
    judged(hub, status, &body)
}

fn judged(hub: &Hub, status: StatusCode, body: &[u8]) -> Result<EnrollmentAnswer, Failed> {
    let words = || said(body).unwrap_or_else(|| format!("HTTP status {status}"));
    match status {
        StatusCode::OK | StatusCode::CREATED => serde_json::from_slice(body)
            .map_err(|error| Failed::ForNow(format!("the hub's answer cannot be read: {error}"))),
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::CONFLICT
        | StatusCode::BAD_REQUEST => {
            Err(Failed::ForGood(EnrollError::Refused(hub.clone(), words())))
        }
        StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::MISDIRECTED_REQUEST => {
            Err(Failed::ForGood(EnrollError::NoEnrollment(hub.clone(), words())))
        }
        _ => Err(Failed::ForNow(format!("the hub says: {}", words()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(secret_sha256: &str) -> EnrollmentRequest {
        EnrollmentRequest {
            instance: "abc".into(),
            name: " web\u{1b}-1 ".into(),
            tags: vec!["a".into(), " ".into(), "\u{202e}b".into()],
            secret_sha256: secret_sha256.into(),
        }
    }

    #[test]
    fn a_secret_is_that_of_a_token() {
        let secret = AgentSecret::generate().unwrap();
        assert_eq!(secret.expose().len(), 43);
        assert!(secret.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        assert_ne!(secret, AgentSecret::generate().unwrap());
        assert!(!format!("{secret:?}").contains(secret.expose()));
        // The vectors of RFC 4648, section 10.
        for (bytes, text) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")]
        {
            assert_eq!(base64url(bytes.as_bytes()), text);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
        assert_eq!(
            AgentSecret::kept("abc".into()).hash(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_request_is_made_fit() {
        let good = request(&"Ab".repeat(32)).admitted().unwrap();
        assert_eq!((good.key.as_str(), good.name.as_str()), ("abc/host", "web-1"));
        assert_eq!((good.tags, good.secret_hash), (vec!["a".into(), "b".into()], [0xab; 32]));
        for bad in ["", "ab", &"ab".repeat(33), &"ag".repeat(32), &"é".repeat(32)] {
            assert_eq!(request(bad).admitted().unwrap_err().0, "secretSha256");
        }
        let bad = EnrollmentRequest { instance: "a/b".into(), ..request(&"ab".repeat(32)) };
        assert_eq!(bad.admitted().unwrap_err().0, "instance");
        let bad = EnrollmentRequest { name: "\u{1b}".into(), ..request(&"ab".repeat(32)) };
        assert_eq!(bad.admitted().unwrap_err().0, "name");
    }

    #[test]
    fn what_the_hub_says_is_final_or_not() {
        let hub: Hub = "http://127.0.0.1:8000".parse().unwrap();
        let error = br#"{"error":{"code":"X","message":"used up"}}"#;
        let judge =
            |status: u16, body: &[u8]| judged(&hub, StatusCode::from_u16(status).unwrap(), body);
        for status in [400, 401, 403, 409] {
            let Err(Failed::ForGood(said)) = judge(status, error) else { panic!("{status}") };
            assert!(said.to_string().contains("used up"));
        }
        for status in [404, 405] {
            let refused = judge(status, b"");
            assert!(matches!(refused, Err(Failed::ForGood(EnrollError::NoEnrollment(..)))));
        }
        for (status, body) in [(503, &error[..]), (429, b""), (502, b"<html>"), (201, b"{")] {
            assert!(matches!(judge(status, body), Err(Failed::ForNow(_))), "{status}");
        }
        let answer = br#"{"tokenId":7,"deviceUuid":"u","name":"n"}"#;
        assert_eq!(judge(201, answer).unwrap_or_else(|_| panic!()).token_id, 7);
    }
}
