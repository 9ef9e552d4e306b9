//! The byte stream of an RTSP connection cut into messages and `$` frames (RFC 2326 §4, §10.12).
//!
//! Belongs here: framing, its limits, and what happens to bytes that are neither. Does not belong here: what a header's
//! value means.
//!
//! Peers are read with tolerance where it is safe: bare LF, blanks around names, folded lines, lines that are no header,
//! bytes that are no UTF-8, status lines without a phrase. Bytes between messages that belong to none are skipped until the
//! next message or plausible `$` frame, up to a limit.

use bytes::{Buf, Bytes, BytesMut};

use super::message::{Headers, Method, Request, Response, Status};

/// Limits of what a peer may send. Passing one ends the connection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest request or status line, in bytes.
    pub line_bytes: usize,
    /// Most headers of a message.
    pub headers: usize,
    /// Most bytes of all header lines of a message together.
    pub header_bytes: usize,
    /// Longest body (an SDP, a parameter list), in bytes.
    pub body_bytes: usize,
    /// Longest payload of a `$` frame, in bytes.
    pub frame_bytes: usize,
    /// Bytes in a row that belong to no message.
    pub garbage_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes: 4096,
            headers: 64,
            header_bytes: 16 * 1024,
            body_bytes: 64 * 1024,
            frame_bytes: 65_535,
            garbage_bytes: 4096,
        }
    }
}

/// Why a byte stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not RTSP at all.
    #[error("this is not RTSP but {what}: it begins with \"{first}\"")]
    NotRtsp {
        /// What it looks like.
        what: &'static str,
        /// The first bytes, for people.
        first: String,
    },
    /// A limit of [`Limits`].
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// Which part of a message.
        what: Part,
        /// The limit it passed.
        limit: usize,
    },
    /// Too many headers.
    #[error("a message with more than {0} headers")]
    TooManyHeaders(usize),
    /// A `Content-Length` that is no number, or two that differ: nobody knows where the next message begins.
    #[error("a message whose Content-Length is \"{0}\"")]
    BadLength(String),
    /// Too much between messages.
    #[error("more than {limit} bytes between messages that belong to none, the first of them \"{first}\"")]
    Garbage {
        /// The limit it passed.
        limit: usize,
        /// Where it began, for people.
        first: String,
    },
}

/// A part of the byte stream that has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Request or status line.
    StartLine,
    /// Header lines together.
    Headers,
    /// Body of a message.
    Body,
    /// Payload of a `$` frame.
    Frame,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::StartLine => "a request or status line",
            Self::Headers => "the headers of a message",
            Self::Body => "the body of a message",
            Self::Frame => "an interleaved frame",
        })
    }
}

/// One thing found in the byte stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// `$`, channel, length, payload; the payload shares the memory of the input.
    Frame {
        /// Channel.
        channel: u8,
        /// Payload.
        payload: Bytes,
    },
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// Finds items in bytes that come in any pieces. Every byte is looked at once, however small the pieces.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    buffer: BytesMut,
    scan: Scan,
    /// A message whose head is complete, and the length of its body.
    head: Option<(Head, usize)>,
    /// Skipping: a `$` must look like RTP or RTCP before it is believed.
    resyncing: bool,
    garbage: usize,
    first_garbage: Vec<u8>,
    begun: bool,
}

/// How far the head of a message was searched for its end.
#[derive(Debug, Default)]
struct Scan {
    position: usize,
    line_start: usize,
    first_line_end: Option<usize>,
    headers: usize,
}

#[derive(Debug)]
enum Head {
    Request(Request),
    Response(Response),
}

enum Found {
    Item(Item),
    Incomplete,
    Garbage(usize),
    /// Progress was made; look again.
    Again,
}

