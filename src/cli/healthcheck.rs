//! Asks the running service for its health, over plain gRPC.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use video_session::config::HealthTarget;
use video_session::rpc::SERVICE_NAME;

use super::report_error;

/// Shorter than the interval of any container's health check.
const TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn run(target: HealthTarget, ready: bool) -> ExitCode {
    if target.tls {
        eprintln!("video-session: TLS is on; set HEALTH_ADDR, which serves health in plain text");
        return ExitCode::FAILURE;
    }
    let addr = callable_address(target.addr);
    let service = if ready { SERVICE_NAME } else { "" };
    let answer = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(check(addr, service)));
    match answer {
        Ok(ServingStatus::Serving) => {
            println!("SERVING");
            ExitCode::SUCCESS
        }
        Ok(status) => {
            println!("{}", status.as_str_name());
            ExitCode::FAILURE
        }
        Err(error) => {
            report_error(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

async fn check(
    addr: SocketAddr,
    service: &str,
) -> Result<ServingStatus, Box<dyn std::error::Error>> {
    let channel = Endpoint::from_shared(format!("http://{addr}"))?
        .connect_timeout(TIMEOUT)
        .timeout(TIMEOUT)
        .connect()
        .await?;
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel).check(request).await?;
    Ok(answer.into_inner().status())
}

/// Replaces an unspecified address, which cannot be called, by loopback.
fn callable_address(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}
