//! The rules together, over random histories and by example.

mod call;
mod guests;
mod medium;
mod people;
mod relocate;
mod rooms;
mod session;
