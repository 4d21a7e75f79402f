//! The description of the edge by OpenAPI 3.1, made from the proto and its comments.

mod operations;
mod schemas;

use std::sync::Arc;

use prost_reflect::DescriptorPool;
use serde_json::{Value, json};

use super::routes::Route;
use crate::rpc::SECRET_HEADER;
use schemas::Schemas;

const INTRODUCTION: &str = "\
Video consultations for a telemedicine backend: one session per appointment, joined by a doctor and a patient.

The same API as over gRPC, with JSON by the proto3 mapping: 64-bit numbers are strings, times are RFC 3339, durations are seconds as \
in `90s`. Requests may use `camelCase` or `snake_case` names; answers have every field, in `camelCase`. Fields that do not exist are \
refused. CreateSession is safe to repeat without an Idempotency-Key: the appointment is the key.

Errors are `google.rpc.Status`. Its `details` have an ErrorInfo whose `reason` programs can rely on, a BadRequest that names each \
faulty field, and a RetryInfo (also as Retry-After) if the same request may succeed later.";

/// The whole description.
pub(super) fn description(pool: &DescriptorPool, routes: &[Arc<Route>]) -> Value {
    let mut schemas = Schemas::new(pool);
    let paths = operations::paths(routes, &mut schemas);
    schemas.add_errors();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "video-session",
            "version": env!("CARGO_PKG_VERSION"),
            "description": INTRODUCTION,
        },
        "security": [{"internalSecret": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "internalSecret": {"type": "apiKey", "in": "header", "name": SECRET_HEADER},
                "bearer": {"type": "http", "scheme": "bearer", "description": "The internal secret."},
            },
            "schemas": schemas.all,
        },
    })
}
