//! One participant's socket, as a page would hold it.

use std::time::{Duration, Instant};

use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::Outcome;

/// A message with an ICE candidate of typical length.
pub(crate) const MESSAGE: &str = r#"{"type":"ice-candidate","data":{"candidate":"candidate:1 1 udp 2113937151 198.51.100.7 50000 typ host generation 0 ufrag abcd network-cost 999","sdpMLineIndex":0,"sdpMid":"0"}}"#;

pub(crate) struct Page {
    socket: WebSocketStream<TcpStream>,
}

impl Page {
    /// Opens a socket, with a participant's cookie if there is one.
    pub(crate) async fn open(url: &str, cookie: Option<&str>) -> Outcome<Self> {
        let mut request = url.into_client_request()?;
        let host = request.uri().authority().ok_or("no host")?.to_string();
        let headers = request.headers_mut();
        // As CLIENT_BASE_URL has it, which knows no port.
        let name = host.split(':').next().unwrap_or_default();
        headers.insert("origin", HeaderValue::from_str(&format!("http://{name}"))?);
        if let Some(cookie) = cookie {
            headers.insert("cookie", HeaderValue::from_str(cookie)?);
        }
        let stream = TcpStream::connect(&host).await?;
        stream.set_nodelay(true)?;
        let (socket, _) = client_async(request, stream).await?;
        Ok(Self { socket })
    }

    /// Reads until a message of a type.
    pub(crate) async fn await_type(&mut self, kind: &str) -> Outcome<()> {
        let kind = format!("\"type\":\"{kind}\"");
        loop {
            let message = self.socket.next().await.ok_or("the socket was closed")??;
            if message.is_close() {
                return Err("the socket was closed".into());
            }
            if message.to_text().is_ok_and(|text| text.contains(&kind)) {
                return Ok(());
            }
        }
    }

    /// Says something and hears it back, again and again.
    pub(crate) async fn talk_to_itself(&mut self, how_long: Duration) -> Outcome<Vec<Duration>> {
        let (started, mut delays) = (Instant::now(), Vec::new());
        while started.elapsed() < how_long {
            let said = Instant::now();
            self.socket.send(Message::text(MESSAGE)).await?;
            self.await_type("ice-candidate").await?;
            delays.push(said.elapsed());
        }
        Ok(delays)
    }

    /// The first says something and the second hears it, again and again.
    pub(crate) async fn talk(pair: &mut [Page], how_long: Duration) -> Outcome<Vec<Duration>> {
        let [one, other] = pair else {
            return Err("not a pair".into());
        };
        let (started, mut delays) = (Instant::now(), Vec::new());
        while started.elapsed() < how_long {
            let said = Instant::now();
            one.socket.send(Message::text(MESSAGE)).await?;
            other.await_type("ice-candidate").await?;
            delays.push(said.elapsed());
        }
        Ok(delays)
    }
}
