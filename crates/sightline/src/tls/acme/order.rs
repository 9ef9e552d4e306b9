//! One certificate, from the order to the chain (RFC 8555 §7.4, §7.5).

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};

use super::asking::{Asking, said};
use super::challenges::Answer;
use super::schedule::Failure;
use super::{Certificate, Challenges, Wish};

/// Longest wait for an authority to look at our ports, and to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));

/// See the module.
pub(super) struct Issuing<'a> {
    pub(super) account: &'a Account,
    pub(super) asking: &'a Asking,
    pub(super) challenges: &'a Arc<Challenges>,
    pub(super) wish: &'a Wish,
    pub(super) kind: ChallengeType,
}

impl Issuing<'_> {
    pub(super) async fn issue(&self) -> Result<Certificate, Failure> {
        let names = self.wish.domains.iter().cloned().map(Identifier::Dns);
        let names: Vec<Identifier> = names.collect();
        let ordered = self.account.new_order(&NewOrder::new(&names)).await;
        let mut order = ordered.map_err(|error| self.failed(error))?;
        // Until the order is ready, and no longer.
        let answers = self.prepare(&mut order).await?;
        match order.poll_ready(&PATIENCE).await {
            Ok(OrderStatus::Ready) => {}
            Ok(_) | Err(Error::Api(_)) => return Err(self.why_not(&mut order).await),
            Err(error) => return Err(self.failed(error)),
        }
        drop(answers);
        let (csr, key) = self.request()?;
        let finalized = order.finalize_csr(&csr).await;
        finalized.map_err(|error| self.failed(error))?;
        let chain = order.poll_certificate(&PATIENCE).await;
        let chain = chain.map_err(|error| self.failed(error))?;
        Certificate::issued(&self.wish.domains, chain, key).map_err(|why| {
            Failure::Refused(format!(
                "the certificate authority gave a certificate that cannot be used: {why}"
            ))
        })
    }

    /// Puts the answers where they will be looked for, and says that it may look.
    async fn prepare(&self, order: &mut Order) -> Result<Vec<Answer>, Failure> {
        let mut answers = Vec::new();
        let mut names = order.authorizations();
        while let Some(name) = names.next().await {
            let mut name = name.map_err(|error| self.failed(error))?;
            // Some remember what they found the last time.
            if name.status == AuthorizationStatus::Valid {
                continue;
            }
            let domain = name.identifier().to_string();
            let Some(mut challenge) = name.challenge(self.kind.clone()) else {
                return Err(Failure::Challenge(format!(
                    "the certificate authority does not check {domain} by {}; set acme.challenge to another",
                    self.kind_name()
                )));
            };
            let says = challenge.key_authorization();
            let answer = self.challenges.answer(&self.kind, &domain, &challenge.token, &says);
            answers.push(answer.map_err(Failure::Ours)?);
            challenge.set_ready().await.map_err(|error| self.failed(error))?;
        }
        Ok(answers)
    }

    /// What is to be signed, and its key, as PEM.
    fn request(&self) -> Result<(Vec<u8>, String), Failure> {
        let failed = |error: rcgen::Error| Failure::Ours(format!("the key of the certificate cannot be made: {error}"));
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let mut params = rcgen::CertificateParams::new(self.wish.domains.clone()).map_err(failed)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&key).map_err(failed)?;
        Ok((request.der().to_vec(), key.serialize_pem()))
    }

    /// What it did not find, for the first name where that is so.
    async fn why_not(&self, order: &mut Order) -> Failure {
        let mut names = order.authorizations();
        while let Some(Ok(mut name)) = names.next().await {
            if name.refresh().await.is_err() {
                break;
            }
            let domain = name.identifier().to_string();
            if let Some(problem) = name.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
                return Failure::Challenge(format!(
                    "the certificate authority did not find this program at {domain}: {}; {}",
                    said(problem),
                    self.what_is_needed()
                ));
            }
        }
        Failure::Challenge(format!(
            "the certificate authority did not find this program at {}; {}",
            self.wish.domains.join(", "),
            self.what_is_needed()
        ))
    }

    fn what_is_needed(&self) -> &'static str {
        match self.kind {
            ChallengeType::TlsAlpn01 => {
                "by tls-alpn-01 it connects to port 443 of that name, which must lead to the HTTPS port of this program (http.https_port), without a proxy that speaks TLS itself"
            }
            _ => {
                "by http-01 it connects to port 80 of that name, which must lead to the HTTP port of this program (http.port)"
            }
        }
    }

    fn kind_name(&self) -> &'static str {
        match self.kind {
            ChallengeType::TlsAlpn01 => "tls-alpn-01",
            _ => "http-01",
        }
    }

    fn failed(&self, error: Error) -> Failure {
        self.asking.failure(error)
    }
}
