//! ONVIF cameras: which there are, and where their streams are.
//!
//! Belongs here: asking one camera ([`Camera`]), asking the network which there are ([`discover`]). Does not belong here: the messages
//! (`protocol::onvif`), fetching streams ([`crate::source`]), what people are shown ([`crate::cli`]).
//!
//! What a camera says about addresses is not believed beyond ports and paths. Behind routers and after a move it names hosts that it cannot be reached by,
//! and whoever answers must not send our credentials to somebody else: asked is the host that was named or that answered, and no other.
//! A password is shown as a digest alone, since who answers a question to all may be anybody.

pub mod discover;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use media::Clock;
use protocol::onvif::device::{self, Information, Services};
use protocol::onvif::media::{self as streams, Profile, Version};
use protocol::onvif::soap::{Login, Request as Question};
use protocol::onvif::{MAX_ANSWER_BYTES, ReadError};
use protocol::rtsp;
use url::{Position, Url};

use crate::fetch::{self, Client, FetchError, Policy, Request};
use crate::secret::Secret;
use crate::trust::Trust;

/// Longest wait for each answer: cameras are slow.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Where the device service is, where nobody says otherwise (ONVIF core §5.1.1).
pub const DEVICE_PATH: &str = "/onvif/device_service";
/// Profiles that an error lists.
const MAX_LISTED: usize = 12;

/// User and password of a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Shown to people.
    pub user: String,
    /// Not.
    pub password: Secret,
}

/// Which of a camera's streams is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The profile's token or name; none: the one with the largest pictures.
    pub profile: Option<String>,
    /// Not it, but its lower rendition.
    pub lower: bool,
}

/// Where a camera's stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// With the camera's login.
    pub url: rtsp::url::Url,
    /// The camera has a lower rendition of it, in the same codec.
    pub has_lower: bool,
}

/// One camera, asked by HTTP.
pub struct Camera {
    device: Url,
    account: Option<Account>,
    http: Client,
    clock: Arc<dyn Clock>,
    random: fn() -> u64,
    /// What is added to our clock to have the camera's, which is what it holds logins against.
    skew_us: i64,
    /// It wants its logins by HTTP, and none in the message.
    by_http: bool,
}

/// Why a camera gives nothing. The text is for people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failed {
    /// It cannot be asked.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It wants another login.
    #[error("{0}; many cameras have accounts of their own for ONVIF, which are made on their page")]
    Login(LoginRefused),
    /// It answers by something else than ONVIF.
    #[error(
        "{host} is no ONVIF camera at this port and path ({status}); see on its page whether ONVIF is switched on, and at which port"
    )]
    Status {
        /// Which.
        host: String,
        /// What it says.
        status: StatusCode,
    },
    /// What it says is of no use.
    #[error("{host}: {error}")]
    Read {
        /// Which.
        host: String,
        /// Why not.
        error: ReadError,
    },
    /// It has no service for streams.
    #[error("{0} has no media service; see on its page whether ONVIF is switched on, and what this account may do")]
    NoMedia(String),
    /// It has no such stream.
    #[error("{host} has no profile {wanted}; it has {has}")]
    NoProfile {
        /// Which.
        host: String,
        /// What was wanted.
        wanted: String,
        /// What is there.
        has: String,
    },
    /// It takes too long.
    #[error("{host} took longer than {after:?} to say where its stream is")]
    Slow {
        /// Which.
        host: String,
        /// The limit.
        after: Duration,
    },
    /// Its stream is somewhere that is no URL of RTSP.
    #[error("{0} says of its stream an address that is none of RTSP")]
    NoUrl(String),
}

/// What is wrong with user and password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefused {
    /// None was given.
    #[error("{0} wants a user and password")]
    Needed(String),
    /// Another is wanted than was given.
    #[error("{0} does not accept this user and password")]
    Wrong(String),
    /// It wants to be shown the password itself.
    #[error("{0} wants the password unencrypted (HTTP Basic), which is not done")]
    InTheClear(String),
}

impl Camera {
    /// The camera whose device service is there. Login and query of the URL are not looked at.
    pub fn new(
        mut device: Url,
        account: Option<Account>,
        trust: Trust,
        clock: Arc<dyn Clock>,
        random: fn() -> u64,
    ) -> Self {
        let _ = device.set_username("");
        let _ = device.set_password(None);
        device.set_query(None);
        device.set_fragment(None);
        if device.path() == "/" {
            device.set_path(DEVICE_PATH);
        }
        let http = Client::new(Policy {
            trust,
            may_connect: fetch::anywhere,
            redirects: 0,
            timeout: ANSWER_WITHIN,
        });
        Self {
            device,
            account,
            http,
            clock,
            random,
            skew_us: 0,
            by_http: false,
        }
    }

