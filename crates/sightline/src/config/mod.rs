//! Settings: one definition, four places they can be given.
//!
//! Belongs here: which settings exist ([`settings`]), what their values look like ([`units`]), how file, environment and flags are found,
//! checked and merged ([`load`]), MediaMTX's file in place of ours ([`mediamtx`]), how they change while the program runs ([`live`]), and what is
//! generated from the definition ([`mod@reference`]). Does not belong here: what a setting
//! does.
//!
//! Later wins: defaults, file, environment (the process over `.env`), flags.

pub mod account;
pub mod authority;
pub mod command;
pub mod destination;
pub mod dotenv;
pub mod elsewhere;
pub mod environment;
pub mod hook;
pub mod keys;
pub mod live;
pub mod load;
pub mod motion;
pub mod onvif_url;
pub mod problem;
pub mod record;
pub mod reference;
pub mod seconds;
pub mod settings;
pub mod socket_url;
pub mod stream_key;
pub mod stream_source;
pub mod units;
pub mod upload;
pub mod url_template;
pub mod webhook;

mod file;
mod mediamtx;
mod suggest;

pub use environment::Environment;
pub use load::{Flag, Given, Loaded, Wanted, load};
pub use problem::{Invalid, Origin, Problem};
pub use settings::Settings;
