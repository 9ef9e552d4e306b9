//! Servers that are told what happens.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::webhook::{EventWord, HookUrl, SigningSecret};
use crate::rtsp::client::Fingerprint;

/// A server that is told what happens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Webhook {
    /// Where events are POSTed, such as "https://example.com/hooks/camera". Redirects are not followed.
    #[schemars(example = &"https://example.com/hooks/camera")]
    pub url: Option<HookUrl>,
    /// Which events: kinds such as "viewer.left", or all about the same, "stream.*". Empty: all.
    pub events: Vec<EventWord>,
    /// What signs them: "whsec_" and the base64 of 24 to 64 bytes (`echo whsec_$(openssl rand -base64 32)`). Left out, with secret_file too: nothing
    /// does, and whoever is told can only trust the way.
    #[schemars(example = &"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub secret: Option<SigningSecret>,
    /// The file that holds it instead, read for each event. Not changed by HTTP.
    #[schemars(example = &"/etc/sightline/webhook-secret")]
    pub secret_file: Option<PathBuf>,
    /// Let it be on this machine or in its networks. Else only servers of the public internet are told, whatever their name means. Not changed by HTTP.
    pub allow_private: bool,
    /// The SHA-256 of the certificate that an https:// server shows, where nobody vouches for it.
    #[schemars(example = &"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
    pub fingerprint: Option<Fingerprint>,
}