    /// What it is, as far as it says that.
    ///
    /// # Errors
    /// [`Failed`], where it wants another login or cannot be asked.
    pub async fn information(&mut self) -> Result<Information, Failed> {
        let device = self.device.clone();
        match self.ask(&device, &device::get_information(), device::information).await {
            Err(error @ (Failed::Fetch(_) | Failed::Login(_))) => Err(error),
            information => Ok(information.unwrap_or_default()),
        }
    }

    /// Its streams, in its own order, of the first of its services that has such as are carried.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn streams(&mut self) -> Result<Streams, Failed> {
        self.learn_clock().await?;
        let services = self.services().await?;
        let (mut found, mut last) = (None, None);
        // With H.265 first; a camera that has it half made is asked in the old way.
        for (version, address) in [(Version::Two, services.media2), (Version::One, services.media)] {
            let Some(service) = address.and_then(|address| self.here(&address)) else {
                continue;
            };
            let question = streams::get_profiles(version);
            let profiles = self.ask(&service, &question, |answer| streams::profiles(version, answer));
            match profiles.await {
                Ok(profiles) if profiles.is_empty() => {}
                Ok(profiles) => {
                    let carried = profiles.iter().any(Profile::is_carried);
                    let streams = Streams {
                        profiles,
                        version,
                        service,
                    };
                    if carried {
                        return Ok(streams);
                    }
                    found = found.or(Some(streams));
                }
                Err(error @ Failed::Login(_)) => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        found.ok_or_else(|| last.unwrap_or_else(|| Failed::NoMedia(self.host())))
    }

    /// Where a stream is, with the camera's login.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn url(&mut self, streams: &Streams, profile: &Profile) -> Result<rtsp::url::Url, Failed> {
        let version = streams.version;
        let question = streams::get_stream_uri(version, &profile.token);
        let answer = self.ask(&streams.service, &question, |answer| {
            streams::stream_uri(version, answer)
        });
        let url: Result<rtsp::url::Url, _> = answer.await?.parse();
        let mut url = url.map_err(|_| Failed::NoUrl(self.host()))?;
        url.host = self.host();
        (url.user, url.password) = match &self.account {
            Some(account) => (Some(account.user.clone()), Some(account.password.expose().to_owned())),
            None => (None, None),
        };
        Ok(url)
    }

