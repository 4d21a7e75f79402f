//! Settings of an older service's API on OpenVidu nodes, and its own names of settings, which name one such node.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};

use super::SECS_MAX;
use super::env::Env;
use super::nodes_file::{DriverSettings, NodeSettings, read_text};
use super::secrets::read_secret;
use super::urls::parse_bare_url;
use crate::auth::legacy_token::{ALGORITHM, LegacyTokens};
use crate::auth::token::{self, KeySource};
use crate::domain::id::NodeId;
use crate::domain::node::SfuNode;
use crate::domain::place::Driver;
use crate::legacy::LegacyApi;
use crate::legacy::openvidu::{Config, FILE_BYTES_MAX, Users};
use crate::rpc;
use crate::sfu::openvidu;

/// The name of the node that these settings describe.
const NODE_ID: &str = "openvidu";
/// The only user of OpenVidu 2's REST API.
const USERNAME: &str = "OPENVIDUAPP";

/// The settings that this API shares with others.
pub(super) struct Shared<'a> {
    /// The older services' APIs that are served.
    pub(super) apis: &'a [LegacyApi],
    pub(super) nodes: Option<&'a [NodeSettings]>,
    pub(super) join_tokens: Option<&'a token::Config>,
    pub(super) rpc: &'a rpc::Config,
    pub(super) trusted_proxies: &'a [IpNet],
}

/// The settings of the API, if it is served.
pub(super) fn read(env: &mut Env<'_>, shared: &Shared<'_>) -> Option<Config> {
    let is_served = shared.apis.contains(&LegacyApi::OpenVidu);
    let users_file = env.optional("LEGACY_USERS_FILE");
    let secret = read_secret(env, "JWT_SECRET");
    let rule = format!("must be {ALGORITHM}");
    env.parse("JWT_ALGORITHM", ALGORITHM, &rule, |text| {
        (!is_served || text == ALGORITHM).then_some(())
    });
    let mut secs = |setting, default| env.number(setting, default, 1, SECS_MAX);
    let token_ttl = secs("LEGACY_TOKEN_TTL_SECS", 3600);
    let session_age_max = secs("LEGACY_OPENVIDU_SESSION_AGE_MAX_SECS", 24 * 3600);
    let logins_per_minute = env.number("LEGACY_LOGINS_PER_MINUTE", 10, 1, 1_000_000);
    if !is_served {
        return None;
    }
    let users = read_users(env, users_file);
    let tokens = make_tokens(env, secret, shared.join_tokens);
    if let Some(fault) = shared.nodes.and_then(find_unfit_node) {
        let fault = format!("cannot name openvidu with these SFU nodes: {fault}");
        env.report_fault("LEGACY_APIS", fault);
    }
    Some(Config {
        users: Arc::new(users?),
        tokens: Arc::new(tokens?),
        token_ttl: Duration::from_secs(token_ttl),
        session_age_max: Duration::from_secs(session_age_max),
        logins_per_minute,
        trusted_proxies: shared.trusted_proxies.to_vec(),
        body_bytes_max: shared.rpc.message_bytes_max,
        body_timeout: shared.rpc.body_timeout,
        retry_after: shared.rpc.retry_after,
    })
}

fn make_tokens(
    env: &mut Env<'_>,
    secret: Option<SecretString>,
    join_tokens: Option<&token::Config>,
) -> Option<LegacyTokens> {
    let Some(secret) = secret else {
        let fault = "must be set when LEGACY_APIS names openvidu: its tokens are signed with it";
        env.report_fault("JWT_SECRET", fault);
        return None;
    };
    let is_same = |key: &KeySource| matches!(key, KeySource::Secret(other) if other.expose_secret() == secret.expose_secret());
    let mut join_keys = join_tokens
        .into_iter()
        .flat_map(|tokens| std::iter::once(&tokens.current).chain(&tokens.previous));
    if join_keys.any(is_same) {
        env.report_fault("JWT_SECRET", "must differ from VIDEO_JWT_SECRET");
    }
    let tokens = LegacyTokens::new(&secret);
    tokens
        .map_err(|error| env.report_fault("JWT_SECRET", error.to_string()))
        .ok()
}

