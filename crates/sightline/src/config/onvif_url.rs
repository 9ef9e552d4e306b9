//! `onvif://user:password@host:port/PROFILE`: an IP camera that is asked where its streams are, as settings name it.
//!
//! Does not belong here: places for what an expression found ([`super::url_template`]), asking it ([`crate::onvif`]).

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::units::InvalidWord;
use crate::onvif::{Account, DEVICE_PATH, Wanted};
use crate::secret::Secret;

/// A camera and which of its streams is meant. `Debug` and `Display` leave credentials out.
#[derive(Clone, PartialEq, Eq)]
pub struct Device {
    /// Where its device service is, without login and query; the path is `/` where it is the usual one.
    pub service: Url,
    /// Its account.
    pub account: Option<Account>,
    /// Which stream.
    pub wanted: Wanted,
}

/// The one parameter that there is.
const SERVICE: &str = "service";

/// How settings name a camera whose device service is there. `login`: as it stands in a URL, with its `@`; `profile`: percent-encoded.
pub fn written(device: &Url, login: &str, profile: &str) -> String {
    let scheme = if device.scheme() == "https" { "onvifs" } else { "onvif" };
    let place = &device[url::Position::BeforeHost..url::Position::AfterPort];
    let service = match device.path() {
        DEVICE_PATH | "/" => String::new(),
        path => format!("?{SERVICE}={}", utf8_percent_encode(path, NON_ALPHANUMERIC)),
    };
    format!("{scheme}://{login}{place}/{profile}{service}")
}

impl Device {
    /// Reads the URL, with the scheme that it is asked by.
    ///
    /// # Errors
    /// A query that means nothing.
    pub fn read(mut url: Url) -> Result<Self, InvalidWord> {
        let text = |encoded: &str| percent_decode_str(encoded).decode_utf8_lossy().into_owned();
        let account = (!url.username().is_empty()).then(|| Account {
            user: text(url.username()),
            password: Secret::new(text(url.password().unwrap_or_default())),
        });
        let profile = text(url.path().trim_matches('/'));
        let mut path = "/".to_owned();
        for (name, value) in url.query_pairs() {
            if name != SERVICE || !value.starts_with('/') {
                let message = "behind the ? of an onvif:// URL stands service=/PATH, where the camera's device service is elsewhere than /onvif/device_service, \
                     and nothing else";
                return Err(InvalidWord::new(message.to_owned()));
            }
            path = value.into_owned();
        }
        // Neither fails for a URL with a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.set_fragment(None);
        url.set_path(&path);
        let profile = (!profile.is_empty()).then_some(profile);
        Ok(Self {
            service: url,
            account,
            wanted: Wanted { profile, lower: false },
        })
    }

    /// The lower stream of it; none of one that is it.
    pub fn lower(&self) -> Option<Self> {
        let profile = self.wanted.profile.clone();
        (!self.wanted.lower).then(|| Self {
            wanted: Wanted { profile, lower: true },
            ..self.clone()
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.service.scheme() == "https" {
            "onvifs"
        } else {
            "onvif"
        };
        let login = if self.account.is_some() { "***@" } else { "" };
        let place = &self.service[url::Position::BeforeHost..url::Position::AfterPort];
        let profile = self.wanted.profile.as_deref().unwrap_or_default();
        let lower = if self.wanted.lower { ", smaller" } else { "" };
        write!(f, "{scheme}://{login}{place}/{profile}{lower}")
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Device, InvalidWord> {
        Device::read(text.parse().unwrap())
    }

    #[test]
    fn what_a_url_says() {
        let device = read("http://ad%40min:can%2Fary@10.0.0.4:8080/Profile%201").unwrap();
        assert_eq!(device.service.as_str(), "http://10.0.0.4:8080/");
        let account = device.account.clone().unwrap();
        assert_eq!(
            (account.user.as_str(), account.password.expose()),
            ("ad@min", "can/ary")
        );
        assert_eq!(device.wanted.profile.as_deref(), Some("Profile 1"));
        assert_eq!(
            format!("{device} {device:?}"),
            "onvif://***@10.0.0.4:8080/Profile 1 onvif://***@10.0.0.4:8080/Profile 1"
        );
        let lower = device.lower().unwrap();
        assert!(lower.wanted.lower && lower.lower().is_none() && lower != device);
        let plain = read("https://[fd00::1]/?service=/onvif/services").unwrap();
        assert_eq!(plain.service.as_str(), "https://[fd00::1]/onvif/services");
        assert_eq!((plain.account.clone(), plain.wanted.profile.clone()), (None, None));
        assert_eq!(plain.to_string(), "onvifs://[fd00::1]/");
    }

    #[test]
    fn queries_that_mean_nothing_are_refused() {
        for text in [
            "http://a/?profile=1",
            "http://a/?service=evil.example/",
            "http://a/x?service=",
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("service=/PATH"), "{text}: {error}");
        }
    }
}
