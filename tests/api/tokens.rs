//! Join tokens under attack, and in the hands of another implementation.

use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::SecretString;
use serde_json::{Value, json};
use video_session::app::clock::{Clock as _, SystemClock};
use video_session::auth::token::{
    Bearer, Claims, Config, InvalidToken, KeyError, KeySource, Purpose, Tokens,
};
use video_session::domain::actor::Actor;
use video_session::domain::id::{AppointmentId, NodeId, UserId};
use video_session::domain::locale::Locale;
use video_session::domain::medium::MediaMode;
use video_session::domain::participant::Admission;
use video_session::domain::place::Driver;
use video_session::domain::role::Role;
use video_session::domain::rules::create::UnplacedSession;
use video_session::domain::session::{Requested, Schedule, SessionRequest};
use video_session::proto::v1;

use crate::harness::{JWT_SECRET, Setup, create, created, join, jwt_part, patiently, tool};

const OTHER_SECRET: &str = "another-secret-0123456789abcdef0123456789";

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn pem(name: &str) -> String {
    std::fs::read_to_string(fixture(name)).unwrap()
}

fn shared(secret: &str) -> KeySource {
    KeySource::Secret(SecretString::from(secret.to_owned()))
}

fn private(pem: &str) -> KeySource {
    KeySource::Pem(SecretString::from(pem.to_owned()))
}

fn config(current: KeySource) -> Config {
    Config {
        current,
        previous: Vec::new(),
        issuer: "issuer".to_owned(),
        audience: "audience".to_owned(),
    }
}

fn tokens(current: KeySource) -> Tokens {
    Tokens::new(&config(current)).unwrap()
}

fn issue(tokens: &Tokens) -> String {
    let id = |text: &str| UserId::parse(text).unwrap();
    let request = SessionRequest {
        appointment_id: AppointmentId::parse("appointment-1").unwrap(),
        doctor_id: id("doctor-1"),
        patient_id: id("patient-1"),
        schedule: Schedule::default(),
        labels: <_>::default(),
        admission: Requested::default_of(Admission::default()),
        max_participants: Requested::default_of(8),
        media: Requested::default_of(MediaMode::default()),
        region: None,
        end_to_end_encrypted: false,
        empty_timeout_secs: None,
        open_to_guests: false,
        doctor_name: String::new(),
    };
    let now = SystemClock.now();
    let placed = UnplacedSession::new(request, None, Actor::Backend, now)
        .place(NodeId::parse("sfu-1").unwrap(), Driver::Builtin);
    let expire_time = now.plus_secs(3600);
    let (user_id, locale) = (id("patient-1"), Locale::parse("pt-BR"));
    let bearer = Bearer {
        role: Role::Patient,
        user_id: &user_id,
        display_name: "Pat",
        locale: locale.as_ref(),
    };
    tokens
        .issue(&placed.session, &bearer, now, expire_time)
        .unwrap()
        .jwt
}

fn verify(tokens: &Tokens, jwt: &str) -> Result<Claims, InvalidToken> {
    tokens.verify(jwt, Purpose::Join)
}

fn encoded(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

fn now() -> i64 {
    SystemClock.now().as_secs()
}

/// A token that is signed as asked, with the genuine `kid` and genuine claims but for what `change` does to them.
fn forged(
    genuine: &str,
    algorithm: Algorithm,
    key: &EncodingKey,
    change: impl FnOnce(&mut Value),
) -> String {
    let mut header = Header::new(algorithm);
    header.kid = jwt_part(genuine, 0)["kid"].as_str().map(str::to_owned);
    let mut claims = jwt_part(genuine, 1);
    change(&mut claims);
    jsonwebtoken::encode(&header, &claims, key).unwrap()
}

#[test]
fn a_genuine_token_is_good() {
    let pems = [pem("ed25519.pem"), pem("p256.pem")].map(|pem| private(&pem));
    for source in [shared(JWT_SECRET)].into_iter().chain(pems) {
        let tokens = tokens(source);
        let claims = verify(&tokens, &issue(&tokens)).unwrap();
        assert_eq!((&*claims.sub, &*claims.role), ("patient-1", "patient"));
    }
}

#[test]
fn a_token_without_a_signature_is_refused() {
    for source in [shared(JWT_SECRET), private(&pem("ed25519.pem"))] {
        let tokens = tokens(source);
        let jwt = issue(&tokens);
        let kid = &jwt_part(&jwt, 0)["kid"];
        let claims = encoded(&jwt_part(&jwt, 1));
        for none in ["none", "None", "NONE", "nOnE", ""] {
            let header = encoded(&json!({"alg": none, "typ": "JWT", "kid": kid}));
            assert!(verify(&tokens, &format!("{header}.{claims}.")).is_err());
        }
        let (signed, _) = jwt.rsplit_once('.').unwrap();
        assert!(verify(&tokens, &format!("{signed}.")).is_err());
        assert!(verify(&tokens, signed).is_err());
    }
}

#[test]
fn a_public_key_does_not_serve_as_a_shared_secret() {
    for file in ["ed25519.pem", "p256.pem"] {
        let tokens = tokens(private(&pem(file)));
        let jwt = issue(&tokens);
        let jwk = serde_json::to_value(&tokens.jwks().keys[0]).unwrap();
        let x = jwk["x"].as_str().unwrap();
        let secrets = [
            x.as_bytes().to_vec(),
            URL_SAFE_NO_PAD.decode(x).unwrap(),
            jwk.to_string().into_bytes(),
            pem("ed25519-public.pem").into_bytes(),
            pem("ed25519-public.pem").trim().as_bytes().to_vec(),
        ];
        for secret in secrets {
            for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let key = EncodingKey::from_secret(&secret);
                let attack = forged(&jwt, algorithm, &key, |_| ());
                assert!(verify(&tokens, &attack).is_err());
            }
        }
    }
}

