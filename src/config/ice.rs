//! Settings of STUN and TURN.

use super::SECS_MAX;
use super::env::Env;
use super::secrets::read_secret;
use super::urls::{is_ice_url, list_entries};
use crate::app::media::{IceConfig, IcePolicy};

pub(super) fn read(env: &mut Env<'_>) -> Option<IceConfig> {
    let stun_urls = ice_urls(env, "STUN_URLS", &["stun", "stuns"]);
    let turn_urls = ice_urls(env, "TURN_URLS", &["turn", "turns"]);
    let turn_secret = read_secret(env, "TURN_SECRET");
    let turn_ttl_secs = env.number("TURN_TTL_SECS", 12 * 3600, 60, SECS_MAX);
    let policy = env.parse(
        "ICE_POLICY",
        "all",
        "must be all or relay",
        |text| match text {
            "all" => Some(IcePolicy::All),
            "relay" => Some(IcePolicy::Relay),
            _ => None,
        },
    );
    let has_urls = turn_urls.as_ref().is_some_and(|urls| !urls.is_empty());
    if has_urls != turn_secret.is_some() {
        env.report_fault("TURN_SECRET", "must be set together with TURN_URLS");
    }
    if policy == Some(IcePolicy::Relay) && !has_urls {
        env.report_fault("ICE_POLICY", "relay needs TURN_URLS");
    }
    Some(IceConfig {
        stun_urls: stun_urls?,
        turn_urls: turn_urls?,
        turn_secret,
        turn_ttl_secs,
        policy: policy?,
    })
}

fn ice_urls(env: &mut Env<'_>, setting: &'static str, schemes: &[&str]) -> Option<Vec<String>> {
    let rule = format!(
        "must be {}: addresses, as in {}:host.example.com:3478, separated by commas",
        schemes.join(": or "),
        schemes[0]
    );
    env.parse(setting, "", &rule, |text| {
        list_entries(text)
            .map(|url| is_ice_url(url, schemes).then(|| url.to_owned()))
            .collect()
    })
}
