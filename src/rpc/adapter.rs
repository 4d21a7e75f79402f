//! The services of the API over gRPC: passes messages to [`Api`] and converts errors to statuses.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::status::status;
use crate::api::Api;
use crate::proto::v1;

#[derive(Clone)]
pub(super) struct Adapter(pub(super) Api);

/// Implements a service: `unary` are methods with one answer each, `streams` those with a stream of answers.
macro_rules! adapt {
    (
        $service:ident in $server:ident;
        unary { $($method:ident($request:ident) -> $response:ident;)* }
        streams { $($watch:ident($watch_request:ident) -> $stream:ident of $item:ident;)* }
    ) => {
        #[tonic::async_trait]
        impl v1::$server::$service for Adapter {
            $(
                async fn $method(
                    &self,
                    request: Request<v1::$request>,
                ) -> Result<Response<v1::$response>, Status> {
                    let answer = self.0.$method(request.into_inner()).await;
                    answer.map(Response::new).map_err(status)
                }
            )*
            $(
                type $stream = Pin<Box<dyn Stream<Item = Result<v1::$item, Status>> + Send>>;

                async fn $watch(
                    &self,
                    request: Request<v1::$watch_request>,
                ) -> Result<Response<Self::$stream>, Status> {
                    let answers = self.0.$watch(request.into_inner()).await.map_err(status)?;
                    Ok(Response::new(answers.map(|answer| answer.map_err(status)).boxed()))
                }
            )*
        }
    };
}

// build.rs invokes the macro for every service of the proto, with all its methods.
include!(concat!(env!("OUT_DIR"), "/adapter.rs"));
