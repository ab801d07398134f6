//! The session's cookie (RFC 6265).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

/// Browsers keep cookies per host, not per port: another program's cookie may stand beside.
const NAME: &str = "kobel_session";

/// The session that a request brings.
pub(crate) fn read(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))
}

/// The header that gives a session to the browser. No script can read it, and no other site's
/// request carries it.
pub(crate) fn set(session: &str, lifetime: Duration, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let age = lifetime.as_secs();
    let cookie =
        format!("{NAME}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}");
    HeaderValue::from_str(&cookie).ok()
}

/// The header that takes it away.
pub(crate) fn clear() -> HeaderValue {
    HeaderValue::from_static("kobel_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_found_among_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(read(&headers), None);
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; kobel_session_x=9"));
        assert_eq!(read(&headers), None);
        headers.append(header::COOKIE, HeaderValue::from_static("b=2;kobel_session=7.abc; c=3"));
        assert_eq!(read(&headers), Some("7.abc"));
    }

    #[test]
    fn a_script_cannot_read_it_and_another_site_cannot_send_it() {
        let cookie = set("7.abc", Duration::from_secs(60), true).unwrap();
        let cookie = cookie.to_str().unwrap();
        for part in ["kobel_session=7.abc;", "HttpOnly", "SameSite=Strict", "Max-Age=60", "Secure"]
        {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(set("a\nb", Duration::ZERO, false).is_none());
    }
}
