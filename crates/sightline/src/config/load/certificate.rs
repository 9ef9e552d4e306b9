//! What the settings of the certificate can get wrong together.

use super::{Places, origin, problem};
use crate::config::problem::Problem;
use crate::config::settings::Settings;

/// Certificate authorities put no more names into one certificate.
const MOST_DOMAINS: usize = 100;

pub(super) fn check(settings: &Settings, given: &Places, problems: &mut Vec<Problem>) {
    let mut wrong = |key: &str, message: &str| problems.push(problem(origin(given, key).cloned(), key, message));
    let (tls, acme) = (&settings.tls, &settings.acme);
    for (here, other, key, named) in [
        (&tls.certificate, &tls.key, "tls.certificate", "tls.key"),
        (&tls.key, &tls.certificate, "tls.key", "tls.certificate"),
    ] {
        if here.is_some() && other.is_none() {
            let message = format!("a certificate and its key belong together; set {named}, too");
            wrong(key, &message);
        }
    }
    if let Some(email) = &acme.email
        && (!email.contains('@') || email.contains(':') || email.chars().any(|c| c.is_whitespace() || c.is_control()))
    {
        wrong(
            "acme.email",
            "this is no address of mail; write it like \"me@example.org\"",
        );
    }
    if acme.domains.is_empty() {
        return;
    }
    if tls.certificate.is_some() || tls.key.is_some() {
        let message = "tls.certificate names a certificate already; leave out one of them";
        wrong("acme.domains", message);
    }
    if !acme.agree_to_terms {
        let message = "a certificate authority is asked by those alone who agree to its terms; read them (Let's Encrypt: https://letsencrypt.org/repository/), then set acme.agree_to_terms = true";
        wrong("acme.domains", message);
    }
    if acme.domains.len() > MOST_DOMAINS {
        let message = format!("it holds {} names; give at most {MOST_DOMAINS}", acme.domains.len());
        wrong("acme.domains", &message);
    }
}
