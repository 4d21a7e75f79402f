//! Settings of logs and traces.

use super::env::Env;
use super::urls::parse_url;
use crate::telemetry::{Config, LogFormat, is_filter};

pub(super) fn read(env: &mut Env<'_>, dev: bool) -> Option<Config> {
    let format_default = if dev { "pretty" } else { "json" };
    let format = env.parse(
        "LOG_FORMAT",
        format_default,
        "must be json or pretty",
        |text| match text {
            "json" => Some(LogFormat::Json),
            "pretty" => Some(LogFormat::Pretty),
            _ => None,
        },
    );
    let filter = env.parse(
        "LOG_FILTER",
        "info",
        "must be a level (error, warn, info, debug, trace) or a tracing filter",
        |text| is_filter(text).then(|| text.to_owned()),
    );
    let otlp_endpoint = env.optional("OTEL_EXPORTER_OTLP_ENDPOINT");
    if otlp_endpoint
        .as_ref()
        .is_some_and(|url| parse_url(url, &["http"]).is_none())
    {
        env.report_fault(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "must be an http:// URL without user and password",
        );
    }
    Some(Config {
        format: format?,
        filter: filter?,
        otlp_endpoint,
    })
}
