//! Settings as a whole: which are refused, and with which faults.

use super::*;
use secrecy::ExposeSecret as _;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn read_with(settings: &[(&str, &str)], dev: bool) -> Result<Config, Vec<Fault>> {
    let lookup = |name: &str| {
        settings
            .iter()
            .find(|(setting, _)| *setting == name)
            .map(|(_, value)| (*value).to_owned())
    };
    Config::read(Env::new(&lookup), dev)
}

fn faulty(settings: &[(&str, &str)]) -> Vec<&'static str> {
    let mut all = vec![("INTERNAL_SECRET", SECRET), ("VIDEO_JWT_SECRET", SECRET)];
    all.retain(|(name, _)| !settings.iter().any(|(other, _)| other == name));
    all.extend_from_slice(settings);
    match read_with(&all, false) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.into_iter().map(|fault| fault.setting).collect(),
    }
}

#[test]
fn stills_are_allowed_or_not() {
    assert_eq!(faulty(&[("PAGE_STILLS", "true")]), [""; 0]);
    assert_eq!(faulty(&[("PAGE_STILLS", "yes")]), ["PAGE_STILLS"]);
}

#[test]
fn two_secrets_are_enough() {
    assert_eq!(faulty(&[]), [""; 0]);
}

#[test]
fn production_reports_all_missing_secrets_at_once() {
    let faults = read_with(&[], false).err().expect("refused");
    let settings: Vec<_> = faults.iter().map(|fault| fault.setting).collect();
    assert_eq!(settings, ["INTERNAL_SECRET", "VIDEO_JWT_SECRET"]);
}

#[test]
fn no_fault_repeats_a_value() {
    let bad = "hunter2-hunter2";
    let names = [
        "GRPC_ADDR",
        "HEALTH_ADDR",
        "VIDEO_JWT_SECRET",
        "VIDEO_JWT_PRIVATE_KEY_FILE",
        "TLS_CERT_FILE",
        "LOG_FORMAT",
        "JOIN_EARLY_SECS",
        "CLIENT_BASE_URL",
        "MONGO_URI",
        "REDIS_URL",
        "REDIS_CA_FILE",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "GRPC_REFLECTION",
    ];
    let settings = names.map(|name| (name, bad));
    let faults = read_with(&settings, false).err().expect("refused");
    for name in names {
        assert!(
            faults.iter().any(|fault| fault.setting == name),
            "{name} was not reported"
        );
    }
    assert!(faults.iter().all(|fault| !fault.to_string().contains(bad)));
}

#[test]
fn dev_generates_secrets_and_listens_on_loopback_only() {
    let config = || read_with(&[("GRPC_ADDR", "0.0.0.0:7000")], true).expect("starts");
    let (one, other) = (config(), config());
    assert_ne!(
        one.internal_secret.expose_secret(),
        other.internal_secret.expose_secret()
    );
    assert_eq!(one.grpc_addr, "127.0.0.1:7000".parse().expect("an address"));
    assert_eq!(one.drain_delay, Duration::ZERO);
}

#[test]
fn addresses_that_cannot_be_bound_together_are_refused() {
    for (one, other) in [
        ("127.0.0.1:7000", "127.0.0.1:7000"),
        ("0.0.0.0:7000", "127.0.0.1:7000"),
        ("192.0.2.1:7000", "0.0.0.0:7000"),
        ("[::]:7000", "127.0.0.1:7000"),
        ("[::1]:7000", "[::]:7000"),
    ] {
        let settings = ["GRPC_ADDR", "ADMIN_ADDR", "HTTP_ADDR", "HEALTH_ADDR"];
        for (index, first) in settings.iter().enumerate() {
            for second in &settings[index + 1..] {
                let faults = faulty(&[(first, one), (second, other)]);
                assert_eq!(faults, [*second], "{one} {other}");
            }
        }
    }
    for (one, other) in [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("127.0.0.1:7000", "127.0.0.1:7001"),
        ("127.0.0.1:7000", "127.0.0.2:7000"),
        ("0.0.0.0:7000", "[::1]:7000"),
    ] {
        let faults = faulty(&[("GRPC_ADDR", one), ("HEALTH_ADDR", other)]);
        assert_eq!(faults, [""; 0], "{one} {other}");
    }
}

