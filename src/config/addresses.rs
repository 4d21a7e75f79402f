//! The addresses that the service listens on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::env::{Env, Fault};

const GRPC_ADDR_DEFAULT: &str = "0.0.0.0:50051";
const REST_ADDR_OF_DEV: &str = "127.0.0.1:4080";

/// Where a probe reaches health.
#[derive(Debug, Clone, Copy)]
pub struct HealthTarget {
    /// The address.
    pub addr: SocketAddr,
    /// Whether it requires TLS.
    pub tls: bool,
}

impl HealthTarget {
    /// Reads only the settings that a probe needs; a probe has no secrets.
    ///
    /// # Errors
    /// All faults.
    pub fn read(env: Env<'_>, dev: bool) -> Result<Self, Vec<Fault>> {
        let mut env = env;
        let grpc_addr = address(&mut env, "GRPC_ADDR", GRPC_ADDR_DEFAULT, dev);
        let health_addr = health_address(&mut env, dev);
        let tls = health_addr.is_none() && env.optional("TLS_CERT_FILE").is_some();
        let target = health_addr.or(grpc_addr).map(|addr| Self { addr, tls });
        env.finish(target)
    }
}

/// The addresses; `None` for those with a fault.
pub(super) struct Addresses {
    pub(super) grpc: Option<SocketAddr>,
    pub(super) admin: Option<SocketAddr>,
    pub(super) http: Option<SocketAddr>,
    /// The address for health only, if set.
    pub(super) health: Option<SocketAddr>,
    /// The address of the JSON edge, if it is on.
    pub(super) rest: Option<SocketAddr>,
    /// The address of the older services' APIs, if it is set.
    pub(super) legacy: Option<SocketAddr>,
}

pub(super) fn read(env: &mut Env<'_>, dev: bool) -> Addresses {
    let addresses = Addresses {
        grpc: address(env, "GRPC_ADDR", GRPC_ADDR_DEFAULT, dev),
        admin: address(env, "ADMIN_ADDR", "127.0.0.1:9464", dev),
        http: address(env, "HTTP_ADDR", "0.0.0.0:4000", dev),
        health: health_address(env, dev),
        rest: rest_address(env, dev),
        legacy: legacy_address(env, dev),
    };
    report_overlaps(
        env,
        &[
            ("GRPC_ADDR", addresses.grpc),
            ("ADMIN_ADDR", addresses.admin),
            ("HTTP_ADDR", addresses.http),
            ("HEALTH_ADDR", addresses.health),
            ("REST_ADDR", addresses.rest),
            ("LEGACY_ADDR", addresses.legacy),
        ],
    );
    addresses
}

fn address(
    env: &mut Env<'_>,
    setting: &'static str,
    default: &str,
    dev: bool,
) -> Option<SocketAddr> {
    let rule = "must be an address and a port, as in 0.0.0.0:50051";
    let addr = env.parse(setting, default, rule, |text| text.parse().ok())?;
    Some(if dev { loopback(addr) } else { addr })
}

fn health_address(env: &mut Env<'_>, dev: bool) -> Option<SocketAddr> {
    let text = env.optional("HEALTH_ADDR")?;
    optional_address(env, "HEALTH_ADDR", &text, dev)
}

/// The JSON edge is off unless its address is set; `--dev` shows everything.
fn rest_address(env: &mut Env<'_>, dev: bool) -> Option<SocketAddr> {
    let text = env.optional("REST_ADDR");
    let text = text.or_else(|| dev.then(|| REST_ADDR_OF_DEV.to_owned()))?;
    optional_address(env, "REST_ADDR", &text, dev)
}

fn legacy_address(env: &mut Env<'_>, dev: bool) -> Option<SocketAddr> {
    let text = env.optional("LEGACY_ADDR")?;
    optional_address(env, "LEGACY_ADDR", &text, dev)
}

fn optional_address(
    env: &mut Env<'_>,
    setting: &'static str,
    text: &str,
    dev: bool,
) -> Option<SocketAddr> {
    let addr = text.parse().ok();
    if addr.is_none() {
        env.report_fault(
            setting,
            "must be an address and a port, as in 0.0.0.0:50052",
        );
    }
    addr.map(|addr| if dev { loopback(addr) } else { addr })
}

/// Reports every address that overlaps an earlier one.
fn report_overlaps(env: &mut Env<'_>, addrs: &[(&'static str, Option<SocketAddr>)]) {
    for (index, (setting, addr)) in addrs.iter().enumerate() {
        for (other, other_addr) in &addrs[..index] {
            if let (Some(addr), Some(other_addr)) = (addr, other_addr)
                && addresses_overlap(*addr, *other_addr)
            {
                env.report_fault(setting, format!("must not use the same port as {other}"));
            }
        }
    }
}

/// Whether two addresses cannot be bound together. Port 0 is a different port each time.
fn addresses_overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |all: IpAddr, ip: IpAddr| match all {
        IpAddr::V4(all) => all.is_unspecified() && ip.is_ipv4(),
        // It accepts IPv4 connections too.
        IpAddr::V6(all) => all.is_unspecified(),
    };
    let (one_ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    let overlap = one_ip == other_ip || covers(one_ip, other_ip) || covers(other_ip, one_ip);
    one.port() != 0 && one.port() == other.port() && overlap
}

/// Replaces the address by loopback: `--dev` is reachable from this machine only.
fn loopback(addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_loopback() {
        addr
    } else {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), addr.port())
    }
}
