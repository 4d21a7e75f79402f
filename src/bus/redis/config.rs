//! How to reach Redis.

use std::time::Duration;

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion,
    TlsCertificates, io::tcp::TcpSettings,
};
use secrecy::{ExposeSecret as _, SecretString};

/// Settings of the bus between instances.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://` or `rediss://`, with user and password.
    pub url: SecretString,
    /// The CA certificates, as PEM, that sign the server's certificate; the system's if not set.
    pub ca: Option<Vec<u8>>,
    /// What the names of all channels begin with.
    pub channel_prefix: String,
    /// How long connecting, and every answer, may take.
    pub timeout: Duration,
    /// How often the connection is tried.
    pub ping_interval: Duration,
    /// The longest pause between two attempts to connect.
    pub retry_max: Duration,
    /// How many messages may wait to be sent.
    pub queue_max: usize,
    /// How many bytes of messages may wait to be sent or for Redis' answer.
    pub queue_bytes_max: usize,
}

/// REDIS_URL, or the CA certificates, cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedisConfigError {
    /// The URL is malformed.
    #[error(
        "must be redis:// or rediss://, a host and, if needed, user:password@, a port and the number of a database, with special characters percent-encoded"
    )]
    Url,
    /// The CA certificates cannot be used.
    #[error("must be PEM certificates, and needs a rediss:// REDIS_URL")]
    Ca,
}

impl RedisConfig {
    /// The driver's client. Does not connect.
    ///
    /// # Errors
    /// See [`RedisConfigError`].
    pub fn client(&self) -> Result<Client, RedisConfigError> {
        let info = parse_url(self.url.expose_secret()).ok_or(RedisConfigError::Url)?;
        // Only RESP3 carries messages and answers on one connection. Relays are small and must not wait for each other.
        let redis = info.redis_settings().clone();
        let info = info
            .clone()
            .set_redis_settings(redis.set_protocol(ProtocolVersion::RESP3))
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        match &self.ca {
            None => Client::open(info).map_err(|_| RedisConfigError::Url),
            Some(ca) if ca.windows(10).any(|part| part == b"-----BEGIN") => {
                let certificates = TlsCertificates {
                    client_tls: None,
                    root_cert: Some(ca.clone()),
                };
                Client::build_with_tls(info, certificates).map_err(|_| RedisConfigError::Ca)
            }
            Some(_) => Err(RedisConfigError::Ca),
        }
    }
}

fn parse_url(text: &str) -> Option<ConnectionInfo> {
    let (scheme, rest) = text.split_once("://")?;
    // The driver's options in queries and fragments change the protocol, or switch off the check of certificates.
    let is_plain = ["redis", "rediss"].contains(&scheme) && !rest.contains(['?', '#', ' ']);
    let info = is_plain.then(|| text.into_connection_info().ok())??;
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            (!host.is_empty() && *port != 0).then_some(info)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(url: &str, ca: Option<&str>) -> Option<RedisConfigError> {
        let config = RedisConfig {
            url: SecretString::from(url),
            ca: ca.map(|ca| ca.as_bytes().to_vec()),
            channel_prefix: "test".into(),
            timeout: Duration::from_secs(1),
            ping_interval: Duration::from_secs(1),
            retry_max: Duration::from_secs(1),
            queue_max: 1,
            queue_bytes_max: 1,
        };
        config.client().err()
    }

    #[test]
    fn urls_name_a_server_and_no_options() {
        for good in [
            "redis://127.0.0.1",
            "redis://redis.example:6380/2",
            "redis://user:p%40ss@[::1]:6379",
            "rediss://:secret@redis.example",
        ] {
            assert_eq!(fault(good, None), None, "{good}");
        }
        for bad in [
            "127.0.0.1:6379",
            "redis://",
            "redis://:6379",
            "redis://x.example:0",
            "redis://x.example:99999",
            "redis://x.example/two",
            "redis://x.example?protocol=resp2",
            "rediss://x.example#insecure",
            "unix:///run/redis.sock",
            "http://x.example",
            "redis://a b.example",
        ] {
            assert_eq!(fault(bad, None), Some(RedisConfigError::Url), "{bad}");
        }
    }

    #[test]
    fn ca_certificates_are_pem_and_for_tls() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["x.example".into()]).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        assert_eq!(fault("rediss://x.example", Some(&pem)), None);
        let refused = Some(RedisConfigError::Ca);
        assert_eq!(fault("redis://x.example", Some(&pem)), refused);
        for bad in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nx\n"] {
            assert_eq!(fault("rediss://x.example", Some(bad)), refused, "{bad}");
        }
    }
}