#[test]
fn origins_are_kept_as_browsers_send_them() {
    let config = read_with(
        &[
            ("HTTP_ADDR", "127.0.0.1:4321"),
            ("CLIENT_BASE_URL", "HTTPS://Clinic.Example:443/Care/"),
            ("HTTP_ALLOWED_ORIGINS", "https://Portal.Example:443"),
            ("FRAME_ANCESTORS", "self https://Portal.Example"),
        ],
        true,
    );
    let web = config.expect("good settings").web;
    assert_eq!(web.links.base_url(), "https://clinic.example/Care");
    assert_eq!(web.frame_ancestors, "'self' https://portal.example");
    // --dev adds this machine's names.
    let allowed = [
        "https://portal.example",
        "http://localhost:4321",
        "http://127.0.0.1:4321",
        "http://[::1]:4321",
    ];
    assert_eq!(web.allowed_origins, allowed);
}

#[test]
fn urls_with_a_user_or_an_invalid_port_are_refused() {
    for (setting, good) in [
        ("SFU_NODES", "a=wss://x.example"),
        ("CLIENT_BASE_URL", "https://x.example"),
        ("HTTP_ALLOWED_ORIGINS", "https://x.example"),
        ("FRAME_ANCESTORS", "https://x.example"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x.example"),
    ] {
        assert_eq!(faulty(&[(setting, good)]), [""; 0]);
        for bad in [
            good.replace("://", "://user:pw@"),
            format!("{good}:99999"),
            format!("{good}/../y"),
            format!("{good}/./y"),
            format!("{good}/%2E%2e/y"),
        ] {
            assert_eq!(faulty(&[(setting, &bad)]), [setting], "{bad}");
        }
    }
    for (setting, bad) in [
        ("STUN_URLS", "stun:x.example:99999"),
        ("STUN_URLS", "stun:user@x.example"),
    ] {
        assert_eq!(faulty(&[(setting, bad)]), [setting], "{bad}");
    }
    let turn = [
        ("TURN_URLS", "turn:x.example:99999"),
        ("TURN_SECRET", SECRET),
    ];
    assert!(faulty(&turn).contains(&"TURN_URLS"));
}

#[test]
fn origins_that_no_browser_sends_are_refused() {
    for (setting, value) in [
        ("HTTP_ALLOWED_ORIGINS", "https://*.example.com"),
        ("FRAME_ANCESTORS", "none https://portal.example.com"),
    ] {
        assert_eq!(faulty(&[(setting, value)]), [setting]);
    }
    assert_eq!(
        faulty(&[("FRAME_ANCESTORS", "https://*.example.com")]),
        [""; 0]
    );
}

#[test]
fn both_kinds_of_key_at_once_are_refused() {
    let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/ed25519.pem");
    let key = ("VIDEO_JWT_PRIVATE_KEY_FILE", pem);
    assert_eq!(faulty(&[key, ("VIDEO_JWT_SECRET", "")]), [""; 0]);
    assert_eq!(faulty(&[key]), ["VIDEO_JWT_SECRET"]);
}

#[test]
fn a_missing_file_and_half_a_pair_are_refused() {
    let missing = std::env::temp_dir().join("video-session-no-such-key.pem");
    let faults = faulty(&[(
        "VIDEO_JWT_PRIVATE_KEY_FILE",
        missing.to_str().expect("utf-8"),
    )]);
    assert_eq!(faults, ["VIDEO_JWT_PRIVATE_KEY_FILE"]);
    assert_eq!(
        faulty(&[("TLS_CERT_FILE", "x"), ("TLS_KEY_FILE", "")]),
        ["TLS_CERT_FILE", "TLS_KEY_FILE"]
    );
}

#[test]
fn redis_urls_that_the_driver_would_misunderstand_are_refused() {
    assert_eq!(
        faulty(&[("REDIS_URL", "redis://user:pw@redis.example:6379")]),
        [""; 0]
    );
    for bad in [
        "redis.example:6379",
        "http://redis.example",
        "redis://redis.example?protocol=resp2",
    ] {
        assert_eq!(faulty(&[("REDIS_URL", bad)]), ["REDIS_URL"], "{bad}");
    }
    let prefix = [
        ("REDIS_URL", "redis://redis.example"),
        ("REDIS_CHANNEL_PREFIX", "a b"),
    ];
    assert_eq!(faulty(&prefix), ["REDIS_CHANNEL_PREFIX"]);
    // Without TLS there is nothing to verify.
    let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/p256.pem");
    let plain = [
        ("REDIS_URL", "redis://redis.example"),
        ("REDIS_CA_FILE", pem),
    ];
    assert_eq!(faulty(&plain), ["REDIS_CA_FILE"]);
}
