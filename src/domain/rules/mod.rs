//! How a session changes, a file for each kind of change. Every function is pure: it takes a session and what is asked for, and
//! returns a [`Change`](super::change::Change) or an [`Error`](super::error::Error). A store commits the change.

mod admit;

mod connect;
pub mod create;
mod end;
mod events;
mod invite;
mod join;
mod name;
mod remove;
mod update;

#[cfg(test)]
mod tests;
