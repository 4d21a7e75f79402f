//! The rules together, over random histories.

mod people;
mod session;
