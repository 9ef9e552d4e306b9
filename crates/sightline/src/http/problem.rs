//! What went wrong, for programs and people: RFC 9457.
//!
//! Belongs here: the form, and the problems that any route may have. Does not belong here: problems of one route.

use axum_core::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

use crate::auth::Refusal;
use crate::source::Missing;

/// A problem: what, why, what next.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// A word for programs; it does not change.
    code: &'static str,
    /// What, in a few words that are always the same.
    title: &'static str,
    /// Why, this time.
    detail: String,
    /// What to do.
    next: String,
    /// Apart: a result that may be a problem shall stay small.
    headers: Box<HeaderMap>,
    /// Each single reason, where there may be several.
    problems: Option<Box<serde_json::Value>>,
}

/// RFC 9457 §3.1. The type is `about:blank`, since no page explains ours; `code` and `next` are extensions.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Body<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    next: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<&'a serde_json::Value>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            title,
            detail: detail.into(),
            next: next.into(),
            headers: Box::default(),
            problems: None,
        }
    }

    /// With a list of all reasons.
    pub(super) fn because(mut self, problems: serde_json::Value) -> Self {
        self.problems = Some(Box::new(problems));
        self
    }

    /// With one more header field.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether nothing was shown at all, which is no fault yet.
    pub(super) fn is_missing_credential(&self) -> bool {
        self.code == MISSING
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Why and what next, as people read it on a page.
    pub(super) fn sentence(&self) -> String {
        format!("{}: {}.", capitalised(&self.detail), self.next)
    }

    /// Why somebody is turned away. Browsers are not asked for Basic: they would cover the page with a window of their own.
    pub(super) fn refused(refusal: Refusal, headers: &HeaderMap) -> Self {
        let (status, code, title, next) = match refusal {
            Refusal::Missing => (
                StatusCode::UNAUTHORIZED,
                MISSING,
                "A credential is needed",
                "show the token as `Authorization: Bearer TOKEN`, as password of Basic, or as ?token=TOKEN; `sightline up` prints it",
            ),
            Refusal::Wrong => (
                StatusCode::UNAUTHORIZED,
                "credential-wrong",
                "The credential is wrong",
                "use a token that `sightline up` prints, that of SIGHTLINE_TOKEN, or one that an account made; an account's own password is for signing in alone",
            ),
            Refusal::Braked { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-guesses",
                "Too many wrong credentials",
                "wait, then show the right one",
            ),
            Refusal::Busy { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too-many-logins",
                "Too many logins at a time",
                "ask again after the time in Retry-After",
            ),
            Refusal::Token(_) => (
                StatusCode::UNAUTHORIZED,
                "credential-wrong",
                "The credential is wrong",
                "show a token that the authority of this server signed, and that is valid now",
            ),
            Refusal::Away => (
                StatusCode::SERVICE_UNAVAILABLE,
                "authority-away",
                "Who decides about this is away",
                "ask again in a moment; the log of the server says what is wrong with auth.jwt or auth.http",
            ),
            Refusal::Forbidden(_) => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "Not allowed",
                "use the credential of a role that may",
            ),
        };
        let problem = Self::new(status, code, title, refusal.to_string(), next);
        match refusal {
            Refusal::Missing | Refusal::Wrong | Refusal::Token(_) => problem.challenging(headers),
            Refusal::Away => problem.with(RETRY_AFTER, HeaderValue::from(RETRY_AUTHORITY_S)),
            Refusal::Braked { wait } | Refusal::Busy { wait } => {
                let seconds = wait.as_secs().saturating_add(1);
                problem.with(RETRY_AFTER, HeaderValue::from(seconds))
            }
            Refusal::Forbidden(_) => problem,
        }
    }

    fn challenging(self, headers: &HeaderMap) -> Self {
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let is_browser = agent.is_some_and(|agent| agent.starts_with("Mozilla/"));
        let problem = self.with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"Sightline\""));
        if is_browser {
            return problem;
        }
        problem.with(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"Sightline\", charset=\"UTF-8\""),
        )
    }

    /// A stream that somebody asked for is not there.
    pub(super) fn missing(missing: &Missing, next: &'static str) -> Self {
        let detail = missing.to_string();
        let unavailable = |code| {
            let title = "The source of the stream gives nothing";
            let next =
                "ask again in a moment; whoever runs the server finds the reason at GET /api/v1/sources and in its log";
            Self::new(StatusCode::SERVICE_UNAVAILABLE, code, title, detail.clone(), next)
                .with(RETRY_AFTER, HeaderValue::from(RETRY_SOURCE_S))
        };
        match missing {
            Missing::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "no-such-stream", "No such stream", detail, next),
            Missing::Failed { .. } => unavailable("source-failed"),
            Missing::Slow { .. } => unavailable("source-slow"),
            Missing::Full { .. } => unavailable("too-many-sources"),
            Missing::Elsewhere { .. } => Self::new(
                StatusCode::NOT_FOUND,
                "elsewhere",
                "The stream is elsewhere",
                detail,
                "play it by RTSP, which leads there",
            ),
        }
    }

    /// Nothing is at this path.
    pub(super) fn no_such_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-such-path",
            "Nothing is here",
            "this port has nothing at this path",
            "GET /api/v1/streams on the dashboard's port lists the streams and where they play",
        )
    }

    /// There is something at this path, but not for this method.
    pub(super) fn wrong_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "wrong-method",
            "Method not allowed",
            "what is at this path does not take this method",
            format!("use one that the header {ALLOW} lists"),
        )
    }

    /// A page of another site tried to change something in the name of whoever looks at it.
    pub(super) fn another_site() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "another-site",
            "Requested by another site",
            "the browser says that a page of another site makes this request",
            "show a token in the header Authorization; behind a proxy, let it pass the header Host on",
        )
    }

    /// Asked more often than anybody needs.
    pub(super) fn too_many_requests() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-requests",
            "Too many requests",
            "so many requests a second are not answered",
            "ask less often: GET /api/v1/events and /api/v1/live tell what changes; limits.requests says how many are answered",
        )
        .with(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// Asked by a name that may be somebody else's.
    pub(super) fn not_our_name(host: &str) -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "not-our-name",
            "Not a name of this server",
            format!("no credential is needed from there, and {host:?} may be the name of another site that leads here"),
            "use the address or another name of this server, show a credential, or write the name into http.hosts",
        )
    }

    /// Only an account has what was asked for.
    pub(super) fn no_account() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "no-account",
            "Not allowed",
            "this is a token, or nobody need show anything here: neither is an account",
            "sign in with a name and a password; `sightline link` on the server gives a link that makes the first account",
        )
    }

    /// A handler panicked.
    pub(super) fn bug() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "bug",
            "A bug of Sightline's",
            "this request ended by a bug of ours; others are not affected",
            "please report what the program's log says",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: "about:blank",
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            next: &self.next,
            problems: self.problems.as_deref(),
        };
        // It holds texts and numbers, which always become JSON.
        let text = serde_json::to_string(&body).unwrap_or_default();
        let mut response = (self.status, text).into_response();
        response.headers_mut().extend(*self.headers);
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

/// When a source that gave nothing may be asked for again.
const RETRY_SOURCE_S: u16 = 5;
/// When an authority that was away may be asked again.
const RETRY_AUTHORITY_S: u16 = 5;
/// The word for a request without a credential.
const MISSING: &str = "credential-missing";

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}
