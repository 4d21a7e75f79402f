//! The proto's messages and enums as JSON schemas.

use std::collections::HashMap;

use prost_reflect::{
    DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    Value as Annotation,
};
use serde_json::{Map, Value, json};

use crate::api::error::{CallError, ErrorDescription};

/// The annotation of fields, and its value for those that must be set.
const FIELD_BEHAVIOR: &str = "google.api.field_behavior";
const REQUIRED: i32 = 2;

/// Who writes what a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// A caller of this version.
    Caller,
    /// The service, in this version or a later one, which may have further names in its enums.
    Service,
}

/// The schemas that were needed so far.
pub(super) struct Schemas {
    /// By name.
    pub(super) all: Map<String, Value>,
    comments: HashMap<(String, Vec<i32>), String>,
    behavior: Option<ExtensionDescriptor>,
}

impl Schemas {
    pub(super) fn new(pool: &DescriptorPool) -> Self {
        Self {
            all: Map::new(),
            comments: comments(pool),
            behavior: pool.get_extension_by_name(FIELD_BEHAVIOR),
        }
    }

    /// The comment of what is at this path of a file.
    pub(super) fn comment(&self, file: &str, path: &[i32]) -> String {
        let key = (file.to_owned(), path.to_vec());
        self.comments.get(&key).cloned().unwrap_or_default()
    }

    /// A reference to the schema of an answer's message.
    pub(super) fn answer(&mut self, message: &MessageDescriptor) -> Value {
        let name = message.name().to_owned();
        if !self.all.contains_key(&name) {
            // Before its fields: messages may contain themselves.
            self.all.insert(name.clone(), Value::Null);
            // Clients must tolerate fields of later versions, so the object is open.
            let is_written = |field: &FieldDescriptor| !field.supports_presence();
            let text = self.text(message);
            let schema = self.object(message, message.fields(), is_written, text, Writer::Service);
            self.all.insert(name.clone(), schema);
        }
        reference(&name)
    }

    /// The schema of a request's body: these fields of its message.
    pub(super) fn body(
        &mut self,
        message: &MessageDescriptor,
        fields: &[FieldDescriptor],
    ) -> Value {
        let name = message.name().to_owned();
        let text = self.text(message);
        let behavior = self.behavior.clone();
        let must_be_set = |field: &FieldDescriptor| is_required(behavior.as_ref(), field);
        let fields = fields.iter().cloned();
        let mut schema = self.object(message, fields, must_be_set, text, Writer::Caller);
        schema["additionalProperties"] = Value::Bool(false);
        self.all.insert(name.clone(), schema);
        reference(&name)
    }

    /// Whether the proto says that a request must set a field.
    pub(super) fn is_required(&self, field: &FieldDescriptor) -> bool {
        is_required(self.behavior.as_ref(), field)
    }

    fn text(&self, message: &MessageDescriptor) -> String {
        self.comment(message.parent_file().name(), message.path())
    }

