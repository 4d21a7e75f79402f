//! The API without its transport: requests parsed, answers and errors written. An edge carries bytes and headers, and calls
//! [`Api`]; whatever else two edges would both need stands here.
//!
//! Messages are taken apart without `..`, so that a new field does not compile until somebody decides what becomes of it.

mod answers;
pub mod error;
mod events;
mod faults;
pub mod links;
pub mod names;
mod page_token;
mod requests;
mod service;
mod session_page;

pub use service::{Api, EventStream};

use links::Links;

/// Settings of the API.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many participants a session may have at the most.
    pub participants_max: u16,
    /// Where participants join.
    pub links: Links,
}
