//! Requests and responses as they are read and written.
//!
//! Belongs here: the parts every message has. Does not belong here: how messages are found in a byte stream
//! ([`super::wire`]), what single headers say ([`super::header`], [`super::transport`], [`super::auth`]).

use std::fmt::{self, Write as _};

use bytes::{Bytes, BytesMut};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// What can the peer do?
    Options,
    /// What is the stream made of?
    Describe,
    /// This is what will be sent.
    Announce,
    /// Agree on the transport of a track.
    Setup,
    /// Start sending to me.
    Play,
    /// Hold for now.
    Pause,
    /// I start sending.
    Record,
    /// End the session.
    Teardown,
    /// Read parameters; empty as a keepalive.
    GetParameter,
    /// Set parameters.
    SetParameter,
    /// Go elsewhere (server to client).
    Redirect,
    /// Anything else, as it was written.
    Other(String),
}

impl Method {
    const KNOWN: [Self; 11] = [
        Self::Options,
        Self::Describe,
        Self::Announce,
        Self::Setup,
        Self::Play,
        Self::Pause,
        Self::Record,
        Self::Teardown,
        Self::GetParameter,
        Self::SetParameter,
        Self::Redirect,
    ];

    /// As it stands in a request line.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Options => "OPTIONS",
            Self::Describe => "DESCRIBE",
            Self::Announce => "ANNOUNCE",
            Self::Setup => "SETUP",
            Self::Play => "PLAY",
            Self::Pause => "PAUSE",
            Self::Record => "RECORD",
            Self::Teardown => "TEARDOWN",
            Self::GetParameter => "GET_PARAMETER",
            Self::SetParameter => "SET_PARAMETER",
            Self::Redirect => "REDIRECT",
            Self::Other(name) => name,
        }
    }

    /// Reads a method name, in any case.
    pub fn parse(name: &str) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(name))
            .unwrap_or_else(|| Self::Other(name.to_owned()))
    }

    pub(crate) fn is_known(&self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Headers in the order they came. Names compare without case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first header of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter();
        let (_, value) = all.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// Every header of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Adds one. Control characters in the value become spaces, so that no value can end its line.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let mut value = value.into();
        if value.bytes().any(|byte| byte.is_ascii_control()) {
            value = value.replace(|c: char| c.is_ascii_control(), " ");
        }
        self.0.push((name.into(), value));
    }

    /// Continues the value of the last header, for lines folded as RFC 2326 §4.2 still allows.
    pub(crate) fn fold(&mut self, more: &str) {
        if let Some((_, value)) = self.0.last_mut() {
            value.push(' ');
            value.push_str(more);
        }
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// Of what: a URL, a path or `*`.
    pub uri: String,
    /// RTSP version, major and minor; `None` when the request line has none that can be read.
    pub version: Option<(u8, u8)>,
    /// Headers.
    pub headers: Headers,
    /// Body.
    pub body: Bytes,
}