    fn object(
        &mut self,
        message: &MessageDescriptor,
        fields: impl Iterator<Item = FieldDescriptor>,
        is_required: impl Fn(&FieldDescriptor) -> bool,
        text: String,
        writer: Writer,
    ) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in fields {
            let mut schema = self.field(&field, writer);
            let text = self.comment(message.parent_file().name(), field.path());
            schema["description"] = text.into();
            properties.insert(field.json_name().to_owned(), schema);
            if is_required(&field) {
                required.push(field.json_name().to_owned());
            }
        }
        let mut object = json!({
            "type": "object",
            "description": text,
            "properties": properties,
        });
        if !required.is_empty() {
            object["required"] = required.into();
        }
        object
    }

    /// The schema of a field, without its comment.
    pub(super) fn field(&mut self, field: &FieldDescriptor, writer: Writer) -> Value {
        if field.is_map() {
            return json!({"type": "object", "additionalProperties": {"type": "string"}});
        }
        let one = self.value(&field.kind(), writer);
        if field.is_list() {
            json!({"type": "array", "items": one})
        } else {
            one
        }
    }

    fn value(&mut self, kind: &Kind, writer: Writer) -> Value {
        match kind {
            Kind::String => json!({"type": "string"}),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Double | Kind::Float => json!({"type": "number"}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"})
            }
            Kind::Uint64 | Kind::Fixed64 => {
                json!({"type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$"})
            }
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({"type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX})
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({"type": "integer", "minimum": 0, "maximum": u32::MAX})
            }
            Kind::Enum(values) if writer == Writer::Service => {
                json!({"anyOf": [self.names(values), {"type": ["string", "integer"]}]})
            }
            Kind::Enum(values) => self.names(values),
            Kind::Message(message) => match message.full_name() {
                "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
                "google.protobuf.Duration" => {
                    json!({"type": "string", "pattern": "^-?[0-9]{1,9}([.][0-9]{1,9})?s$"})
                }
                "google.protobuf.FieldMask" => json!({"type": "string"}),
                _ => self.answer(message),
            },
        }
    }

    fn names(&mut self, values: &EnumDescriptor) -> Value {
        let name = values.name().to_owned();
        if !self.all.contains_key(&name) {
            let file = values.parent_file();
            let mut text = self.comment(file.name(), values.path());
            let mut names = Vec::new();
            for value in values.values() {
                let meaning = self.comment(file.name(), value.path());
                text.push_str(&format!("\n\n- `{}`: {meaning}", value.name()));
                names.push(value.name().to_owned());
            }
            let schema = json!({"type": "string", "enum": names, "description": text});
            self.all.insert(name.clone(), schema);
        }
        reference(&name)
    }

    /// The schema of every error, with the reasons that there are.
    pub(super) fn add_errors(&mut self) {
        let reasons = CallError::examples().into_iter().map(|error| {
            let description = ErrorDescription::from(error);
            description.reason
        });
        let mut reasons: Vec<_> = reasons.collect();
        reasons.sort_unstable();
        reasons.dedup();
        let status = json!({
            "type": "object",
            "description": "google.rpc.Status. docs/errors.md explains the reasons.",
            "required": ["code", "message", "details"],
            "properties": {
                "code": {"type": "integer", "description": "The code's number in google/rpc/code.proto."},
                "message": {"type": "string", "description": "For developers."},
                "details": {
                    "type": "array",
                    "description": "In no order: find an entry by its @type.",
                    "items": {
                        "type": "object",
                        "required": ["@type"],
                        "properties": {
                            "@type": {"type": "string", "description": "type.googleapis.com/google.rpc.ErrorInfo, .BadRequest, .RetryInfo or .PreconditionFailure. Ignore others."},
                            "reason": {"anyOf": [{"enum": reasons}, {"type": "string"}], "description": "Of an ErrorInfo: for programs. Later versions may have others."},
                            "domain": {"type": "string", "description": "Of an ErrorInfo."},
                            "metadata": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Of an ErrorInfo: the variable parts of the message."},
                            "violations": {
                                "type": "array",
                                "description": "Of a PreconditionFailure.",
                                "items": {"type": "object", "properties": {"type": {"type": "string"}, "subject": {"type": "string"}, "description": {"type": "string"}}},
                            },
                            "fieldViolations": {
                                "type": "array",
                                "description": "Of a BadRequest: each faulty field, by its name in the proto.",
                                "items": {"type": "object", "properties": {"field": {"type": "string"}, "description": {"type": "string"}, "reason": {"type": "string"}}},
                            },
                            "retryDelay": {"type": "string", "description": "Of a RetryInfo, as in 1s."},
                        },
                    },
                },
            },
        });
        self.all.insert("Status".to_owned(), status);
    }
}

fn is_required(behavior: Option<&ExtensionDescriptor>, field: &FieldDescriptor) -> bool {
    let options = field.options();
    behavior.is_some_and(|behavior| {
        let value = options.get_extension(behavior);
        let values = value.as_list().unwrap_or_default();
        values.contains(&Annotation::EnumNumber(REQUIRED))
    })
}

pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The comments of every file, by file and path.
fn comments(pool: &DescriptorPool) -> HashMap<(String, Vec<i32>), String> {
    let files = pool.file_descriptor_protos();
    let comments = files.flat_map(|file| {
        let locations = file.source_code_info.iter().flat_map(|info| &info.location);
        locations.filter_map(|location| {
            let text = location.leading_comments.as_deref()?;
            let lines: Vec<_> = text.lines().map(str::trim).collect();
            let key = (file.name().to_owned(), location.path.clone());
            Some((key, lines.join("\n").trim().to_owned()))
        })
    });
    comments.collect()
}
