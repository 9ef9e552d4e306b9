//! End to end in a real browser: Debian's Chromium, driven by playwright-core. What happens in each test stands in the `.mjs` file beside this one
//! that bears its module's name.
//!
//! Belongs here: what only a browser can tell. Does not belong here: rules of the player that need none (`web/test`), HTTP as other clients
//! see it (`tests/http`).

mod scenario;

macro_rules! scenarios {
    ($($file:ident: $($name:ident),+;)+) => {
        $(mod $file {
            $(#[test]
            fn $name() {
                crate::scenario::play(stringify!($file), stringify!($name), &[]);
            })+
        })+
    };
}

scenarios! {
    page: plays_on_every_port, a_name_may_hold_slashes, says_what_is_not_there, asks_who_somebody_is, strangers_words_are_text, falls_back_and_returns,
        falls_back_though_the_library_was_not_there,
        falls_back_where_media_are_blocked, a_still_is_not_called_live, heals_when_the_publisher_returns,
        heals_when_the_server_returns, heals_by_hls_when_the_server_returns, fits_a_telephone, works_by_keyboard,
        keeps_the_ids_that_scripts_read;
    dashboard: fits_both_sizes_in_both_themes, is_used_by_keyboard_alone, goes_from_screen_to_screen_without_loading_anew, heals_when_the_server_returns,
        chat_goes_from_page_to_page, speaks_vietnamese, says_that_one_is_signed_out, records_and_takes_snapshots,
        finds_what_happened, values_are_those_of_the_system;
    entry: from_the_printed_link_to_a_picture_and_a_password, an_invitation_makes_an_account, a_share_shows_its_camera,
        without_a_link_the_way_to_one_is_said;
    settings: a_setting_is_changed_by_its_form, the_file_is_changed_as_text, a_user_comes_and_goes, a_token_is_made_shown_once_and_revoked,
        settings_fit_both_sizes_in_both_themes;
    screens: each_is_sound_at_both_sizes;
    cameras: adds_one_with_a_wrong_password_first, adds_one_on_a_telephone, is_given_up_while_a_camera_is_silent;
    badge: agrees_by_webrtc, agrees_by_webrtc_with_a_wrong_clock, agrees_by_hls, agrees_by_hls_with_a_wrong_clock;
    killed: publishers_of_other_sizes_come_and_go, a_publisher_is_killed_and_back_at_once, a_server_returns_as_another,
        a_server_returns_with_other_tokens, a_server_dies_after_its_publisher, the_network_is_gone_for_a_while, a_browser_is_killed;
    publish: a_camera_of_the_browser;
    hls: plays_near_the_edge_without_standing_still, goes_on_when_the_publisher_returns, changes_down_where_the_way_narrows,
        the_page_changes_down_and_up_with_the_way;
    recorded: a_gap_is_leapt;
}
