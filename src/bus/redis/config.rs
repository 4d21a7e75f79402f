//! How to reach Redis.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion,
    TlsCertificates, TlsMode, parse_redis_url,
};
use secrecy::{ExposeSecret as _, SecretString};

use super::server::{Sentinels, Server};

/// A Sentinel's port, unless its address has another one.
const SENTINEL_PORT: u16 = 26379;

/// Settings of the bus between instances.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://` or `rediss://`, with user and password. With Sentinels, the host is the primary's name.
    pub url: SecretString,
    /// The Sentinels that know the primary: `redis://` or `rediss://`, with user and password, and several hosts.
    pub sentinels: Option<SecretString>,
    /// The CA certificates, as PEM, that sign the servers' certificates; the system's if not set.
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

/// REDIS_URL, REDIS_SENTINEL_URL or the CA certificates cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedisConfigError {
    /// The URL is malformed.
    #[error(
        "must be redis:// or rediss://, a host and, if needed, user:password@, a port and the number of a database, with special characters percent-encoded"
    )]
    Url,
    /// With Sentinels, the URL has a port.
    #[error(
        "must have the name of the primary in place of a host, without a port, when REDIS_SENTINEL_URL is set"
    )]
    PrimaryName,
    /// The Sentinels' URL is malformed.
    #[error(
        "must be redis:// or rediss://, if needed user:password@ with special characters percent-encoded, and hosts separated by commas, with a port each if it is not 26379"
    )]
    Sentinels,
    /// The Sentinels are asked without TLS for a primary that is verified: whoever answers in their place could name a server of their own.
    #[error("must be rediss:// if REDIS_URL is")]
    PlainSentinels,
    /// The CA certificates cannot be used.
    #[error("must be PEM certificates, and needs a rediss:// REDIS_URL or REDIS_SENTINEL_URL")]
    Ca,
}

impl RedisConfig {
    /// The driver's clients. Does not connect.
    ///
    /// # Errors
    /// See [`RedisConfigError`].
    pub(super) fn server(&self) -> Result<Server, RedisConfigError> {
        let info = parse_url(self.url.expose_secret()).ok_or(RedisConfigError::Url)?;
        let Some(sentinels) = &self.sentinels else {
            return self
                .at_address(info)
                .map(|client| Server::At(Box::new(client)));
        };
        if has_port(self.url.expose_secret()) {
            return Err(RedisConfigError::PrimaryName);
        }
        let sentinels =
            parse_sentinels(sentinels.expose_secret()).ok_or(RedisConfigError::Sentinels)?;
        if is_tls(&info) && !sentinels.iter().all(is_tls) {
            return Err(RedisConfigError::PlainSentinels);
        }
        for sentinel in &sentinels {
            self.asking(sentinel, &info)?;
        }
        Ok(Server::KnownTo(Box::new(Sentinels {
            config: self.clone(),
            sentinels,
            primary: info,
        })))
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// See [`RedisConfigError`].
    pub fn check(&self) -> Result<(), RedisConfigError> {
        self.server().map(drop)
    }

    fn at_address(&self, info: ConnectionInfo) -> Result<Client, RedisConfigError> {
        let certificates = self.certificates(is_tls(&info))?;
        // Only RESP3 carries messages and answers on one connection.
        let redis = info.redis_settings().clone();
        let info = info
            .set_redis_settings(redis.set_protocol(ProtocolVersion::RESP3))
            .set_tcp_settings(without_delay());
        match certificates {
            None => Client::open(info).map_err(|_| RedisConfigError::Url),
            Some(certificates) => {
                Client::build_with_tls(info, certificates).map_err(|_| RedisConfigError::Ca)
            }
        }
    }

    /// A client that asks one Sentinel for the address of the primary whose name is the host of `primary`.
    pub(super) fn asking(
        &self,
        sentinel: &ConnectionInfo,
        primary: &ConnectionInfo,
    ) -> Result<SentinelClient, RedisConfigError> {
        let (ConnectionAddr::Tcp(name, _) | ConnectionAddr::TcpTls { host: name, .. }) =
            primary.addr()
        else {
            return Err(RedisConfigError::Url);
        };
        let certificates = self.certificates(is_tls(primary) || is_tls(sentinel))?;
        let addresses = [sentinel.addr().clone()];
        let mut building = SentinelClientBuilder::new(addresses, name, SentinelServerType::Master)
            .map_err(|_| RedisConfigError::Sentinels)?
            .set_client_to_redis_protocol(ProtocolVersion::RESP3)
            .set_client_to_redis_db(primary.redis_settings().db())
            .set_client_to_redis_tcp_settings(without_delay());
        let settings = primary.redis_settings();
        if let Some(username) = settings.username() {
            building = building.set_client_to_redis_username(username);
        }
        if let Some(password) = settings.password() {
            building = building.set_client_to_redis_password(password);
        }
        let settings = sentinel.redis_settings();
        if let Some(username) = settings.username() {
            building = building.set_client_to_sentinel_username(username);
        }
        if let Some(password) = settings.password() {
            building = building.set_client_to_sentinel_password(password);
        }
        if is_tls(primary) {
            building = building.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        if let Some(certificates) = certificates {
            if is_tls(primary) {
                building = building.set_client_to_redis_certificates(certificates.clone());
            }
            if is_tls(sentinel) {
                building = building.set_client_to_sentinel_certificates(certificates);
            }
        }
        building.build().map_err(|_| RedisConfigError::Ca)
    }

    /// What servers' certificates are verified with; `None`: the system's.
    fn certificates(&self, is_tls: bool) -> Result<Option<TlsCertificates>, RedisConfigError> {
        match &self.ca {
            None => Ok(None),
            Some(ca) if is_tls && ca.windows(10).any(|part| part == b"-----BEGIN") => {
                Ok(Some(TlsCertificates {
                    client_tls: None,
                    root_cert: Some(ca.clone()),
                }))
            }
            Some(_) => Err(RedisConfigError::Ca),
        }
    }
}

/// Relays are small and must not wait for each other.
fn without_delay() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

fn has_port(url: &str) -> bool {
    parse_redis_url(url).is_some_and(|url| url.port().is_some())
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

/// One URL with several hosts: all have the same scheme, user and password.
fn parse_sentinels(text: &str) -> Option<Vec<ConnectionInfo>> {
    let (scheme, rest) = text.split_once("://")?;
    let (user, hosts) = match rest.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), rest),
    };
    if hosts.contains('/') {
        return None;
    }
    let sentinels = hosts.split(',').map(|host| {
        let url = format!("{scheme}://{user}{host}");
        if has_port(&url) {
            parse_url(&url)
        } else {
            parse_url(&format!("{url}:{SENTINEL_PORT}"))
        }
    });
    sentinels.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(url: &str, ca: Option<&str>) -> Option<RedisConfigError> {
        fault_with(url, None, ca)
    }

