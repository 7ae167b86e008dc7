//! The OpenAPI document, beyond what the routes say themselves: what is the same for all of them.

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::OneOfBuilder;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, Schema};

use crate::problem::PROBLEM_JSON;

const JSON: &str = "application/json";

/// The document with the ids of its operations, and the forms in which requests are refused.
#[must_use]
pub(super) fn finished(mut document: OpenApi) -> OpenApi {
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            operation.operation_id = Some(id(method, path));
            for (status, answer) in &mut operation.responses.responses {
                if let RefOr::T(answer) = answer
                    && status.starts_with(['4', '5'])
                {
                    refused(answer);
                }
            }
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let all = [
        ("get", &mut item.get),
        ("post", &mut item.post),
        ("put", &mut item.put),
        ("delete", &mut item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Handlers of different modules share names; ids are for each one: `get_api_logs_id`.
fn id(method: &str, path: &str) -> String {
    let words: Vec<&str> =
        path.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    format!("{method}_{}", words.join("_"))
}

/// Any request may be refused as a problem: what comes before a handler knows no other form. Where a handler answers in a shape
/// of its own, it refuses in HiveMatrix's plain one.
fn refused(answer: &mut Response) {
    let own = match answer.content.get(JSON) {
        Some(RefOr::T(Content { schema: Some(RefOr::Ref(own)), .. })) => Some(own.clone()),
        _ => None,
    };
    if let Some(own) = own {
        let plain = Ref::from_schema_name("PlainBody");
        if own.ref_location.ends_with("/ProblemBody") {
            answer.content.shift_remove(JSON);
        } else if own.ref_location != plain.ref_location {
            let either = Schema::OneOf(OneOfBuilder::new().item(own).item(plain).build());
            answer.content.insert(JSON.to_owned(), RefOr::T(Content::new(Some(either))));
        }
    }
    let problem = Content::new(Some(Ref::from_schema_name("ProblemBody")));
    answer.content.insert(PROBLEM_JSON.to_owned(), RefOr::T(problem));
}
