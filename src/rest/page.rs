//! The API page: Swagger UI with this service's description. It loads nothing from elsewhere.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};

const HTML: &str = include_str!("page/index.html");
const START: &str = include_str!("page/start.js");
const STYLES: &str = include_str!(concat!(env!("OUT_DIR"), "/swagger-ui/swagger-ui.css"));
const SCRIPT: &str = include_str!(concat!(env!("OUT_DIR"), "/swagger-ui/swagger-ui-bundle.js"));

/// Swagger UI has its pictures in its styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page at `/docs`, and what it loads.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move {
            let headers = [
                (CONTENT_TYPE, kind),
                (CONTENT_SECURITY_POLICY, POLICY),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (REFERRER_POLICY, "no-referrer"),
                (CACHE_CONTROL, "no-cache"),
            ];
            (headers, text).into_response()
        })
    };
    Router::new()
        .route("/docs", file("text/html; charset=utf-8", HTML))
        .route(
            "/docs/start.js",
            file("text/javascript; charset=utf-8", START),
        )
        .route(
            "/docs/swagger-ui.css",
            file("text/css; charset=utf-8", STYLES),
        )
        .route(
            "/docs/swagger-ui-bundle.js",
            file("text/javascript; charset=utf-8", SCRIPT),
        )
}
