//! The API's own description.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use utoipa::openapi::OpenApi;

/// The document and its page, made when they are first asked for: both are the same for all.
static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(super::document);
static JSON: LazyLock<Bytes> = LazyLock::new(|| {
    // A document of strings and maps is always JSON.
    Bytes::from(serde_json::to_vec(&*DOCUMENT).unwrap_or_default())
});
static PAGE: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(page(&DOCUMENT)));

/// The OpenAPI 3.1 document of all that there is.
#[utoipa::path(get, path = "/openapi.json", tag = "helm", responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
#[allow(clippy::unused_async, reason = "handlers are futures")]
pub async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], JSON.clone()).into_response()
}

/// The same for people.
#[utoipa::path(get, path = "/docs", tag = "helm", responses((status = 200, content_type = "text/html", body = String)))]
#[allow(clippy::unused_async, reason = "handlers are futures")]
pub async fn docs() -> Html<Bytes> {
    Html(PAGE.clone())
}

fn page(document: &OpenApi) -> String {
    let mut rows = String::new();
    for (path, item) in &document.paths.paths {
        let methods =
            [("GET", &item.get), ("POST", &item.post), ("PUT", &item.put), ("DELETE", &item.delete)];
        for (method, operation) in methods {
            let Some(operation) = operation else { continue };
            let summary = operation.summary.as_deref().unwrap_or_default();
            rows.push_str(&format!(
                "<tr><td>{method}</td><td><code>{}</code></td><td>{}</td></tr>",
                escaped(path),
                escaped(summary)
            ));
        }
    }
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Helm: API</title></head><body><main><h1>Helm: API</h1><p>The whole description, for programs: <a href=\"openapi.json\">openapi.json</a></p><table><thead><tr><th>Method</th><th>Path</th><th>What</th></tr></thead><tbody>{rows}</tbody></table></main></body></html>"
    )
}

/// As text in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
