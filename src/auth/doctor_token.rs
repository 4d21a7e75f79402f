//! The credentials of a doctor's day: the link that the backend asks for, and the cookie that the page keeps instead of it. Their
//! audiences are not those of join tokens, and their claims name no session, so neither kind is of any use as the other.

use serde::{Deserialize, Serialize};

use super::token::{CLOCK_SKEW_SECS, InvalidToken, KeyError, Tokens};
use crate::domain::id::UserId;
use crate::domain::time::Timestamp;

/// The purpose of a doctor's credential; a credential for one purpose is refused for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoctorPurpose {
    /// The token in a link.
    Link,
    /// The page's cookie, for which a link's token is exchanged.
    Page,
}

/// The claims of a doctor's credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorClaims {
    /// The doctor.
    pub sub: String,
    /// The name to show in calls; may be empty.
    pub name: String,
    /// The issuer.
    pub iss: String,
    /// The audience.
    pub aud: String,
    /// When it was issued, in Unix seconds.
    pub iat: i64,
    /// The start of its validity, in Unix seconds.
    pub nbf: i64,
    /// The end of its validity, in Unix seconds.
    pub exp: i64,
}

impl Tokens {
    /// Issues the token of a doctor's link, valid from now until `expire_time`, cut to whole seconds.
    ///
    /// # Errors
    /// [`KeyError`] when the key does not sign, which [`Tokens::new`] has ruled out.
    pub fn issue_doctor_link(
        &self,
        user_id: &UserId,
        display_name: &str,
        now: Timestamp,
        expire_time: Timestamp,
    ) -> Result<String, KeyError> {
        self.sign(&DoctorClaims {
            sub: user_id.to_string(),
            name: display_name.to_owned(),
            iss: self.issuer().to_owned(),
            aud: self.doctor_audience(DoctorPurpose::Link),
            iat: now.as_secs(),
            nbf: now.minus_secs(CLOCK_SKEW_SECS).as_secs(),
            exp: expire_time.as_secs(),
        })
    }

    /// Issues the page's credential for a link's claims. It expires with the link.
    ///
    /// # Errors
    /// [`KeyError`] when the key does not sign, which [`Tokens::new`] has ruled out.
    pub fn issue_doctor_page(&self, claims: &DoctorClaims) -> Result<String, KeyError> {
        self.sign(&DoctorClaims {
            aud: self.doctor_audience(DoctorPurpose::Page),
            ..claims.clone()
        })
    }

    /// Returns the claims of a doctor's credential that one of our keys signed for `purpose` and that is valid now.
    ///
    /// # Errors
    /// [`InvalidToken`] for anything else.
    pub fn verify_doctor(
        &self,
        jwt: &str,
        purpose: DoctorPurpose,
    ) -> Result<DoctorClaims, InvalidToken> {
        self.verify_for(jwt, &self.doctor_audience(purpose))
    }

    fn doctor_audience(&self, purpose: DoctorPurpose) -> String {
        let audience = self.join_audience();
        match purpose {
            DoctorPurpose::Link => format!("{audience}/doctor"),
            DoctorPurpose::Page => format!("{audience}/doctor/stay"),
        }
    }
}
