//! OpenVidu's REST API.

use reqwest::{Client as HttpClient, Method, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::sfu::SfuError;
use crate::sfu::http::{self, Answer};

/// The user of every call.
const USER: &str = "OPENVIDUAPP";
/// Where the API is beneath the node's URL.
const API: [&str; 2] = ["openvidu", "api"];

/// Calls a node.
pub(super) struct Client {
    http: HttpClient,
    base: Url,
    secret: SecretString,
}

impl Client {
    pub(super) fn new(api_url: &str, secret: &SecretString) -> Result<Self, SfuError> {
        let base = http::parse_base(api_url)?;
        Ok(Self {
            http: http::client(&base)?,
            base: http::join(&base, API),
            secret: secret.clone(),
        })
    }

    /// Calls the resource at `path`. Answers with any status.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<Answer, SfuError> {
        self.send(method, http::join(&self.base, path.iter().copied()), body)
            .await
    }

    /// Reads the resource at `path`, with one parameter.
    pub(super) async fn get_with(
        &self,
        path: &[&str],
        parameter: (&str, bool),
    ) -> Result<Answer, SfuError> {
        let mut url = http::join(&self.base, path.iter().copied());
        let value = if parameter.1 { "true" } else { "false" };
        url.query_pairs_mut().append_pair(parameter.0, value);
        self.send(Method::GET, url, None).await
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<Answer, SfuError> {
        let mut request = self
            .http
            .request(method, url)
            .basic_auth(USER, Some(self.secret.expose_secret()));
        if let Some(body) = body {
            request = request.json(body);
        }
        http::send(request).await
    }
}
