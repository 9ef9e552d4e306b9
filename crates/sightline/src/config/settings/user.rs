//! Accounts of people.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::auth::{Network, Password, Streams};

/// Somebody with rights of their own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct User {
    /// The user name. Left out: that of the table.
    #[schemars(example = &"anna@example.com")]
    pub name: Option<String>,
    /// The password, or "sha256:" and the base64 of its SHA-256 (`printf %s PASSWORD | openssl dgst -sha256 -binary | openssl base64`), or "argon2:" and
    /// what `printf %s PASSWORD | argon2 SALT -id -e` prints. With one that is hashed, RTSP is asked for by Basic alone.
    #[schemars(example = &"sha256:XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg=")]
    pub password: Option<Password>,
    /// It is all who show no credential.
    pub anyone: bool,
    /// Networks from which it counts, such as ["192.168.1.0/24"]. Empty: everywhere.
    pub networks: Vec<Network>,
    /// Streams that it may view: "*" for all, names, expressions such as "~^yard/".
    pub view: Vec<Streams>,
    /// Streams that it may publish, in the same way.
    pub publish: Vec<Streams>,
    /// It may use the API as admins do: see who views, end them, change settings.
    pub administer: bool,
}
