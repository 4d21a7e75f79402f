//! TLS and mutual TLS, with certificates made on the spot.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use video_session::proto::v1::video_session_service_client::VideoSessionServiceClient;

use crate::harness::{SECRET, Secret, Service, Setup, channel, create, patiently, readiness};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name` and its key, in PEM.
fn signed_by(ca: &Ca, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn setup(ca: &Ca) -> Setup {
    let (certificate, key) = signed_by(ca, "video.example");
    Setup::new()
        .file("server.pem", &certificate)
        .file("server.key", &key)
        .set("TLS_CERT_FILE", "server.pem")
        .set("TLS_KEY_FILE", "server.key")
}

fn trusting(ca: &Ca) -> ClientTlsConfig {
    ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca.pem()))
        .domain_name("video.example")
}

/// A create over TLS; the error is that of the handshake or of the first call.
async fn call(service: &Service, tls: ClientTlsConfig) -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = Channel::from_shared(format!("https://{}", service.grpc))?;
    let channel = endpoint.tls_config(tls)?.connect().await?;
    let mut client = VideoSessionServiceClient::with_interceptor(channel, Secret::new(SECRET));
    client.create_session(create("appointment-1")).await?;
    Ok(())
}

#[tokio::test]
async fn with_tls_only_those_who_speak_it_and_trust_the_certificate_get_through() {
    let ca_of_ours = ca();
    let service = setup(&ca_of_ours).start().await;
    call(&service, trusting(&ca_of_ours)).await.unwrap();

    let in_plain_text = service
        .client()
        .create_session(create("appointment-1"))
        .await;
    assert_ne!(in_plain_text.unwrap_err().code(), Code::Ok);
    assert!(call(&service, trusting(&ca())).await.is_err());
    let another_name = trusting(&ca_of_ours).domain_name("other.example");
    assert!(call(&service, another_name).await.is_err());
}

#[tokio::test]
async fn with_mutual_tls_a_client_shows_a_certificate_of_the_right_ca() {
    let (servers, clients) = (ca(), ca());
    let setup = setup(&servers)
        .file("clients.pem", &clients.pem())
        .set("TLS_CLIENT_CA_FILE", "clients.pem");
    let service = setup.start().await;
    let showing = |ca: &Ca| {
        let (certificate, key) = signed_by(ca, "backend.example");
        trusting(&servers).identity(Identity::from_pem(certificate, key))
    };
    call(&service, showing(&clients)).await.unwrap();
    assert!(call(&service, trusting(&servers)).await.is_err());
    assert!(call(&service, showing(&servers)).await.is_err());
}

/// The JSON edge has the same certificates, and HTTP/1.1 beside HTTP/2.
#[tokio::test]
async fn json_is_served_with_the_same_certificates() {
    let (servers, clients) = (ca(), ca());
    let setup = setup(&servers)
        .file("clients.pem", &clients.pem())
        .set("TLS_CLIENT_CA_FILE", "clients.pem")
        .set("REST_ADDR", "127.0.0.1:0");
    let service = setup.start().await;
    let rest = service.rest.unwrap();
    let trusted = reqwest::Certificate::from_pem(servers.pem().as_bytes()).unwrap();
    let builder = || {
        reqwest::Client::builder()
            .tls_certs_only([trusted.clone()])
            .resolve("video.example", rest)
    };
    let send = async |client: reqwest::Client| {
        let url = format!("https://video.example:{}/v1/sessions", rest.port());
        client
            .get(url)
            .header("x-internal-secret", SECRET)
            .send()
            .await
    };
    let identity = |ca: &Ca| {
        let (certificate, key) = signed_by(ca, "backend.example");
        reqwest::Identity::from_pem(format!("{certificate}{key}").as_bytes()).unwrap()
    };
    let showing = builder().identity(identity(&clients));
    let answer = send(showing.build().unwrap()).await.unwrap();
    assert_eq!(
        (answer.status(), answer.version()),
        (reqwest::StatusCode::OK, reqwest::Version::HTTP_2)
    );
    let showing = builder().identity(identity(&clients)).http1_only();
    let answer = send(showing.build().unwrap()).await.unwrap();
    assert_eq!(
        (answer.status(), answer.version()),
        (reqwest::StatusCode::OK, reqwest::Version::HTTP_11)
    );
    assert!(send(builder().build().unwrap()).await.is_err());
    let other = builder().identity(identity(&servers));
    assert!(send(other.build().unwrap()).await.is_err());
}

/// A client below HTTP/2.
fn tls_client(ca: &Ca) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from(ca.der().to_vec());
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols.push(b"h2".to_vec());
    Arc::new(config)
}

fn server_name() -> ServerName<'static> {
    ServerName::try_from("video.example").unwrap()
}

async fn connect(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).await.unwrap()
}

/// Waits until the service closes the connection.
async fn closed(mut connection: impl AsyncRead + Unpin) {
    let mut received = Vec::new();
    // With a word of farewell or without.
    let _ = patiently(connection.read_to_end(&mut received)).await;
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_closed_however_far_its_handshake_came() {
    let ca = ca();
    let setup = setup(&ca).set("GRPC_HELLO_TIMEOUT_SECS", 1);
    let service = setup.start().await;
    let config = tls_client(&ca);
    let mut hello = Vec::new();
    ClientConnection::new(Arc::clone(&config), server_name())
        .unwrap()
        .write_tls(&mut hello)
        .unwrap();
    for sent in [&hello[..0], &hello[..1], &hello[..hello.len() / 2], &hello] {
        let mut connection = connect(service.grpc).await;
        connection.write_all(sent).await.unwrap();
        closed(connection).await;
    }
    for sent in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let connector = TlsConnector::from(Arc::clone(&config));
        let connection = connect(service.grpc).await;
        let mut connection = connector.connect(server_name(), connection).await.unwrap();
        connection.write_all(sent).await.unwrap();
        connection.flush().await.unwrap();
        closed(connection).await;
    }
    call(&service, trusting(&ca)).await.unwrap();
}

#[tokio::test]
async fn a_handshake_that_goes_on_does_not_hold_up_the_end() {
    let ca = ca();
    let setup = setup(&ca)
        .set("GRPC_HELLO_TIMEOUT_SECS", 3600)
        .set("DRAIN_TIMEOUT_SECS", 3600);
    let mut service = setup.start().await;
    let silent = connect(service.grpc).await;
    let connector = TlsConnector::from(tls_client(&ca));
    let connection = connect(service.grpc).await;
    let finished = connector.connect(server_name(), connection).await.unwrap();
    service.process.terminate().await;
    drop((silent, finished));
}

#[tokio::test]
async fn probes_go_to_the_health_address_in_plain_text() {
    let ca = ca();
    let setup = setup(&ca).set("HEALTH_ADDR", "127.0.0.1:0");
    let service = setup.start().await;
    let addr = service.health.unwrap();
    let mut health = HealthClient::new(channel(addr));
    assert_eq!(readiness(&mut health).await, ServingStatus::Serving);

    let setup = setup
        .set("GRPC_ADDR", service.grpc)
        .set("HEALTH_ADDR", addr);
    let (code, output) = setup.args(&["healthcheck", "--ready"]).run().await;
    assert_eq!((code, output.as_str()), (Some(0), "SERVING"));
}

#[tokio::test]
async fn a_healthcheck_that_cannot_work_says_what_to_set() {
    let setup = setup(&ca()).args(&["healthcheck"]);
    let (code, output) = setup.run().await;
    assert_eq!(code, Some(1));
    assert!(output.contains("HEALTH_ADDR"), "{output}");
}

#[tokio::test]
async fn files_that_do_not_go_together_are_refused_at_start() {
    let ca = ca();
    let (_, key_of_another) = signed_by(&ca, "video.example");
    for (file, contents) in [
        ("server.key", key_of_another.as_str()),
        ("server.key", "nonsense"),
        ("server.pem", "nonsense"),
        ("server.pem", ""),
    ] {
        let setup = setup(&ca).file(file, contents);
        let (code, output) = setup.args(&["check-config"]).run().await;
        assert_eq!(code, Some(78), "{file} {contents}");
        assert!(output.contains("TLS_"), "{output}");
    }
    let nonsense = setup(&ca)
        .file("clients.pem", "nonsense")
        .set("TLS_CLIENT_CA_FILE", "clients.pem");
    let (code, output) = nonsense.args(&["check-config"]).run().await;
    assert_eq!(code, Some(78));
    assert!(output.contains("TLS_CLIENT_CA_FILE"), "{output}");
}
