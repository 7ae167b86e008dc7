//! The OpenAPI document: complete, of one piece, and the one that is checked in.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so by a panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn document() -> Value {
    serde_json::to_value(helm_web::routes::document()).unwrap()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Method and path of each operation.
fn operations(document: &Value) -> BTreeMap<(String, String), Value> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let item = item.as_object().unwrap().clone();
        let path = path.clone();
        item.into_iter()
            .map(move |(method, operation)| ((method, path.clone()), operation))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// All sources below a directory.
fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

#[test]
fn the_checked_in_document_is_the_one_that_is_served() {
    let path = root().join("docs/openapi.json");
    let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("HELM_WRITE_TABLES").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/openapi.json differs: HELM_WRITE_TABLES=1 writes it anew, to be looked at"
    );
}

/// Each `#[utoipa::path]` is mounted, and nothing is mounted without one.
#[test]
fn every_route_is_in_the_document() {
    let mut described = Vec::new();
    for (file, text) in sources(&root().join("helm-web/src/routes")) {
        assert!(!text.contains(".route("), "{}: a route without a description", file.display());
        for attribute in text.split("#[utoipa::path(").skip(1) {
            let (methods, rest) = attribute.split_once("path = \"").unwrap();
            let path = rest.split('"').next().unwrap();
            // `get,` or `method(get, put),`
            let words = methods.split(|c: char| !c.is_alphabetic());
            for method in words.filter(|word| !word.is_empty() && *word != "method") {
                described.push((method.to_owned(), path.to_owned()));
            }
        }
    }
    described.sort();
    let mounted: Vec<_> = operations(&document()).into_keys().collect();
    assert_eq!(described, mounted);
}

#[test]
fn every_operation_says_what_it_takes_and_answers() {
    let document = document();
    let mut ids = BTreeMap::new();
    for ((method, path), operation) in operations(&document) {
        let at = format!("{method} {path}");
        let id = operation["operationId"].as_str().unwrap().to_owned();
        assert_eq!(ids.insert(id.clone(), at.clone()), None, "{id} twice: {at}");
        assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{at}");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        for place in path.split('/').filter_map(|part| part.strip_prefix('{')) {
            let name = place.trim_end_matches('}');
            let said = parameters.iter().any(|one| one["in"] == "path" && one["name"] == name);
            assert!(said, "{at}: {name} is not described");
        }
        for parameter in &parameters {
            assert!(parameter["description"].is_string(), "{at}: {parameter}");
        }
        let answers = operation["responses"].as_object().unwrap();
        assert!(answers.keys().any(|status| status.starts_with('2') || status.starts_with('3')), "{at}");
        for (status, answer) in answers {
            let no_body = ["204", "302", "303"].contains(&status.as_str());
            assert!(no_body || answer["content"].is_object(), "{at}: {status} without a shape");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let text = document.to_string();
    for name in text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
}

/// Two shapes of one name would be one in the document, whichever comes last.
#[test]
fn no_two_shapes_have_one_name() {
    let mut names = BTreeMap::new();
    for dir in ["helm-web/src", "crates/helm-shapes/src"] {
        for (file, text) in sources(&root().join(dir)) {
            let lines: Vec<&str> = text.lines().collect();
            for (nth, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("ToSchema)]")) {
                let rest = &lines[nth + 1..];
                let head: Vec<&str> = rest
                    .iter()
                    .take_while(|line| !line.contains("struct ") && !line.contains("enum "))
                    .copied()
                    .collect();
                let renamed = head.iter().find_map(|line| line.split("as = ").nth(1));
                let name = renamed.map(|rest| rest.trim_end_matches(")]")).or_else(|| {
                    let definition = rest.get(head.len())?;
                    definition
                        .split_whitespace()
                        .skip_while(|word| *word != "struct" && *word != "enum")
                        .nth(1)
                });
                let name = name.unwrap_or_else(|| panic!("{}: {line}", file.display()));
                let name = name.trim_end_matches(|c: char| !c.is_alphanumeric()).to_owned();
                let at = file.display().to_string();
                assert_eq!(names.insert(name.clone(), at.clone()), None, "{name} in {at}");
            }
        }
    }
}
