//! Reads a method's message from a request: from the path, and from the body or the query.

use std::borrow::Cow;
use std::sync::Arc;

use form_urlencoded::parse;
use http::HeaderValue;
use prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::events::RESUME_FIELD;
use super::json;
use super::routes::{Route, Variables};
use crate::api::error::{CallError, CallFault};
use crate::domain::error::{Error, Violation};

/// The field that If-Match sets.
pub(super) const VERSION_FIELD: &str = "expected_version";

/// A request, but for its body.
pub(super) struct Head {
    /// What it calls.
    pub(super) route: Arc<Route>,
    /// The path's variables.
    pub(super) variables: Variables,
    /// The query.
    pub(super) query: String,
    /// The headers If-Match: entity tags of answers.
    pub(super) if_match: Vec<HeaderValue>,
    /// The header Last-Event-ID: the id of an event of a stream.
    pub(super) last_event_id: Option<HeaderValue>,
    /// The header grpc-timeout, which another layer enforces if it can be read.
    pub(super) timeout: Option<HeaderValue>,
    /// Whether the body is compressed.
    pub(super) is_compressed: bool,
    /// Whether fields that the message does not have are left out.
    pub(super) ignore_unknown_fields: bool,
}

impl Head {
    /// The encoded message of the request with this body.
    pub(super) fn message(&self, body: &[u8]) -> Result<Vec<u8>, CallError> {
        if self.is_compressed {
            return Err(CallFault::EncodingUnsupported.into());
        }
        let message = self.read(body).map_err(Error::Validation)?;
        Ok(message.encode_to_vec())
    }

    fn read(&self, body: &[u8]) -> Result<DynamicMessage, Vec<Violation>> {
        let input = self.route.input();
        let mut fields = self.body_fields(body, &input)?;
        let mut faults = Vec::new();
        if self.route.has_body {
            self.refuse_query(&mut faults);
        } else {
            self.add_query(&input, &mut fields, &mut faults);
        }
        for (name, value) in &self.variables {
            set_once(
                &input,
                &mut fields,
                name,
                value,
                "is in the path, with another value",
                &mut faults,
            );
        }
        self.add_version(&input, &mut fields, &mut faults);
        if !self.timeout.as_ref().is_none_or(is_timeout) {
            faults.push(violation("grpc-timeout", TIMEOUT_RULE));
        }
        // What a client has received is newer than where its first request began.
        if let Some(id) = &self.last_event_id
            && let Some(field) = input.get_field_by_name(RESUME_FIELD)
        {
            fields.remove(field.name());
            // What is not text is no number either, and refused as one.
            let id = id.to_str().unwrap_or("?").to_owned();
            fields.insert(field.json_name().to_owned(), Value::String(id));
        }
        if !faults.is_empty() {
            faults.truncate(FAULTS_MAX);
            return Err(faults);
        }
        message(input, Value::Object(fields), self.ignore_unknown_fields)
    }

    /// Sets the version that the headers If-Match name. `*` is met by every session that there is.
    fn add_version(
        &self,
        input: &MessageDescriptor,
        fields: &mut Map<String, Value>,
        faults: &mut Vec<Violation>,
    ) {
        if self.if_match.is_empty() {
            return;
        }
        if input.get_field_by_name(VERSION_FIELD).is_none() {
            faults.push(violation("if-match", "is not used by this method"));
            return;
        }
        let text = self
            .if_match
            .iter()
            .map(|value| value.to_str().unwrap_or_default());
        let tags: Vec<_> = text
            .flat_map(|text| text.split(','))
            .map(str::trim)
            .collect();
        match tags[..] {
            ["*"] => {}
            [tag] => match version(tag) {
                Some(version) => {
                    let otherwise = "is in If-Match, with another value";
                    set_once(input, fields, VERSION_FIELD, version, otherwise, faults);
                }
                None => faults.push(violation("if-match", TAG_RULE)),
            },
            _ => faults.push(violation("if-match", TAG_RULE)),
        }
    }

    fn refuse_query(&self, faults: &mut Vec<Violation>) {
        if self.ignore_unknown_fields {
            return;
        }
        let names = parse(self.query.as_bytes()).map(|(name, _)| shown(&name));
        let rule = "is not a parameter of this method; its fields go into the body";
        faults.extend(names.map(|name| violation(name, rule)));
    }

