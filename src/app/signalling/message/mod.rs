//! The messages of docs/signalling.md, as JSON.

mod client;
mod server;

pub use client::{ClientMessage, ClientRelay, ClientType, MessageError, MessageErrorCode};
pub use server::{Connected, ParticipantView, ServerMessage, WaitingReason, relay_text};