    /// Where the stream is that is meant.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn resolve(&mut self, wanted: &Wanted) -> Result<Place, Failed> {
        let streams = self.streams().await?;
        let found = streams.find(wanted);
        let (profile, has_lower) = found.map_err(|(wanted, has)| Failed::NoProfile {
            host: self.host(),
            wanted,
            has,
        })?;
        let url = self.url(&streams, profile).await?;
        Ok(Place { url, has_lower })
    }

    /// Cameras whose clock is wrong refuse logins that are right.
    async fn learn_clock(&mut self) -> Result<(), Failed> {
        let (url, question) = (self.device.clone(), device::get_time());
        let message = question.envelope(None);
        let said = self.answer(&url, &question, message, None).await?;
        match device::time(&said.bytes) {
            Ok(Some(theirs)) => self.skew_us = theirs.micros_since(self.clock.wall()),
            // What is no camera says something else than SOAP; one that wants a login for its clock is taken to have ours.
            Err(ReadError::NotXml(_) | ReadError::Missing("SOAP envelope"))
                if said.status != StatusCode::UNAUTHORIZED =>
            {
                return Err(Failed::Status {
                    host: self.host(),
                    status: said.status,
                });
            }
            _ => {}
        }
        Ok(())
    }

    async fn services(&mut self) -> Result<Services, Failed> {
        let device = self.device.clone();
        match self.ask(&device, &device::get_services(), device::services).await {
            Ok(services) if services.media.is_some() || services.media2.is_some() => return Ok(services),
            Err(error @ (Failed::Fetch(_) | Failed::Login(_))) => return Err(error),
            _ => {}
        }
        // Cameras of before 2011 know these alone.
        self.ask(&device, &device::get_capabilities(), device::capabilities)
            .await
    }

    /// One question with the login, and what its answer says.
    async fn ask<T>(
        &mut self,
        url: &Url,
        question: &Question,
        read: impl FnOnce(&[u8]) -> Result<T, ReadError>,
    ) -> Result<T, Failed> {
        let message = match self.by_http {
            true => question.envelope(None),
            false => self.signed(question),
        };
        let mut said = self.answer(url, question, message, None).await?;
        if said.status == StatusCode::UNAUTHORIZED && said.headers.contains_key(WWW_AUTHENTICATE) {
            let authorization = self.authorization(&said.headers, url)?;
            let message = question.envelope(None);
            said = self.answer(url, question, message, Some(authorization)).await?;
            self.by_http = true;
        }
        let read = read(&said.bytes);
        let refused = match &read {
            Err(ReadError::Fault(fault)) => fault.is_about_login,
            Err(_) => said.status == StatusCode::UNAUTHORIZED,
            Ok(_) => false,
        };
        if refused {
            return Err(self.refused());
        }
        read.map_err(|error| match error {
            // Faults come with 400 and 500; whatever else does is no answer.
            ReadError::NotXml(_) | ReadError::Missing("SOAP envelope") if !said.status.is_success() => Failed::Status {
                host: self.host(),
                status: said.status,
            },
            error => Failed::Read {
                host: self.host(),
                error,
            },
        })
    }

    fn refused(&self) -> Failed {
        let host = self.host();
        Failed::Login(match self.account {
            Some(_) => LoginRefused::Wrong(host),
            None => LoginRefused::Needed(host),
        })
    }

    fn signed(&self, question: &Question) -> String {
        let Some(account) = &self.account else {
            return question.envelope(None);
        };
        let numbers = u128::from((self.random)()) << 64 | u128::from((self.random)());
        question.envelope(Some(&Login {
            user: &account.user,
            password: account.password.expose(),
            nonce: numbers.to_be_bytes(),
            created: self.clock.wall().offset_micros(self.skew_us),
        }))
    }

    /// The answer to a challenge by HTTP.
    fn authorization(&self, headers: &HeaderMap, url: &Url) -> Result<HeaderValue, Failed> {
        let account = self.account.as_ref().ok_or_else(|| self.refused())?;
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
        let challenges = challenges.filter_map(|value| value.to_str().ok());
        let cnonce = format!("{:016x}", (self.random)());
        let login = (account.user.as_str(), account.password.expose());
        let asked = ("POST", &url[Position::BeforePath..Position::AfterQuery]);
        let answer = rtsp::auth::digest(challenges, login, asked, &cnonce);
        let value = answer.and_then(|answer| HeaderValue::from_str(&answer).ok());
        let mut value = value.ok_or_else(|| Failed::Login(LoginRefused::InTheClear(self.host())))?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn answer(
        &self,
        url: &Url,
        question: &Question,
        message: String,
        authorization: Option<HeaderValue>,
    ) -> Result<Said, Failed> {
        let mut headers = HeaderMap::new();
        let kind = format!("application/soap+xml; charset=utf-8; action=\"{}\"", question.action);
        headers.extend(HeaderValue::try_from(kind).ok().map(|kind| (CONTENT_TYPE, kind)));
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        let request = Request {
            method: Method::POST,
            headers,
            body: Bytes::from(message),
            ..Request::get(url.clone())
        };
        let response = self.http.send(request).await?;
        let (status, headers) = (response.status, response.headers.clone());
        let bytes = response.bytes(MAX_ANSWER_BYTES).await?;
        Ok(Said { status, headers, bytes })
    }

    /// Of an address that the camera names its path, at the camera's own host and, unless it says another, port.
    fn here(&self, address: &str) -> Option<Url> {
        let theirs = Url::parse(address.trim()).ok().filter(Url::has_host)?;
        let mut url = self.device.clone();
        url.set_path(theirs.path());
        url.set_query(theirs.query());
        // Behind a router the port is another than the camera knows, as the host is.
        if theirs.host() == self.device.host() && theirs.scheme() == self.device.scheme() {
            let _ = url.set_port(theirs.port());
        }
        Some(url)
    }

    fn host(&self) -> String {
        let host = self.device.host_str().unwrap_or_default();
        host.trim_matches(['[', ']']).to_owned()
    }
}

/// The streams of a camera.
#[derive(Clone, Debug)]
pub struct Streams {
    /// In the camera's order.
    pub profiles: Vec<Profile>,
    version: Version,
    service: Url,
}

impl Streams {
    /// What is meant, and whether it has a lower rendition in its codec; else what was wanted and what there is, for people.
    fn find(&self, wanted: &Wanted) -> Result<(&Profile, bool), (String, String)> {
        let all = &self.profiles;
        let (best, words) = match &wanted.profile {
            None => (streams::main(all), "in H.264 or H.265".to_owned()),
            Some(name) => {
                let by = |of: fn(&Profile) -> &String| all.iter().find(|profile| of(profile) == name);
                let named = by(|profile| &profile.token).or_else(|| by(|profile| &profile.name));
                (named, format!("{name:?}"))
            }
        };
        let lower = best.and_then(|best| streams::lower(all, best));
        let found = match wanted.lower {
            true => lower.map(|lower| (lower, false)),
            false => best.map(|best| (best, lower.is_some_and(|lower| lower.encoding == best.encoding))),
        };
        found.ok_or_else(|| {
            let words = match wanted.lower {
                true => "with smaller pictures than that".to_owned(),
                false => words,
            };
            let names = all.iter().take(MAX_LISTED).map(|profile| {
                let encoding = profile.encoding.as_deref().unwrap_or("no codec");
                format!("{} ({encoding})", profile.token)
            });
            (words, names.collect::<Vec<_>>().join(", "))
        })
    }
}

struct Said {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Bytes,
}
