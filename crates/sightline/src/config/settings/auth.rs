//! Who may do what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::auth::authority::Permission;
use crate::auth::{Network, Replay};
use crate::config::elsewhere::AskedUrl;
use crate::rtsp::client::Fingerprint;
use crate::secret::Secret;

/// Who may do what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Ask nobody for anything. Everyone who reaches the ports may view and publish; said at every start. Also SIGHTLINE_OPEN.
    pub open: bool,
    /// One token for everything, in place of the generated ones, with any user name. It is then asked for everywhere, on this
    /// machine and in trusted networks too, and wins over `open`. Programs that connect (publish, receive) show it.
    /// Also SIGHTLINE_TOKEN.
    #[schemars(example = "a-long-secret")]
    pub token: Option<Secret>,
    /// Networks from which no credential is needed, such as ["192.168.1.0/24"]. Said at every start. Behind a proxy everybody has the
    /// proxy's address, unless proxy.trusted names it.
    pub trusted_networks: Vec<Network>,
    /// Who may play recordings without a credential, of those who may view without one: "open" for everybody where `open` is set and nobody else, "trusted" for
    /// trusted networks as well, "accounts" for nobody.
    pub replay: Replay,
    /// Who decides about those who show no token, account or session of this server: "own" nobody, "jwt" whoever signed the token that they show, "http" a server
    /// that is asked each time, both as MediaMTX has them. RTSP on this machine is then asked for a credential, too.
    pub method: AuthMethod,
    /// Tokens that somebody else signs, for method = "jwt".
    pub jwt: AuthJwt,
    /// A server that is asked, for method = "http".
    pub http: AuthHttp,
}

/// Who decides about those who show nothing of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthMethod {
    /// Nobody else.
    #[default]
    Own,
    /// Whoever signed their token.
    Jwt,
    /// A server that is asked.
    Http,
}

/// Tokens that somebody else signs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthJwt {
    /// Where the keys are that tokens are signed with, a JWK set: fetched once an hour, and when a token names one that is not known. Not changed by HTTP, as all
    /// of this table.
    #[schemars(example = &"https://id.example.org/realms/house/protocol/openid-connect/certs")]
    pub jwks: Option<AskedUrl>,
    /// Who has to have issued them (iss). Left out: anybody with these keys.
    #[schemars(example = &"https://id.example.org/realms/house")]
    pub issuer: Option<String>,
    /// For whom they have to be (aud). Left out: for anybody.
    #[schemars(example = &"sightline")]
    pub audience: Option<String>,
    /// Where in them the permissions are: a list of objects with action and path, or a text that holds one.
    pub claim: String,
    /// What everybody may do without a token: "read", "publish", "playback" or "metrics", and behind a space a stream or an expression where not all are meant,
    /// such as ["read", "publish ~^yard/"]. "api": tokens do not decide about the API, for which it then takes an account or token of this server.
    #[schemars(example = &["read door"])]
    pub exclude: Vec<Permission>,
    /// The SHA-256 of the certificate that the server of the keys shows, where nobody vouches for it.
    #[schemars(example = &"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
    pub fingerprint: Option<Fingerprint>,
}

impl Default for AuthJwt {
    fn default() -> Self {
        Self {
            jwks: None,
            issuer: None,
            audience: None,
            claim: "mediamtx_permissions".to_owned(),
            exclude: Vec::new(),
            fingerprint: None,
        }
    }
}

/// A server that is asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthHttp {
    /// What is asked, by POST, with user, password, token, ip, action, path, protocol, id, query and userAgent as JSON. A status of 2xx is yes. It is told
    /// passwords, so https:// or this machine. Not changed by HTTP, as all of this table.
    #[schemars(example = &"https://example.com/auth")]
    pub url: Option<AskedUrl>,
    /// What it is not asked about, since everybody may: as in auth.jwt.exclude.
    #[schemars(example = &["read door"])]
    pub exclude: Vec<Permission>,
    /// The SHA-256 of the certificate that it shows, where nobody vouches for it.
    #[schemars(example = &"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
    pub fingerprint: Option<Fingerprint>,
}
