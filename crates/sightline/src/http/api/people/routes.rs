//! The table of them.

use super::super::me;
use super::{audit, links, own, session, users};
use crate::auth::Action;
use crate::http::openapi::Operation;
use crate::http::routes::{Handler, Route, Target, Verb};

pub(in crate::http) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/api/v1/session",
        target: Target::Public {
            why: "this is where a credential is shown",
            handler: session::begin,
        },
        about: Some(&session::BEGIN),
    },
    Route {
        verb: Verb::Delete,
        path: "/api/v1/session",
        target: Target::Public {
            why: "it ends the session of its own cookie alone",
            handler: session::end,
        },
        about: Some(&session::END),
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/first-run",
        target: Target::Public {
            why: "the code of a link is what lets in, and guessing is braked",
            handler: links::accept,
        },
        about: Some(&links::ACCEPT),
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/invitations/accept",
        target: Target::Public {
            why: "the code of a link is what lets in, and guessing is braked",
            handler: links::accept,
        },
        about: Some(&links::ACCEPT),
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/shares/open",
        target: Target::Public {
            why: "the code of a link is what lets in, and guessing is braked",
            handler: links::open,
        },
        about: Some(&links::OPEN),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/me",
        target: Target::Known { handler: me::me },
        about: Some(&me::ME),
    },
    Route {
        verb: Verb::Put,
        path: "/api/v1/me/password",
        target: Target::Account { handler: own::password },
        about: Some(&own::PASSWORD),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/me/sessions",
        target: Target::Account { handler: own::sessions },
        about: Some(&own::SESSIONS),
    },
    Route {
        verb: Verb::Delete,
        path: "/api/v1/me/sessions",
        target: Target::Account {
            handler: own::end_others,
        },
        about: Some(&own::END_OTHERS),
    },
    Route {
        verb: Verb::Delete,
        path: "/api/v1/me/sessions/{key}",
        target: Target::Account {
            handler: own::end_session,
        },
        about: Some(&own::END_SESSION),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/me/tokens",
        target: Target::Account { handler: own::tokens },
        about: Some(&own::TOKENS),
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/me/tokens",
        target: Target::Account {
            handler: own::add_token,
        },
        about: Some(&own::ADD_TOKEN),
    },
    Route {
        verb: Verb::Delete,
        path: "/api/v1/me/tokens/{key}",
        target: Target::Account { handler: own::revoke },
        about: Some(&own::REVOKE),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/me/player",
        target: Target::Account { handler: own::player },
        about: Some(&own::PLAYER),
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/me/player",
        target: Target::Account {
            handler: own::new_player,
        },
        about: Some(&own::NEW_PLAYER),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/me/preferences",
        target: Target::Account {
            handler: own::preferences,
        },
        about: Some(&own::PREFERENCES),
    },
    Route {
        verb: Verb::Put,
        path: "/api/v1/me/preferences",
        target: Target::Account {
            handler: own::set_preferences,
        },
        about: Some(&own::SET_PREFERENCES),
    },
    administer(Verb::Get, "/api/v1/users", users::list, &users::LIST),
    administer(Verb::Post, "/api/v1/users", users::add, &users::ADD),
    administer(Verb::Patch, "/api/v1/users/{user}", users::change, &users::CHANGE),
    administer(Verb::Delete, "/api/v1/users/{user}", users::remove, &users::REMOVE),
    administer(
        Verb::Post,
        "/api/v1/users/{user}/tokens",
        users::add_token,
        &users::ADD_TOKEN,
    ),
    administer(Verb::Get, "/api/v1/roles", users::roles, &users::ROLES),
    administer(Verb::Put, "/api/v1/roles/{role}", users::set_role, &users::SET_ROLE),
    administer(
        Verb::Delete,
        "/api/v1/roles/{role}",
        users::remove_role,
        &users::REMOVE_ROLE,
    ),
    administer(Verb::Get, "/api/v1/sessions", users::sessions, &users::SESSIONS),
    administer(
        Verb::Delete,
        "/api/v1/sessions/{key}",
        users::end_session,
        &users::END_SESSION,
    ),
    administer(Verb::Get, "/api/v1/tokens", users::tokens, &users::TOKENS),
    administer(Verb::Delete, "/api/v1/tokens/{key}", users::revoke, &users::REVOKE),
    administer(Verb::Get, "/api/v1/invitations", links::list, &links::LIST),
    administer(Verb::Post, "/api/v1/invitations", links::invite, &links::INVITE),
    administer(Verb::Delete, "/api/v1/invitations/{key}", links::remove, &links::REMOVE),
    Route {
        verb: Verb::Post,
        path: "/api/v1/shares",
        target: Target::Some {
            action: Action::Operate,
            handler: |call, caller, _| links::share(call, caller),
        },
        about: Some(&links::SHARE),
    },
    administer(Verb::Get, "/api/v1/audit", audit::list, &audit::LIST),
];

/// For whoever may change settings.
const fn administer(verb: Verb, path: &'static str, handler: Handler, about: &'static Operation) -> Route {
    Route {
        verb,
        path,
        target: Target::Program {
            action: Action::Administer,
            handler,
        },
        about: Some(about),
    }
}
