//! The schema of the settings with what forms need besides: when each takes effect, and which are not taken by HTTP.

use std::sync::LazyLock;

use serde_json::Value as Json;

use super::super::keys::{self, Section};
use super::diff::Takes;
use super::refuse;

/// JSON Schema 2020-12 of the settings file. Each key has `x-takes` besides (`now`, `next-session`, `restart`), `x-variable`, the environment variable that wins
/// over the file, and `x-by-hand` where the file alone may set it.
pub fn schema() -> &'static Json {
    static SCHEMA: LazyLock<Json> = LazyLock::new(|| {
        let mut schema = keys::schema();
        for section in keys::sections() {
            for key in section.keys {
                let Some(Json::Object(described)) = schema.pointer_mut(&pointer(section, key.name)) else {
                    continue;
                };
                let path = path(section, key.name);
                described.insert("x-takes".to_owned(), serde_json::json!(Takes::of(&path)));
                described.insert("x-variable".to_owned(), key.variable.into());
                if refuse::is_by_hand(&path) {
                    described.insert("x-by-hand".to_owned(), true.into());
                }
            }
        }
        schema
    });
    &SCHEMA
}

/// Where a key is in the schema.
fn pointer(section: &Section, key: &str) -> String {
    let table = if section.named { "/additionalProperties" } else { "" };
    let keys = key.replace('.', "/properties/");
    format!("/properties/{}{table}/properties/{keys}", section.name)
}

/// A path that the key might have.
fn path(section: &Section, key: &str) -> Vec<String> {
    let name = section.named.then_some("NAME");
    let parts = [section.name].into_iter().chain(name).chain(key.split('.'));
    parts.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_says_when_it_takes_effect() {
        for section in keys::sections() {
            for key in section.keys {
                let described = schema().pointer(&pointer(section, key.name));
                let takes = described.and_then(|key| key["x-takes"].as_str());
                assert!(takes.is_some(), "{}.{}", section.name, key.name);
            }
        }
        let rtsp = &schema()["properties"]["rtsp"]["properties"]["port"];
        assert_eq!(
            (&rtsp["x-takes"], &rtsp["x-variable"], &rtsp["x-by-hand"]),
            (&"restart".into(), &"SIGHTLINE_RTSP_PORT".into(), &Json::Null)
        );
        assert_eq!(
            schema()["properties"]["s3"]["properties"]["endpoint"]["x-by-hand"],
            true
        );
        let stream = &schema()["properties"]["stream"]["additionalProperties"]["properties"];
        assert_eq!(stream["record"]["properties"]["mode"]["x-takes"], "now");
    }
}
