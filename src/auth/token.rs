//! Join tokens: short-lived JWTs that identify a participant to an SFU node or the join page. docs/tokens.md describes them
//! for verifiers.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{Jwk, JwkSet, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::short_code::{ShortCode, ShortCodes};
use crate::domain::id::{SessionId, UserId, random_id};
use crate::domain::locale::Locale;
use crate::domain::role::Role;
use crate::domain::session::Session;
use crate::domain::short_link::ShortLink;
use crate::domain::time::Timestamp;

/// The shortest shared secret, in bytes: the size of HS256's hash (RFC 7518, section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// How far `nbf` is set back and how far clocks may differ, so that a fresh token is never "not yet valid".
pub const CLOCK_SKEW_SECS: u64 = 60;

/// The source of a key.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A secret shared with the verifiers (HS256).
    Secret(SecretString),
    /// A PKCS #8 private key in PEM: EdDSA (Ed25519) or ES256 (P-256).
    Pem(SecretString),
}

/// Settings of join tokens.
#[derive(Debug, Clone)]
pub struct Config {
    /// The key that signs and verifies.
    pub current: KeySource,
    /// Keys that only verify, during a rotation.
    pub previous: Vec<KeySource>,
    /// The `iss` claim.
    pub issuer: String,
    /// The `aud` claim.
    pub audience: String,
}

/// The key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Too short for HS256.
    #[error("must be at least {SECRET_BYTES_MIN} bytes long")]
    SecretTooShort,
    /// Neither Ed25519 nor P-256 in PKCS #8 PEM.
    #[error("must be a PKCS #8 PEM private key of type Ed25519 or P-256")]
    Pem,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// The service issued it, but it has expired.
    #[error("the token has expired")]
    Expired,
    /// The service did not issue it, or not for this purpose. Gives no details, because its bearer does not need them.
    #[error("the token is not valid")]
    Forged,
}

/// The purpose of a credential; a credential for one purpose is refused for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A join token: opens the join page, or connects to the SFU.
    Join,
    /// The join page's cookie, for which a join token is exchanged.
    Page,
}

impl KeySource {
    /// Whether the key can be used.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn check(&self) -> Result<(), KeyError> {
        install_provider();
        Key::parse(self).map(|_| ())
    }
}

/// Chooses the cryptography behind jsonwebtoken, which panics without a choice.
pub(super) fn install_provider() {
    // Fails only if a provider is already installed.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// The claims of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    /// The user.
    pub sub: String,
    /// The session.
    pub session_id: String,
    /// The room on the SFU.
    pub room_name: String,
    /// The role's name.
    pub role: String,
    /// The bearer's permissions in the session.
    pub permissions: Vec<String>,
    /// The session's SFU node.
    pub sfu_node_id: String,
    /// The name to show; may be empty.
    pub name: String,
    /// The issuer.
    pub iss: String,
    /// The audience.
    pub aud: String,
    /// The token's id.
    pub jti: String,
    /// When it was issued, in Unix seconds.
    pub iat: i64,
    /// The start of its validity, in Unix seconds.
    pub nbf: i64,
    /// The end of its validity, in Unix seconds.
    pub exp: i64,
    /// The sequence of the session's event that records its issue: credentials issued before a removal are revoked.
    #[serde(default)]
    pub issued_at_sequence: i64,
    /// The language for the bearer's page: BCP 47.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
}

/// Who gets a token.
#[derive(Debug, Clone, Copy)]
pub struct Bearer<'a> {
    /// Their role.
    pub role: Role,
    /// The user.
    pub user_id: &'a UserId,
    /// The name to show; may be empty.
    pub display_name: &'a str,
    /// The language of their page.
    pub locale: Option<&'a Locale>,
}

/// What a credential says of its bearer's page. Not verified: an expired credential's bearer is to read why, in their language.
#[derive(Debug, Default, Deserialize)]
pub struct PageHints {
    #[serde(default)]
    locale: Option<String>,
    #[serde(default)]
    role: String,
}

impl PageHints {
    /// Reads a credential of any age and origin.
    pub fn read(jwt: &str) -> Self {
        let payload = jwt.split('.').nth(1).unwrap_or("");
        let payload = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
        serde_json::from_slice(&payload).unwrap_or_default()
    }

    /// What verified claims say.
    pub fn of(claims: &Claims) -> Self {
        Self {
            locale: claims.locale.clone(),
            role: claims.role.clone(),
        }
    }

    /// The language.
    pub fn locale(&self) -> Option<Locale> {
        Locale::parse(self.locale.clone()?)
    }

    /// The role.
    pub fn role(&self) -> Option<Role> {
        Role::from_name(&self.role)
    }
}

