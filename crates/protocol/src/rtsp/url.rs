//! RTSP URLs, and how the control URLs of tracks are resolved against them.
//!
//! Belongs here: both directions of that: a client makes a track's URL out of what a server's SDP says, a server finds out
//! which stream and track a request's URL means, whatever a client added or lost on the way. Does not belong here: DNS.

use std::fmt;

use super::wire::strip_prefix_ignoring_case;

/// `rtsp://user:password@host:port/path?query`, read tolerantly: passwords may hold any character, percent-encoded or not.
/// `Display` leaves user and password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// `rtsps`: TLS below.
    pub tls: bool,
    /// Percent-decoded.
    pub user: Option<String>,
    /// Percent-decoded.
    pub password: Option<String>,
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// 554, or 322 with TLS, where the URL gives none.
    pub port: u16,
    /// Path and query as they were, starting with `/`, which is added where it is missing.
    pub path: String,
}

/// Why a text is no RTSP URL. For people; holds no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Not `rtsp://` or `rtsps://`.
    #[error("the URL must begin with rtsp://, such as rtsp://192.168.1.20:554/stream1")]
    Scheme,
    /// No host.
    #[error("the URL has no host; write it like rtsp://192.168.1.20:554/stream1")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("the port in the URL is not a number from 1 to 65535")]
    Port,
    /// A blank or control character.
    #[error("the URL holds {0:?}; write it percent-encoded (a space is %20)")]
    Character(char),
    /// Longer than 2,000 bytes.
    #[error("the URL is {0} bytes long, at most {MAX_BYTES} are allowed")]
    TooLong(usize),
}

impl Url {
    /// `host:port`, the host in brackets if it is an IPv6 address; the port left out where it is the usual one.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == default_port(self.tls) {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// The whole URL, user and password included: for the peer that is to log in there, never for a log.
    pub fn with_login(&self) -> String {
        let scheme = if self.tls { "rtsps" } else { "rtsp" };
        let encode = |text: &str| -> String {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            let encoded = text.bytes().map(|byte| match byte {
                byte if plain(byte) => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            });
            encoded.collect()
        };
        let login = match (&self.user, &self.password) {
            (Some(user), Some(password)) => format!("{}:{}@", encode(user), encode(password)),
            (Some(user), None) => format!("{}@", encode(user)),
            (None, _) => String::new(),
        };
        format!("{scheme}://{login}{}{}", self.authority(), self.path)
    }

    /// Whether both lead to the same server: host (without case), port and TLS.
    pub fn is_same_server(&self, other: &Self) -> bool {
        self.tls == other.tls && self.port == other.port && self.host.eq_ignore_ascii_case(&other.host)
    }
}

impl std::str::FromStr for Url {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let text = text.trim();
        if text.len() > MAX_BYTES {
            return Err(InvalidUrl::TooLong(text.len()));
        }
        if let Some(bad) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            return Err(InvalidUrl::Character(bad));
        }
        let (tls, rest) = split_scheme(text).ok_or(InvalidUrl::Scheme)?;
        let (login, authority, path) = split_authority(rest);
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (Some(percent_decode(user)), Some(percent_decode(password))),
            None => (None, None),
        };
        let (host, port) = split_port(authority).ok_or(InvalidUrl::Port)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        if host.is_empty() || host.contains(['[', ']', '@', '#']) {
            return Err(InvalidUrl::Host);
        }
        Ok(Self {
            tls,
            user,
            password,
            host: host.to_owned(),
            port: port.unwrap_or_else(|| default_port(tls)),
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rtsps" } else { "rtsp" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// Without the query, which may hold a token.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default().to_owned();
        write!(f, "{}", Self { path, ..self.clone() })
    }
}

/// Whether the scheme means TLS, and what follows `://`.
fn split_scheme(text: &str) -> Option<(bool, &str)> {
    strip_prefix_ignoring_case(text, "rtsp://")
        .map(|rest| (false, rest))
        .or_else(|| strip_prefix_ignoring_case(text, "rtsps://").map(|rest| (true, rest)))
}

