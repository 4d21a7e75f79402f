//! The APIs of older services, for their clients until these have moved: one file or folder for each. An adapter translates. Its
//! requests become calls of today's API ([`Calls`]) with all their checks and limits, and the answers become what its clients know.

mod sessions;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use prost::Message;
use serde_json::{Value, json};
use strum::{EnumString, IntoStaticStr, VariantNames};

use crate::api::error::CallError;
use crate::api::links::Links;
use crate::domain::error::Error;
use crate::rest::retry_after_secs;
use crate::rpc::{Call, Calls, EncodedStatus, SECRET_HEADER, Transcode};
use crate::telemetry::metrics::Metrics;

/// An older service's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum LegacyApi {
    /// Sessions of appointments, behind `X-Internal-Secret`.
    Sessions,
}

/// What the adapters share.
#[derive(Clone)]
struct Edge {
    calls: Calls,
    links: Links,
    metrics: Arc<Metrics>,
}

/// The routes of the older services' APIs.
pub fn router(apis: &[LegacyApi], calls: Calls, links: Links, metrics: Arc<Metrics>) -> Router {
    let edge = Edge {
        calls,
        links,
        metrics,
    };
    let routes = apis.iter().map(|api| match api {
        LegacyApi::Sessions => sessions::routes(),
    });
    let router = routes.fold(Router::new(), Router::merge).with_state(edge);
    router
        .method_not_allowed_fallback(|| async {
            message(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
        })
        .fallback(|| async { message(StatusCode::NOT_FOUND, "Not found") })
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
        let call = Call {
            path,
            headers,
            extensions: parts.extensions,
            transcode: Transcode::new(read),
            body,
        };
        let encoded = self.calls.make_unary(call).await?;
        T::decode(encoded).map_err(|_| CallError::from(Error::Internal).into())
    }
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
