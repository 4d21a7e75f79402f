//! W3C trace context: continues the caller's trace.

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// Makes the span a child of the request's `traceparent`, if there is one.
pub(super) fn continue_from(headers: &HeaderMap, span: &Span) {
    if !headers.contains_key("traceparent") {
        return;
    }
    let context = TraceContextPropagator::new().extract(&Headers(headers));
    let caller = context.span().span_context().clone();
    if !caller.is_valid() {
        return;
    }
    span.record("trace_id", caller.trace_id().to_string());
    // Fails only if spans are not exported; the log line has the trace id anyway.
    let _ = span.set_parent(context);
}
