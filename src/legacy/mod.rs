//! The APIs of older services, for their clients until these have moved: one file or folder for each. An adapter translates. Its
//! requests become calls of today's API ([`Calls`]) with all their checks and limits, and the answers become what its clients know.

pub mod openvidu;
mod rooms;
mod sessions;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::routing::MethodRouter;
use http_body::Body as HttpBody;
use ipnet::IpNet;
use prost::Message;
use prost::bytes::Bytes;
use serde_json::{Value, json};
use strum::{EnumString, IntoStaticStr, VariantNames};
use tokio_util::sync::CancellationToken;
use tower::BoxError;
use tower_http::cors::CorsLayer;

use crate::api::error::CallError;
use crate::api::links::Links;
use crate::app::signalling::Signalling;
use crate::domain::error::Error;
use crate::net::client_address;
use crate::rest::retry_after_secs;
use crate::rpc::{AdmittedByEdge, Call, Calls, EncodedStatus, Peer, SECRET_HEADER, Transcode};
use crate::telemetry::metrics::Metrics;
use rooms::Guests;

pub use rooms::Config as RoomsConfig;

/// An older service's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum LegacyApi {
    /// Sessions of appointments, behind `X-Internal-Secret`.
    Sessions,
    /// Rooms for guests without accounts.
    Rooms,
    /// Users with passwords, and connections to sessions on OpenVidu nodes.
    OpenVidu,
}

/// Settings of the older services' APIs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The APIs that are served. Where two have the same route, the first one here answers.
    pub apis: Vec<LegacyApi>,
    /// The origins whose pages may call, with credentials; each as browsers send it.
    pub cors_origins: Vec<HeaderValue>,
    /// The rooms.
    pub rooms: RoomsConfig,
    /// Settings of the API `openvidu`, if it is served.
    pub openvidu: Option<openvidu::Config>,
}

/// What the adapters are made of.
pub struct Parts {
    /// Makes calls of today's API.
    pub calls: Calls,
    /// Addresses for browsers.
    pub links: Links,
    /// Connects guests of rooms.
    pub signalling: Arc<Signalling>,
    /// Counts calls.
    pub metrics: Arc<Metrics>,
    /// Cancelled when connections must end.
    pub closing: CancellationToken,
}

/// What the adapters share.
#[derive(Clone)]
struct Edge {
    calls: Calls,
    links: Links,
    metrics: Arc<Metrics>,
}

/// The routes of an adapter.
type Routes = Vec<(&'static str, MethodRouter)>;

/// The routes of the older services' APIs.
pub fn router(config: &Config, parts: Parts) -> Router {
    let Parts {
        calls,
        links,
        signalling,
        metrics,
        closing,
    } = parts;
    let guests = Guests {
        signalling,
        closing,
    };
    let edge = Edge {
        calls,
        links,
        metrics,
    };
    let mut router = Router::new();
    let mut taken = HashSet::new();
    for api in &config.apis {
        let routes = match api {
            LegacyApi::Sessions => sessions::routes(&edge),
            LegacyApi::Rooms => rooms::routes(&edge, &guests, &config.rooms),
            LegacyApi::OpenVidu => {
                let settings = config.openvidu.iter();
                settings
                    .flat_map(|settings| openvidu::routes(&edge, settings))
                    .collect()
            }
        };
        for (path, methods) in routes {
            if taken.insert(path) {
                router = router.route(path, methods);
            }
        }
    }
    let router = router
        .method_not_allowed_fallback(|| async {
            message(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
        })
        .fallback(|| async { message(StatusCode::NOT_FOUND, "Not found") });
    match cors(config) {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

fn cors(config: &Config) -> Option<CorsLayer> {
    if config.cors_origins.is_empty() {
        return None;
    }
    let cors = CorsLayer::new()
        .allow_origin(config.cors_origins.clone())
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            HeaderName::from_static(SECRET_HEADER),
        ])
        .expose_headers([RETRY_AFTER]);
    Some(cors)
}

impl Edge {
    /// Counts a call, so that operators see when nobody makes any.
    fn count(&self, api: LegacyApi, route: &'static str) {
        self.metrics.count_legacy_call(api.into(), route);
    }

    /// Makes a call whose message `read` makes from the body.
    async fn make<T: Message + Default>(
        &self,
        path: &'static str,
        request: Request,
        read: impl Fn(&[u8]) -> Result<Vec<u8>, CallError> + Send + Sync + 'static,
    ) -> Result<T, EncodedStatus> {
        let (parts, body) = request.into_parts();
        let mut headers = HeaderMap::new();
        for secret in parts.headers.get_all(SECRET_HEADER) {
            headers.append(SECRET_HEADER, secret.clone());
        }
        self.call(Call {
            path,
            headers,
            extensions: parts.extensions,
            transcode: Transcode::new(read),
            body,
        })
        .await
    }

    /// Makes a call for a caller whom the adapter has admitted by its own rule, and who needs no secret. `extensions` are those of
    /// the caller's request.
    async fn make_admitted<T: Message + Default>(
        &self,
        path: &'static str,
        mut extensions: Extensions,
        message: &impl Message,
    ) -> Result<T, EncodedStatus> {
        extensions.insert(AdmittedByEdge);
        let encoded = message.encode_to_vec();
        self.call(Call {
            path,
            headers: HeaderMap::new(),
            extensions,
            transcode: Transcode::new(move |_| Ok(encoded.clone())),
            body: Body::empty(),
        })
        .await
    }

    async fn call<T, B>(&self, call: Call<B>) -> Result<T, EncodedStatus>
    where
        T: Message + Default,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let encoded = self.calls.make_unary(call).await?;
        T::decode(encoded).map_err(|_| CallError::from(Error::Internal).into())
    }
}

/// The network of a request's client.
fn client(extensions: &Extensions, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> IpAddr {
    let peer = extensions.get::<Peer>().map(Peer::ip);
    let peer = peer.unwrap_or(IpAddr::from([0, 0, 0, 0]));
    client_address(peer, headers, trusted_proxies)
}

/// An answer with a status, headers and JSON.
type Answer = (StatusCode, HeaderMap, axum::Json<Value>);

fn answer(status: StatusCode, body: Value) -> Answer {
    let mut headers = HeaderMap::new();
    // It may hold a token.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    (status, headers, axum::Json(body))
}

/// An answer in the older services' way of telling faults.
fn message(status: StatusCode, text: &str) -> Answer {
    answer(status, json!({"message": text}))
}

/// Says when to try again, if that can help.
fn with_retry(mut answer: Answer, error: &EncodedStatus) -> Answer {
    if let Some(secs) = retry_after_secs(error) {
        answer.1.insert(RETRY_AFTER, HeaderValue::from(secs));
    }
    answer
}
