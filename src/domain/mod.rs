//! The nouns of a video consultation and the rules between them: no I/O, no async, no wire or database types.

pub mod access;
pub mod actor;
pub mod cause;
pub mod change;
pub mod day;
pub mod error;
pub mod event;
pub mod health;
pub mod id;
pub mod label;
pub mod locale;
pub mod medium;
mod named;
pub mod node;
pub mod node_record;
pub mod page;
pub mod participant;
pub mod place;
pub mod placement;
pub mod quality;
pub mod role;
pub mod rules;
pub mod session;
pub mod short_link;
pub mod time;
pub mod unknown;