/// Login, host and port, path. A password with a slash in it is recognised where what stands before the slash could not be a
/// host and port.
fn split_authority(rest: &str) -> (Option<&str>, &str, &str) {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if let Some((login, host)) = authority.rsplit_once('@') {
        return (Some(login), host, path);
    }
    if (authority.ends_with(':') || split_port(authority).is_none())
        && let Some((login, after)) = rest.split_once('@')
    {
        let end = after.find(['/', '?']).unwrap_or(after.len());
        let (host, path) = after.split_at_checked(end).unwrap_or((after, ""));
        return (Some(login), host, path);
    }
    (None, authority, path)
}

/// Host and port; `None` when what stands in the port's place is none.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let host_end = authority.rfind(']').map_or(0, |end| end + 1);
    let Some((_, tail)) = authority.split_at_checked(host_end) else {
        return Some((authority, None));
    };
    match tail.rsplit_once(':') {
        None => Some((authority, None)),
        // Bare IPv6 in spite of the rule that wants brackets.
        Some((before, _)) if host_end == 0 && before.contains(':') => Some((authority, None)),
        Some((_, port)) => {
            let host = authority.get(..authority.len() - port.len() - 1)?;
            if port.is_empty() {
                return Some((host, None));
            }
            let number = port.parse::<u16>().ok().filter(|&port| port != 0)?;
            Some((host, Some(number)))
        }
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 322 } else { 554 }
}

