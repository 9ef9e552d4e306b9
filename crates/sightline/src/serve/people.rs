//! The people of the page, while the program runs.
//!
//! Belongs here: opening what is kept of them, ending what somebody was let in to when what let them in ends. Does not belong here: who is let in ([`crate::auth`]).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use media::Clock;
use media::hub::Hub;
use media::stats::{GrantId, Role, SessionStats};

use super::{Program, state_place};
use crate::auth::{Action, Auth, Object};
use crate::shutdown::Shutdown;
use crate::state::control::{Control, FILE, Unreadable};
use crate::state::{self, Folder};

/// What is kept of them. Where it cannot be read the log says the way back, and nobody of it is let in.
pub(super) fn control(program: &Program) -> Arc<Control> {
    let clock = Arc::clone(&program.clock);
    let place = state::default_place(&state_place(program), &program.environment);
    let opened = place.and_then(Folder::open).map_err(|error| Unreadable::NotOpened {
        path: FILE.into(),
        why: error.to_string(),
    });
    let opened = opened.and_then(|folder| Control::open(folder.path(), Arc::clone(&clock)));
    Arc::new(opened.unwrap_or_else(|unreadable| {
        tracing::error!("no account of the page is let in: {unreadable}");
        Control::without(unreadable, clock)
    }))
}

/// Ends each session whose grant ended, or may no longer what it does, within a second.
pub(super) async fn end_what_ended(auth: Arc<Auth>, hub: Hub, clock: Arc<dyn Clock>, shutdown: Shutdown) {
    let Some(mut changes) = auth.changes() else { return };
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            // Some end by themselves.
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        end_ended(&auth, &hub, &*clock);
    }
}

fn end_ended(auth: &Auth, hub: &Hub, clock: &dyn Clock) {
    let sessions = || {
        let streams = hub.list();
        streams.into_iter().flat_map(|stream| stream.sessions())
    };
    let used: HashSet<GrantId> = sessions().filter_map(|stats| stats.grant.get().copied()).collect();
    if used.is_empty() {
        return;
    }
    let rights = auth.rights_of(&used, clock.wall());
    for stats in sessions() {
        let Some(grant) = stats.grant.get() else { continue };
        let action = match stats.info.role {
            Role::Viewer => Action::View,
            Role::Publisher => Action::Publish,
        };
        let may = rights
            .get(grant)
            .is_some_and(|rights| rights.may(action, Object::Stream(&stats.info.stream)));
        if !may {
            end(&stats);
        }
    }
}

fn end(stats: &SessionStats) {
    if stats.leash.is_tied() {
        stats.farewell.say("what it was let in by ended");
    }
    // One that has too much to do is told again in a second.
    if stats.leash.pull() == Some(true) {
        let info = &stats.info;
        tracing::info!(
            session = stats.id.get(),
            remote = info.remote.map(tracing::field::display),
            stream = %info.stream,
            "ended, for what let it in ended"
        );
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