#[test]
fn another_algorithm_is_refused_even_with_the_right_key() {
    let tokens = tokens(shared(JWT_SECRET));
    let jwt = issue(&tokens);
    let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    let genuine = forged(&jwt, Algorithm::HS256, &key, |_| ());
    assert!(verify(&tokens, &genuine).is_ok(), "the forger knows how");
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let attack = forged(&jwt, algorithm, &key, |_| ());
        assert!(verify(&tokens, &attack).is_err());
    }
    // The right signature under a header that claims another algorithm.
    let (_, rest) = jwt.split_once('.').unwrap();
    let kid = &jwt_part(&jwt, 0)["kid"];
    for alg in ["HS384", "RS256", "ES256", "EdDSA", "hs256"] {
        let header = encoded(&json!({"alg": alg, "typ": "JWT", "kid": kid}));
        assert!(verify(&tokens, &format!("{header}.{rest}")).is_err());
    }
}

#[test]
fn claims_that_are_not_right_are_refused_though_they_are_signed() {
    let tokens = tokens(shared(JWT_SECRET));
    let jwt = issue(&tokens);
    let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    let changed = |change: &dyn Fn(&mut Value)| {
        verify(
            &tokens,
            &forged(&jwt, Algorithm::HS256, &key, |claims| change(claims)),
        )
    };
    let with = |claim: &str, value: Value| changed(&|claims| claims[claim] = value.clone());
    let without = |claim: &str| {
        changed(&|claims| {
            claims.as_object_mut().unwrap().remove(claim);
        })
    };
    for claim in ["exp", "nbf", "iss", "aud", "sub", "role", "sessionId"] {
        assert!(without(claim).is_err(), "without {claim}");
        assert!(with(claim, Value::Null).is_err(), "{claim} null");
    }
    for (claim, wrong) in [
        ("aud", json!("another")),
        ("aud", json!("")),
        ("aud", json!(["another"])),
        ("iss", json!("another")),
        ("iss", json!("issuer ")),
        ("exp", json!(now() - 62)),
        ("exp", json!(0)),
        ("exp", json!("never")),
        ("nbf", json!(now() + 70)),
        ("nbf", json!("now")),
    ] {
        assert!(with(claim, wrong.clone()).is_err(), "{claim} {wrong}");
    }
    // Clocks may differ by a minute.
    assert!(with("exp", json!(now() - 50)).is_ok());
    assert!(with("nbf", json!(now() + 50)).is_ok());
}

#[test]
fn only_a_token_of_ours_is_ever_called_expired() {
    let tokens = tokens(shared(JWT_SECRET));
    let jwt = issue(&tokens);
    let forge = |secret: &str| {
        let key = EncodingKey::from_secret(secret.as_bytes());
        forged(&jwt, Algorithm::HS256, &key, |claims| {
            claims["exp"] = json!(now() - 62);
        })
    };
    let late = verify(&tokens, &forge(JWT_SECRET));
    assert_eq!(late.unwrap_err(), InvalidToken::Expired);
    let not_ours = verify(&tokens, &forge(OTHER_SECRET));
    assert_eq!(not_ours.unwrap_err(), InvalidToken::Forged);
}