/// Whether a text is the beginning of a token: its signature is missing, or too short.
pub fn is_cut(text: &str) -> bool {
    /// The beginning of every token: an opening brace and a quotation mark in base64.
    const START: &str = "eyJ";
    let Some((_, signature)) = text
        .split_once('.')
        .and_then(|(_, rest)| rest.split_once('.'))
    else {
        return text.starts_with(START);
    };
    jsonwebtoken::decode_header(text).is_ok_and(|header| {
        let signature_chars = match header.alg {
            Algorithm::HS256 => 43,
            _ => 86,
        };
        signature.len() < signature_chars
    })
}

/// An issued token.
pub struct JoinToken {
    /// The JWT. A credential: never log or store it.
    pub jwt: String,
    /// Its `jti`.
    pub jti: String,
    /// Its `exp`.
    pub expire_time: Timestamp,
}

struct Key {
    kid: String,
    algorithm: Algorithm,
    signing: EncodingKey,
    verifying: DecodingKey,
    /// The public key for verifiers; `None` for a shared secret.
    public: Option<Jwk>,
    short_codes: ShortCodes,
}

/// The record of a token's issue.
struct Issue {
    jti: String,
    /// That of the event that records it.
    sequence: i64,
}

/// Issues and verifies join tokens, and makes the codes of short links.
pub struct Tokens {
    current: Key,
    previous: Vec<Key>,
    issuer: String,
    audience: String,
}

impl Tokens {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`KeyError`] when one of them cannot be used.
    pub fn new(config: &Config) -> Result<Self, KeyError> {
        install_provider();
        Ok(Self {
            current: Key::parse(&config.current)?,
            previous: config
                .previous
                .iter()
                .map(Key::parse)
                .collect::<Result<_, _>>()?,
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
        })
    }

    /// Issues a token for a participant, valid from now until `expire_time`, cut to whole seconds.
    ///
    /// # Errors
    /// [`KeyError`] when the key does not sign, which [`Tokens::new`] has ruled out.
    pub fn issue(
        &self,
        session: &Session,
        bearer: &Bearer<'_>,
        now: Timestamp,
        expire_time: Timestamp,
    ) -> Result<JoinToken, KeyError> {
        let issue = Issue {
            jti: random_id(),
            sequence: session.version + 1,
        };
        let claims = self.claims(session, bearer, issue, now, expire_time);
        Ok(JoinToken {
            jwt: self.current.sign(&claims)?,
            jti: claims.jti,
            expire_time: Timestamp::from_millis(claims.exp.saturating_mul(1000)),
        })
    }

    fn claims(
        &self,
        session: &Session,
        bearer: &Bearer<'_>,
        issue: Issue,
        now: Timestamp,
        expire_time: Timestamp,
    ) -> Claims {
        let Bearer {
            role,
            user_id,
            display_name,
            locale,
        } = *bearer;
        Claims {
            sub: user_id.to_string(),
            session_id: session.session_id.to_string(),
            room_name: session.place.room_name.clone(),
            role: role.name().to_owned(),
            permissions: role.permissions().iter().map(ToString::to_string).collect(),
            sfu_node_id: session.place.node_id.to_string(),
            name: display_name.to_owned(),
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            jti: issue.jti,
            iat: now.as_secs(),
            nbf: now.minus_secs(CLOCK_SKEW_SECS).as_secs(),
            exp: expire_time.as_secs(),
            issued_at_sequence: issue.sequence,
            locale: locale.map(ToString::to_string),
        }
    }

    /// The claims that a short link stands for. Nothing is signed: they expire at once.
    pub fn claims_of_short_link(
        &self,
        session: &Session,
        link: &ShortLink,
        now: Timestamp,
    ) -> Claims {
        let bearer = Bearer {
            role: link.role,
            user_id: &link.user_id,
            display_name: &link.display_name,
            locale: link.locale.as_ref(),
        };
        let issue = Issue {
            jti: link.jti.clone(),
            sequence: link.since,
        };
        self.claims(session, &bearer, issue, now, now)
    }

    /// The code of a new short link, which is issued with the token `jti`.
    pub fn new_short_code(&self, session_id: &SessionId, jti: &str) -> ShortCode {
        self.current.short_codes.code(session_id, jti)
    }

    /// The code of a stored short link; `None` if it was made with a key that is not configured any more.
    pub fn short_code_of(&self, session_id: &SessionId, link: &ShortLink) -> Option<ShortCode> {
        std::iter::once(&self.current)
            .chain(&self.previous)
            .map(|key| key.short_codes.code(session_id, &link.jti))
            .find(|code| code.digest() == link.digest)
    }

    /// Issues the page credential for a join token's claims, valid until `exp_secs`.
    ///
    /// # Errors
    /// [`KeyError`] when the key does not sign, which [`Tokens::new`] has ruled out.
    pub fn issue_page_credential(
        &self,
        claims: &Claims,
        exp_secs: i64,
    ) -> Result<String, KeyError> {
        self.current.sign(&Claims {
            aud: self.audience(Purpose::Page),
            exp: exp_secs,
            ..claims.clone()
        })
    }

    fn audience(&self, purpose: Purpose) -> String {
        match purpose {
            Purpose::Join => self.audience.clone(),
            Purpose::Page => format!("{}/stay", self.audience),
        }
    }

    /// Returns the claims of a token that one of our keys signed for `purpose` and that is valid now.
    ///
    /// # Errors
    /// [`InvalidToken`] for anything else.
    pub fn verify(&self, jwt: &str, purpose: Purpose) -> Result<Claims, InvalidToken> {
        self.verify_for(jwt, &self.audience(purpose))
    }

    /// Returns the claims of a token that one of our keys signed for an audience and that is valid now.
    pub(super) fn verify_for<C: DeserializeOwned>(
        &self,
        jwt: &str,
        audience: &str,
    ) -> Result<C, InvalidToken> {
        let header = jsonwebtoken::decode_header(jwt).map_err(|_| InvalidToken::Forged)?;
        let key = std::iter::once(&self.current)
            .chain(&self.previous)
            .find(|key| header.kid.as_deref() == Some(key.kid.as_str()))
            .ok_or(InvalidToken::Forged)?;
        // The key decides the algorithm, not the token's header.
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = CLOCK_SKEW_SECS;
        validation.validate_nbf = true;
        validation.set_audience(&[audience]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "nbf", "sub", "iss", "aud"]);
        jsonwebtoken::decode::<C>(jwt, &key.verifying, &validation)
            .map(|token| token.claims)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => InvalidToken::Expired,
                _ => InvalidToken::Forged,
            })
    }

    /// Signs claims with the current key.
    pub(super) fn sign(&self, claims: &impl Serialize) -> Result<String, KeyError> {
        self.current.sign(claims)
    }

    /// The `iss` claim.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The `aud` claim of join tokens, with which those of all others begin.
    pub(super) fn join_audience(&self) -> &str {
        &self.audience
    }

    /// The public keys, for SFU nodes; empty when tokens are signed with a shared secret.
    pub fn jwks(&self) -> JwkSet {
        let keys = std::iter::once(&self.current)
            .chain(&self.previous)
            .filter_map(|key| key.public.clone())
            .collect();
        JwkSet { keys }
    }
}