    fn fault_with(
        url: &str,
        sentinels: Option<&str>,
        ca: Option<&str>,
    ) -> Option<RedisConfigError> {
        let config = RedisConfig {
            url: SecretString::from(url),
            sentinels: sentinels.map(SecretString::from),
            ca: ca.map(|ca| ca.as_bytes().to_vec()),
            channel_prefix: "test".into(),
            timeout: Duration::from_secs(1),
            ping_interval: Duration::from_secs(1),
            retry_max: Duration::from_secs(1),
            queue_max: 1,
            queue_bytes_max: 1,
        };
        config.check().err()
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
    fn sentinels_have_one_url_with_several_hosts() {
        let fault = |sentinels| fault_with("redis://:pw@calls", Some(sentinels), None);
        for good in [
            "redis://one.example",
            "redis://:p%40ss@one.example,two.example:26380,[::1]",
            "rediss://user:pw@one.example:26379,two.example",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
        for bad in [
            "",
            "one.example:26379",
            "redis://",
            "redis://one.example,",
            "redis://one.example,,two.example",
            "redis://one.example, two.example",
            "redis://one.example/0",
            "redis://one.example:0",
            "redis://one.example?x=1",
            "http://one.example",
        ] {
            assert_eq!(fault(bad), Some(RedisConfigError::Sentinels), "{bad}");
        }
        let primary = |url| fault_with(url, Some("redis://one.example"), None);
        assert_eq!(
            primary("redis://calls:6379"),
            Some(RedisConfigError::PrimaryName)
        );
        assert_eq!(primary("redis://"), Some(RedisConfigError::Url));
        let plain = fault_with("rediss://calls", Some("redis://one.example"), None);
        assert_eq!(plain, Some(RedisConfigError::PlainSentinels));
        let pem = include_str!("../../../tests/fixtures/p256.pem");
        let refused = fault_with("redis://calls", Some("redis://one.example"), Some(pem));
        assert_eq!(refused, Some(RedisConfigError::Ca), "nothing is verified");
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
