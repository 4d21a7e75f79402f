//! Gives every call a span, a log line and metrics, however it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{HeaderMap, Request};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::body::Body;
use tonic::{Code, Status};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::methods::{is_health, method};
use super::middleware::{Answer, Middleware, Next};
use super::status::code_name;
use super::trace_context;
use crate::telemetry::metrics::Metrics;

#[derive(Clone)]
pub(super) struct Observe {
    metrics: Arc<Metrics>,
}

impl Observe {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }
}

impl Middleware for Observe {
    type Body = ObservedBody;

    fn call<S: Next>(
        &self,
        request: Request<Body>,
        next: &mut S,
    ) -> Answer<ObservedBody, S::Error> {
        let mut call = Call::begin(&request, Arc::clone(&self.metrics));
        let span = call.span.clone();
        let answer = next.call(request);
        Box::pin(
            async move {
                let response = answer.await?;
                call.read_status(response.headers());
                Ok(response.map(|body| ObservedBody { body, call }))
            }
            .instrument(span),
        )
    }
}

/// A call in progress; reported when dropped, so that cancelled calls are reported too.
pub(super) struct Call {
    method: &'static str,
    routine: bool,
    span: Span,
    started: Instant,
    /// Unset until the call ends, and if its caller cancels it.
    code: Option<Code>,
    metrics: Arc<Metrics>,
}

impl Call {
    fn begin(request: &Request<Body>, metrics: Arc<Metrics>) -> Self {
        let path = request.uri().path();
        let method = method(path);
        let span = tracing::info_span!(
            "rpc",
            otel.name = method,
            otel.kind = "server",
            rpc.method = method,
            rpc.code = Empty,
            session_id = Empty,
            trace_id = Empty,
        );
        trace_context::continue_from(request.headers(), &span);
        metrics.rpcs_in_flight.inc();
        Self {
            method,
            routine: is_health(path),
            span,
            started: Instant::now(),
            code: None,
            metrics,
        }
    }

    /// The status is in the headers if no message follows, otherwise in the trailers.
    fn read_status(&mut self, headers: &HeaderMap) {
        if let Some(status) = Status::from_header_map(headers) {
            self.code = Some(status.code());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        // Without a status, the caller cancelled the call.
        let code = code_name(self.code.unwrap_or(Code::Cancelled));
        self.metrics.rpcs_in_flight.dec();
        self.metrics.record_rpc(self.method, code, took);
        self.span.record("rpc.code", code);
        let latency_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        if self.routine {
            tracing::debug!(parent: &self.span, latency_ms, "call ended");
        } else {
            tracing::info!(parent: &self.span, latency_ms, "call ended");
        }
    }
}

pin_project! {
    /// A response body that reads the status from the trailers.
    pub(super) struct ObservedBody {
        #[pin]
        body: Body,
        call: Call,
    }
}

impl HttpBody for ObservedBody {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let span = this.call.span.clone();
        let _entered = span.enter();
        let frame = ready!(this.body.poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            this.call.read_status(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
