//! Credentials: the internal secret of backends, the tokens of participants and doctors, the codes of short links, and the passwords and tokens of an older service's
//! users.

pub mod doctor_token;
pub mod legacy_token;
pub mod password;
pub mod secret;
pub mod short_code;
pub mod token;
