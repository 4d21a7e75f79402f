//! The least that a WebSocket server can do, on the same axum.

use axum::Router;
use axum::extract::WebSocketUpgrade;
use axum::extract::ws::WebSocket;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::Outcome;

pub(crate) async fn serve() -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    let upgrade =
        |upgrade: WebSocketUpgrade| async { upgrade.read_buffer_size(4096).on_upgrade(echo) };
    axum::serve(listener, Router::new().route("/", get(upgrade))).await?;
    Ok(())
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}