    fn body_fields(
        &self,
        body: &[u8],
        input: &MessageDescriptor,
    ) -> Result<Map<String, Value>, Vec<Violation>> {
        if body.is_empty() {
            return Ok(Map::new());
        }
        if !self.route.has_body {
            return Err(vec![violation(
                "body",
                "is not used by this method; leave it empty",
            )]);
        }
        let value = json::read(body).map_err(|fault| vec![violation("body", fault)])?;
        let Value::Object(fields) = value else {
            return Err(vec![violation("body", "must be a JSON object")]);
        };
        let mut faults = Vec::new();
        check_names(input, &fields, "", self.ignore_unknown_fields, &mut faults);
        if faults.is_empty() {
            Ok(with_masks(input, fields))
        } else {
            faults.truncate(FAULTS_MAX);
            Err(faults)
        }
    }

    fn add_query(
        &self,
        input: &MessageDescriptor,
        fields: &mut Map<String, Value>,
        faults: &mut Vec<Violation>,
    ) {
        for (name, text) in parse(self.query.as_bytes()) {
            let field = field(input, &name).filter(|field| self.route.is_free(field));
            let Some(field) = field else {
                if !self.ignore_unknown_fields {
                    faults.push(violation(shown(&name), "is not a parameter of this method"));
                }
                continue;
            };
            let value = match field.kind() {
                Kind::Bool => text.parse().map(Value::Bool).ok(),
                _ => Some(Value::String(text.into_owned())),
            };
            let Some(value) = value else {
                faults.push(violation(field.name().to_owned(), rule_of(&field)));
                continue;
            };
            if fields.insert(field.json_name().to_owned(), value).is_some() {
                faults.push(violation(
                    field.name().to_owned(),
                    "is given more than once",
                ));
            }
        }
    }
}

fn violation(field: impl Into<Cow<'static, str>>, description: impl Into<String>) -> Violation {
    Violation {
        field: field.into(),
        description: description.into(),
    }
}

/// A field by its name in JSON or in the proto.
fn field(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message
        .get_field_by_json_name(name)
        .or_else(|| message.get_field_by_name(name))
}

/// What grpc-timeout must be.
const TIMEOUT_RULE: &str = "must be up to 8 digits and a unit (H, M, S, m, u or n), as in 5S";

fn is_timeout(value: &HeaderValue) -> bool {
    let Some((unit, digits)) = value.as_bytes().split_last() else {
        return false;
    };
    let are_digits = digits.iter().all(u8::is_ascii_digit);
    are_digits && (1..=8).contains(&digits.len()) && b"HMSmun".contains(unit)
}

/// What If-Match must be.
const TAG_RULE: &str = "must be * or the ETag of one answer, as in \"7\"";

/// The version in an entity tag. A proxy that compresses answers makes tags weak; the version is the same.
fn version(tag: &str) -> Option<&str> {
    let quoted = tag.strip_prefix("W/").unwrap_or(tag);
    let version = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let is_number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(version)
}

/// Sets a text field; whoever gives the value again must give the same.
fn set_once(
    input: &MessageDescriptor,
    fields: &mut Map<String, Value>,
    name: &str,
    value: &str,
    otherwise: &str,
    faults: &mut Vec<Violation>,
) {
    let Some(field) = input.get_field_by_name(name) else {
        return;
    };
    for name in [field.name(), field.json_name()] {
        let given = fields.remove(name).and_then(|given| match given {
            // Not given.
            Value::Null => None,
            Value::String(text) => Some(text),
            number => Some(number.to_string()),
        });
        if given.is_some_and(|given| given != value) {
            faults.push(violation(field.name().to_owned(), otherwise));
            return;
        }
    }
    fields.insert(
        field.json_name().to_owned(),
        Value::String(value.to_owned()),
    );
}

/// Writes the names in field masks as JSON has them; requests may use either spelling.
fn with_masks(input: &MessageDescriptor, mut fields: Map<String, Value>) -> Map<String, Value> {
    for (name, value) in &mut fields {
        let kind = field(input, name).map(|field| field.kind());
        let is_mask = matches!(kind, Some(Kind::Message(kind)) if kind.full_name() == "google.protobuf.FieldMask");
        if let (true, Value::String(mask)) = (is_mask, value) {
            let names = mask.split(',').map(|name| match field(input, name.trim()) {
                Some(field) => field.json_name().to_owned(),
                None => name.trim().to_owned(),
            });
            *mask = names.collect::<Vec<_>>().join(",");
        }
    }
    fields
}

