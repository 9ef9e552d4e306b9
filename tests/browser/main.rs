//! End to end in a real browser: Debian's Chromium, driven by playwright-core. What happens in each test stands in the `.mjs` file beside this one
//! that bears its module's name.
//!
//! Belongs here: what only a browser can tell. Does not belong here: rules of the player that need none (`web/test`), HTTP as other clients
//! see it (`tests/http`).

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// One at a time: what is measured in one browser would suffer from the next.
static ALONE: Mutex<()> = Mutex::new(());

fn scenario(file: &str, name: &str) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/browser");
    let missing = |what: &str| format!("{what} is missing; `scripts/setup test` installs it");
    assert!(
        folder.join("node_modules/playwright-core").exists(),
        "{}",
        missing("playwright-core")
    );
    let ended = Command::new("node")
        .args(["run.mjs", file, name])
        .current_dir(&folder)
        .env("SIGHTLINE", env!("CARGO_BIN_EXE_sightline"))
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", missing("node")));
    let said = String::from_utf8_lossy(&ended.stdout);
    let complained = String::from_utf8_lossy(&ended.stderr);
    print!("{said}");
    assert!(ended.status.success(), "{said}\n{complained}");
}

macro_rules! scenarios {
    ($($file:ident: $($name:ident),+;)+) => {
        $(mod $file {
            $(#[test]
            fn $name() {
                crate::scenario(stringify!($file), stringify!($name));
            })+
        })+
    };
}

scenarios! {
    page: plays_on_every_port, a_name_may_hold_slashes, says_what_is_not_there, asks_who_somebody_is, falls_back_and_returns,
        falls_back_where_media_are_blocked, a_still_is_not_called_live, heals_when_the_publisher_returns,
        heals_when_the_server_returns, heals_by_hls_when_the_server_returns, fits_a_telephone, works_by_keyboard,
        keeps_the_ids_that_scripts_read;
    badge: agrees_by_webrtc, agrees_by_webrtc_with_a_wrong_clock, agrees_by_hls, agrees_by_hls_with_a_wrong_clock;
    killed: publishers_of_other_sizes_come_and_go, a_publisher_is_killed_and_back_at_once, a_server_returns_as_another,
        a_server_returns_with_other_tokens, the_network_is_gone_for_a_while, a_browser_is_killed;
    publish: a_camera_of_the_browser;
    hls: plays_near_the_edge_without_standing_still, goes_on_when_the_publisher_returns;
}
