//! Accounts of people.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::auth::{Network, Password, Role, Streams};

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
    /// What it is: "admin" (everything), "operator" (everything with cameras and recordings), "viewer" (live and recordings) or "publisher". What is written
    /// below it is added to that.
    #[schemars(example = &"viewer")]
    pub role: Option<Role>,
    /// Streams for which it is that: "*" for all, names, expressions such as "~^yard/". Left out: all.
    #[schemars(example = &["door", "~^yard/"])]
    pub streams: Option<Vec<Streams>>,
    /// Streams that it may view live, in the same way.
    pub view: Vec<Streams>,
    /// Streams whose recordings it may play. Left out: those that it may view.
    #[schemars(example = &["door"])]
    pub replay: Option<Vec<Streams>>,
    /// Streams that it may publish.
    pub publish: Vec<Streams>,
    /// Streams that it may steer: record, export, protect, see who views and end them.
    pub operate: Vec<Streams>,
    /// Streams whose recordings it may delete.
    pub erase: Vec<Streams>,
    /// It may use the API as admins do: see who views, end them, delete recordings, change settings.
    pub administer: bool,
}
