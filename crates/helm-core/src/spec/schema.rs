//! The JSON Schema of `services.json`, made from the table that the reader uses.

use super::json::Json;
use super::shape::Shape;
use super::table::RawService;
use crate::name::ServiceName;

/// `services.schema.json`, as it is checked in; `cargo run -p helm-core --example services-schema` prints it.
pub fn schema() -> String {
    let name = Json::map([("pattern", Json::text(format!("^[a-z0-9_-]{{1,{}}}$", ServiceName::MAX)))]);
    Json::map([
        ("$schema", Json::text("https://json-schema.org/draft/2020-12/schema")),
        ("title", Json::text("services.json of Helm")),
        ("description", Json::text("Services by name. docs/services.md explains every field.")),
        ("type", Json::text("object")),
        ("properties", Json::map([("$schema", Json::map([("type", Json::text("string"))]))])),
        (
            "propertyNames",
            Json::map([("anyOf", Json::List(vec![Json::map([("const", Json::text("$schema"))]), name]))]),
        ),
        ("additionalProperties", RawService::schema()),
    ])
    .pretty()
}
