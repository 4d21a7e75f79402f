//! Checks how an entry says that its node is reached.

use super::secret::{API_SECRET, WEBHOOK_SECRET, read_secret};
use super::text::NodeText;
use super::{DriverSettings, Faults};
use crate::config::urls::parse_bare_url;
use crate::domain::place::Driver;
use crate::sfu::{livekit, openvidu};

/// How the node of an entry is reached; `None` if a fault leaves no way.
pub(super) fn parse_driver(
    driver: Driver,
    entry: &NodeText,
    name: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    faults: &mut Faults,
) -> Option<DriverSettings> {
    match driver {
        Driver::Builtin => {
            let is_bare = entry.api_url.is_none()
                && entry.api_key.is_none()
                && entry.api_secret_file.is_none()
                && entry.api_secret_env.is_none();
            if !is_bare {
                faults.add(name, "a builtin node has no api_url, api_key or secret");
            }
            refuse_webhook_secret(entry, name, faults);
            Some(DriverSettings::Builtin)
        }
        Driver::LiveKit => {
            refuse_webhook_secret(entry, name, faults);
            let api_url = parse_api_url(entry, name, faults);
            let api_key = entry.api_key.clone().filter(|key| !key.is_empty());
            if api_key.is_none() {
                faults.add(name, "api_key must be set");
            }
            let api_secret = read_secret(API_SECRET, entry, name, lookup, faults);
            Some(DriverSettings::LiveKit(livekit::Config {
                api_url: api_url?,
                public_url: entry.url.clone(),
                api_key: api_key?,
                api_secret: api_secret?,
            }))
        }
        Driver::OpenVidu => {
            if entry.api_key.is_some() {
                faults.add(name, "an openvidu node has no api_key");
            }
            let api_url = parse_api_url(entry, name, faults);
            let secret = read_secret(API_SECRET, entry, name, lookup, faults);
            let has_webhooks =
                entry.webhook_secret_file.is_some() || entry.webhook_secret_env.is_some();
            let webhook_secret = if has_webhooks {
                read_secret(WEBHOOK_SECRET, entry, name, lookup, faults)
            } else {
                None
            };
            Some(DriverSettings::OpenVidu(openvidu::Config {
                api_url: api_url?,
                public_url: entry.url.clone(),
                secret: secret?,
                webhook_secret,
            }))
        }
    }
}

fn refuse_webhook_secret(entry: &NodeText, name: &str, faults: &mut Faults) {
    if entry.webhook_secret_file.is_some() || entry.webhook_secret_env.is_some() {
        faults.add(name, "only an openvidu node has a webhook secret");
    }
}

fn parse_api_url(entry: &NodeText, name: &str, faults: &mut Faults) -> Option<String> {
    let api_url = entry.api_url.clone();
    let api_url = api_url.filter(|url| parse_bare_url(url, &["http", "https"]).is_some());
    if api_url.is_none() {
        let fault = "api_url must be set, and begin with http:// or https://, without user, password, query and fragment";
        faults.add(name, fault);
    }
    api_url
}
