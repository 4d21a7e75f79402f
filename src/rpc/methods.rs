//! The methods that exist, as static names: metric labels must not be made of what callers send.

use std::collections::HashSet;
use std::sync::LazyLock;

use prost::Message as _;

use crate::proto;

/// The name of any path that is not a method.
pub(super) const UNKNOWN: &str = "unknown";
const HEALTH_PREFIX: &str = "/grpc.health.v1.Health/";
const REFLECTION_PREFIX: &str = "/grpc.reflection.";
const STANDARD: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

static METHODS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let descriptors =
        prost_types::FileDescriptorSet::decode(proto::DESCRIPTORS).unwrap_or_default();
    let own = descriptors.file.iter().flat_map(|file| {
        file.service.iter().flat_map(|service| {
            service.method.iter().map(|method| {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                &*path.leak()
            })
        })
    });
    own.chain(STANDARD).collect()
});

/// The method at a path, or [`UNKNOWN`].
pub(super) fn method(path: &str) -> &'static str {
    METHODS.get(path).copied().unwrap_or(UNKNOWN)
}

/// Whether a path is a method that takes a single message. Only reflection takes a stream.
pub(super) fn has_single_request(path: &str) -> bool {
    METHODS.contains(path) && !path.starts_with(REFLECTION_PREFIX)
}

/// Whether a path belongs to grpc.health, which needs no secret.
pub(super) fn is_health(path: &str) -> bool {
    path.starts_with(HEALTH_PREFIX)
}

/// Whether a path is a method of one of gRPC's own services.
pub(super) fn is_standard(path: &str) -> bool {
    STANDARD.contains(&path)
}
