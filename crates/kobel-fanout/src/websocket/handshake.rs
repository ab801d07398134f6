//! The opening handshake (RFC 6455, section 4.2).

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header};
use sha1::{Digest, Sha1};

/// Why a request is no WebSocket handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// `Connection: upgrade` or `Upgrade: websocket` is missing.
    #[error("not a WebSocket handshake")]
    NotAnUpgrade,
    /// Another version than 13.
    #[error("unsupported WebSocket version: only 13 is spoken here")]
    Version,
    /// `Sec-WebSocket-Key` is missing or not 16 bytes of base64.
    #[error("malformed Sec-WebSocket-Key")]
    Key,
}

/// The value of `Sec-WebSocket-Accept` for a request with these headers.
pub fn accept(headers: &HeaderMap) -> Result<HeaderValue, HandshakeError> {
    if !has_token(headers, header::CONNECTION, "upgrade")
        || !has_token(headers, header::UPGRADE, "websocket")
    {
        return Err(HandshakeError::NotAnUpgrade);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
        return Err(HandshakeError::Version);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or(HandshakeError::Key)?.as_bytes();
    if !STANDARD.decode(key).is_ok_and(|key| key.len() == 16) {
        return Err(HandshakeError::Key);
    }
    let mut hash = Sha1::new();
    hash.update(key);
    // The GUID of section 1.3.
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    HeaderValue::from_str(&STANDARD.encode(hash.finalize())).map_err(|_| HandshakeError::Key)
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (header::HeaderName::from_static(name), HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn answers_the_example_of_the_rfc() {
        let request = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]);
        assert_eq!(accept(&request).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn says_what_is_wrong() {
        let with = |version, key| {
            headers(&[
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-version", version),
                ("sec-websocket-key", key),
            ])
        };
        assert_eq!(accept(&HeaderMap::new()), Err(HandshakeError::NotAnUpgrade));
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(accept(&with("8", key)), Err(HandshakeError::Version));
        assert_eq!(accept(&with("13", "short")), Err(HandshakeError::Key));
    }
}
