//! The API below `/api/v1`: JSON for programs and for the dashboard (CONTRACT §7).
//!
//! Belongs here: one file per kind of object, its routes and its form. Does not belong here: who may ask (`super::routes`), what goes on
//! (`media::hub`, [`crate::machine`]).
//!
//! Everything is computed when it is asked for: from the hub, and from the counters that every session keeps.

mod streams;
mod system;

use super::routes::{Route, Target, Verb};
use crate::auth::Action;

/// One stream, for who may watch it: on every port, since the player that shows it says how old its pictures are, and where that is from.
pub(super) const STREAM: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/api/v1/streams/{name}",
    target: Target::Stream {
        action: Action::View,
        handler: streams::one,
    },
}];

/// What there is on the dashboard's ports alone.
pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/api/v1/streams",
        target: Target::Program {
            action: Action::View,
            handler: streams::list,
        },
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/system",
        target: Target::Program {
            action: Action::View,
            handler: system::system,
        },
    },
];

/// To so many digits behind the point: what is beyond says nothing.
fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}
