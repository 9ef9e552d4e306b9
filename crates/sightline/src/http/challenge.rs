//! Where a certificate authority looks whether a name is ours (RFC 8555 §8.3).
//!
//! Belongs here: the one route. Does not belong here: when and what for ([`crate::tls`]).

use std::future::ready;

use axum_core::response::IntoResponse as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::problem::Problem;
use super::routes::{Route, Target, Verb};

pub(super) const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/.well-known/acme-challenge/{token}",
    target: Target::Public {
        why: "a certificate authority looks there without credentials; what it finds says nothing to anybody else",
        handler: |call| {
            let text = call.shared.settings.certificates.challenge(call.params.get("token"));
            let headers = [(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, "no-store")];
            Box::pin(ready(match text {
                Some(text) => (headers, text).into_response(),
                None => Problem::no_such_path().into_response(),
            }))
        },
    },
    about: None,
}];
