//! What a node says of a request that it passes on: the header `Kobel-Forwarded`.
//!
//!     v1;<ms since the epoch>;<nonce, hex>;<tag of the node it is for>;<client>;<http or https>;<MAC>
//!
//! The MAC is HMAC-SHA256 (RFC 2104) in base64url, by a secret that only the nodes of a cluster
//! know, over what stands before it, the method, and the path with its query. The body is not in
//! it: that streams. Time is an argument here, and nothing is remembered; see `replay`.

use std::{fmt, net::SocketAddr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue, Method, Uri};
use kobel_fanout::NodeTag;
use kobel_wire::Timestamp;
use ring::hmac;
use zeroize::Zeroizing;

/// The header.
pub(super) const HEADER: HeaderName = HeaderName::from_static("kobel-forwarded");

const VERSION: &str = "v1";

/// How far the clocks of two nodes may be apart, with the time on the way, ms.
pub(super) const WINDOW: i64 = 30_000;

/// The most bytes of the header: a good one has less than 190.
const LONGEST: usize = 256;

/// What all nodes of a cluster know and nobody else.
#[derive(Clone)]
pub(crate) struct ClusterSecret(Zeroizing<[u8; 32]>);

impl ClusterSecret {
    /// The secret of these bytes.
    pub(crate) fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &*self.0)
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(…)")
    }
}

/// What is said of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// When.
    pub(super) at: Timestamp,
    /// A number that is used once.
    pub(super) nonce: u64,
    /// The node that the request is for.
    pub(super) to: NodeTag,
    /// The client that sent it.
    pub(super) client: SocketAddr,
    /// Whether the client sent it by https.
    pub(super) secure: bool,
}

/// Why a node's word is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoWord {
    /// It is no such header, or there are two.
    #[error("it cannot be read")]
    Malformed,
    /// It was made by somebody without the secret, or for another request.
    #[error("it is not signed with this cluster's secret")]
    Forged,
    /// It is too old, or from the future.
    #[error("its time is more than 30 s off: do the nodes' clocks agree?")]
    Late,
    /// It was seen before.
    #[error("it was used before")]
    Replayed,
}

impl NoWord {
    pub(super) const ALL: [Self; 4] = [Self::Malformed, Self::Forged, Self::Late, Self::Replayed];

    /// Its name in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Forged => "forged",
            Self::Late => "late",
            Self::Replayed => "replayed",
        }
    }
}

impl Word {
    /// The header's value for a request.
    pub(super) fn sign(&self, secret: &ClusterSecret, method: &Method, uri: &Uri) -> HeaderValue {
        let (at, scheme) = (self.at.as_millis(), if self.secure { "https" } else { "http" });
        let Self { nonce, to, client, .. } = self;
        let said = format!("{VERSION};{at};{nonce:016x};{to};{client};{scheme}");
        let mac = hmac::sign(&secret.key(), message(&said, method, uri).as_bytes());
        let value = format!("{said};{}", URL_SAFE_NO_PAD.encode(mac));
        // Made of what may stand in a header only.
        HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static(""))
    }

    /// What the header of a request says, if a node said it, just now.
    pub(super) fn read(
        value: &HeaderValue,
        secret: &ClusterSecret,
        (method, uri): (&Method, &Uri),
        now: Timestamp,
    ) -> Result<Self, NoWord> {
        let text = value.to_str().map_err(|_| NoWord::Malformed)?;
        let (said, mac) = text.rsplit_once(';').ok_or(NoWord::Malformed)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| NoWord::Malformed)?;
        if text.len() > LONGEST {
            return Err(NoWord::Malformed);
        }
        // In constant time. Nothing is believed before.
        hmac::verify(&secret.key(), message(said, method, uri).as_bytes(), &mac)
            .map_err(|_| NoWord::Forged)?;
        let word = Self::parse(said).ok_or(NoWord::Malformed)?;
        if now.as_millis().abs_diff(word.at.as_millis()) > WINDOW as u64 {
            return Err(NoWord::Late);
        }
        Ok(word)
    }

    fn parse(said: &str) -> Option<Self> {
        let mut parts = said.split(';');
        let mut part = || parts.next();
        if part()? != VERSION {
            return None;
        }
        let word = Self {
            at: Timestamp::from_millis(part()?.parse().ok()?),
            nonce: u64::from_str_radix(part()?, 16).ok()?,
            to: part()?.parse().ok()?,
            client: part()?.parse().ok()?,
            secure: match part()? {
                "https" => true,
                "http" => false,
                _ => return None,
            },
        };
        part().is_none().then_some(word)
    }
}

