//! Who calls, by their token.

use std::time::SystemTime;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::Config;
use super::fault::Fault;
use super::users::UserRole;
use crate::auth::legacy_token::LegacyClaims;
use crate::auth::token::InvalidToken;
use crate::domain::time::Timestamp;

const INVALID_TOKEN: &str = "Invalid token";

/// A user whose token is valid.
pub(super) struct Caller {
    pub(super) claims: LegacyClaims,
    pub(super) role: UserRole,
}

/// The caller of a request.
pub(super) fn authenticate(config: &Config, headers: &HeaderMap) -> Result<Caller, Fault> {
    let jwt = bearer_token(headers)?;
    let claims = config.tokens.verify(jwt, now());
    let claims = claims.map_err(|error| match error {
        InvalidToken::Expired => Fault::unauthorized("Token expired"),
        InvalidToken::Forged => Fault::unauthorized(INVALID_TOKEN),
    })?;
    // The users' file decides: it may have changed since the token was issued.
    let role = config.users.role_of(&claims.sub);
    match role.filter(|role| role.name() == claims.role) {
        Some(role) => Ok(Caller { claims, role }),
        None => Err(Fault::unauthorized(INVALID_TOKEN)),
    }
}

/// The token, still unverified. A missing or half a header and another scheme are told apart as the older service did.
fn bearer_token(headers: &HeaderMap) -> Result<&str, Fault> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Fault::forbidden("Not authenticated"));
    };
    let invalid = || Fault::forbidden("Invalid authentication credentials");
    // A proxy may have added the second one.
    if values.next().is_some() {
        return Err(invalid());
    }
    let value = value.to_str().map_err(|_| invalid())?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if token.is_empty() {
        return Err(Fault::forbidden("Not authenticated"));
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(invalid());
    }
    Ok(token)
}

pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_header_names_the_scheme_and_one_token() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            let token = bearer_token(&headers).map(ToOwned::to_owned);
            token.map_err(|fault| fault.status.as_u16())
        };
        assert_eq!(read(&["Bearer a.b.c"]), Ok("a.b.c".to_owned()));
        assert_eq!(read(&["bearer a.b.c"]), Ok("a.b.c".to_owned()));
        // The verifier refuses it, with its space.
        assert_eq!(read(&["Bearer  a.b.c"]), Ok(" a.b.c".to_owned()));
        for refused in [
            &[][..],
            &["Bearer"],
            &["Basic a"],
            &["a.b.c"],
            &["Bearer a", "Bearer a"],
        ] {
            assert_eq!(read(refused), Err(403), "{refused:?}");
        }
    }
}
