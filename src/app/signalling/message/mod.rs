//! The messages of docs/signalling.md, as JSON.

mod client;
mod quality;
mod server;

pub use client::{ClientMessage, ClientRelay, ClientType, MessageError, MessageErrorCode};
pub(super) use quality::{parse_quality, quality_payload};
pub use server::{Connected, ParticipantView, ServerMessage, WaitingReason, relay_text};
