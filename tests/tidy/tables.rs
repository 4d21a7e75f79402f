//! Errors, events, RPCs and metrics are documented as they are.

use std::collections::BTreeSet;

use prost::Message as _;
use video_session::api::error::{CallClass, CallError, ErrorDescription};
use video_session::domain::event::EventKind;
use video_session::telemetry::metrics::Metrics;

use crate::{assert_same, read, rows};

/// `InvalidArgument` as the protocol spells it: `INVALID_ARGUMENT`.
fn code_name(class: CallClass) -> String {
    let name = format!("{:?}", video_session::rpc::code_of(class));
    let mut text = String::new();
    for (place, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && place > 0 {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

/// Reason, code, retry or not, metadata keys.
type ErrorRow = (String, String, bool, BTreeSet<String>);

#[test]
fn the_error_table_is_complete_and_true() {
    let expected: BTreeSet<ErrorRow> = CallError::examples()
        .into_iter()
        .map(|error| {
            let told = ErrorDescription::from(error);
            let keys = told.metadata.into_iter().map(|(key, _)| key.to_owned());
            (
                told.reason.to_owned(),
                code_name(told.class),
                told.retry_after.is_some(),
                keys.collect(),
            )
        })
        .collect();
    let listed: BTreeSet<ErrorRow> = rows("docs/errors.md")
        .into_iter()
        .map(|row| {
            let [reason, code, retry, _when, metadata, _what_to_do] =
                row.try_into().expect("six columns");
            let keys = metadata
                .split(", ")
                .map(|key| key.trim_matches('`').to_owned())
                .filter(|key| !key.is_empty());
            (reason, code, retry == "yes", keys.collect())
        })
        .collect();
    assert_same(listed, expected);
}

#[test]
fn the_event_table_lists_every_kind() {
    let kinds = EventKind::examples();
    let existing = kinds.iter().map(|kind| kind.name().to_owned());
    // Another table of the page is about actors.
    let listed = rows("docs/events.md").into_iter().map(|row| row[0].clone());
    assert_same(listed.filter(|name| name.contains('.')), existing);
}

#[test]
fn every_rpc_is_shown_with_grpcurl() {
    let shown: String = ["README.md", "docs/operating.md"].map(read).concat();
    let descriptors = prost_types::FileDescriptorSet::decode(video_session::proto::DESCRIPTORS)
        .expect("the build wrote them");
    let mut missing = Vec::new();
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
                let full = format!("{}.{}/{}", file.package(), service.name(), method.name());
                let call = shown
                    .lines()
                    .any(|line| line.starts_with("grpcurl ") && line.contains(&full));
                // Long calls go over two lines; the method stands on the second then.
                let second = shown
                    .lines()
                    .any(|line| line.starts_with("  ") && line.trim_end().ends_with(&full));
                if !call && !second {
                    missing.push(full);
                }
            }
        }
    }
    assert!(missing.is_empty(), "no grpcurl command shows {missing:?}");
}

#[test]
fn the_metrics_table_lists_every_metric() {
    let metrics = Metrics::default();
    let took = std::time::Duration::ZERO;
    // A family without members is not shown.
    metrics.record_rpc("m", "OK", took);
    metrics.record_store_operation("get", "ok", took);
    metrics.set_sessions("created", 1);
    metrics.count_assignment("sfu-1");
    metrics.count_token("doctor");
    metrics.count_signalling_end(None);
    metrics.count_call_quality("good", "", 1);
    metrics.set_bus_up(true);
    metrics.count_bus_dropped("down", 1);
    metrics.count_move("backend", "node");
    metrics.count_legacy_call("sessions", "GET /health");
    let existing: BTreeSet<String> = metrics
        .encode()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| match line.split_once(' ') {
            Some((name, "counter")) => format!("{name}_total"),
            Some((name, "info")) => format!("{name}_info"),
            Some((name, _)) => name.to_owned(),
            None => line.to_owned(),
        })
        .collect();
    let listed: BTreeSet<String> = rows("docs/operating.md")
        .into_iter()
        .map(|row| row[0].clone())
        .filter(|name| name.starts_with("video_session_"))
        .collect();
    assert_same(listed, existing);
}
