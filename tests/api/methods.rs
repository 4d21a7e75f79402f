//! The methods of the API, from its descriptors: what holds for all of them is tried on each, and on those that come.

use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet, Timestamp};
use video_session::proto;

pub(crate) struct Method {
    /// As in `/videosession.v1.VideoSessionService/GetSession`.
    pub(crate) path: String,
    fields: Vec<FieldDescriptorProto>,
}

pub(crate) fn methods() -> Vec<Method> {
    let descriptors = FileDescriptorSet::decode(proto::DESCRIPTORS).unwrap();
    let mut methods = Vec::new();
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
                let request = method.input_type().rsplit('.').next().unwrap();
                methods.push(Method {
                    path: format!("/{}.{}/{}", file.package(), service.name(), method.name()),
                    fields: message(&file.message_type, request).field.clone(),
                });
            }
        }
    }
    assert!(!methods.is_empty());
    methods
}

fn message<'a>(messages: &'a [DescriptorProto], name: &str) -> &'a DescriptorProto {
    let found = messages.iter().find(|message| message.name() == name);
    found.expect("requests stand in the file of their service")
}

impl Method {
    /// Requests with one field set, to what no field of its kind may be, and the field's name: ids, times and enums.
    pub(crate) fn requests_with_one_fault(&self) -> Vec<(String, Vec<u8>)> {
        let faulty = self.fields.iter().filter_map(|field| {
            let number = u32::try_from(field.number()).unwrap();
            let mut bytes = Vec::new();
            match field.r#type() {
                Type::String if field.name().ends_with("_id") => {
                    prost::encoding::string::encode(number, &"not an id".to_owned(), &mut bytes);
                }
                Type::Enum => prost::encoding::int32::encode(number, &99, &mut bytes),
                Type::Message if field.type_name().ends_with(".Timestamp") => {
                    let broken = Timestamp {
                        seconds: 0,
                        nanos: -1,
                    };
                    prost::encoding::message::encode(number, &broken, &mut bytes);
                }
                _ => return None,
            }
            Some((field.name().to_owned(), bytes))
        });
        faulty.collect()
    }
}
