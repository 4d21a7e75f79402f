//! The calls of the API with the layers around them. gRPC's listener serves them, and other edges make them within the process:
//! whichever way a call comes, it meets the same checks and the same limits.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use http::header::CONTENT_TYPE;
use http::{Extensions, HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use prost::Message as _;
use prost::bytes::{Buf as _, Bytes, BytesMut};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _, pb};
use tower::layer::util::{Identity, Stack};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt as _};

use super::adapter::Adapter;
use super::deadline::Deadline;
use super::details::Details;
use super::in_flight::InFlight;
use super::message::{FRAME_HEADER_BYTES, MessageFirst, Transcode};
use super::middleware::Around;
use super::observe::Observe;
use super::secret_check::SecretCheck;
use super::status::status;
use super::{Config, Parts, ServeError, add_reflection, health_server};
use crate::api::error::CallError;
use crate::domain::error::Error;
use crate::proto::v1::sfu_node_service_server::SfuNodeServiceServer;
use crate::proto::v1::video_session_service_server::VideoSessionServiceServer;

/// Innermost first: limit the calls in flight, receive the message, check the secret, enforce deadlines, add details to errors,
/// observe.
pub(super) type Layers = Stack<
    Around<InFlight>,
    Stack<
        Around<MessageFirst>,
        Stack<
            Around<SecretCheck>,
            Stack<Around<Deadline>, Stack<Around<Details>, Stack<Around<Observe>, Identity>>>,
        >,
    >,
>;

/// The methods of the API, with everything that is checked and counted around a call.
#[derive(Clone)]
pub struct Calls {
    pub(super) layers: Layers,
    pub(super) routes: Routes,
    within: BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>,
}

/// A call made within the process.
pub struct Call<B> {
    /// The method, as in `/videosession.v1.VideoSessionService/GetSession`.
    pub path: &'static str,
    /// The metadata.
    pub headers: HeaderMap,
    /// Of the connection that the call came on, as its listener set them.
    pub extensions: Extensions,
    /// Reads the method's message from the body.
    pub transcode: Transcode,
    /// The body of the request.
    pub body: B,
}

/// The messages of an answer: one, or those of a stream. An error ends them.
pub type Answer = BoxStream<'static, Result<Bytes, EncodedStatus>>;

/// An error, as callers of every edge get it.
#[derive(Debug, Clone)]
pub struct EncodedStatus {
    /// The code's number, as in google/rpc/code.proto.
    pub code: i32,
    /// The message, for developers.
    pub message: String,
    /// The whole `google.rpc.Status`, encoded.
    pub encoded: Vec<u8>,
    details: Box<ErrorDetails>,
}

impl EncodedStatus {
    /// The reason of its google.rpc.ErrorInfo; empty if it has none.
    pub fn reason(&self) -> &str {
        let info = self.details.error_info();
        info.map_or("", |info| &info.reason)
    }

    /// A value of the metadata of its google.rpc.ErrorInfo.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let info = self.details.error_info()?;
        info.metadata.get(key).map(String::as_str)
    }

    /// The fields of its google.rpc.BadRequest, each with what is wrong with it.
    pub fn violations(&self) -> impl Iterator<Item = (&str, &str)> {
        let faults = self.details.bad_request().into_iter();
        let faults = faults.flat_map(|bad| &bad.field_violations);
        faults.map(|fault| (fault.field.as_str(), fault.description.as_str()))
    }

    /// The delay of its google.rpc.RetryInfo.
    pub fn retry_after(&self) -> Option<Duration> {
        self.details.retry_info()?.retry_delay
    }
}

