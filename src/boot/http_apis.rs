//! The APIs over HTTP for backends: the JSON edge and the older services' APIs.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::Config;
use crate::legacy;
use crate::rest::{self, DescriptorsError};
use crate::rpc::Calls;
use crate::telemetry::metrics::Metrics;

/// A server of an API over HTTP.
pub(super) struct HttpApi {
    /// The setting of its address.
    pub(super) setting: &'static str,
    pub(super) listener: TcpListener,
    pub(super) router: rest::Router,
}

/// The servers of those APIs over HTTP that have a listener.
pub(super) fn http_apis(
    config: &Config,
    rest: Option<TcpListener>,
    legacy: Option<TcpListener>,
    calls: &Calls,
    app: &App,
    metrics: &Arc<Metrics>,
    closing: &CancellationToken,
) -> Result<Vec<HttpApi>, DescriptorsError> {
    let mut apis = Vec::new();
    if let Some(listener) = rest {
        apis.push(HttpApi {
            setting: "REST_ADDR",
            listener,
            router: rest::router(config.rest.clone(), calls.clone())?,
        });
    }
    if let Some(listener) = legacy {
        let parts = legacy::Parts {
            calls: calls.clone(),
            links: config.api.links.clone(),
            signalling: Arc::clone(&app.signalling),
            metrics: Arc::clone(metrics),
            closing: closing.clone(),
        };
        apis.push(HttpApi {
            setting: "LEGACY_ADDR",
            listener,
            router: legacy::router(&config.legacy, parts),
        });
    }
    Ok(apis)
}
