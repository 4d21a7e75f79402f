//! Tokens of the older OpenVidu service: JWTs that its clients get for a password. They admit to no session and to no page.

use std::fmt;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::token::{InvalidToken, KeyError, SECRET_BYTES_MIN, install_provider};
use crate::domain::time::Timestamp;

/// The only algorithm.
pub const ALGORITHM: &str = "HS256";

/// The claims of a token: these and no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LegacyClaims {
    /// The user's name.
    pub sub: String,
    /// The user's role.
    pub role: String,
    /// The end of its validity, in Unix seconds.
    pub exp: i64,
}

/// Issues and verifies these tokens.
pub struct LegacyTokens {
    signing: EncodingKey,
    verifying: DecodingKey,
}

impl fmt::Debug for LegacyTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LegacyTokens")
    }
}

impl LegacyTokens {
    /// Tokens under a secret.
    ///
    /// # Errors
    /// [`KeyError::SecretTooShort`]
    pub fn new(secret: &SecretString) -> Result<Self, KeyError> {
        install_provider();
        let secret = secret.expose_secret().as_bytes();
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::SecretTooShort);
        }
        Ok(Self {
            signing: EncodingKey::from_secret(secret),
            verifying: DecodingKey::from_secret(secret),
        })
    }

    /// Issues a token.
    ///
    /// # Errors
    /// [`KeyError`] if the key does not sign.
    pub fn issue(&self, claims: &LegacyClaims) -> Result<String, KeyError> {
        let header = Header::new(Algorithm::HS256);
        // A shared secret of this length always signs.
        jsonwebtoken::encode(&header, claims, &self.signing).map_err(|_| KeyError::SecretTooShort)
    }

    /// The claims of a token that this secret signed and that is valid at `now`. Clocks are not given any leeway: the service
    /// itself wrote the time.
    ///
    /// # Errors
    /// [`InvalidToken`]
    pub fn verify(&self, jwt: &str, now: Timestamp) -> Result<LegacyClaims, InvalidToken> {
        // The algorithm is the service's, not the token's header's.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims(&["exp", "sub"]);
        let token = jsonwebtoken::decode::<LegacyClaims>(jwt, &self.verifying, &validation);
        let claims = token.map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => InvalidToken::Expired,
            _ => InvalidToken::Forged,
        })?;
        let claims = claims.claims;
        if claims.exp <= now.as_secs() {
            return Err(InvalidToken::Expired);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    fn tokens(secret: &str) -> LegacyTokens {
        LegacyTokens::new(&SecretString::from(secret.to_owned())).expect("long enough")
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn signed(claims: &Value) -> String {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        install_provider();
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).expect("signed")
    }

    #[test]
    fn a_token_is_valid_until_its_end_and_not_a_second_longer() {
        let claims = LegacyClaims {
            sub: "ana".to_owned(),
            role: "admin".to_owned(),
            exp: 1000,
        };
        let jwt = tokens(SECRET).issue(&claims).expect("signed");
        let verify = |now| tokens(SECRET).verify(&jwt, now);
        assert_eq!(verify(at(999)), Ok(claims));
        assert_eq!(verify(at(1000)), Err(InvalidToken::Expired));
        let other = tokens(&SECRET.replace('0', "1"));
        assert_eq!(other.verify(&jwt, at(999)), Err(InvalidToken::Forged));
    }

    #[test]
    fn a_token_has_these_claims_and_no_others() {
        let whole = json!({"sub": "ana", "role": "user", "exp": 1000});
        assert!(tokens(SECRET).verify(&signed(&whole), at(1)).is_ok());
        for (name, value) in [
            ("sub", Value::Null),
            ("role", json!(1)),
            ("exp", json!("1000")),
            ("exp", json!(1e300)),
            ("aud", json!("video-session-join")),
        ] {
            let mut claims = whole.clone();
            claims[name] = value;
            let verified = tokens(SECRET).verify(&signed(&claims), at(1));
            assert_eq!(verified, Err(InvalidToken::Forged), "{claims}");
        }
    }

    #[test]
    fn the_header_does_not_choose_the_algorithm() {
        let claims = json!({"sub": "ana", "role": "admin", "exp": 1000});
        let jwt = signed(&claims);
        let (_, rest) = jwt.split_once('.').expect("three parts");
        for algorithm in ["none", "HS384", "RS256", "EdDSA", "hs256"] {
            let header = json!({"alg": algorithm, "typ": "JWT"}).to_string();
            let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
            let bare = forged.rsplit_once('.').expect("three parts").0.to_owned() + ".";
            for jwt in [forged, bare] {
                let verified = tokens(SECRET).verify(&jwt, at(1));
                assert_eq!(verified, Err(InvalidToken::Forged), "{algorithm}");
            }
        }
        for jwt in [format!(" {jwt}"), format!("{jwt} "), jwt.replace('.', ". ")] {
            let verified = tokens(SECRET).verify(&jwt, at(1));
            assert_eq!(verified, Err(InvalidToken::Forged), "{jwt:?}");
        }
    }

    #[test]
    fn a_short_secret_is_refused() {
        let short = SecretString::from(SECRET[1..].to_owned());
        assert!(LegacyTokens::new(&short).is_err());
    }
}
