//! TLS where we are the server: the certificate that HTTPS and RTSPS show.
//!
//! Belongs here: where the certificate comes from ([`own`], [`files`], [`acme`]), how it is replaced while the program runs. Does not belong here: whose
//! certificates are believed where we are the client ([`crate::rtsp::client`]), DTLS of WebRTC (`protocol`).
//!
//! A certificate of our own is loaded when the first client comes, since the library and the key are half a megabyte that most servers never need.

pub(crate) mod acme;
mod files;
mod own;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use media::Clock;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::OnceCell;

use crate::shutdown::Shutdown;
use acme::{Acme, Challenges};
pub use acme::{Wish, is_challenge};
pub use files::{Files, Unusable, certificates_of};
pub use own::OpenFolder;
use own::Own;

/// What is spoken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// HTTP/2 or HTTP/1.1, as the client likes (RFC 7301).
    Http,
    /// RTSP, which has no name there.
    Rtsp,
}

/// The certificate, for whoever accepts connections.
pub struct Certificates {
    shown: Arc<Shown>,
    own: Option<Own>,
    files: Option<files::Watched>,
    acme: Option<Acme>,
    clock: Arc<dyn Clock>,
    loaded: OnceCell<bool>,
    /// One for each kind of what is inside, made once.
    configs: [OnceLock<Option<Arc<ServerConfig>>>; 2],
}

impl Certificates {
    /// One that nobody vouches for, kept in the state folder. `names`: by which this machine is known, beside `localhost`.
    pub fn own(folder: OpenFolder, names: fn() -> Vec<String>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            shown: Arc::default(),
            own: Some(Own { folder, names }),
            files: None,
            acme: None,
            clock,
            loaded: OnceCell::new(),
            configs: Default::default(),
        })
    }

    /// One that a certificate authority issues, kept in the state folder; our own until it is there. `chance` gives any number, each time another.
    pub fn issued(
        wish: Wish,
        folder: OpenFolder,
        names: fn() -> Vec<String>,
        clock: Arc<dyn Clock>,
        chance: fn() -> u64,
    ) -> Arc<Self> {
        let acme = Acme {
            wish,
            folder: Arc::clone(&folder),
            challenges: Arc::default(),
            clock: Arc::clone(&clock),
            chance,
        };
        let shown = Arc::<Shown>::default();
        if let Some(kept) = acme.kept() {
            shown.set(kept);
        }
        Arc::new(Self {
            shown,
            own: Some(Own { folder, names }),
            files: None,
            acme: Some(acme),
            clock,
            loaded: OnceCell::new(),
            configs: Default::default(),
        })
    }

    /// One that somebody keeps in files, and renews there.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn from_files(files: Files, clock: Arc<dyn Clock>) -> Result<Arc<Self>, Unusable> {
        let (watched, key) = files::Watched::load(files)?;
        let shown = Arc::<Shown>::default();
        shown.set(key);
        Ok(Arc::new(Self {
            shown,
            own: None,
            files: Some(watched),
            acme: None,
            clock,
            loaded: OnceCell::new_with(Some(true)),
            configs: Default::default(),
        }))
    }

    /// Makes what is to be there from the first start on, and then looks after the files until the program ends.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        if let Some(own) = self.own.clone() {
            let now = self.clock.wall();
            let made = tokio::task::spawn_blocking(move || own.make_if_missing(now)).await;
            if let Ok(Err(error)) = made {
                tracing::warn!(reason = %error, "TLS has no certificate that could be kept");
            }
        }
        if let Some(watched) = &self.files {
            watched.run(&self.shown, shutdown).await;
        } else if let Some(acme) = &self.acme {
            acme.run(&self.shown, shutdown).await;
        }
    }

    /// What a certificate authority looks for by HTTP at this token.
    pub fn challenge(&self, token: &str) -> Option<String> {
        self.acme.as_ref()?.challenges.text(token)
    }

    /// How to talk TLS; `None` when that is not possible, which the log has been told.
    pub async fn config(&self, inside: Inside) -> Option<Arc<ServerConfig>> {
        let loading = async {
            if self.shown.get().is_some() {
                return true;
            }
            let Some(own) = self.own.clone() else { return false };
            let now = self.clock.wall();
            // A panic in it was reported already.
            let Ok(loaded) = tokio::task::spawn_blocking(move || own.load(now)).await else {
                return false;
            };
            match loaded {
                Ok(key) => self.shown.set_first(key),
                Err(error) => tracing::error!(reason = %error, "no TLS; connections without it are not affected"),
            }
            self.shown.get().is_some()
        };
        let is_there = *self.loaded.get_or_init(|| loading).await;
        is_there.then(|| self.made(inside)).flatten()
    }

    fn made(&self, inside: Inside) -> Option<Arc<ServerConfig>> {
        let [http, rtsp] = &self.configs;
        let (made, mut protocols) = match inside {
            Inside::Http => (http, vec![b"h2".to_vec(), b"http/1.1".to_vec()]),
            Inside::Rtsp => (rtsp, Vec::new()),
        };
        let challenges = self.acme.as_ref().map(|acme| Arc::clone(&acme.challenges));
        if inside == Inside::Http && challenges.is_some() {
            protocols.push(acme::PROTOCOL.to_vec());
        }
        let make = || {
            let config = ServerConfig::builder_with_provider(provider());
            let config = config.with_safe_default_protocol_versions().ok()?;
            let resolver = Arc::new(Resolver {
                shown: Arc::clone(&self.shown),
                challenges,
            });
            let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
            config.alpn_protocols = protocols;
            Some(Arc::new(config))
        };
        made.get_or_init(make).clone()
    }
}

/// What is shown now.
#[derive(Default)]
struct Shown(RwLock<Option<Arc<CertifiedKey>>>);

impl Shown {
    fn set(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(key));
    }

    /// Where there is none yet.
    fn set_first(&self, key: CertifiedKey) {
        let mut shown = self.0.write().unwrap_or_else(PoisonError::into_inner);
        shown.get_or_insert_with(|| Arc::new(key));
    }

    fn get(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What rustls asks at each handshake, so that a renewed certificate is shown from the next one on.
struct Resolver {
    shown: Arc<Shown>,
    /// Of certificate authorities that look whether names are ours.
    challenges: Option<Arc<Challenges>>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let looking = self
            .challenges
            .as_ref()
            .and_then(|challenges| challenges.resolve(&hello));
        looking.unwrap_or_else(|| self.shown.get())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
