//! The description of the API for programs that write clients of it: OpenAPI 3.1, made of the table of routes.
//!
//! Belongs here: the form of the description, and what all routes have in common. Does not belong here: what one route takes and gives, which
//! stands beside its handler as an [`Operation`]; schemas come from the types that are sent.
//!
//! `docs/reference/openapi.json` is what a program of this version answers; a test compares both.

use std::collections::BTreeSet;

use http::StatusCode;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::routes::{Answer, Call, DASHBOARD, Route, Target, Verb};
use super::{answer, problem};
use crate::auth::Action;

/// What a route does, takes and gives.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    /// In a few words.
    pub(super) summary: &'static str,
    /// What may stand in the query.
    pub(super) query: &'static [Parameter],
    /// What is sent.
    pub(super) body: Option<Content>,
    /// When all went well.
    pub(super) status: u16,
    pub(super) answer: Option<Content>,
    /// Status codes of problems, beside those of all routes that ask for a credential.
    pub(super) problems: &'static [u16],
}

impl Operation {
    /// A question that is answered in JSON.
    pub(super) const fn reads<T: JsonSchema>(summary: &'static str) -> Self {
        Self {
            summary,
            query: &[],
            body: None,
            status: 200,
            answer: Some(Content::json::<T>()),
            problems: &[],
        }
    }

    /// A question that is answered otherwise.
    pub(super) const fn gives(summary: &'static str, kind: &'static str) -> Self {
        Self {
            answer: Some(Content::text(kind)),
            ..Self::does(summary, 200)
        }
    }

    /// Something that is done, and answered with this status and nothing else.
    pub(super) const fn does(summary: &'static str, status: u16) -> Self {
        Self {
            summary,
            query: &[],
            body: None,
            status,
            answer: None,
            problems: &[],
        }
    }
}

/// A parameter of a query.
#[derive(Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// `integer`, `boolean` or `string`.
    pub(super) kind: &'static str,
}

/// What is sent or answered.
#[derive(Clone, Copy)]
pub(super) struct Content {
    kind: &'static str,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

impl Content {
    pub(super) const fn json<T: JsonSchema>() -> Self {
        Self {
            kind: "application/json",
            schema: SchemaGenerator::subschema_for::<T>,
        }
    }

    pub(super) const fn text(kind: &'static str) -> Self {
        Self {
            kind,
            schema: SchemaGenerator::subschema_for::<String>,
        }
    }
}

/// An object whose members are those of another program's API.
#[derive(JsonSchema)]
pub(super) struct Anything(#[expect(dead_code, reason = "only its schema is used")] Map<String, Value>);

pub(super) const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/api/v1/openapi.json",
    target: Target::Public {
        why: "it is in the public documentation, and the same for everybody",
        handler: |_: Call| -> Answer { Box::pin(async { answer::json(&document()) }) },
    },
    about: Some(&Operation::reads::<Anything>("This description")),
}];

/// The whole description.
pub(super) fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let problem = schemas.subschema_for::<problem::Body<'static>>();
    let mut paths = Map::new();
    for route in DASHBOARD.tables.iter().copied().flatten() {
        let Some(about) = route.about else { continue };
        let (path, parameters) = path(route.path);
        let operation = operation(route, about, parameters, &problem, &mut schemas);
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        if let Value::Object(methods) = methods {
            methods.insert(route.verb.method().as_str().to_ascii_lowercase(), operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sightline",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Streams of cameras, who watches them, and the settings. The name of a stream may hold slashes: as they are \
                in the paths below /live/, as %2F in the others.",
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }, { "basic": [] }, { "query": [] }, { "cookie": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "basic": { "type": "http", "scheme": "basic", "description": "User viewer, publisher or admin; the token is the password. An API token is one with any user" },
                "query": { "type": "apiKey", "in": "query", "name": "token" },
                "cookie": { "type": "apiKey", "in": "cookie", "name": "sightline", "description": "What signing in gives; __Host-sightline over HTTPS" },
            },
        },
    })
}

/// The path as OpenAPI writes it, and its parameters.
fn path(path: &str) -> (String, Vec<Value>) {
    let (mut text, mut parameters) = (String::new(), Vec::new());
    if path.starts_with("/{+name}") {
        text.push_str(DASHBOARD.streams_at.trim_end_matches('/'));
    }
    for (index, part) in path.split('{').enumerate() {
        let Some((name, rest)) = part.split_once('}').filter(|_| index > 0) else {
            text.push_str(part);
            continue;
        };
        let name = name.trim_start_matches(['+', '*']);
        text.push_str(&format!("{{{name}}}{rest}"));
        let kind = if name == "id" && path.starts_with("/api/") {
            "integer"
        } else {
            "string"
        };
        parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": { "type": kind } }));
    }
    (text, parameters)
}