impl Request {
    /// A request of RTSP 1.0 without headers and body.
    pub fn new(method: Method, uri: impl Into<String>) -> Self {
        Self {
            method,
            uri: uri.into(),
            version: Some((1, 0)),
            headers: Headers::default(),
            body: Bytes::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Appends the request as RTSP 1.0; `Content-Length` is added where there is a body.
    pub fn write(&self, output: &mut BytesMut) {
        let uri: String = self
            .uri
            .chars()
            .map(|c| if c.is_ascii_control() || c == ' ' { '_' } else { c })
            .collect();
        append(output, format_args!("{} {uri} RTSP/1.0\r\n", self.method));
        write_rest(&self.headers, &self.body, output);
    }
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Outcome.
    pub status: Status,
    /// The words beside the status.
    pub reason: String,
    /// Headers.
    pub headers: Headers,
    /// Body.
    pub body: Bytes,
}

impl Response {
    /// A response with the standard phrase of its status.
    pub fn new(status: Status) -> Self {
        Self {
            status,
            reason: status.phrase().to_owned(),
            headers: Headers::default(),
            body: Bytes::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Appends the response as RTSP 1.0; `Content-Length` is added where there is a body.
    pub fn write(&self, output: &mut BytesMut) {
        let reason = printable(&self.reason, REASON_BYTES);
        append(output, format_args!("RTSP/1.0 {:03} {reason}\r\n", self.status.0));
        write_rest(&self.headers, &self.body, output);
    }
}

fn write_rest(headers: &Headers, body: &[u8], output: &mut BytesMut) {
    for (name, value) in headers.iter() {
        append(output, format_args!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        append(output, format_args!("Content-Length: {}\r\n", body.len()));
    }
    output.extend_from_slice(b"\r\n");
    output.extend_from_slice(body);
}

fn append(output: &mut BytesMut, text: fmt::Arguments<'_>) {
    // `BytesMut` grows as needed; its `Write` fails only past `usize::MAX` bytes.
    let _ = output.write_fmt(text);
}

/// `text` in printable ASCII (others become `?`), cut to `limit` bytes.
pub(crate) fn printable(text: &str, limit: usize) -> String {
    let plain = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    text.trim().chars().take(limit).map(plain).collect()
}

/// A response's status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(pub u16);

macro_rules! statuses {
    ($($name:ident $code:literal $phrase:literal)*) => {
        impl Status {
            $(#[doc = concat!(stringify!($code), " ", $phrase)] pub const $name: Self = Self($code);)*

            /// The standard phrase.
            pub fn phrase(self) -> &'static str {
                match self.0 {
                    $($code => $phrase,)*
                    100..=199 => "Continue",
                    200..=299 => "OK",
                    300..=399 => "Redirect",
                    400..=499 => "Client Error",
                    _ => "Server Error",
                }
            }
        }
    };
}

statuses! {
    OK 200 "OK"
    MOVED_PERMANENTLY 301 "Moved Permanently"
    FOUND 302 "Found"
    BAD_REQUEST 400 "Bad Request"
    UNAUTHORIZED 401 "Unauthorized"
    FORBIDDEN 403 "Forbidden"
    NOT_FOUND 404 "Not Found"
    METHOD_NOT_ALLOWED 405 "Method Not Allowed"
    NOT_ACCEPTABLE 406 "Not Acceptable"
    ENTITY_TOO_LARGE 413 "Request Entity Too Large"
    URI_TOO_LONG 414 "Request-URI Too Long"
    UNSUPPORTED_MEDIA_TYPE 415 "Unsupported Media Type"
    PARAMETER_NOT_UNDERSTOOD 451 "Parameter Not Understood"
    NOT_ENOUGH_BANDWIDTH 453 "Not Enough Bandwidth"
    SESSION_NOT_FOUND 454 "Session Not Found"
    NOT_VALID_IN_THIS_STATE 455 "Method Not Valid in This State"
    INVALID_RANGE 457 "Invalid Range"
    AGGREGATE_NOT_ALLOWED 459 "Aggregate Operation Not Allowed"
    ONLY_AGGREGATE_ALLOWED 460 "Only Aggregate Operation Allowed"
    UNSUPPORTED_TRANSPORT 461 "Unsupported Transport"
    INTERNAL_ERROR 500 "Internal Server Error"
    NOT_IMPLEMENTED 501 "Not Implemented"
    UNAVAILABLE 503 "Service Unavailable"
    VERSION_NOT_SUPPORTED 505 "RTSP Version Not Supported"
    LOOP_DETECTED 508 "Loop Detected"
    OPTION_NOT_SUPPORTED 551 "Option Not Supported"
}

/// Longest phrase we write beside a status; FFmpeg's line buffer holds 4,096 bytes, logs are read by people.
const REASON_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_break_out_of_its_line() {
        let mut output = BytesMut::new();
        Request::new(Method::Other("X".into()), "rtsp://h/a b\r\nEvil: 1")
            .with("Session", "1\r\nEvil: 2\r\n\r\n")
            .write(&mut output);
        let mut response = Response::new(Status::OK);
        response.reason = "fine\r\nEvil: 3".into();
        response.write(&mut output);
        let text = String::from_utf8(output.to_vec()).unwrap();
        assert!(text.lines().all(|line| !line.starts_with("Evil")), "{text}");
        assert_eq!(text.lines().filter(|line| line.is_empty()).count(), 2);
    }

    #[test]
    fn header_names_compare_without_case_and_may_repeat() {
        let mut headers = Headers::default();
        headers.push("WWW-Authenticate", "Basic");
        headers.push("Www-authenticate", "Digest");
        assert_eq!(headers.all("www-AUTHENTICATE").collect::<Vec<_>>(), ["Basic", "Digest"]);
    }
}
