//! The JSON edge: the methods of the gRPC API over HTTP, by the `google.api.http` annotations of the proto. It knows no single
//! method: a request becomes the method's message, takes the way of every call ([`Calls`]), and its answer becomes JSON.

mod answer;
mod events;
mod json;
mod openapi;
mod page;
mod request;
mod routes;

pub use answer::{http_status, retry_after_secs};
pub use axum::Router;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_MATCH,
    RETRY_AFTER,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use prost_reflect::DescriptorPool;
use tower_http::cors::CorsLayer;

use crate::api::error::{CallError, CallFault};
use crate::domain::error::Error;
use crate::proto;
use crate::rpc::{Call, Calls, SECRET_HEADER, TIMEOUT_HEADER, Transcode};
use answer::Errors;
use request::Head;
use routes::{Found, Route, Variables, find};

/// Metadata of gRPC that callers may use here, too.
const METADATA: [HeaderName; 4] = [
    HeaderName::from_static(SECRET_HEADER),
    HeaderName::from_static(TIMEOUT_HEADER),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Settings of the JSON edge.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether fields and parameters that do not exist are left out instead of refused.
    pub ignore_unknown_fields: bool,
    /// The origins whose pages may call; each as browsers send it.
    pub cors_origins: Vec<HeaderValue>,
    /// How often a stream without events sends a comment.
    pub events_keepalive: Duration,
    /// How long a stream lasts; its client connects again.
    pub events_age_max: Duration,
}

/// The descriptions of the API's messages cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the descriptors of the API cannot be used")]
pub struct DescriptorsError;

/// What handlers share.
#[derive(Clone)]
struct Edge {
    calls: Calls,
    routes: Arc<[Arc<Route>]>,
    errors: Errors,
    config: Arc<Config>,
}

/// The routes of the edge.
///
/// # Errors
/// [`DescriptorsError`]
pub fn router(config: Config, calls: Calls) -> Result<Router, DescriptorsError> {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).map_err(|_| DescriptorsError)?;
    let errors = Errors::new().ok_or(DescriptorsError)?;
    let routes = routes::routes(&pool);
    let description: Arc<str> = openapi::description(&pool, &routes).to_string().into();
    let cors = cors(&config);
    let edge = Edge {
        calls,
        routes: routes.into(),
        errors,
        config: Arc::new(config),
    };
    let described = get(move || {
        let headers = [
            (CONTENT_TYPE, "application/json"),
            (CACHE_CONTROL, "no-cache"),
        ];
        std::future::ready((headers, description.to_string()))
    });
    let router = Router::new()
        .route("/openapi.json", described)
        .merge(page::routes())
        .method_not_allowed_fallback(refuse_verb_of_file)
        .fallback(call)
        .with_state(edge);
    Ok(match cors {
        Some(cors) => router.layer(cors),
        None => router,
    })
}

fn cors(config: &Config) -> Option<CorsLayer> {
    if config.cors_origins.is_empty() {
        return None;
    }
    let headers =
        METADATA
            .into_iter()
            .chain([AUTHORIZATION, CONTENT_TYPE, IF_MATCH, LAST_EVENT_ID]);
    let cors = CorsLayer::new()
        .allow_origin(config.cors_origins.clone())
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers(headers.collect::<Vec<_>>())
        .expose_headers([ETAG, RETRY_AFTER]);
    Some(cors)
}

async fn call(State(edge): State<Edge>, request: Request) -> Response {
    match find(&edge.routes, request.method(), request.uri().path()) {
        Found::Route(route, variables) => {
            let route = Arc::clone(route);
            edge.call(route, variables, request).await
        }
        Found::OtherVerbs(verbs) => edge.refuse_verb(&verbs),
        Found::Nothing => edge.refuse(CallFault::MethodUnknown),
    }
}

async fn refuse_verb_of_file(State(edge): State<Edge>) -> Response {
    edge.refuse_verb(&[Method::GET, Method::HEAD])
}

impl Edge {
    async fn call(&self, route: Arc<Route>, variables: Variables, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let has_precondition = parts.headers.contains_key(IF_MATCH);
        let head = self.head(&route, variables, &parts);
        let call = Call {
            path: route.grpc_path,
            headers: metadata(&parts.headers),
            extensions: parts.extensions,
            transcode: Transcode::new(move |body| head.message(body)),
            body,
        };
        let output = route.method.output();
        if route.method.is_server_streaming() {
            return match self.calls.make(call).await {
                Ok(items) => events::response(output, items, self.errors.clone(), &self.config),
                Err(error) => self.errors.response(&error, has_precondition),
            };
        }
        match self.calls.make_unary(call).await {
            Ok(encoded) => {
                answer::response(&output, &encoded).unwrap_or_else(|| self.refuse(Error::Internal))
            }
            Err(error) => self.errors.response(&error, has_precondition),
        }
    }

    fn head(&self, route: &Arc<Route>, variables: Variables, parts: &Parts) -> Head {
        Head {
            route: Arc::clone(route),
            variables,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            if_match: parts.headers.get_all(IF_MATCH).iter().cloned().collect(),
            timeout: parts.headers.get(TIMEOUT_HEADER).cloned(),
            last_event_id: parts
                .headers
                .get(LAST_EVENT_ID)
                .filter(|_| route.method.is_server_streaming())
                .cloned(),
            is_compressed: parts.headers.get(CONTENT_ENCODING).is_some_and(|encoding| {
                !matches!(
                    encoding.as_bytes().to_ascii_lowercase().as_slice(),
                    b"" | b"identity"
                )
            }),
            ignore_unknown_fields: self.config.ignore_unknown_fields,
        }
    }

    fn refuse_verb(&self, allowed: &[Method]) -> Response {
        let mut response = self.refuse(CallFault::MethodUnknown);
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let allowed: Vec<_> = allowed.iter().map(Method::as_str).collect();
        if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", ")) {
            response.headers_mut().insert(ALLOW, allowed);
        }
        response
    }

    fn refuse(&self, error: impl Into<CallError>) -> Response {
        self.errors.response(&error.into().into(), false)
    }
}

/// What of a request's headers is metadata of its call.
fn metadata(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    for name in METADATA {
        for value in headers.get_all(&name) {
            metadata.append(name.clone(), value.clone());
        }
    }
    // A further secret beside x-internal-secret: the check of the secret refuses several. What is no bearer token is a wrong one.
    for value in headers.get_all(AUTHORIZATION) {
        let wrong = HeaderValue::from_static("");
        metadata.append(SECRET_HEADER, bearer(value).unwrap_or(wrong));
    }
    metadata
}

/// The secret in an Authorization header.
fn bearer(value: &HeaderValue) -> Option<HeaderValue> {
    let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    let secret = HeaderValue::from_str(secret.trim()).ok()?;
    is_bearer.then_some(secret)
}