/// `%41` to `A`. A percent sign that begins no such code stays. Bytes that are no UTF-8 become U+FFFD.
pub(crate) fn percent_decode(text: &str) -> String {
    let hex = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while let Some(&byte) = bytes.get(position) {
        match (byte, hex(bytes.get(position + 1)), hex(bytes.get(position + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                position += 3;
            }
            _ => {
                decoded.push(byte);
                position += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The URL that `control` names, seen from `base`. As text, the way cameras expect it (and FFmpeg, live555 and GStreamer do
/// it), not by RFC 3986: `/cam?channel=1` and `trackID=0` give `/cam?channel=1/trackID=0`.
pub fn resolve_control(base: &str, control: Option<&str>) -> String {
    let control = control.unwrap_or_default().trim().replace(char::is_whitespace, "%20");
    let control = control.as_str();
    if control.is_empty() || control == "*" {
        return base.to_owned();
    }
    if split_scheme(control).is_some() {
        return control.to_owned();
    }
    if control.starts_with('?') {
        return format!("{base}{control}");
    }
    format!("{}/{}", base.trim_end_matches('/'), control.trim_start_matches('/'))
}

/// Base for the controls of a description: `Content-Base`, else `Content-Location`, else the URL that was asked for. What is no
/// URL and no path is passed over; a path is taken on the asked server.
pub fn control_base(asked: &Url, content_base: Option<&str>, content_location: Option<&str>) -> String {
    let usable = |text: &str| {
        let text = text.trim().trim_matches('"');
        if split_scheme(text).is_some_and(|(_, rest)| !rest.is_empty()) {
            Some(text.to_owned())
        } else if text.starts_with('/') {
            let path = text.to_owned();
            Some(Url { path, ..asked.clone() }.to_string())
        } else {
            None
        }
    };
    content_base
        .and_then(usable)
        .or_else(|| content_location.and_then(usable))
        .unwrap_or_else(|| asked.to_string())
}

/// What a request's URL means to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `rtsp://host:port` as the client wrote it, without login; empty where it sent a path alone.
    pub origin: String,
    /// Percent-decoded path without slashes at its ends or doubled ones: stream name, maybe with a control behind it.
    pub path: String,
    /// Query as it was, without a control that was appended to it.
    pub query: String,
    /// What looks like the control of a track: a last part of the form `word=value`, from path or query.
    pub control: Option<String>,
}

impl Target {
    /// Reads an absolute URL or a path. `None` for anything else, `*` included.
    pub fn parse(uri: &str) -> Option<Self> {
        let (origin, rest) = match split_scheme(uri) {
            Some((tls, rest)) => {
                let (_, authority, path) = split_authority(rest);
                let scheme = if tls { "rtsps" } else { "rtsp" };
                (format!("{scheme}://{authority}"), path)
            }
            None if uri.starts_with('/') => (String::new(), uri),
            None => return None,
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = percent_decode(path);
        let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut query = query.trim_end_matches('/');
        let mut control = None;
        if let Some((before, last)) = query.rsplit_once('/')
            && is_control(last)
        {
            control = Some(percent_decode(last));
            query = before.trim_end_matches('/');
        }
        if let Some(last) = parts.pop_if(|last| is_control(last))
            && control.is_none()
        {
            control = Some(last.to_owned());
        }
        Some(Self {
            origin,
            path: parts.join("/"),
            query: query.to_owned(),
            control,
        })
    }

    /// The value of `token` in the query, else of `jwt`, as older clients of other servers have it, percent-decoded.
    pub fn token(&self) -> Option<String> {
        let named = |wanted| {
            let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, value)| *name == wanted && !value.is_empty())
        };
        let (_, value) = named("token").or_else(|| named("jwt"))?;
        Some(percent_decode(value))
    }

    /// The stream's URL with a slash at its end, as `Content-Base` gives it. Without the query: a token has done its
    /// service, and clients would put the track's control behind it.
    pub fn base(&self, stream: &str) -> String {
        format!("{}/{stream}/", self.origin)
    }

    /// Which of `controls` is meant by this URL of a stream called `stream`. By its text, else by the number at its end:
    /// clients rewrite `trackID=0` to `streamid=0` and the like.
    pub fn track(&self, stream: &str, controls: &[String]) -> Track {
        let Some(below) = self.below(stream) else {
            return Track::Unknown(self.path.clone());
        };
        let control = match &self.control {
            Some(control) if below.is_empty() => control.clone(),
            Some(control) => format!("{below}/{control}"),
            None if below.is_empty() => return Track::Aggregate,
            None => below.to_owned(),
        };
        let same = |known: &String| relative_control(stream, known) == control;
        if let Some(index) = controls.iter().position(same) {
            return Track::Index(index);
        }
        let digits = control.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let number = control.get(digits..).and_then(|digits| digits.parse::<usize>().ok());
        match number {
            Some(index) if index < controls.len() && self.control.is_some() && below.is_empty() => Track::Index(index),
            _ => Track::Unknown(control),
        }
    }

    /// What stands between the stream's name and the control; `None` when this is the URL of another stream.
    pub fn below(&self, stream: &str) -> Option<&str> {
        let rest = self.path.strip_prefix(stream)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/'))
    }
}

/// What a server finds behind the stream's name in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Track {
    /// This track.
    Index(usize),
    /// No track is named: all of them.
    Aggregate,
    /// A control that no track has.
    Unknown(String),
}

/// The part of a described control that stands behind the stream's name, if it is absolute; else itself.
fn relative_control(stream: &str, control: &str) -> String {
    match Target::parse(control) {
        Some(target) if split_scheme(control).is_some() => {
            let below = target.path.strip_prefix(stream).unwrap_or(&target.path);
            let parts = [below.trim_matches('/'), target.control.as_deref().unwrap_or_default()];
            parts
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("/")
        }
        _ => control.trim().trim_matches('/').to_owned(),
    }
}

/// Stream names hold no `=`, so a part that does is a track's control.
fn is_control(part: &str) -> bool {
    part.split_once('=')
        .is_some_and(|(word, value)| !word.is_empty() && !value.is_empty() && !part.contains('&'))
}

const MAX_BYTES: usize = 2000;

#[cfg(test)]
mod tests;
