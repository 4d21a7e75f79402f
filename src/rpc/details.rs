//! Gives the gRPC library's own refusals (an unknown method, an undecodable message) the details that every error has.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::methods::{UNKNOWN, is_standard, method};
use super::status::{bare, status};

const DETAILS_HEADER: &str = "grpc-status-details-bin";

#[derive(Clone, Copy)]
pub(super) struct DetailsLayer;

impl<S> Layer<S> for DetailsLayer {
    type Service = Details<S>;

    fn layer(&self, inner: S) -> Details<S> {
        Details { inner }
    }
}

#[derive(Clone)]
pub(super) struct Details<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Details<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let exempt = is_standard(path);
        let known = method(path) != UNKNOWN;
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            Ok(if exempt {
                response
            } else {
                with_details(response, known)
            })
        })
    }
}

/// A refusal has its status in the headers, as no message follows.
fn with_details(mut response: Response<Body>, method_is_known: bool) -> Response<Body> {
    let Some(found) = Status::from_header_map(response.headers()) else {
        return response;
    };
    if found.code() == Code::Ok || response.headers().contains_key(DETAILS_HEADER) {
        return response;
    }
    let detailed = status(bare(found.code(), method_is_known));
    // Headers beside the status are kept: grpc-accept-encoding tells how to do better. A failure to encode leaves the
    // bare status, which is true.
    let _ = detailed.add_header(response.headers_mut());
    response
}
