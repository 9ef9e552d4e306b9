//! The names that we go by.
//!
//! A page of another site can point a name of its own at our address (DNS rebinding): to the browser we are that site then. A cookie or a credential is not sent
//! along, so it matters where somebody is let in by address alone, and there the name must be one that nobody else can own.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;

/// Endings that the public DNS does not have: RFC 6762, RFC 6761, RFC 8375, and what ICANN reserved or routers of homes use.
const PRIVATE: [&str; 6] = ["local", "localhost", "home.arpa", "internal", "lan", "localdomain"];

/// Names by which clients reach us.
#[derive(Debug, Default)]
pub struct Hosts {
    names: BTreeSet<String>,
    certificate: Option<CertificateDer<'static>>,
}

impl Hosts {
    /// Those names and those of a certificate, besides what is known without a word: addresses, names without a dot, names that are no public ones.
    pub fn new(names: impl IntoIterator<Item = String>, certificate: Option<CertificateDer<'static>>) -> Self {
        Self {
            names: names.into_iter().map(|name| plain(&name)).collect(),
            certificate,
        }
    }

    /// Whether a client that names this host, without a port, can mean us alone.
    pub fn have(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<IpAddr>().is_ok() {
            return true;
        }
        let host = plain(host);
        let ends = |ending: &&str| host.strip_suffix(ending).is_some_and(|rest| rest.ends_with('.'));
        !host.contains('.') || PRIVATE.iter().any(ends) || self.names.contains(&host) || self.is_in_certificate(host)
    }

    fn is_in_certificate(&self, host: String) -> bool {
        let certificate = self
            .certificate
            .as_ref()
            .and_then(|it| ParsedCertificate::try_from(it).ok());
        let name = ServerName::try_from(host).ok();
        certificate
            .zip(name)
            .is_some_and(|(certificate, name)| verify_server_name(&certificate, &name).is_ok())
    }
}

/// DNS tells neither capitals nor a dot at the end apart.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("192.168.1.5", true)]
    #[case("[fd00::1]", true)]
    #[case("localhost", true)]
    #[case("raspberrypi", true)]
    #[case("raspberrypi.local", true)]
    #[case("Pi.LAN.", true)]
    #[case("x.home.arpa", true)]
    #[case("cams.example", true)]
    #[case("CAMS.example.", true)]
    #[case("other.cams.example", false)]
    #[case("evil.example", false)]
    #[case("notlocal", true)]
    #[case("evil.notlocal", false)]
    #[case("192.168.1.5.evil.example", false)]
    #[case("local.evil.example", false)]
    fn ours_are_those_that_nobody_else_can_own(#[case] host: &str, #[case] ours: bool) {
        let hosts = Hosts::new(["Cams.Example".to_owned()], None);
        assert_eq!(hosts.have(host), ours);
    }
}
