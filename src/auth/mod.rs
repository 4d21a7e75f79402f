//! Credentials: the secret that backends show, and the tokens that participants show.

pub mod secret;
pub mod token;