/// A cookie opens no join page and no SFU, and a link's token opens no connection.
#[test]
fn a_credential_is_good_for_one_purpose() {
    let pems = [pem("ed25519.pem"), pem("p256.pem")].map(|pem| private(&pem));
    for source in [shared(JWT_SECRET)].into_iter().chain(pems) {
        let tokens = tokens(source);
        let jwt = issue(&tokens);
        let claims = verify(&tokens, &jwt).unwrap();
        assert!(tokens.verify(&jwt, Purpose::Page).is_err());
        let cookie = tokens.issue_page_credential(&claims, now() + 60).unwrap();
        assert!(tokens.verify(&cookie, Purpose::Join).is_err());
        let stays = tokens.verify(&cookie, Purpose::Page).unwrap();
        assert_eq!((&stays.jti, &stays.sub), (&claims.jti, &claims.sub));
        assert_eq!(stays.issued_at_sequence, claims.issued_at_sequence);
        assert_eq!(stays.locale.as_deref(), Some("pt-BR"));
        let late = tokens.issue_page_credential(&claims, now() - 62).unwrap();
        let outcome = tokens.verify(&late, Purpose::Page);
        assert_eq!(outcome.unwrap_err(), InvalidToken::Expired);
    }
}

#[test]
fn a_token_that_was_changed_is_refused() {
    for source in [shared(JWT_SECRET), private(&pem("p256.pem"))] {
        let tokens = tokens(source);
        let jwt = issue(&tokens);
        let parts: Vec<_> = jwt.split('.').collect();
        let [header, _, signature] = parts[..] else {
            panic!("three parts");
        };
        for (claim, value) in [
            ("role", json!("doctor")),
            ("permissions", json!(["host"])),
            ("sub", json!("doctor-1")),
            ("exp", json!(now() + 1_000_000)),
        ] {
            let mut claims = jwt_part(&jwt, 1);
            claims[claim] = value;
            let attack = format!("{header}.{}.{signature}", encoded(&claims));
            assert!(verify(&tokens, &attack).is_err(), "{claim}");
        }
        let cut = &jwt[..jwt.len() - 4];
        assert!(verify(&tokens, cut).is_err());
        let huge = "x".repeat(1_000_000);
        for nonsense in [
            "",
            ".",
            "..",
            "...",
            "a.b.c",
            &huge,
            &format!("{jwt}.{signature}"),
        ] {
            assert!(verify(&tokens, nonsense).is_err());
        }
    }
}

#[test]
fn a_key_is_chosen_by_its_kid_alone() {
    let tokens = tokens(shared(JWT_SECRET));
    let jwt = issue(&tokens);
    let claims = jwt_part(&jwt, 1);
    let ours = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    let sign = |header: &Header, key| jsonwebtoken::encode(header, &claims, key).unwrap();
    let mut header = Header::new(Algorithm::HS256);
    assert!(verify(&tokens, &sign(&header, &ours)).is_err(), "no kid");
    for kid in ["", "unknown", "../../../dev/null"] {
        header.kid = Some(kid.to_owned());
        assert!(
            verify(&tokens, &sign(&header, &ours)).is_err(),
            "kid {kid:?}"
        );
    }
    // A key that the token itself brings along is not looked at.
    let theirs = tokens_of_an_attacker();
    let own_jwk = theirs.jwks().keys[0].clone();
    header = Header::new(Algorithm::EdDSA);
    header.kid = jwt_part(&jwt, 0)["kid"].as_str().map(str::to_owned);
    header.jwk = Some(own_jwk);
    header.jku = Some("https://attacker.example/jwks.json".to_owned());
    let key = EncodingKey::from_ed_pem(pem("ed25519.pem").as_bytes()).unwrap();
    assert!(verify(&tokens, &sign(&header, &key)).is_err());
    assert!(verify(&tokens, &issue(&theirs)).is_err());
}

fn tokens_of_an_attacker() -> Tokens {
    tokens(private(&pem("ed25519.pem")))
}

#[test]
fn the_previous_key_verifies_while_it_is_configured() {
    let sources = [
        shared(OTHER_SECRET),
        private(&pem("ed25519.pem")),
        private(&pem("p256.pem")),
    ];
    for source in sources {
        let before = issue(&tokens(source.clone()));
        let rotating = Tokens::new(&Config {
            previous: vec![source],
            ..config(shared(JWT_SECRET))
        })
        .unwrap();
        assert!(verify(&rotating, &before).is_ok());
        let fresh = issue(&rotating);
        assert!(verify(&rotating, &fresh).is_ok());
        assert_ne!(jwt_part(&fresh, 0)["kid"], jwt_part(&before, 0)["kid"]);
        assert!(verify(&tokens(shared(JWT_SECRET)), &before).is_err());
    }
}