/// How many faults an error lists at most.
const FAULTS_MAX: usize = 20;
/// The longest name that an error repeats.
const NAME_CHARS_MAX: usize = 64;

/// A name from a request, safe to repeat.
fn shown(name: &str) -> String {
    name.chars()
        .filter(|letter| !letter.is_control())
        .take(NAME_CHARS_MAX)
        .collect()
}

/// Finds names that the message does not have, and fields that are given under both of their names.
fn check_names(
    message: &MessageDescriptor,
    fields: &Map<String, Value>,
    parent: &str,
    ignore_unknown: bool,
    faults: &mut Vec<Violation>,
) {
    let mut seen = Vec::new();
    for (name, value) in fields {
        let Some(field) = field(message, name) else {
            if !ignore_unknown {
                let path = format!("{parent}{}", shown(name));
                faults.push(violation(path, "is not a field of this message"));
            }
            continue;
        };
        let path = format!("{parent}{}", field.name());
        if seen.contains(&field.number()) {
            faults.push(violation(path.clone(), "is given under both of its names"));
        }
        seen.push(field.number());
        // Messages with a JSON form of their own, such as times, are no objects.
        if let (Kind::Message(inner), Value::Object(fields), false) =
            (field.kind(), value, field.is_map())
        {
            check_names(&inner, fields, &format!("{path}."), ignore_unknown, faults);
        }
    }
}

fn message(
    input: MessageDescriptor,
    value: Value,
    ignore_unknown_fields: bool,
) -> Result<DynamicMessage, Vec<Violation>> {
    let options = DeserializeOptions::new().deny_unknown_fields(!ignore_unknown_fields);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    DynamicMessage::deserialize_with_options(input.clone(), tracked, &options).map_err(|_| {
        let path = track.path();
        let names = path.iter().map(ToString::to_string);
        vec![fault_at(&input, names)]
    })
}

/// The fault of the field at this path. The library's own text may repeat the value.
fn fault_at(input: &MessageDescriptor, path: impl Iterator<Item = String>) -> Violation {
    let mut message = input.clone();
    let mut names = Vec::new();
    let mut rule = "must be a JSON object".to_owned();
    for name in path {
        let Some(field) = field(&message, &name) else {
            break;
        };
        names.push(field.name().to_owned());
        rule = rule_of(&field);
        match field.kind() {
            Kind::Message(inner) if !field.is_map() => message = inner,
            _ => break,
        }
    }
    if names.is_empty() {
        return violation("body", rule);
    }
    violation(names.join("."), rule)
}

fn rule_of(field: &FieldDescriptor) -> String {
    if field.is_map() {
        return "must be an object whose values are strings".to_owned();
    }
    let one = match field.kind() {
        Kind::String => "a string".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Enum(values) => {
            // The first one means that none is set.
            let names = values.values().filter(|value| value.number() != 0);
            let names: Vec<_> = names.map(|value| value.name().to_owned()).collect();
            format!("one of {}", names.join(", "))
        }
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => "a time as in 2026-11-30T09:00:00Z".to_owned(),
            "google.protobuf.Duration" => "a duration in seconds, as in 90s".to_owned(),
            "google.protobuf.FieldMask" => "names of fields, separated by commas".to_owned(),
            _ => "a JSON object".to_owned(),
        },
        Kind::Double | Kind::Float => "a number".to_owned(),
        Kind::Bytes => "a string in base64".to_owned(),
        _ => format!("a whole number ({})", bits(&field.kind())),
    };
    if field.is_list() {
        format!("must be a list; each value is {one}")
    } else {
        format!("must be {one}")
    }
}

fn bits(kind: &Kind) -> &'static str {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "32 bits",
        Kind::Uint32 | Kind::Fixed32 => "32 bits, not negative",
        Kind::Uint64 | Kind::Fixed64 => "64 bits, not negative",
        _ => "64 bits",
    }
}
