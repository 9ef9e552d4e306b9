//! A proxy in front of us.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::auth::{GroupRole, Network};
use crate::config::units::Field;
use crate::http::forwarded::Prefix;

/// A proxy in front of the HTTP ports, such as nginx or Caddy. Nothing of it is changed by HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// Networks of proxies, such as ["127.0.0.1", "::1"]: of these alone X-Forwarded-For, -Proto, -Host and -Prefix are believed. Empty: nobody is, and everybody
    /// behind a proxy has the proxy's address.
    pub trusted: Vec<Network>,
    /// The path below which the proxy has us and which it takes away, such as "/cams", where it does not say so by X-Forwarded-Prefix.
    pub prefix: Prefix,
    /// The header field with the name of who signed in at the proxy. It counts where roles or default_role say for what; the proxy must not let clients set it.
    pub user_header: Field,
    /// The header field with the groups of that user, with commas between them.
    pub groups_header: Field,
    /// File with the secret that the proxy shows in X-Sightline-Proxy-Secret where it names a user. Without one, users are believed of proxies on other machines
    /// alone: on this one everybody has the same address.
    #[schemars(example = &"/etc/sightline/proxy-secret")]
    pub secret_file: Option<PathBuf>,
    /// What groups are good for: "camera-admins = admin". Roles are "admin", "operator", "publisher", "viewer" and those that were made in the page; who is in
    /// several groups may what any of them may.
    pub roles: Vec<GroupRole>,
    /// The role of users that are in none of these groups. Left out: they may nothing.
    #[schemars(example = &"viewer")]
    pub default_role: Option<String>,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            trusted: Vec::new(),
            prefix: Prefix::default(),
            user_header: Field::user(),
            groups_header: Field::groups(),
            secret_file: None,
            roles: Vec::new(),
            default_role: None,
        }
    }
}
