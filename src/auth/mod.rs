//! Credentials: the internal secret of backends, and the tokens of participants.

pub mod secret;
pub mod token;
