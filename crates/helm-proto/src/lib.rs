//! The generated `helm.v1` API and the conversions between helm-core's types and the wire: the only place that knows both.

/// `helm.v1`, generated from proto/.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("helm.v1");
}

/// The encoded descriptor set of `helm.v1`, for server reflection.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

pub use prost_types::Timestamp;

pub mod convert;
pub mod incident;
pub mod reason;
