//! The page, embedded in the binary.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::error::ApiError;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Files;

const INDEX: &str = "index.html";

/// A file of the page, or its document for a path that is a view of it.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let path = uri.path().trim_start_matches('/');
    if let Some(file) = Files::get(path) {
        return send(path, file, &headers);
    }
    // Names of files have an extension; views have none.
    let is_view = !path.rsplit('/').next().unwrap_or_default().contains('.');
    match Files::get(INDEX) {
        Some(file) if is_view => send(INDEX, file, &headers),
        Some(_) => ApiError::not_found("no such file").into_response(),
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            "This binary was built without the page. Build it by `make build`; the API and the \
             live connection work meanwhile.\n",
        )
            .into_response(),
    }
}

fn send(path: &str, plain: EmbeddedFile, headers: &HeaderMap) -> Response {
    let hash = plain.metadata.sha256_hash();
    let tag: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    // Names of assets hold a hash of what is in them, so a name never changes its meaning.
    let immutable = path.starts_with("assets/");
    let cache = if immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    let unchanged = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str());
    let mut answer = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let brotli = accepts_brotli(headers).then(|| Files::get(&format!("{path}.br"))).flatten();
        let compressed = brotli.is_some();
        let data = brotli.unwrap_or(plain).data;
        let mut answer = data.into_owned().into_response();
        let kind = mime_guess::from_path(path).first_or_octet_stream();
        let kind = match kind.essence_str() {
            text @ ("text/html" | "text/css" | "text/javascript") => {
                format!("{text}; charset=utf-8")
            }
            other => other.to_owned(),
        };
        set(&mut answer, header::CONTENT_TYPE, &kind);
        if compressed {
            set(&mut answer, header::CONTENT_ENCODING, "br");
        }
        answer
    };
    set(&mut answer, header::VARY, "Accept-Encoding");
    set(&mut answer, header::CACHE_CONTROL, cache);
    set(&mut answer, header::ETAG, &tag);
    answer
}

fn set(answer: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

fn accepts_brotli(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            parts.next() == Some("br") && parts.next() != Some("q=0")
        })
}
