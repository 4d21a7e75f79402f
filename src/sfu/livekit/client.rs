//! LiveKit's server API: Twirp calls with JSON.

use reqwest::{Client as HttpClient, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::token::{Grant, Signer};
use crate::domain::time::Timestamp;
use crate::sfu::http::{self, Answer};
use crate::sfu::{Admit, SfuError, SignallingAnswer, SignallingRequest, signalling};

/// The answer to a probe of how a node treats rooms that nobody made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnknownRooms {
    /// Joining one is refused.
    Refused,
    /// Joining one makes it.
    Made,
}

/// Calls a node.
pub(super) struct Client {
    http: HttpClient,
    base: Url,
}

/// An error of Twirp's. Its `msg` is left out: it is not for programs.
#[derive(Deserialize)]
struct TwirpError {
    code: String,
}

impl Client {
    pub(super) fn new(api_url: &str) -> Result<Self, SfuError> {
        let base = http::parse_base(api_url)?;
        let http = http::client(&base)?;
        Ok(Self { http, base })
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// Calls a method of `RoomService`.
    ///
    /// # Errors
    /// [`SfuError::RoomNotFound`] also when a participant or track is not found.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        signer: &Signer,
        method: &str,
        grant: Grant<'_>,
        request: &Value,
    ) -> Result<T, SfuError> {
        let service_method = ["twirp", "livekit.RoomService", method];
        let token = signer.issue_call_token(grant, crate::sfu::wall_clock());
        let request = self
            .http
            .post(http::join(&self.base, service_method))
            .bearer_auth(token.expose_secret())
            .json(request);
        let answer = http::send(request).await?;
        if answer.is_success() {
            answer.json()
        } else {
            Err(error_of(&answer))
        }
    }

    /// Passes a page's request on.
    pub(super) async fn open_signalling(
        &self,
        request: &SignallingRequest,
        token: &SecretString,
    ) -> Result<SignallingAnswer, SfuError> {
        signalling::open(&self.http, &self.base, request, token).await
    }

    /// Asks whether a participant could join a room now. It makes no room.
    pub(super) async fn try_unknown_room(
        &self,
        signer: &Signer,
        room: &str,
        admit: &Admit,
        now: Timestamp,
        expire_time: Timestamp,
    ) -> Result<UnknownRooms, SfuError> {
        let token = signer.issue_join_token(room, admit, now, expire_time);
        let request = self
            .http
            .get(http::join(&self.base, ["rtc", "validate"]))
            .bearer_auth(token.expose_secret());
        match http::send(request).await?.status {
            200 => Ok(UnknownRooms::Made),
            404 => Ok(UnknownRooms::Refused),
            status => Err(SfuError::of_status(status)),
        }
    }
}

/// What an answer other than a success means. A 404 counts as "not there" only if Twirp says so: a proxy's own, or that of
/// another server at this address, does not.
fn error_of(answer: &Answer) -> SfuError {
    let code = answer.json::<TwirpError>().map(|error| error.code);
    match (answer.status, code.as_deref()) {
        (404, Ok("not_found")) => SfuError::RoomNotFound,
        (status, _) => SfuError::of_status(status),
    }
}
