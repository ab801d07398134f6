//! Whose word counts, and how far.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn proxies(networks: &[&str]) -> Proxies {
    networks.iter().map(|n| n.parse::<Network>().unwrap()).collect()
}

fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

const PEER: &str = "10.0.0.1:5000";

fn client(values: &[&str]) -> String {
    let trusted = proxies(&["10.0.0.0/8", "fd00::/8"]);
    let found = trusted.client(PEER.parse().unwrap(), false, &headers(&FORWARDED_FOR, values));
    assert!(found.proxied);
    found.address.to_string()
}

#[test]
fn the_client_is_the_nearest_that_is_no_proxy() {
    for (values, expected) in [
        (&["203.0.113.7"][..], "203.0.113.7:0"),
        (&[" 203.0.113.7 , 10.9.9.9"], "203.0.113.7:0"),
        // What the client wrote itself stands on the left.
        (&["127.0.0.1, 203.0.113.7"], "203.0.113.7:0"),
        (&["nonsense, 203.0.113.7,10.0.0.2"], "203.0.113.7:0"),
        // Header lines are one list, in their order.
        (&["198.51.100.1", "203.0.113.7", "10.0.0.2"], "203.0.113.7:0"),
        (&["203.0.113.7:4711"], "203.0.113.7:4711"),
        (&["2001:db8::7"], "[2001:db8::7]:0"),
        (&["[2001:db8::7]"], "[2001:db8::7]:0"),
        (&["[2001:db8::7]:4711"], "[2001:db8::7]:4711"),
        (&["::ffff:203.0.113.7"], "203.0.113.7:0"),
        (&["203.0.113.7, ::ffff:10.0.0.2, fd00::2"], "203.0.113.7:0"),
        // Only proxies: the first of them asks on its own account.
        (&["10.0.0.3, 10.0.0.2"], "10.0.0.3:0"),
    ] {
        assert_eq!(client(values), expected, "{values:?}");
    }
}

#[test]
fn what_is_no_address_makes_the_peer_the_client() {
    for values in [
        &[][..],
        &[""],
        &["unknown"],
        &["203.0.113.7, unknown"],
        &["203.0.113.7, "],
        &["203.0.113.7,,10.0.0.2"],
        &["203.0.113.7", "x"],
        &["203.0.113.256"],
        &["fe80::1%eth0"],
        &["203.0.113.7:99999"],
        &["for=203.0.113.7"],
        &["0.0.0.0"],
    ] {
        assert_eq!(client(values), PEER, "{values:?}");
    }
}

#[test]
fn nobody_else_is_heard() {
    let mut said = headers(&FORWARDED_FOR, &["203.0.113.7"]);
    said.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    for (trusted, peer) in [
        (Proxies::default(), "127.0.0.1:1"),
        (proxies(&["10.0.0.1"]), "10.0.0.2:1"),
        (proxies(&["10.0.0.0/8"]), "[2001:db8::1]:1"),
    ] {
        let peer: SocketAddr = peer.parse().unwrap();
        let expected = Client { address: peer, secure: false, proxied: false };
        assert_eq!(trusted.client(peer, false, &said), expected);
        assert!(trusted.client(peer, true, &said).secure, "its own connection is what it is");
    }
    // An IPv4 peer on an IPv6 socket is the same peer.
    let mapped = "[::ffff:10.0.0.1]:1".parse().unwrap();
    assert!(proxies(&["10.0.0.1"]).client(mapped, false, &said).proxied);
}

#[test]
fn the_nearest_proxy_says_whether_it_was_https() {
    let trusted = proxies(&["10.0.0.1"]);
    for (values, encrypted, secure) in [
        (&["https"][..], false, true),
        (&["HTTPS"], false, true),
        (&["http, https"], false, true),
        (&["https, http"], false, false),
        (&["https", "http"], false, false),
        (&["http"], true, false),
        (&["nonsense"], true, false),
        (&[], true, true),
        (&[], false, false),
    ] {
        let said = headers(&FORWARDED_PROTO, values);
        let found = trusted.client(PEER.parse().unwrap(), encrypted, &said);
        assert_eq!(found.secure, secure, "{values:?} {encrypted}");
    }
}

#[test]
fn networks_are_read_and_what_is_none_is_told() {
    for (text, shown) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("192.168.1.7", "192.168.1.7/32"),
        ("fd00::/8", "fd00::/8"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
    ] {
        assert_eq!(text.parse::<Network>().unwrap().to_string(), shown);
    }
    for text in ["", "10.0.0.0/33", "10.0.0/8", "proxy.example", "10.0.0.1:80", "10.0.0.0/-1"] {
        let error = text.parse::<Network>().unwrap_err().to_string();
        assert!(error.contains("write it as 10.0.0.0/8"), "{error}");
    }
    for text in ["0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96"] {
        let error = text.parse::<Network>().unwrap_err().to_string();
        assert!(error.contains("everybody"), "{error}");
    }
}

proptest! {
    /// Whatever is claimed on the left, what the proxy itself heard decides.
    #[test]
    fn a_claim_changes_nothing(claim in "[ -~]{0,80}", real in any::<u32>()) {
        let real = IpAddr::V4(real.into());
        prop_assume!(!real.is_unspecified() && !proxies(&["10.0.0.0/8"]).trusts(real));
        prop_assert_eq!(client(&[&format!("{claim},{real}")]), format!("{real}:0"));
        prop_assert_eq!(client(&[&claim, &format!("{real}, 10.0.0.2")]), format!("{real}:0"));
    }

    #[test]
    fn any_header_is_answered(value in prop::collection::vec(any::<u8>(), 0..80)) {
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let mut said = HeaderMap::new();
        said.insert(FORWARDED_FOR, value.clone());
        said.insert(FORWARDED_PROTO, value);
        let peer: SocketAddr = PEER.parse().unwrap();
        let found = proxies(&["10.0.0.0/8"]).client(peer, false, &said);
        prop_assert!(found.address == peer || !found.address.ip().is_unspecified());
    }
}
