//! Ends a call with DEADLINE_EXCEEDED when its caller's deadline passes, also in the middle of a stream. tonic watches the
//! same deadline further outside, but answers CANCELLED and does not cover streams, so this layer must end the call first.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::Status;
use tonic::body::Body;

use super::middleware::{Answer, Middleware, Next};
use super::status::status_before_handler;
use crate::api::error::CallFault;

/// The metadata that carries the deadline, as the remaining time.
pub const TIMEOUT_HEADER: &str = "grpc-timeout";
/// How much earlier than tonic this layer ends a call: two timers due at the same time may fire in either order.
const HEAD_START: Duration = Duration::from_millis(5);
/// The most digits of a timeout.
const TIMEOUT_DIGITS_MAX: usize = 8;

#[derive(Clone, Copy)]
pub(super) struct Deadline;

impl Middleware for Deadline {
    type Body = Body;

    fn call<S: Next>(&self, request: Request<Body>, next: &mut S) -> Answer<Body, S::Error> {
        let timeout = request.headers().get(TIMEOUT_HEADER).and_then(read_timeout);
        let timeout = timeout.map(|timeout| timeout.saturating_sub(HEAD_START));
        let Some(deadline) = timeout.and_then(|timeout| Instant::now().checked_add(timeout)) else {
            return Box::pin(next.call(request));
        };
        let passed = status_before_handler(request.uri().path(), CallFault::DeadlineExceeded);
        let answer = next.call(request);
        Box::pin(async move {
            let Ok(answer) = timeout_at(deadline, answer).await else {
                return Ok(passed.into_http());
            };
            let answer = answer?;
            if answer.body().is_end_stream() {
                return Ok(answer);
            }
            Ok(answer.map(|body| {
                Body::new(DeadlineBody {
                    body,
                    deadline: Box::pin(sleep_until(deadline)),
                    passed: Some(passed),
                })
            }))
        })
    }
}

/// The caller's timeout; `None` if it is malformed, which means no deadline.
fn read_timeout(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // gRPC allows no sign; it is accepted here because tonic accepts it.
    if digits.len() > TIMEOUT_DIGITS_MAX {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// The body of an answer, ended when the deadline passes.
struct DeadlineBody {
    body: Body,
    deadline: Pin<Box<Sleep>>,
    /// `None` once it was sent.
    passed: Option<Status>,
}

impl HttpBody for DeadlineBody {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.passed.is_none() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        ready!(self.deadline.as_mut().poll(context));
        let mut trailers = HeaderMap::new();
        if let Some(passed) = self.passed.take() {
            passed.add_header(&mut trailers)?;
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.passed.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_the_format_of_grpc() {
        let read = |text| read_timeout(&HeaderValue::from_static(text));
        assert_eq!(read("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(read("2M"), Some(Duration::from_secs(120)));
        assert_eq!(read("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(read("20m"), Some(Duration::from_millis(20)));
        assert_eq!(read("20u"), Some(Duration::from_micros(20)));
        assert_eq!(read("0n"), Some(Duration::ZERO));
        assert_eq!(read("+1S"), Some(Duration::from_secs(1)));
        for bad in ["", "S", "1", "1s", "-1S", "1.5S", "100000000S", "1 S"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
