//! `GET /api/v1/openapi.json`: the API, for programs.
//!
//! The document is written by hand, so that it says what a reader needs and no type in other crates
//! bends for it. A test holds it against the router, and `openapi.test.js` against real answers.

use axum::response::{IntoResponse, Response};
use http::header;

const DOCUMENT: &str = include_str!("openapi.json");

/// The document.
pub(crate) async fn show() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

    /// Method and path of every route under `/api/v1`, as the router's text has them.
    fn routes() -> BTreeSet<String> {
        let text = include_str!("mod.rs");
        let (_, api) = text.split_once("let api = Router::new()").unwrap();
        let (api, _) = api.split_once(".fallback(").unwrap();
        let mut routes = BTreeSet::new();
        for route in api.split(".route(").skip(1) {
            let path = route.split('"').nth(1).unwrap();
            let handlers = &route[route.find(',').unwrap()..];
            for method in METHODS {
                let named = [format!(" {method}("), format!(".{method}("), format!("\n{method}(")];
                if named.iter().any(|named| handlers.contains(named)) {
                    routes.insert(format!("{method} {path}"));
                }
            }
        }
        routes
    }

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut documented = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in METHODS.iter().filter(|method| item.get(**method).is_some()) {
                documented.insert(format!("{method} {path}"));
            }
        }
        let routes = routes();
        assert!(routes.len() > 20, "{routes:?}");
        let difference: Vec<_> = documented.symmetric_difference(&routes).collect();
        assert!(difference.is_empty(), "openapi.json and the router differ: {difference:?}");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut open = vec![&document];
        while let Some(value) = open.pop() {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(to)) = fields.get("$ref") {
                        let found = document.pointer(to.trim_start_matches('#'));
                        assert!(found.is_some(), "{to} leads nowhere");
                    }
                    open.extend(fields.values());
                }
                Value::Array(list) => open.extend(list),
                _ => {}
            }
        }
    }
}
