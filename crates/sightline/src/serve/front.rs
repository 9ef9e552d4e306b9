//! What is in front of the HTTP ports: which proxies are believed, which names are ours.
//!
//! Belongs here: from settings and files to what [`crate::http`] is given. Does not belong here: what it does with that.

use std::path::Path;

use rustls::pki_types::CertificateDer;

use crate::auth::Groups;
use crate::config::settings::{Proxy, Settings};
use crate::http::forwarded::{Trusted, Users};
use crate::http::hosts::Hosts;
use crate::secret::Secret;
use crate::{net, tls};

/// Longest file with a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 4 << 10;

/// Whose words are believed. Where the secret cannot be read, nobody's about users.
pub(super) fn trusted(proxy: &Proxy) -> Trusted {
    Trusted {
        networks: proxy.trusted.clone(),
        prefix: proxy.prefix.clone(),
        users: users(proxy),
    }
}

fn users(proxy: &Proxy) -> Option<Users> {
    // Where no role is given to anybody, there is nobody to be named.
    if proxy.trusted.is_empty() || (proxy.roles.is_empty() && proxy.default_role.is_none()) {
        return None;
    }
    let secret = match proxy.secret_file.as_deref().map(secret).transpose() {
        Ok(secret) => secret,
        Err(why) => {
            let file = proxy.secret_file.as_deref().unwrap_or(Path::new("")).display();
            tracing::error!(%file, "users of the proxy are not let in, since proxy.secret_file cannot be used: {why}");
            return None;
        }
    };
    if secret.is_none() {
        tracing::warn!(
            "users that a proxy names are believed by its address alone, and not on this machine; proxy.secret_file closes that"
        );
    }
    Some(Users {
        user: proxy.user_header.name(),
        groups: proxy.groups_header.name(),
        secret,
        roles: Groups {
            roles: proxy.roles.clone(),
            default: proxy.default_role.as_deref().map(Into::into),
        },
    })
}

/// The first line of a file. A short one is no secret: who may guess is let in as anybody.
fn secret(path: &Path) -> Result<Secret, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > MAX_SECRET_BYTES {
        return Err(format!("it has {length} bytes, more than {MAX_SECRET_BYTES}"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let line = text.lines().next().unwrap_or_default().trim();
    match line.len() {
        0 => Err("it is empty".to_owned()),
        1..16 => Err("its first line is shorter than 16 characters; `openssl rand -hex 16` makes one".to_owned()),
        _ => Ok(Secret::new(line)),
    }
}

/// The names that we go by.
pub(super) fn hosts(settings: &Settings) -> Hosts {
    let names = [
        settings.http.hosts.clone(),
        settings.server.advertise.clone(),
        settings.webrtc.additional_hosts.clone(),
        settings.acme.domains.iter().map(ToString::to_string).collect(),
        net::names_of_this_machine(),
    ];
    let certificate = settings.tls.certificate.as_deref().and_then(first_certificate);
    Hosts::new(names.concat(), certificate)
}

fn first_certificate(path: &Path) -> Option<CertificateDer<'static>> {
    // One that cannot be read was reported where it is shown.
    tls::certificates_of(path).ok()?.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_believed_where_they_have_roles_and_the_secret_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let proxy = |roles: &[&str]| Proxy {
            trusted: vec!["127.0.0.1".parse().unwrap()],
            roles: roles.iter().map(|role| role.parse().unwrap()).collect(),
            secret_file: Some(file.clone()),
            ..Proxy::default()
        };
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        assert!(trusted(&proxy(&[])).users.is_none());
        let users = trusted(&proxy(&["staff = admin"])).users.unwrap();
        assert_eq!(users.secret, Some(Secret::new("0123456789abcdef")));
        for content in ["", "\n0123456789abcdef", "short", &"x".repeat(5_000)] {
            std::fs::write(&file, content).unwrap();
            assert!(trusted(&proxy(&["staff = admin"])).users.is_none(), "{content:?}");
        }
        std::fs::remove_file(&file).unwrap();
        assert!(trusted(&proxy(&["staff = admin"])).users.is_none());
    }

    #[test]
    fn names_come_from_wherever_they_are_written() {
        let mut settings = Settings::default();
        settings.http.hosts = vec!["one.example".to_owned()];
        settings.server.advertise = vec!["two.example".to_owned()];
        settings.webrtc.additional_hosts = vec!["three.example".to_owned()];
        let hosts = hosts(&settings);
        for name in ["one.example", "two.example", "three.example"] {
            assert!(hosts.have(name), "{name}");
        }
        assert!(!hosts.have("four.example"));
    }
}