#[test]
fn a_key_does_not_sign_under_another_keys_name() {
    let tokens = Tokens::new(&Config {
        previous: vec![shared(OTHER_SECRET)],
        ..config(shared(JWT_SECRET))
    })
    .unwrap();
    let previous = EncodingKey::from_secret(OTHER_SECRET.as_bytes());
    let attack = forged(&issue(&tokens), Algorithm::HS256, &previous, |_| ());
    assert!(verify(&tokens, &attack).is_err());
}

#[test]
fn keys_made_by_other_tools_are_read_too() {
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256] {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let tokens = tokens(private(&key.serialize_pem()));
        assert!(verify(&tokens, &issue(&tokens)).is_ok());
    }
}

#[test]
fn keys_that_cannot_be_used_are_refused() {
    let not_ours = ["p384.pem", "rsa.pem", "p256-sec1.pem", "ed25519-public.pem"];
    for source in not_ours.map(pem).iter().map(String::as_str) {
        assert_eq!(private(source).check(), Err(KeyError::Pem));
    }
    for nonsense in [
        "",
        "x",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
    ] {
        assert_eq!(private(nonsense).check(), Err(KeyError::Pem));
    }
    assert_eq!(
        shared(&JWT_SECRET[..31]).check(),
        Err(KeyError::SecretTooShort)
    );
    assert_eq!(shared(&JWT_SECRET[..32]).check(), Ok(()));
}

#[test]
fn only_public_keys_are_published() {
    assert_eq!(tokens(shared(JWT_SECRET)).jwks().keys, []);
    for (file, alg) in [("ed25519.pem", "EdDSA"), ("p256.pem", "ES256")] {
        let tokens = tokens(private(&pem(file)));
        let kid = jwt_part(&issue(&tokens), 0)["kid"].clone();
        let jwks = serde_json::to_value(tokens.jwks()).unwrap();
        let key = jwks["keys"][0].as_object().unwrap();
        assert_eq!(key["kid"], kid);
        assert_eq!(key["alg"], alg);
        assert!(!key.contains_key("d"), "the private part");
    }
}

/// A token from the running service, and what it takes to verify it.
async fn issued_by(setup: Setup) -> (crate::harness::Service, String) {
    let service = setup.start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let request = join(&session.session_id, v1::Role::Doctor);
    let token = client
        .join_session(request)
        .await
        .unwrap()
        .into_inner()
        .token;
    (service, token)
}

fn signed_with(file: &str) -> Setup {
    Setup::new()
        .unset("VIDEO_JWT_SECRET")
        .set("VIDEO_JWT_PRIVATE_KEY_FILE", fixture(file).display())
}

#[tokio::test]
async fn the_keys_of_a_rotation_are_published() {
    let setup = signed_with("p256.pem").set(
        "VIDEO_JWT_PRIVATE_KEY_PREVIOUS_FILE",
        fixture("ed25519.pem").display(),
    );
    let (service, token) = issued_by(setup).await;
    let jwks: Value = serde_json::from_str(&service.admin("/.well-known/jwks.json").await).unwrap();
    let keys = jwks["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0]["kid"], jwt_part(&token, 0)["kid"]);
    assert_eq!(jwt_part(&token, 0)["alg"], "ES256");
}

#[tokio::test]
async fn a_shared_secret_is_not_published() {
    let (service, _) = issued_by(Setup::new()).await;
    let jwks = service.admin("/.well-known/jwks.json").await;
    assert_eq!(jwks, r#"{"keys":[]}"#);
}

async fn verify_in_python(args: &[&str]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/verify_token.py");
    let verified = tokio::process::Command::new(tool("python"))
        .arg(script)
        .args(args)
        .env_clear()
        .stderr(Stdio::inherit())
        .output();
    let output = patiently(verified).await.unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
#[ignore = "needs Python with PyJWT; .ci/run installs it"]
async fn another_implementation_verifies_tokens_by_the_shared_secret() {
    let (_service, token) = issued_by(Setup::new()).await;
    let claims = verify_in_python(&["HS256", JWT_SECRET, &token]).await;
    assert_eq!(claims["sub"], "doctor-1");
}

#[tokio::test]
#[ignore = "needs Python with PyJWT; .ci/run installs it"]
async fn another_implementation_verifies_tokens_by_the_published_keys() {
    for (file, algorithm) in [("ed25519.pem", "EdDSA"), ("p256.pem", "ES256")] {
        let (service, token) = issued_by(signed_with(file)).await;
        let url = format!("http://{}/.well-known/jwks.json", service.admin);
        let claims = verify_in_python(&[algorithm, &url, &token]).await;
        assert_eq!(claims["sub"], "doctor-1");
    }
}
