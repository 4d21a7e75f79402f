//! Settings of the older services' APIs.

use std::net::SocketAddr;

use strum::VariantNames as _;

use super::env::Env;
use super::urls::{ORIGINS_RULE, list_entries, origin_headers};
use crate::legacy::{Config, LegacyApi};

/// Which APIs are served, and where; none by default.
pub(super) fn read(env: &mut Env<'_>, addr: Option<SocketAddr>) -> Option<Config> {
    let rule = format!(
        "must be names separated by commas, of {}",
        LegacyApi::VARIANTS.join(", ")
    );
    let apis = env.parse("LEGACY_APIS", "", &rule, |text| {
        list_entries(text)
            .map(|name| name.parse().ok())
            .collect::<Option<Vec<LegacyApi>>>()
    })?;
    if !apis.is_empty() && addr.is_none() && env.optional("LEGACY_ADDR").is_none() {
        env.report_fault("LEGACY_ADDR", "must be set when LEGACY_APIS is");
    }
    if apis.is_empty() && addr.is_some() {
        env.report_fault("LEGACY_APIS", "must be set when LEGACY_ADDR is");
    }
    let cors_origins = env.parse("LEGACY_CORS_ORIGINS", "", ORIGINS_RULE, origin_headers)?;
    Some(Config {
        apis,
        cors_origins,
        openvidu: None,
    })
}
