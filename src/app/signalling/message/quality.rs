//! What a page reports of its connection: `{"good": 61, "weak": {"loss": 4}, "bad": {"frozen": 2}}`, in seconds.

use serde_json::{Map, Value, json};

use crate::domain::quality::{
    CallQuality, GOOD, QUALITY_SECS_MAX, QualityLevel, QualityReason, QualityTrouble,
};

/// Reads the report in a message's `data`. Ignores what this version does not know. `None` if the rest is no whole number, or too
/// large.
pub(in crate::app::signalling) fn parse_quality(
    fields: &Map<String, Value>,
) -> Option<CallQuality> {
    let mut quality = CallQuality::default();
    for (name, value) in fields.get("data")?.as_object()? {
        if name == GOOD {
            quality.good_secs = parse_secs(value)?;
            continue;
        }
        let Some(level) = QualityLevel::from_name(name) else {
            continue;
        };
        for (reason, secs) in value.as_object()? {
            let Some(reason) = QualityReason::from_name(reason) else {
                continue;
            };
            let secs = parse_secs(secs)?;
            if secs > 0 {
                quality.troubles.push(QualityTrouble {
                    level,
                    reason,
                    secs,
                });
            }
        }
    }
    Some(quality)
}

fn parse_secs(value: &Value) -> Option<u32> {
    let secs = u32::try_from(value.as_u64()?).ok()?;
    (secs <= QUALITY_SECS_MAX).then_some(secs)
}

/// The fields of a message that reports it.
pub(in crate::app::signalling) fn quality_payload(quality: &CallQuality) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert(GOOD.to_owned(), json!(quality.good_secs));
    for QualityTrouble {
        level,
        reason,
        secs,
    } in &quality.troubles
    {
        let reasons = data.entry(level.name()).or_insert_with(|| json!({}));
        if let Some(reasons) = reasons.as_object_mut() {
            reasons.insert(reason.name().to_owned(), json!(secs));
        }
    }
    Map::from_iter([("data".to_owned(), Value::Object(data))])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(data: Value) -> Option<CallQuality> {
        parse_quality(&Map::from_iter([("data".to_owned(), data)]))
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let quality = CallQuality::example();
        let mut read = parse_quality(&quality_payload(&quality)).unwrap();
        let place =
            |trouble: &QualityTrouble| quality.troubles.iter().position(|one| one == trouble);
        read.troubles.sort_by_key(place);
        assert_eq!(read, quality);
        assert_eq!(parse(json!({})), Some(CallQuality::default()));
        assert_eq!(
            parse(json!({"weak": {"loss": 0}})),
            Some(CallQuality::default())
        );
        let unknown = json!({"weak": {"10.0.0.1": 1}, "worst": {"loss": 1}, "ip": "10.0.0.1"});
        assert_eq!(parse(unknown), Some(CallQuality::default()));
        let most = parse(json!({"good": QUALITY_SECS_MAX})).unwrap();
        assert_eq!(most.good_secs, QUALITY_SECS_MAX);
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for bad in [
            json!(null),
            json!([]),
            json!({"good": -1}),
            json!({"good": 1.5}),
            json!({"good": "1"}),
            json!({"good": QUALITY_SECS_MAX + 1}),
            json!({"good": u64::MAX}),
            json!({"good": {"loss": 1}}),
            json!({"weak": 1}),
            json!({"weak": {"loss": QUALITY_SECS_MAX + 1}}),
            json!({"bad": {"loss": {"loss": 1}}}),
        ] {
            assert_eq!(parse(bad.clone()), None, "{bad}");
        }
        assert_eq!(parse_quality(&Map::new()), None);
    }
}
