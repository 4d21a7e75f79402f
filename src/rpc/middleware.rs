//! Layers around every call. A [`Middleware`] has its behaviour; this file has the rest of tower's protocol.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

/// The future answer to a call.
pub(super) type Answer<B, E> = Pin<Box<dyn Future<Output = Result<Response<B>, E>> + Send>>;

/// The service that a middleware passes calls to. It has reported that it is ready for one.
pub(super) trait Next:
    Service<Request<Body>, Response = Response<Body>, Error: 'static, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S> Next for S where
    S: Service<Request<Body>, Response = Response<Body>, Error: 'static, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// Inspects a call or its answer, or answers the call itself.
pub(super) trait Middleware: Clone {
    /// The body of its answers.
    type Body;

    fn call<S: Next>(&self, request: Request<Body>, next: &mut S) -> Answer<Self::Body, S::Error>;
}

/// Puts a middleware around a service.
#[derive(Clone)]
pub(super) struct Around<M>(pub(super) M);

impl<M: Middleware, S> Layer<S> for Around<M> {
    type Service = Surrounded<M, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Surrounded {
            middleware: self.0.clone(),
            inner,
        }
    }
}

#[derive(Clone)]
pub(super) struct Surrounded<M, S> {
    middleware: M,
    inner: S,
}

impl<M: Middleware, S: Next> Service<Request<Body>> for Surrounded<M, S> {
    type Response = Response<M::Body>;
    type Error = S::Error;
    type Future = Answer<M::Body, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.middleware.call(request, &mut self.inner)
    }
}
