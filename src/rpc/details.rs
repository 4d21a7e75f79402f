//! Adds the details that every error has to the gRPC library's own errors (an unknown method, an undecodable message).

use http::{Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};

use super::methods::{UNKNOWN, is_standard, method};
use super::middleware::{Answer, Middleware, Next};
use super::status::{error_of_bare_status, status};

const DETAILS_HEADER: &str = "grpc-status-details-bin";

#[derive(Clone, Copy)]
pub(super) struct Details;

impl Middleware for Details {
    type Body = Body;

    fn call<S: Next>(&self, request: Request<Body>, next: &mut S) -> Answer<Body, S::Error> {
        let path = request.uri().path();
        let exempt = is_standard(path);
        let known = method(path) != UNKNOWN;
        let answer = next.call(request);
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

/// An error has its status in the headers, because no message follows.
fn with_details(mut response: Response<Body>, method_is_known: bool) -> Response<Body> {
    let Some(found) = Status::from_header_map(response.headers()) else {
        return response;
    };
    if found.code() == Code::Ok || response.headers().contains_key(DETAILS_HEADER) {
        return response;
    }
    let detailed = status(error_of_bare_status(found.code(), method_is_known));
    // Other headers are kept: grpc-accept-encoding lists the encodings to use instead. If encoding the details fails, the
    // status stays as it is.
    let _ = detailed.add_header(response.headers_mut());
    response
}