impl Calls {
    /// The calls of `parts.api`.
    ///
    /// # Errors
    /// [`ServeError::Reflection`]
    pub fn new(config: &Config, parts: Parts) -> Result<Self, ServeError> {
        let Parts {
            api,
            secrets,
            health,
            metrics,
        } = parts;
        let adapter = Adapter(api);
        let sessions = VideoSessionServiceServer::new(adapter.clone())
            .max_decoding_message_size(config.message_bytes_max);
        let nodes =
            SfuNodeServiceServer::new(adapter).max_decoding_message_size(config.message_bytes_max);
        let mut routes = Routes::new(sessions)
            .add_service(nodes)
            .add_service(health_server(health));
        if config.reflection {
            routes = add_reflection(routes, config.message_bytes_max)?;
        }
        let layers = ServiceBuilder::new()
            .layer(Around(Observe::new(Arc::clone(&metrics))))
            .layer(Around(Details))
            .layer(Around(Deadline))
            .layer(Around(SecretCheck::new(secrets, metrics)))
            .layer(Around(MessageFirst::new(config)))
            .layer(Around(InFlight::new(config)))
            .into_inner();
        let within = ServiceBuilder::new()
            .layer(layers.clone())
            .service(routes.clone())
            .map_response(|response| response.map(Body::new));
        Ok(Self {
            layers,
            routes,
            within: BoxCloneSyncService::new(within),
        })
    }

    /// Makes a call with one answer.
    ///
    /// # Errors
    /// The call's.
    pub async fn make_unary<B>(&self, call: Call<B>) -> Result<Bytes, EncodedStatus>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut answer = self.make(call).await?;
        let mut message = None;
        // To its end: the status comes last, and whoever does not wait for it has cancelled the call.
        while let Some(next) = answer.next().await {
            message = Some(next?);
        }
        message.ok_or_else(|| CallError::from(Error::Internal).into())
    }

    /// Makes a call.
    ///
    /// # Errors
    /// If the call is refused before its first message.
    pub async fn make<B>(&self, call: Call<B>) -> Result<Answer, EncodedStatus>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut request = Request::new(Body::new(call.body));
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = Uri::from_static(call.path);
        *request.headers_mut() = call.headers;
        let grpc = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(CONTENT_TYPE, grpc);
        *request.extensions_mut() = call.extensions;
        request.extensions_mut().insert(call.transcode);
        let Ok(response) = self.within.clone().oneshot(request).await;
        answer(response)
    }
}

fn answer(response: Response<Body>) -> Result<Answer, EncodedStatus> {
    let (parts, body) = response.into_parts();
    match Status::from_header_map(&parts.headers) {
        Some(status) if status.code() == Code::Ok => return Ok(stream::empty().boxed()),
        Some(status) => return Err(status.into()),
        None => {}
    }
    let frames = Frames {
        body,
        read: BytesMut::new(),
    };
    let messages = stream::unfold(Some(frames), |frames| async {
        let mut frames = frames?;
        match frames.next_message().await? {
            Ok(message) => Some((Ok(message), Some(frames))),
            Err(status) => Some((Err(EncodedStatus::from(status)), None)),
        }
    });
    Ok(messages.boxed())
}

/// Reads an answer's body.
struct Frames {
    body: Body,
    read: BytesMut,
}

impl Frames {
    /// `None` at a good end.
    async fn next_message(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            if let Some(message) = self.message() {
                return Some(Ok(message));
            }
            if self.body.is_end_stream() {
                return None;
            }
            let frame = match self.body.frame().await? {
                Ok(frame) => frame,
                Err(status) => return Some(Err(status)),
            };
            if let Some(trailers) = frame.trailers_ref() {
                let status = Status::from_header_map(trailers)?;
                return (status.code() != Code::Ok).then_some(Err(status));
            }
            if let Ok(data) = frame.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }

    /// A message that has arrived whole. Answers are not compressed: no call made here says that it accepts that.
    fn message(&mut self) -> Option<Bytes> {
        let (header, rest) = self.read.split_first_chunk::<FRAME_HEADER_BYTES>()?;
        let [_, length @ ..] = *header;
        let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
        if rest.len() < length {
            return None;
        }
        self.read.advance(FRAME_HEADER_BYTES);
        Some(self.read.split_to(length).freeze())
    }
}

impl From<Status> for EncodedStatus {
    fn from(status: Status) -> Self {
        let encoded = if status.details().is_empty() {
            let bare = pb::Status {
                code: status.code().into(),
                message: status.message().to_owned(),
                details: Vec::new(),
            };
            bare.encode_to_vec()
        } else {
            status.details().to_vec()
        };
        Self {
            code: status.code().into(),
            message: status.message().to_owned(),
            encoded,
            details: Box::new(status.get_error_details()),
        }
    }
}

impl From<CallError> for EncodedStatus {
    fn from(error: CallError) -> Self {
        status(error).into()
    }
}
