//! The generated `helm.v1` API and the conversions between helm-core's types and the wire: the only place that knows both.

/// `helm.v1`, generated from proto/.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("helm.v1");
}

/// The encoded descriptor set of `helm.v1`, for server reflection.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

pub use prost_types::Timestamp;

/// The path of every method of `helm.v1`: `/helm.v1.Helm/Status`.
pub fn methods() -> Vec<String> {
    use prost::Message;
    // It was encoded by this crate's own build.
    let set = prost_types::FileDescriptorSet::decode(DESCRIPTOR).unwrap_or_default();
    let services = set.file.iter().filter(|file| file.package() == "helm.v1").flat_map(|file| &file.service);
    let path = |service: &str, method: &str| format!("/helm.v1.{service}/{method}");
    services
        .flat_map(|service| service.method.iter().map(move |method| path(service.name(), method.name())))
        .collect()
}

pub mod access;
pub mod convert;
pub mod incident;
pub mod reason;