impl Decoder {
    /// A decoder at the start of a connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            scan: Scan::default(),
            head: None,
            resyncing: false,
            garbage: 0,
            first_garbage: Vec::new(),
            begun: false,
        }
    }

    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether an item has begun and is not complete.
    pub fn is_mid_item(&self) -> bool {
        self.head.is_some() || !self.buffer.is_empty()
    }

    /// What came, if something did and none of it was RTSP.
    pub fn only_garbage(&self) -> Option<Fault> {
        let mut seen = self.first_garbage.clone();
        seen.extend(self.buffer.iter().take(SHOWN_BYTES));
        let half_a_message = self.head.is_some() || seen.starts_with(b"RTSP/");
        (!self.begun && !seen.is_empty() && !half_a_message).then(|| Fault::NotRtsp {
            what: "something else",
            first: escape(&seen),
        })
    }

    /// The next item, or `None` until more bytes come. After an error there is nothing more to be had.
    pub fn next_item(&mut self) -> Result<Option<Item>, Fault> {
        loop {
            let found = if self.head.is_some() {
                self.body()
            } else {
                match self.buffer.first() {
                    None => {
                        // Gives the memory back: thousands of idle viewers hold nothing here.
                        self.buffer = BytesMut::new();
                        return Ok(None);
                    }
                    Some(b'\r' | b'\n') => {
                        self.buffer.advance(1);
                        Found::Again
                    }
                    Some(b'$') => self.frame()?,
                    Some(first) if first.is_ascii_alphabetic() => self.message()?,
                    // One more byte tells whether this is TLS.
                    Some(&TLS_HANDSHAKE) if !self.begun && self.buffer.len() == 1 => Found::Incomplete,
                    Some(_) => Found::Garbage(1),
                }
            };
            match found {
                Found::Again => {}
                Found::Incomplete => return Ok(None),
                Found::Garbage(length) => self.skip(length)?,
                Found::Item(item) => {
                    self.begun = true;
                    self.resyncing = false;
                    self.garbage = 0;
                    self.first_garbage.clear();
                    return Ok(Some(item));
                }
            }
        }
    }

    fn skip(&mut self, length: usize) -> Result<(), Fault> {
        let length = length.min(self.buffer.len());
        if !self.begun && self.garbage == 0 {
            if self.buffer.starts_with(&[TLS_HANDSHAKE, 3]) {
                return Err(self.not_rtsp("a TLS handshake (rtsps:// or https:// on a port without TLS)"));
            }
            if self.buffer.starts_with(b"SSH-") {
                return Err(self.not_rtsp("SSH"));
            }
        }
        let wanted = SHOWN_BYTES.saturating_sub(self.first_garbage.len());
        self.first_garbage.extend(self.buffer.iter().take(wanted.min(length)));
        self.garbage += length;
        self.resyncing = true;
        self.scan = Scan::default();
        self.buffer.advance(length);
        if self.garbage > self.limits.garbage_bytes {
            return Err(Fault::Garbage {
                limit: self.limits.garbage_bytes,
                first: escape(&self.first_garbage),
            });
        }
        Ok(())
    }

    fn not_rtsp(&self, what: &'static str) -> Fault {
        let length = self.buffer.len().min(SHOWN_BYTES);
        Fault::NotRtsp {
            what,
            first: escape(self.buffer.get(..length).unwrap_or_default()),
        }
    }

    fn frame(&mut self) -> Result<Found, Fault> {
        let (channel, length) = match *self.buffer {
            [b'$', channel, high, low, ..] => (channel, usize::from(u16::from_be_bytes([high, low]))),
            _ => return Ok(Found::Incomplete),
        };
        if self.resyncing {
            match self.buffer.get(4) {
                None => return Ok(Found::Incomplete),
                // Version 2 in the top bits, as every RTP and RTCP packet has.
                Some(first) if first >> 6 == 2 && length >= 8 => {}
                Some(_) => return Ok(Found::Garbage(1)),
            }
        }
        if length > self.limits.frame_bytes {
            return Err(Fault::TooLong {
                what: Part::Frame,
                limit: self.limits.frame_bytes,
            });
        }
        if self.buffer.len() < 4 + length {
            return Ok(Found::Incomplete);
        }
        self.buffer.advance(4);
        let payload = self.buffer.split_to(length).freeze();
        Ok(Found::Item(Item::Frame { channel, payload }))
    }

    fn body(&mut self) -> Found {
        match self.head.take() {
            Some((head, length)) if self.buffer.len() >= length => {
                let body = self.buffer.split_to(length).freeze();
                Found::Item(match head {
                    Head::Request(request) => Item::Request(Request { body, ..request }),
                    Head::Response(response) => Item::Response(Response { body, ..response }),
                })
            }
            head => {
                self.head = head;
                Found::Incomplete
            }
        }
    }

    fn message(&mut self) -> Result<Found, Fault> {
        if self.scan.position == 0 {
            // A method or `RTSP`, then a blank or slash: anything else is not worth waiting for the end of a line.
            let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            match self.buffer.iter().take(TOKEN_BYTES).position(|byte| !is_token(byte)) {
                None if self.buffer.len() < TOKEN_BYTES => return Ok(Found::Incomplete),
                Some(end) if matches!(self.buffer.get(end), Some(b' ' | b'\t' | b'/')) => {}
                end => return Ok(Found::Garbage(end.unwrap_or(TOKEN_BYTES))),
            }
        }
        match self.find_end()? {
            None => Ok(Found::Incomplete),
            Some(End::NotAMessage(length)) => Ok(Found::Garbage(length)),
            Some(End::At(end)) => self.read_head(end),
        }
    }

    /// Looks for the empty line that ends a head, from where the last search stopped.
    fn find_end(&mut self) -> Result<Option<End>, Fault> {
        let too_long = |what, limit| Err(Fault::TooLong { what, limit });
        while let Some(&byte) = self.buffer.get(self.scan.position) {
            let position = self.scan.position;
            self.scan.position += 1;
            match self.scan.first_line_end {
                None if byte == b'\n' => {
                    self.scan.first_line_end = Some(self.scan.position);
                    let line = self.buffer.get(..position).unwrap_or_default();
                    if let Some(end) = self.judge_first_line(line)? {
                        return Ok(Some(end));
                    }
                    self.scan.line_start = self.scan.position;
                }
                None if byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r') => {
                    return Ok(Some(End::NotAMessage(self.scan.position)));
                }
                None if position >= self.limits.line_bytes => {
                    return if self.resyncing {
                        Ok(Some(End::NotAMessage(self.scan.position)))
                    } else {
                        too_long(Part::StartLine, self.limits.line_bytes)
                    };
                }
                Some(first) if position - first >= self.limits.header_bytes => {
                    return too_long(Part::Headers, self.limits.header_bytes);
                }
                Some(_) if byte == b'\n' => {
                    let line = self.buffer.get(self.scan.line_start..position).unwrap_or_default();
                    if matches!(line, b"" | b"\r") {
                        return Ok(Some(End::At(self.scan.position)));
                    }
                    self.scan.line_start = self.scan.position;
                    self.scan.headers += 1;
                    if self.scan.headers > self.limits.headers {
                        return Err(Fault::TooManyHeaders(self.limits.headers));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// `None` when the line begins a message.
    fn judge_first_line(&self, line: &[u8]) -> Result<Option<End>, Fault> {
        let text = String::from_utf8_lossy(line);
        if parse_status_line(&text).is_some() {
            return Ok(None);
        }
        let (method, _, version) = split_request_line(&text);
        if version.is_some() || Method::parse(method).is_known() && !is_http(&text) {
            return Ok(None);
        }
        if !self.begun && is_http(&text) {
            return Err(self.not_rtsp("HTTP"));
        }
        Ok(Some(End::NotAMessage(line.len() + 1)))
    }

    fn read_head(&mut self, end: usize) -> Result<Found, Fault> {
        self.scan = Scan::default();
        let head = self.buffer.split_to(end.min(self.buffer.len()));
        let mut lines = head
            .as_ref()
            .split(|&byte| byte == b'\n')
            .map(|line| String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)));
        let first = lines.next().unwrap_or_default();
        let mut headers = Headers::default();
        for line in lines {
            if line.starts_with([' ', '\t']) {
                headers.fold(line.trim());
            } else if let Some((name, value)) = line.split_once(':') {
                headers.push(name.trim(), value.trim());
            }
        }
        let length = content_length(&headers)?;
        if length > self.limits.body_bytes {
            return Err(Fault::TooLong {
                what: Part::Body,
                limit: self.limits.body_bytes,
            });
        }
        let head = if let Some((status, reason)) = parse_status_line(&first) {
            Head::Response(Response {
                status,
                reason: reason.to_owned(),
                headers,
                body: Bytes::new(),
            })
        } else {
            let (method, uri, version) = split_request_line(&first);
            Head::Request(Request {
                method: Method::parse(method),
                uri: uri.to_owned(),
                version: version.flatten(),
                headers,
                body: Bytes::new(),
            })
        };
        self.head = Some((head, length));
        Ok(Found::Again)
    }
}

enum End {
    /// The head ends before this position.
    At(usize),
    /// So many bytes are no head of a message.
    NotAMessage(usize),
}

fn content_length(headers: &Headers) -> Result<usize, Fault> {
    let mut length = None;
    for value in headers.all("Content-Length") {
        // Digits only: `parse` would also take a plus sign.
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse::<usize>() {
            Ok(number) if digits && length.is_none_or(|earlier| earlier == number) => length = Some(number),
            _ => return Err(Fault::BadLength(escape(value.as_bytes()))),
        }
    }
    Ok(length.unwrap_or(0))
}

/// `RTSP/1.0 200 OK`, the phrase optional.
fn parse_status_line(line: &str) -> Option<(Status, &str)> {
    let rest = strip_prefix_ignoring_case(line, "RTSP/")?;
    let (_version, rest) = rest.split_once([' ', '\t'])?;
    let rest = rest.trim();
    let (code, reason) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let code = code.parse::<u16>().ok().filter(|code| (100..1000).contains(code))?;
    Some((Status(code), reason.trim()))
}

/// Method, URI, version. The URI may hold blanks, as some clients leave them in. The outer `None` of the version: nothing like
/// one is there.
#[expect(clippy::option_option)]
fn split_request_line(line: &str) -> (&str, &str, Option<Option<(u8, u8)>>) {
    let line = line.trim();
    let (method, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let rest = rest.trim();
    let (uri, last) = rest.rsplit_once([' ', '\t']).unwrap_or(("", rest));
    match strip_prefix_ignoring_case(last, "RTSP/") {
        Some(version) => {
            let numbers = version.split_once('.');
            let version = numbers.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
            (method, uri.trim(), Some(version))
        }
        None => (method, rest, None),
    }
}

fn is_http(line: &str) -> bool {
    let line = line.trim();
    strip_prefix_ignoring_case(line, "HTTP/").is_some()
        || line
            .rsplit_once(' ')
            .is_some_and(|(_, last)| strip_prefix_ignoring_case(last, "HTTP/").is_some())
}

pub(crate) fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Bytes as text that is safe to show, at most [`SHOWN_BYTES`] of them.
fn escape(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(SHOWN_BYTES)
        .flat_map(|&byte| byte.escape_ascii())
        .map(char::from)
        .collect()
}

/// Record type of a TLS handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;
const SHOWN_BYTES: usize = 40;
/// Longest method name, and one more. The longest known is GET_PARAMETER with 13.
const TOKEN_BYTES: usize = 33;

#[cfg(test)]
mod tests;
