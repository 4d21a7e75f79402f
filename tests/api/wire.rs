//! Calls below the generated client: any path, any bytes, any header.

use std::future::poll_fn;
use std::pin::Pin;

use http_body::Body as _;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::{Service as _, ServiceExt as _};

/// What a call carries.
#[derive(Clone, Copy, Default)]
pub(crate) struct Call<'a> {
    pub(crate) path: &'a str,
    pub(crate) message: &'a [u8],
    pub(crate) secret: Option<&'a str>,
    /// The `grpc-encoding` that the message claims to have.
    pub(crate) encoding: Option<&'a str>,
}

impl Call<'_> {
    /// Ends with the status, or, where a stream goes on for ever, with its first message.
    pub(crate) async fn send(&self, channel: &Channel) -> Result<(), Status> {
        let mut channel = channel.clone();
        let request = self.request();
        let answer = channel.ready().await.unwrap().call(request).await.unwrap();
        if let Some(status) = Status::from_header_map(answer.headers()) {
            return outcome(status);
        }
        let mut body = answer.into_body();
        loop {
            let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            let frame = frame.expect("a status at the end").unwrap();
            match frame.trailers_ref() {
                Some(trailers) => return outcome(Status::from_header_map(trailers).unwrap()),
                None if is_stream(self.path) => return Ok(()),
                None => {}
            }
        }
    }

    fn request(&self) -> http::Request<Body> {
        let length = u32::try_from(self.message.len()).unwrap();
        let mut frame = vec![u8::from(self.encoding.is_some())];
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(self.message);
        let headers = [
            ("x-internal-secret", self.secret),
            ("grpc-encoding", self.encoding),
        ];
        let mut request = http::Request::post(format!("http://localhost{}", self.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let body = Body::new(axum::body::Body::from(frame));
        request.body(body).unwrap()
    }
}

fn is_stream(path: &str) -> bool {
    ["Watch", "ServerReflectionInfo"]
        .iter()
        .any(|method| path.contains(method))
}

fn outcome(status: Status) -> Result<(), Status> {
    match status.code() {
        Code::Ok => Ok(()),
        _ => Err(status),
    }
}
