//! The API below `/api/v1`: JSON for programs and for the dashboard (CONTRACT §7).
//!
//! Belongs here: one file per kind of object, its routes and its form. Does not belong here: who may ask (`super::routes`), what goes on
//! (`media::hub`, [`crate::machine`]).
//!
//! Everything is computed when it is asked for: from the hub, and from the counters that every session keeps.

mod config;
mod controls;
mod credentials;
mod discover;
mod events;
mod forwards;
mod history;
mod latency;
mod log;
pub(super) mod me;
mod motion;
pub(super) mod people;
mod probe;
mod qr;
mod recording;
mod sessions;
mod snapshot;
mod sources;
mod streams;
mod system;
mod webhooks;

pub(crate) use events::sight;
pub(crate) use recording::Recording;
pub(crate) use sessions::Session;
pub(super) use streams::rfc3339;
pub(crate) use streams::{Track, since};

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
    about: Some(&streams::ONE),
}];

/// What there is on the dashboard's ports alone.
pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/api/v1/streams",
        target: Target::Some {
            action: Action::View,
            handler: streams::list,
        },
        about: Some(&streams::LIST),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/sources",
        target: Target::Some {
            action: Action::View,
            handler: sources::list,
        },
        about: Some(&sources::LIST),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/forwards",
        target: Target::Some {
            action: Action::Operate,
            handler: forwards::list,
        },
        about: Some(&forwards::LIST),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/motion",
        target: Target::Some {
            action: Action::View,
            handler: motion::list,
        },
        about: Some(&motion::LIST),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/webhooks",
        target: Target::Program {
            action: Action::Administer,
            handler: webhooks::list,
        },
        about: Some(&webhooks::LIST),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/events",
        target: Target::Some {
            action: Action::View,
            handler: events::listen,
        },
        about: Some(&events::LISTEN),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/config",
        target: Target::Program {
            action: Action::Administer,
            handler: config::show,
        },
        about: Some(&config::SHOW),
    },
    Route {
        verb: Verb::Patch,
        path: "/api/v1/config",
        target: Target::Program {
            action: Action::Administer,
            handler: config::change,
        },
        about: Some(&config::CHANGE),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/config/schema",
        target: Target::Program {
            action: Action::Administer,
            handler: config::schema,
        },
        about: Some(&config::SCHEMA),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/config/file",
        target: Target::Program {
            action: Action::Administer,
            handler: config::file,
        },
        about: Some(&config::FILE),
    },
    Route {
        verb: Verb::Put,
        path: "/api/v1/config/file",
        target: Target::Program {
            action: Action::Administer,
            handler: config::put_file,
        },
        about: Some(&config::PUT_FILE),
    },
    // Not of a stream alone: an expression for many names is a table too.
    Route {
        verb: Verb::Put,
        path: "/api/v1/config/streams/{name}",
        target: Target::Program {
            action: Action::Administer,
            handler: config::put_stream,
        },
        about: Some(&config::PUT_STREAM),
    },
    Route {
        verb: Verb::Delete,
        path: "/api/v1/config/streams/{name}",
        target: Target::Program {
            action: Action::Administer,
            handler: config::delete_stream,
        },
        about: Some(&config::DELETE_STREAM),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/credentials",
        target: Target::Program {
            action: Action::Administer,
            handler: credentials::list,
        },
        about: Some(&credentials::LIST),
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/credentials",
        target: Target::Program {
            action: Action::Administer,
            handler: credentials::add,
        },
        about: Some(&credentials::ADD),
    },
    Route {
        verb: Verb::Put,
        path: "/api/v1/credentials/{key}",
        target: Target::Program {
            action: Action::Administer,
            handler: credentials::replace,
        },
        about: Some(&credentials::REPLACE),
    },
    Route {
        verb: Verb::Delete,
        path: "/api/v1/credentials/{key}",
        target: Target::Program {
            action: Action::Administer,
            handler: credentials::remove,
        },
        about: Some(&credentials::REMOVE),
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/discover",
        target: Target::Program {
            action: Action::Administer,
            handler: discover::look,
        },
        about: Some(&discover::LOOK),
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/probe",
        target: Target::Program {
            action: Action::Administer,
            handler: probe::probe,
        },
        about: Some(&probe::PROBE),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/probe/{key}/picture.jpg",
        target: Target::Program {
            action: Action::Administer,
            handler: probe::picture,
        },
        about: Some(&probe::PICTURE),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/history",
        target: Target::Some {
            action: Action::View,
            handler: history::history,
        },
        about: Some(&history::HISTORY),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/latency",
        target: Target::Program {
            action: Action::View,
            handler: latency::get,
        },
        about: Some(&latency::GET),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/log",
        target: Target::Program {
            action: Action::Administer,
            handler: log::get,
        },
        about: Some(&log::GET),
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/qr",
        target: Target::Some {
            action: Action::View,
            handler: qr::qr,
        },
        about: Some(&qr::QR),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/system",
        target: Target::Some {
            action: Action::View,
            handler: system::system,
        },
        about: Some(&system::SYSTEM),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/streams/{name}/viewers",
        target: Target::Stream {
            action: Action::Operate,
            handler: sessions::of_stream,
        },
        about: Some(&sessions::OF_STREAM),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/streams/{name}/snapshot.jpg",
        target: Target::Stream {
            action: Action::View,
            handler: snapshot::snapshot,
        },
        about: Some(&snapshot::SNAPSHOT),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/streams/{name}/controls",
        target: Target::Stream {
            action: Action::Operate,
            handler: controls::get,
        },
        about: Some(&controls::GET),
    },
    Route {
        verb: Verb::Put,
        path: "/api/v1/streams/{name}/controls",
        target: Target::Stream {
            action: Action::Operate,
            handler: controls::put,
        },
        about: Some(&controls::PUT),
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/streams/{name}/recording",
        target: Target::Stream {
            action: Action::Operate,
            handler: recording::start,
        },
        about: Some(&recording::START),
    },
    Route {
        verb: Verb::Delete,
        path: "/api/v1/streams/{name}/recording",
        target: Target::Stream {
            action: Action::Operate,
            handler: recording::stop,
        },
        about: Some(&recording::STOP),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/viewers",
        target: Target::Some {
            action: Action::Operate,
            handler: sessions::viewers,
        },
        about: Some(&sessions::VIEWERS),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/publishers",
        target: Target::Some {
            action: Action::Operate,
            handler: sessions::publishers,
        },
        about: Some(&sessions::PUBLISHERS),
    },
    Route {
        verb: Verb::Delete,
        path: "/api/v1/viewers/{id}",
        target: Target::Some {
            action: Action::Operate,
            handler: sessions::end_viewer,
        },
        about: Some(&sessions::END_VIEWER),
    },
    Route {
        verb: Verb::Delete,
        path: "/api/v1/publishers/{id}",
        target: Target::Some {
            action: Action::Operate,
            handler: sessions::end_publisher,
        },
        about: Some(&sessions::END_PUBLISHER),
    },
];

/// To so many digits behind the point: what is beyond says nothing.
fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}