fn operation(
    route: &Route,
    about: &Operation,
    mut parameters: Vec<Value>,
    problem: &Schema,
    schemas: &mut SchemaGenerator,
) -> Value {
    for parameter in about.query {
        let Parameter { name, what, kind } = parameter;
        parameters.push(json!({ "name": name, "in": "query", "description": what, "schema": { "type": kind } }));
    }
    let mut answers = Map::new();
    let content = about.answer.map(|content| content.described(schemas));
    let mut answer = json!({ "description": reason(about.status) });
    if let (Value::Object(answer), Some(content)) = (&mut answer, content) {
        answer.insert("content".to_owned(), content);
    }
    answers.insert(about.status.to_string(), answer);
    let who = who(&route.target);
    for code in statuses(route, about).into_iter().filter(|code| *code != about.status) {
        let content = json!({ "application/problem+json": { "schema": problem } });
        answers.insert(
            code.to_string(),
            json!({ "description": reason(code), "content": content }),
        );
    }
    let mut operation = json!({
        "operationId": id(route),
        "summary": about.summary,
        "description": format!("{}.", who.unwrap_or("Everybody")),
        "parameters": parameters,
        "responses": answers,
    });
    if let Value::Object(operation) = &mut operation {
        if let Some(body) = about.body {
            let body = json!({ "required": true, "content": body.described(schemas) });
            operation.insert("requestBody".to_owned(), body);
        }
        if who.is_none() {
            operation.insert("security".to_owned(), json!([]));
        }
    }
    operation
}

/// All that it may answer with: when all went well, and else.
pub(super) fn statuses(route: &Route, about: &Operation) -> BTreeSet<u16> {
    let usual: &[u16] = match who(&route.target) {
        Some(_) => &[401, 403, 429],
        None => &[],
    };
    [&[about.status], usual, about.problems].concat().into_iter().collect()
}

impl Content {
    fn described(self, schemas: &mut SchemaGenerator) -> Value {
        json!({ self.kind: { "schema": (self.schema)(schemas) } })
    }
}

/// Whoever may use it; `None`: everybody.
fn who(target: &Target) -> Option<&'static str> {
    let actions: &[Action] = match target {
        Target::Public { .. } => return None,
        Target::Page { action, .. }
        | Target::StreamPage { action, .. }
        | Target::Program { action, .. }
        | Target::Some { action, .. }
        | Target::Stream { action, .. }
        | Target::Camera { action, .. } => std::slice::from_ref(action),
        Target::Socket { actions, .. } => actions,
        Target::Metrics { .. } => &[Action::View],
        Target::Known { .. } | Target::KnownPage { .. } => return Some("Whoever is let in"),
        Target::Account { .. } => return Some("Whoever signed in with an account"),
    };
    actions.first().map(|action| match action {
        Action::View => "Those who may view",
        Action::Replay => "Those who may play recordings",
        Action::Publish => "Those who may publish",
        Action::Operate => "Those who may steer",
        Action::Erase => "Those who may delete recordings",
        Action::Administer => "Admins",
    })
}

/// `GET /api/v1/streams/{name}` is `get_streams_name`.
fn id(route: &Route) -> String {
    let path = route.path.trim_start_matches("/api/v1");
    let words = path.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    format!(
        "{}_{}",
        route.verb.method().as_str().to_ascii_lowercase(),
        words.join("_")
    )
}

fn reason(code: u16) -> &'static str {
    let status = StatusCode::from_u16(code).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To renew it: `RENEW=1 cargo test -p sightline --lib openapi`.
    #[test]
    fn the_committed_description_is_what_the_program_answers() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");
        let ours = document();
        if std::env::var_os("RENEW").is_some() {
            std::fs::write(path, serde_json::to_string_pretty(&ours).unwrap() + "\n").unwrap();
        }
        let committed: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let members = |value: &Value, of: &str| -> BTreeSet<String> {
            let members = value.pointer(of).and_then(Value::as_object);
            members.into_iter().flat_map(Map::keys).cloned().collect()
        };
        for of in ["/paths", "/components/schemas"] {
            assert_eq!(members(&committed, of), members(&ours, of), "{of}");
        }
        assert_eq!(committed, ours);
    }

    #[test]
    fn what_programs_may_rely_on_is_described() {
        let document = document();
        let described = |route: &Route| {
            let method = route.verb.method().as_str().to_ascii_lowercase();
            document["paths"][path(route.path).0].get(method).is_some()
        };
        for route in DASHBOARD.tables.iter().copied().flatten() {
            let for_people = matches!(
                route.target,
                Target::Page { .. } | Target::KnownPage { .. } | Target::StreamPage { .. } | Target::Socket { .. }
            ) || route.path.starts_with("/assets/")
                || route.path.starts_with("/sign-")
                || ["/first-run", "/join", "/shared"].contains(&route.path)
                || route.path.starts_with("/.well-known/")
                || ["/first-run", "/join", "/shared"].contains(&route.path)
                || route.verb == Verb::Options;
            assert_eq!(described(route), !for_people, "{} {}", route.verb.method(), route.path);
        }
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_and_every_schema_is_there() {
        let document = document();
        let mut ids = BTreeSet::new();
        let methods = document["paths"].as_object().unwrap().values();
        for operation in methods.flat_map(|methods| methods.as_object().unwrap().values()) {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id), "{id} twice");
            assert!(!operation["summary"].as_str().unwrap().is_empty());
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"").skip(1) {
            let pointer = reference.split('"').next().unwrap().trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
