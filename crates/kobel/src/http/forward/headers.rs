//! Which headers go on to the next connection, and which end with this one.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers of one connection (RFC 9110, section 7.6.1, and by custom), and `Expect`, which the
/// connection from the client has answered.
const OF_THE_CONNECTION: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

/// Takes out what holds for this connection only.
pub(super) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // A client must not take from a request what says whom it is for.
        .filter(|name| *name != header::HOST)
        .collect();
    for name in named.iter().chain(&OF_THE_CONNECTION) {
        headers.remove(name);
    }
}

/// Whether a request asks for a WebSocket; other upgrades are not passed on.
pub(super) fn wants_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Asks for a WebSocket, or grants it, on the next connection.
pub(super) fn upgrade(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_one_connection_ends_with_it() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "kobel.example"),
            ("cookie", "a=b"),
            ("cookie", "c=d"),
            ("x-forwarded-for", "203.0.113.7"),
            ("connection", "keep-alive, X-Mine"),
            ("connection", "Host, not a name"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic eA=="),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "WebSocket"),
            ("expect", "100-continue"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert!(wants_websocket(&headers));
        strip(&mut headers);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let left: Vec<_> = headers.iter().map(|(n, value)| (n.as_str(), text(value))).collect();
        assert_eq!(
            left,
            [
                ("host", "kobel.example".to_owned()),
                ("cookie", "a=b".to_owned()),
                ("cookie", "c=d".to_owned()),
                ("x-forwarded-for", "203.0.113.7".to_owned()),
            ]
        );
        assert!(!wants_websocket(&headers));
        upgrade(&mut headers);
        assert!(wants_websocket(&headers));
    }
}