/// What the MAC is over. None of the parts can hold a line's end.
fn message(said: &str, method: &Method, uri: &Uri) -> String {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    format!("kobel-forwarded\n{said}\n{method}\n{target}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_795_000_000_000;

    fn secret(byte: u8) -> ClusterSecret {
        ClusterSecret::new(Zeroizing::new([byte; 32]))
    }

    fn word() -> Word {
        Word {
            at: Timestamp::from_millis(NOW),
            nonce: 7,
            to: "node-b".parse().unwrap(),
            client: "[2001:db8::1]:4711".parse().unwrap(),
            secure: true,
        }
    }

    fn uri() -> Uri {
        Uri::from_static("/socket.io/?EIO=4&transport=polling&sid=node-b.A")
    }

    fn read(
        value: &HeaderValue,
        by: u8,
        method: &Method,
        uri: &Uri,
        now: i64,
    ) -> Result<Word, NoWord> {
        Word::read(value, &secret(by), (method, uri), Timestamp::from_millis(now))
    }

    #[test]
    fn what_is_said_is_heard_for_that_request_and_no_other() {
        let value = word().sign(&secret(1), &Method::GET, &uri());
        assert!(value.len() < 190, "{value:?}");
        assert_eq!(read(&value, 1, &Method::GET, &uri(), NOW), Ok(word()));
        assert_eq!(read(&value, 2, &Method::GET, &uri(), NOW), Err(NoWord::Forged));
        assert_eq!(read(&value, 1, &Method::POST, &uri(), NOW), Err(NoWord::Forged));
        let other = Uri::from_static("/socket.io/?EIO=4&transport=polling&sid=node-b.B");
        assert_eq!(read(&value, 1, &Method::GET, &other, NOW), Err(NoWord::Forged));
        // By what the other node is reached does not matter.
        let absolute = Uri::try_from(format!("http://10.0.0.2:8000{}", uri())).unwrap();
        assert_eq!(read(&value, 1, &Method::GET, &absolute, NOW), Ok(word()));
    }

    #[test]
    fn it_holds_for_as_long_as_clocks_may_be_apart() {
        let value = word().sign(&secret(1), &Method::GET, &uri());
        for (now, good) in [
            (NOW - WINDOW, true),
            (NOW + WINDOW, true),
            (NOW - WINDOW - 1, false),
            (NOW + WINDOW + 1, false),
            (i64::MIN, false),
            (i64::MAX, false),
        ] {
            let heard = read(&value, 1, &Method::GET, &uri(), now);
            assert_eq!(heard, if good { Ok(word()) } else { Err(NoWord::Late) }, "{now}");
        }
    }

    #[test]
    fn a_secret_is_not_written_anywhere() {
        assert_eq!(format!("{:?}", secret(0x41)), "ClusterSecret(…)");
    }

    proptest! {
        #[test]
        fn a_changed_word_is_not_taken(at in any::<prop::sample::Index>(), by in 1..=255_u8) {
            let value = word().sign(&secret(1), &Method::GET, &uri());
            let mut bytes = value.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            if let Ok(changed) = HeaderValue::from_bytes(&bytes) {
                prop_assert!(read(&changed, 1, &Method::GET, &uri(), NOW).is_err());
            }
        }

        #[test]
        fn nonsense_is_not_taken(text in "[ -~]{0,300}") {
            let value = HeaderValue::try_from(text).unwrap();
            prop_assert!(read(&value, 1, &Method::GET, &uri(), NOW).is_err());
        }

        /// The MAC is good and what stands before it nonsense: an error, never a panic.
        #[test]
        fn a_node_that_speaks_nonsense_is_not_taken(said in "v1;[0-9a-z;.:-]{0,80}") {
            let mac = hmac::sign(&secret(1).key(), message(&said, &Method::GET, &uri()).as_bytes());
            let text = format!("{said};{}", URL_SAFE_NO_PAD.encode(mac));
            let value = HeaderValue::try_from(text).unwrap();
            let heard = read(&value, 1, &Method::GET, &uri(), NOW);
            prop_assert!(matches!(heard, Err(NoWord::Malformed | NoWord::Late)), "{heard:?}");
        }

        #[test]
        fn what_is_written_is_read(at in NOW - WINDOW..NOW, nonce: u64, ip: u128, secure: bool) {
            let client = SocketAddr::new(std::net::Ipv6Addr::from_bits(ip).into(), 7);
            let said = Word { at: Timestamp::from_millis(at), nonce, client, secure, ..word() };
            let value = said.sign(&secret(1), &Method::GET, &uri());
            prop_assert_eq!(read(&value, 1, &Method::GET, &uri(), NOW), Ok(said));
        }
    }
}
