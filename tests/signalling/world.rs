//! A service, a session, and browsers that come to it: no more than a cookie jar and a WebSocket.

use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use reqwest::header::{ACCEPT_LANGUAGE, COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use video_session::proto::v1;
use video_session::proto::v1::Role;

use crate::harness::{Client, Service, Setup, create, created, get, join, patiently};

/// Where browsers believe the service to be.
pub(crate) const BASE: &str = "http://page.test";

/// Settings of a quiet service: nothing happens but what a test does.
pub(crate) fn setup() -> Setup {
    Setup::new()
        .set("CLIENT_BASE_URL", BASE)
        // So that refusals of them have other reasons.
        .set("PAGE_STILLS", "true")
}

/// A service and one session on it.
pub(crate) struct World {
    pub(crate) service: Service,
    pub(crate) client: Client,
    pub(crate) session_id: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(&setup(), create("appointment-1")).await
    }

    pub(crate) async fn with(setup: &Setup, request: v1::CreateSessionRequest) -> Self {
        let service = setup.start().await;
        let mut client = service.client();
        let session_id = created(&mut client, request).await.session_id;
        Self {
            service,
            client,
            session_id,
        }
    }

    /// Whose admission it is, everything else as always.
    pub(crate) async fn admitting(admission: v1::Admission) -> Self {
        let request = v1::CreateSessionRequest {
            admission: admission.into(),
            ..create("appointment-1")
        };
        Self::with(&setup(), request).await
    }

    /// Kills the service with -9 and starts it again on the same data.
    pub(crate) async fn restart(self, setup: &Setup) -> Self {
        let session_id = self.session_id;
        self.service.process.kill().await;
        let service = setup.start().await;
        Self {
            client: service.client(),
            service,
            session_id,
        }
    }

    /// The token of a new join link.
    pub(crate) async fn token(&mut self, role: Role) -> String {
        let request = v1::JoinSessionRequest {
            display_name: name(role).to_owned(),
            ..join(&self.session_id, role)
        };
        let answer = self.client.join_session(request).await.unwrap();
        answer.into_inner().token
    }

    /// The cookie of somebody who opened their link.
    pub(crate) async fn ticket(&mut self, role: Role) -> Ticket {
        let token = self.token(role).await;
        self.exchange(&token).await
    }

    pub(crate) async fn exchange(&self, token: &str) -> Ticket {
        Ticket::exchange(self.service.http, &self.session_id, token).await
    }

    pub(crate) async fn connect(&self, ticket: &Ticket) -> Page {
        ticket.connect(self.service.http).await.unwrap()
    }

    /// Somebody opens a new link and connects; what they are told first is still to be read.
    pub(crate) async fn enter(&mut self, role: Role) -> Page {
        let ticket = self.ticket(role).await;
        self.connect(&ticket).await
    }

    /// Somebody whom nobody lets wait: in, and told so.
    pub(crate) async fn admitted(&mut self, role: Role) -> Page {
        let mut page = self.enter(role).await;
        let connected = page.expect("connected").await;
        assert_eq!(connected["status"], "admitted");
        page.expect("existing-participants").await;
        page
    }

    /// Doctor and patient in the call, with everything read that there was to tell.
    pub(crate) async fn couple(&mut self) -> (Page, Page) {
        let mut doctor = self.admitted(Role::Doctor).await;
        let patient = self.admitted(Role::Patient).await;
        doctor.expect("user-joined").await;
        (doctor, patient)
    }

    pub(crate) async fn session(&mut self) -> v1::Session {
        get(&mut self.client, &self.session_id).await.unwrap()
    }

    /// The types of the session's events, after its creation and without the joins.
    pub(crate) async fn events(&mut self) -> Vec<v1::SessionEvent> {
        let request = v1::ListSessionEventsRequest {
            session_id: self.session_id.clone(),
            page_size: 500,
            ..Default::default()
        };
        let answer = self.client.list_session_events(request).await.unwrap();
        let events = answer.into_inner().events;
        for (event, sequence) in events.iter().zip(1..) {
            assert_eq!(event.sequence, sequence);
        }
        events
            .into_iter()
            .filter(|event| {
                event.r#type.starts_with("participant.") || event.r#type.ends_with("ended")
            })
            .collect()
    }

    pub(crate) async fn event_types(&mut self) -> Vec<String> {
        let events = self.events().await;
        events.into_iter().map(|event| event.r#type).collect()
    }

    /// Waits until the session is as it should be.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&v1::Session) -> bool) -> v1::Session {
        patiently(async {
            loop {
                let session = self.session().await;
                if wanted(&session) {
                    return session;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// Waits until the service counts a connection that it closed with that code.
    pub(crate) async fn ended_with(&self, close_code: u16) {
        patiently(async {
            while self.count_of_endings(close_code).await != 1 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// How many connections the service has closed with that code.
    pub(crate) async fn count_of_endings(&self, close_code: u16) -> u64 {
        let counter = format!("signalling_ended_total{{close_code=\"{close_code}\"}} ");
        let metrics = self.service.admin("/metrics").await;
        let line = metrics.lines().find_map(|line| line.split_once(&counter));
        line.map_or(0, |(_, count)| count.parse().unwrap())
    }

    pub(crate) async fn invite(
        &mut self,
        request: v1::InviteParticipantRequest,
    ) -> Result<v1::InviteParticipantResponse, tonic::Status> {
        let request = v1::InviteParticipantRequest {
            session_id: self.session_id.clone(),
            ..request
        };
        let answer = self.client.invite_participant(request).await?;
        Ok(answer.into_inner())
    }

    pub(crate) async fn remove(&mut self, user_id: &str, keep_out: bool) -> v1::Session {
        let request = v1::RemoveParticipantRequest {
            session_id: self.session_id.clone(),
            user_id: user_id.to_owned(),
            keep_out,
        };
        let answer = self.client.remove_participant(request).await.unwrap();
        answer.into_inner().session.unwrap()
    }
}

pub(crate) fn name(role: Role) -> &'static str {
    match role {
        Role::Doctor => "Dr. Lee",
        Role::Patient => "Pat",
        _ => "Somebody",
    }
}

/// What the service answers a browser.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The code of the refusal that the page shows.
    pub(crate) fn code(&self) -> &str {
        let (_, rest) = self.body.split_once("data-code=\"").unwrap_or(("", "\""));
        rest.split('"').next().unwrap()
    }
}

/// A GET, without following redirects.
pub(crate) async fn fetch(http: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    answer_to(browser().get(format!("http://{http}{path}")), headers).await
}

/// A GET whose answer may be no text; the answer has no body then.
pub(crate) async fn fetch_bytes(
    http: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> (Answer, Vec<u8>) {
    let mut request = browser().get(format!("http://{http}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = patiently(request.send()).await.unwrap();
    let read = Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: String::new(),
    };
    (read, answer.bytes().await.unwrap().to_vec())
}

/// What a page of ours sends.
pub(crate) async fn submit(
    http: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Answer {
    let request = browser().post(format!("http://{http}{path}")).body(body);
    answer_to(request, headers).await
}

fn browser() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

async fn answer_to(mut request: reqwest::RequestBuilder, headers: &[(&str, &str)]) -> Answer {
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = patiently(request.send()).await.unwrap();
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: answer.text().await.unwrap(),
    }
}

pub(crate) async fn fetch_in(http: SocketAddr, path: &str, language: &str) -> Answer {
    fetch(http, path, &[(ACCEPT_LANGUAGE.as_str(), language)]).await
}

/// What a browser has once it has opened a join link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) session_id: String,
    /// Names the participant in the address.
    pub(crate) slot: String,
    /// `name=value`, as the Cookie header has it; several of them for a browser with several participants.
    pub(crate) cookie: String,
}

impl Ticket {
    /// Opens a link, as a browser would.
    pub(crate) async fn exchange(http: SocketAddr, session_id: &str, token: &str) -> Self {
        let answer = fetch(http, &format!("/join/{session_id}?token={token}"), &[]).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        Self::of(session_id, &answer)
    }

    pub(crate) fn of(session_id: &str, answer: &Answer) -> Self {
        let (_, slot) = answer.header(LOCATION.as_str()).split_once("?p=").unwrap();
        let cookie = answer.header(SET_COOKIE.as_str());
        Self {
            session_id: session_id.to_owned(),
            slot: slot.to_owned(),
            cookie: cookie.split(';').next().unwrap().to_owned(),
        }
    }

    pub(crate) fn path(&self) -> String {
        format!("/join/{}?p={}", self.session_id, self.slot)
    }

    /// The page that it leads to.
    pub(crate) async fn page(&self, http: SocketAddr) -> Answer {
        fetch(http, &self.path(), &[(COOKIE.as_str(), &self.cookie)]).await
    }

    pub(crate) async fn connect(&self, http: SocketAddr) -> Result<Page, u16> {
        self.connect_from(http, BASE).await
    }

    /// The status with which the handshake was refused, if it was.
    pub(crate) async fn connect_from(&self, http: SocketAddr, origin: &str) -> Result<Page, u16> {
        let path = format!("/join/{}/ws?p={}", self.session_id, self.slot);
        let headers = [("origin", origin), ("cookie", &self.cookie)];
        Ok(Page::over(socket(http, &path, &headers).await?))
    }
}

/// A WebSocket, or the status with which it was refused.
pub(crate) async fn socket(
    http: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<WebSocketStream<TcpStream>, u16> {
    let mut request = format!("ws://{http}{path}").into_client_request().unwrap();
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        let name: tokio_tungstenite::tungstenite::http::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(http).await.unwrap();
    match patiently(tokio_tungstenite::client_async(request, stream)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// What arrives at a page.
enum Arrived {
    Message(Value),
    /// The close code and its reason; `None` when the connection broke.
    End(Option<(u16, String)>),
}

/// A participant's page: reads what comes as it comes, and answers pings.
pub(crate) struct Page {
    outgoing: Option<mpsc::UnboundedSender<Message>>,
    arrived: mpsc::UnboundedReceiver<Arrived>,
    pub(crate) connection_id: String,
}

impl Page {
    pub(crate) fn over(mut socket: WebSocketStream<TcpStream>) -> Self {
        let (outgoing, mut to_send) = mpsc::unbounded_channel::<Message>();
        let (sender, arrived) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    message = to_send.recv() => match message {
                        Some(message) => drop(socket.send(message).await),
                        // The page is gone, without a word.
                        None => return,
                    },
                    message = socket.next() => {
                        let arrived = match message {
                            Some(Ok(Message::Text(text))) => {
                                Arrived::Message(serde_json::from_str(&text).unwrap())
                            }
                            Some(Ok(Message::Close(frame))) => {
                                let end = frame.map(|frame| (u16::from(frame.code), frame.reason.to_string()));
                                // Reading on answers the close.
                                let _ = sender.send(Arrived::End(end));
                                while let Some(Ok(_)) = socket.next().await {}
                                return;
                            }
                            Some(Ok(_)) => continue,
                            Some(Err(_)) | None => Arrived::End(None),
                        };
                        let over = matches!(arrived, Arrived::End(_));
                        if sender.send(arrived).is_err() || over {
                            return;
                        }
                    }
                }
            }
        });
        Self {
            outgoing: Some(outgoing),
            arrived,
            connection_id: String::new(),
        }
    }

    pub(crate) fn say(&self, text: impl Into<String>) {
        let message = Message::text(text.into());
        // A connection that was ended takes no more; what it ended with is still to be read.
        let _ = self.outgoing.as_ref().expect("it lives").send(message);
    }

    pub(crate) fn send(&self, message: &Value) {
        self.say(message.to_string());
    }

    /// A message with a type and nothing else.
    pub(crate) fn ask(&self, kind: &str) {
        self.send(&json!({"type": kind}));
    }

    /// A message about somebody.
    pub(crate) fn about(&self, kind: &str, target_id: &str) {
        self.send(&json!({"type": kind, "target_id": target_id}));
    }

    async fn next(&mut self) -> Arrived {
        patiently(self.arrived.recv())
            .await
            .unwrap_or(Arrived::End(None))
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> Value {
        match self.next().await {
            Arrived::Message(message) => message,
            Arrived::End(end) => panic!("the connection was closed with {end:?}"),
        }
    }

    /// The next message, which is of that type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let message = self.message().await;
        assert_eq!(message["type"], kind, "{message}");
        if kind == "connected" {
            self.connection_id = message["connection_id"].as_str().unwrap().to_owned();
        }
        message
    }

    /// The next message of that type.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            let message = self.message().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// What it was refused with.
    pub(crate) async fn refused(&mut self) -> String {
        let error = self.expect("error").await;
        assert!(!error["message"].as_str().unwrap().is_empty());
        error["code"].as_str().unwrap().to_owned()
    }

    /// The code of its end, which comes next.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        self.closed_with().await.map(|(code, _)| code)
    }

    /// The code and the reason of its end, which comes next.
    pub(crate) async fn closed_with(&mut self) -> Option<(u16, String)> {
        match self.next().await {
            Arrived::End(end) => end,
            Arrived::Message(message) => panic!("not the end: {message}"),
        }
    }

    /// Closes the socket properly, as browsers do.
    pub(crate) fn close(&self) {
        let _ = self
            .outgoing
            .as_ref()
            .expect("it lives")
            .send(Message::Close(None));
    }

    /// The code of its end, whatever comes before.
    pub(crate) async fn closed_at_last(&mut self) -> Option<u16> {
        loop {
            if let Arrived::End(end) = self.next().await {
                return end.map(|(code, _)| code);
            }
        }
    }

    /// Nothing was sent to it that it has not read: the answer to a question is the next thing that it hears.
    pub(crate) async fn nothing_more(&mut self) {
        self.ask("are-you-there");
        assert_eq!(self.refused().await, "unknown-type");
    }

    /// Its connection breaks, without a close.
    pub(crate) fn vanish(mut self) {
        self.outgoing = None;
    }
}
