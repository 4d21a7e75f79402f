//! The API without its transport: parses requests, and writes answers and errors. An edge handles bytes and headers, and
//! calls [`Api`]; everything that several edges need is here.
//!
//! Messages are destructured without `..`, so that a new field fails to compile until it is handled.

mod answers;
pub mod error;
mod events;
mod faults;
pub mod links;
pub mod names;
mod nodes;
mod page_token;
mod requests;
mod service;
mod session_page;

pub use service::{Api, EventStream};

use links::Links;

/// Settings of the API.
#[derive(Debug, Clone)]
pub struct Config {
    /// The largest number of participants of a session.
    pub participants_max: u16,
    /// The longest time that a doctor's link is valid, in seconds.
    pub doctor_link_ttl_secs_max: u64,
    /// The links of the service's pages.
    pub links: Links,
}