fn read_users(env: &mut Env<'_>, path: Option<String>) -> Option<Users> {
    const SETTING: &str = "LEGACY_USERS_FILE";
    let Some(path) = path else {
        let fault = "must be set when LEGACY_APIS names openvidu: a file with its users";
        env.report_fault(SETTING, fault);
        return None;
    };
    let users = read_text(Path::new(&path), FILE_BYTES_MAX).map_err(|fault| vec![fault]);
    match users.and_then(|text| Users::parse(&text)) {
        Ok(users) => Some(users),
        Err(faults) => {
            for fault in faults {
                env.report_fault(SETTING, fault);
            }
            None
        }
    }
}

/// Why clients of this API cannot use these nodes; `None` if they can. A session of theirs goes through a node, and they know only
/// OpenVidu's.
pub fn find_unfit_node(nodes: &[NodeSettings]) -> Option<String> {
    let media = nodes.iter().filter(|node| node.node.driver.carries_media());
    let mut has_openvidu = false;
    for NodeSettings { node, .. } in media {
        let fault = if node.driver != Driver::OpenVidu {
            "is not an OpenVidu node"
        } else if node.url.is_empty() {
            "has no url for participants"
        } else {
            has_openvidu = true;
            continue;
        };
        return Some(format!(
            "every SFU node that carries media must be an OpenVidu node with a url, and the node {} {fault}",
            node.node_id
        ));
    }
    (!has_openvidu).then(|| {
        "there is no OpenVidu node: set OPENVIDU_URL and OPENVIDU_SECRET, or list one in SFU_NODES_FILE".to_owned()
    })
}

/// The node of OPENVIDU_URL; `None` if that is not set, or faulty.
pub(super) fn read_node(env: &mut Env<'_>) -> Option<NodeSettings> {
    let url = env.optional("OPENVIDU_URL");
    let public_url = env.optional("OPENVIDU_PUBLIC_URL");
    let secret = read_secret(env, "OPENVIDU_SECRET");
    let rule = format!("must be {USERNAME}, the only user that OpenVidu 2 has");
    env.parse("OPENVIDU_USERNAME", USERNAME, &rule, |text| {
        (text == USERNAME).then_some(())
    });
    let Some(url) = url else {
        for (setting, is_set) in [
            ("OPENVIDU_SECRET", secret.is_some()),
            ("OPENVIDU_PUBLIC_URL", public_url.is_some()),
        ] {
            if is_set {
                env.report_fault(setting, "must not be set without OPENVIDU_URL");
            }
        }
        return None;
    };
    if secret.is_none() {
        env.report_fault("OPENVIDU_SECRET", "must be set when OPENVIDU_URL is");
    }
    for (other, remedy) in [
        ("SFU_NODES", "remove SFU_NODES"),
        (
            "SFU_NODES_FILE",
            "remove OPENVIDU_URL, OPENVIDU_PUBLIC_URL and OPENVIDU_SECRET, and list the node in the file",
        ),
    ] {
        if env.optional(other).is_some() {
            let fault = format!("cannot be used together with {other}: {remedy}");
            env.report_fault("OPENVIDU_URL", fault);
        }
    }
    let url = checked_url(env, "OPENVIDU_URL", url, &["http", "https"]);
    if url
        .as_ref()
        .is_some_and(|url| url.contains("/openvidu/api"))
    {
        let fault = "must be without /openvidu/api, which the service adds";
        env.report_fault("OPENVIDU_URL", fault);
    }
    let public_url = match public_url {
        Some(public_url) => {
            let schemes = ["http", "https", "ws", "wss"];
            checked_url(env, "OPENVIDU_PUBLIC_URL", public_url, &schemes)
        }
        None => url.clone(),
    };
    let (url, public_url) = (url?, public_url?);
    let node_id = NodeId::parse(NODE_ID).ok()?;
    Some(NodeSettings {
        node: SfuNode::new(node_id, public_url.clone(), Driver::OpenVidu),
        driver: DriverSettings::OpenVidu(openvidu::Config {
            api_url: url,
            public_url: Some(public_url),
            secret: secret?,
            webhook_secret: None,
        }),
    })
}

fn checked_url(
    env: &mut Env<'_>,
    setting: &'static str,
    url: String,
    schemes: &[&str],
) -> Option<String> {
    if parse_bare_url(&url, schemes).is_some() {
        return Some(url);
    }
    let fault = format!(
        "must begin with {}://, and have no user, password, query and fragment",
        schemes.join("://, ")
    );
    env.report_fault(setting, fault);
    None
}
