//! Settings: one definition, four places they can be given.
//!
//! Belongs here: which settings exist ([`settings`]), what their values look like ([`units`]), how file, environment and flags are found,
//! checked and merged ([`load`]), and what is generated from the definition ([`mod@reference`]). Does not belong here: what a setting
//! does.
//!
//! Later wins: defaults, file, environment (the process over `.env`), flags.

pub mod dotenv;
pub mod environment;
pub mod keys;
pub mod load;
pub mod problem;
pub mod reference;
pub mod settings;
pub mod socket_url;
pub mod units;

mod file;
mod suggest;

pub use environment::Environment;
pub use load::{Flag, Given, Loaded, Wanted, load};
pub use problem::{Invalid, Origin, Problem};
pub use settings::Settings;
