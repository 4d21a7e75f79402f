//! Log lines as JSON, one object a line: `timestamp`, `level`, the event's own fields, `target`, and under `span` the
//! fields of the innermost span and its name.
//!
//! The format is that of tracing-subscriber's own JSON. That one parses and rewrites a span's fields each time a field is
//! added and each time a line shows them, a third of a call's cost. Here fields are only appended.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes events as lines.
pub(super) struct JsonLines;

/// Keeps a span's fields as `"name":value,` after `"name":value,`.
pub(super) struct JsonFields;

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        line.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut line)?;
        write!(line, "\",\"level\":\"{}\",", metadata.level())?;
        JsonFields.format_fields(line.by_ref(), event)?;
        write!(line, "\"target\":\"{}\"", metadata.target())?;
        if let Some(span) = context.parent_span() {
            line.write_str(",\"span\":{")?;
            if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
                line.write_str(fields)?;
            }
            write!(line, "\"name\":\"{}\"}}", span.name())?;
        }
        line.write_str("}\n")
    }
}

impl<'writer> FormatFields<'writer> for JsonFields {
    fn format_fields<R: RecordFields>(&self, to: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = Visitor {
            to,
            written: Ok(()),
        };
        fields.record(&mut visitor);
        visitor.written
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        self.format_fields(current.as_writer(), fields)
    }
}

struct Visitor<'writer> {
    to: Writer<'writer>,
    written: fmt::Result,
}

impl Visitor<'_> {
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let to = &mut self.to;
        self.written = self
            .written
            .and_then(|()| write!(to, "\"{}\":", field.name()))
            .and_then(|()| value(to))
            .and_then(|()| to.write_char(','));
    }
}

impl Visit for Visitor<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, |to| {
            if value.is_finite() {
                write!(to, "{value:?}")
            } else {
                to.write_str("null")
            }
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |to| write!(to, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |to| write!(to, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |to| write!(to, "{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |to| text(to, |escaped| escaped.write_str(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, |to| text(to, |escaped| write!(escaped, "{value:?}")));
    }
}

/// Writes the output of `write` as a JSON string.
fn text(
    to: &mut Writer<'_>,
    write: impl FnOnce(&mut Escaped<'_, '_>) -> fmt::Result,
) -> fmt::Result {
    to.write_char('"')?;
    write(&mut Escaped(to))?;
    to.write_char('"')
}

/// Escapes what JSON does not allow within a string (RFC 8259, section 7).
struct Escaped<'a, 'writer>(&'a mut Writer<'writer>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, mut rest: &str) -> fmt::Result {
        let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
        // Each special is one byte long, and so a character by itself.
        while let Some(place) = rest.as_bytes().iter().position(special) {
            let (plain, from_special) = rest.split_at(place);
            let (escaped, after) = from_special.split_at(1);
            self.0.write_str(plain)?;
            match escaped {
                "\"" => self.0.write_str("\\\"")?,
                "\\" => self.0.write_str("\\\\")?,
                "\n" => self.0.write_str("\\n")?,
                control => write!(self.0, "\\u{:04x}", control.as_bytes()[0])?,
            }
            rest = after;
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("sound").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(act: impl FnOnce()) -> Vec<serde_json::Value> {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields)
            .event_format(JsonLines)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), act);
        let text = lines.0.lock().expect("sound").clone();
        text.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("JSON"))
            .collect()
    }

    #[test]
    fn every_kind_of_value_is_json() {
        let lines = logged(|| {
            tracing::info!(
                text = "a \"quote\", a \\, a\nline, a \u{1}, an ü",
                debug = ?["x\"y"],
                int = -1,
                number = 0.25,
                none = f64::NAN,
                yes = true,
                "message {}",
                1
            );
        });
        let [line] = lines.as_slice() else {
            panic!("one line");
        };
        assert_eq!(line["text"], "a \"quote\", a \\, a\nline, a \u{1}, an ü");
        assert_eq!(line["debug"], r#"["x\"y"]"#);
        assert_eq!(line["int"], -1);
        assert_eq!(line["number"], 0.25);
        assert_eq!(line["none"], serde_json::Value::Null);
        assert_eq!(line["yes"], true);
        assert_eq!(line["message"], "message 1");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["target"], module_path!());
        assert!(line["timestamp"].as_str().is_some_and(|t| t.ends_with('Z')));
        assert_eq!(line.get("span"), None);
    }

    #[test]
    fn a_span_shows_what_was_recorded_in_it() {
        let lines = logged(|| {
            let span = tracing::info_span!("rpc", first = 1, later = tracing::field::Empty);
            span.record("later", "x");
            tracing::info!(parent: &span, "ended");
        });
        assert_eq!(
            lines[0]["span"],
            serde_json::json!({"name": "rpc", "first": 1, "later": "x"})
        );
    }
}
