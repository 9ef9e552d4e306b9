//! What outlives a restart.
//!
//! Belongs here: the state folder, files in it that are replaced whole or not at all, the generated tokens, the people of the page ([`control`]), users and passwords of cameras ([`credentials`]), all of it in one file and back ([`backup`]). Does not
//! belong here: settings (people write those), recordings.

pub mod backup;
pub mod control;
pub mod credentials;
mod folder;
mod tokens;

pub use folder::{Error, Folder, InUse, Place, default_place};
pub use tokens::{load_or_make, of_this_machine};
