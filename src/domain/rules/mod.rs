//! The changes of a session, one file per kind. Every function is pure: it takes a session and a request, and returns a
//! [`Change`](super::change::Change) or an [`Error`](super::error::Error). A store commits the change.

mod admit;
mod connect;
pub mod create;
mod end;
mod events;
mod invite;
mod join;
mod medium;
mod name;
mod relocate;
mod remove;
mod update;

#[cfg(test)]
mod tests;
