//! The audit log, for admins.

use axum_core::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use media::WallTime;
use schemars::JsonSchema;
use serde::Serialize;
use url::form_urlencoded;

use super::{bad, not_done, rfc3339};
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::{Operation, Parameter};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call};
use crate::state::control::Query;

pub(super) const LIST: Operation = Operation {
    query: &[
        Parameter {
            name: "who",
            what: "of whom",
            kind: "string",
        },
        Parameter {
            name: "object",
            what: "about which stream, user, role or id",
            kind: "string",
        },
        Parameter {
            name: "from",
            what: "from when on, RFC 3339",
            kind: "string",
        },
        Parameter {
            name: "to",
            what: "before when, RFC 3339",
            kind: "string",
        },
        Parameter {
            name: "before",
            what: "older than the line of this id: the last one of the page before",
            kind: "integer",
        },
        Parameter {
            name: "limit",
            what: "lines in the answer, 100 unless said otherwise, 1000 at most",
            kind: "integer",
        },
        Parameter {
            name: "format",
            what: "json, or csv for tables",
            kind: "string",
        },
    ],
    problems: &[400, 503],
    ..Operation::reads::<Vec<Line>>("The audit log, the newest first")
};

/// Somebody did something, or tried to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditLine")]
struct Line {
    id: i64,
    at: String,
    who: String,
    remote: String,
    action: String,
    object: String,
    detail: String,
    /// `done`, `refused`, `failed`.
    result: String,
    /// How often within a minute.
    times: i64,
}

/// `GET /api/v1/audit`.
pub(super) fn list(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        let (query, form) = match query(call.request.uri().query().unwrap_or_default()) {
            Ok(asked) => asked,
            Err(problem) => return problem.into_response(),
        };
        match call.shared.settings.control.audited(query).await {
            Ok(rows) => {
                let lines = rows.into_iter().map(|row| Line {
                    id: row.id,
                    at: rfc3339(row.at),
                    who: row.who,
                    remote: row.remote,
                    action: row.action,
                    object: row.object,
                    detail: row.detail,
                    result: row.result,
                    times: row.times,
                });
                let lines: Vec<Line> = lines.collect();
                match form {
                    Form::Json => json(&lines),
                    Form::Csv => csv(&lines),
                }
            }
            Err(error) => not_done(&error).into_response(),
        }
    })
}

/// How it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
}

/// RFC 4180, as a file.
fn csv(lines: &[Line]) -> Response {
    let mut text = String::from("id,at,who,remote,action,object,detail,result,times\r\n");
    for line in lines {
        let (id, times) = (line.id.to_string(), line.times.to_string());
        let cells = [
            &id,
            &line.at,
            &line.who,
            &line.remote,
            &line.action,
            &line.object,
            &line.detail,
            &line.result,
            &times,
        ];
        text.push_str(&cells.map(|cell| quoted(cell)).join(","));
        text.push_str("\r\n");
    }
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (
            CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"audit.csv\""),
        ),
    ];
    (headers, text).into_response()
}

/// A cell that no table takes for a formula: names are other people's words.
fn quoted(cell: &str) -> String {
    let sign = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        "'"
    } else {
        ""
    };
    format!("\"{sign}{}\"", cell.replace('"', "\"\""))
}

fn query(text: &str) -> Result<(Query, Form), Problem> {
    let mut form = Form::Json;
    let mut query = Query {
        limit: 100,
        ..Query::default()
    };
    let next = "ask with ?from=2026-11-22T00:00:00Z&limit=100";
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        let number = || {
            value
                .parse::<i64>()
                .map_err(|_| bad(format!("\"{name}\" is no whole number"), next))
        };
        let time = || {
            let read = value.parse::<jiff::Timestamp>();
            let read = read.map_err(|_| bad(format!("\"{name}\" is no time"), next))?;
            Ok::<_, Problem>(WallTime::from_unix_micros(read.as_microsecond()))
        };
        match &*name {
            "who" => query.who = Some(value.to_string()),
            "object" => query.object = Some(value.to_string()),
            "from" => query.from = Some(time()?),
            "to" => query.to = Some(time()?),
            "before" => query.before = Some(number()?),
            "format" if value == "csv" => form = Form::Csv,
            "format" if value == "json" => form = Form::Json,
            "format" => return Err(bad("\"format\" is neither json nor csv", next)),
            "limit" => query.limit = usize::try_from(number()?).unwrap_or(100),
            _ => {}
        }
    }
    Ok((query, form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_words_and_no_formulas() {
        assert_eq!(quoted("anna"), "\"anna\"");
        assert_eq!(quoted("a \"b\", c\n"), "\"a \"\"b\"\", c\n\"");
        assert_eq!(quoted("=HYPERLINK(1)"), "\"'=HYPERLINK(1)\"");
        assert_eq!(query("format=csv&limit=3").unwrap().1, Form::Csv);
        assert!(query("format=xml").is_err());
    }
}