/// PKCS #8 has two versions, and jsonwebtoken makes JWKs of the first only; tools that store the public key beside the
/// private one write the second.
fn ed25519_key(pem: &[u8]) -> Option<EncodingKey> {
    let key = EncodingKey::from_ed_pem(pem).ok()?;
    let pair = Ed25519KeyPair::from_pkcs8(key.as_bytes()).ok()?;
    let first_version = pair.to_pkcs8v1().ok()?;
    Some(EncodingKey::from_ed_der(first_version.as_ref()))
}

impl Key {
    fn parse(source: &KeySource) -> Result<Self, KeyError> {
        match source {
            KeySource::Secret(secret) => Self::from_secret(secret.expose_secret().as_bytes()),
            KeySource::Pem(pem) => Self::from_pem(pem.expose_secret().as_bytes()),
        }
    }

    fn from_secret(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::SecretTooShort);
        }
        // This id does not reveal the key: every token already contains an HMAC under it.
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"kid");
        let kid = mac
            .as_ref()
            .iter()
            .take(8)
            .map(|b| format!("{b:02x}"))
            .collect();
        Ok(Self {
            kid,
            algorithm: Algorithm::HS256,
            signing: EncodingKey::from_secret(secret),
            verifying: DecodingKey::from_secret(secret),
            public: None,
            short_codes: ShortCodes::new(secret),
        })
    }

    fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let candidates = [
            (Algorithm::EdDSA, ed25519_key(pem)),
            (Algorithm::ES256, EncodingKey::from_ec_pem(pem).ok()),
        ];
        candidates
            .into_iter()
            .filter_map(|(algorithm, signing)| Self::from_private(algorithm, signing?))
            .next()
            .ok_or(KeyError::Pem)
    }

    /// `None` when the key is not of that algorithm, which only a trial signature shows.
    fn from_private(algorithm: Algorithm, signing: EncodingKey) -> Option<Self> {
        let mut public = Jwk::from_encoding_key(&signing, algorithm).ok()?;
        let kid = public.thumbprint(ThumbprintHash::SHA256).ok()?;
        public.common.key_id = Some(kid.clone());
        let key = Self {
            kid,
            algorithm,
            verifying: DecodingKey::from_jwk(&public).ok()?,
            short_codes: ShortCodes::new(signing.as_bytes()),
            signing,
            public: Some(public),
        };
        let signature = jsonwebtoken::crypto::sign(b"probe", &key.signing, algorithm).ok()?;
        jsonwebtoken::crypto::verify(&signature, b"probe", &key.verifying, algorithm)
            .is_ok_and(|good| good)
            .then_some(key)
    }

    fn sign(&self, claims: &impl Serialize) -> Result<String, KeyError> {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.signing).map_err(|_| KeyError::Pem)
    }
}
