//! Calls from other origins by polling (the Fetch standard, "CORS protocol").

use http::{HeaderMap, HeaderValue, header};

use crate::Cors;

/// Adds to an answer what lets the browser hand it to a page of a listed origin.
pub(super) fn allow(cors: &Cors, request: &HeaderMap, answer: &mut HeaderMap) {
    if cors.origins.is_empty() {
        return;
    }
    answer.insert(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = request.get(header::ORIGIN) else {
        return;
    };
    if !cors.origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes()) {
        return;
    }
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    let yes = HeaderValue::from_static("true");
    answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
    if request.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        let methods = HeaderValue::from_static("GET, POST");
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        if let Some(headers) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(origins: &[&str], origin: Option<&'static str>) -> HeaderMap {
        let cors = Cors { origins: origins.iter().map(|&o| o.into()).collect() };
        let mut request = HeaderMap::new();
        if let Some(origin) = origin {
            request.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        let mut answer = HeaderMap::new();
        allow(&cors, &request, &mut answer);
        answer
    }

    #[test]
    fn only_listed_origins_are_let_in() {
        let listed = answer(&["https://a.example"], Some("https://a.example"));
        assert_eq!(listed[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://a.example");
        assert_eq!(listed[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        for other in ["https://b.example", "https://a.example.evil", "null"] {
            let answer = answer(&["https://a.example"], Some(other));
            assert!(!answer.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{other}");
        }
        assert!(answer(&[], Some("https://a.example")).is_empty());
    }
}
