//! Envelopes of SOAP 1.2, with a login (WS-Security UsernameToken 1.0, password digest), and reading them.

use std::fmt::Write as _;

use ::media::WallTime;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roxmltree::{Document, Node, ParsingOptions};

use super::{Fault, ReadError};

/// Most elements and texts of a message. A recorder with 64 channels has some 30,000.
const MAX_NODES: u32 = 50_000;
/// Most elements within each other. Cameras have a dozen.
const MAX_DEPTH: usize = 64;
/// Most `=` of a message: the reader compares each attribute of an element with all others of it.
const MAX_ATTRIBUTES: usize = 6_000;
/// Most `xmlns` of a message: the reader notes with each element that has one all of those around it, and compares each with all others. 5,900 within each
/// other took minutes. Cameras have a hundred.
const MAX_NAMESPACES: usize = 500;
/// Of what is repeated from a message for people.
const MAX_TEXT_CHARS: usize = 200;

const ENVELOPE: [&str; 2] = [
    "http://www.w3.org/2003/05/soap-envelope",
    "http://schemas.xmlsoap.org/soap/envelope/",
];
const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
const WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
const DIGEST: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest";
const BASE64: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary";

/// What a camera is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The URI of what it is, which some cameras want beside the message.
    pub action: String,
    /// What stands in the envelope.
    body: String,
}

impl Request {
    /// `inside`: what stands in the element of this name.
    pub(super) fn new(namespace: &str, name: &str, inside: &str) -> Self {
        Self {
            action: format!("{namespace}/{name}"),
            body: format!("<{name} xmlns=\"{namespace}\">{inside}</{name}>"),
        }
    }

    /// The whole message.
    pub fn envelope(&self, login: Option<&Login<'_>>) -> String {
        envelope(&self.body, login)
    }
}

/// Who asks. `Debug` shows no password.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The camera's user.
    pub user: &'a str,
    /// Its password.
    pub password: &'a str,
    /// Random, and another for each message.
    pub nonce: [u8; 16],
    /// Now, by the camera's clock: it refuses what is older than some seconds.
    pub created: WallTime,
}

impl std::fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// An envelope around this body, which is written as it is.
fn envelope(body: &str, login: Option<&Login<'_>>) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><s:Envelope xmlns:s=\"{}\">",
        ENVELOPE[0]
    );
    if let Some(login) = login {
        let created = login.created.to_rfc3339();
        let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        digest.update(&login.nonce);
        digest.update(created.as_bytes());
        digest.update(login.password.as_bytes());
        let (digest, nonce) = (STANDARD.encode(digest.finish()), STANDARD.encode(login.nonce));
        let user = escaped(login.user);
        // Writing into memory does not fail.
        let _ = write!(
            text,
            "<s:Header><w:Security s:mustUnderstand=\"1\" xmlns:w=\"{WSSE}\" xmlns:u=\"{WSU}\"><w:UsernameToken><w:Username>{user}</w:Username>\
             <w:Password Type=\"{DIGEST}\">{digest}</w:Password><w:Nonce EncodingType=\"{BASE64}\">{nonce}</w:Nonce>\
             <u:Created>{created}</u:Created></w:UsernameToken></w:Security></s:Header>"
        );
    }
    let _ = write!(text, "<s:Body>{body}</s:Body></s:Envelope>");
    text
}

/// Text between tags or in an attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // No XML has them (XML 1.0 §2.2).
            c if c < ' ' && !matches!(c, '\t' | '\n' | '\r') => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// Reads a message and hands its envelope's header, if it has one, and body on.
pub(super) fn read<T>(
    bytes: &[u8],
    limit_bytes: usize,
    read: impl FnOnce(Option<Node<'_, '_>>, Node<'_, '_>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    check(bytes, limit_bytes)?;
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    let text = text.trim_end_matches('\0');
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options);
    let document = document.map_err(|error| ReadError::NotXml(shortened(&error.to_string())))?;
    let root = document.root_element();
    let of_envelope =
        |name: &'static str| move |node: &Node<'_, '_>| ENVELOPE.iter().any(|uri| node.has_tag_name((*uri, name)));
    if !of_envelope("Envelope")(&root) {
        return Err(ReadError::Missing("SOAP envelope"));
    }
    let part = |name| root.children().find(of_envelope(name));
    let body = part("Body").ok_or(ReadError::Missing("SOAP body"))?;
    if let Some(fault) = body.children().find(of_envelope("Fault")) {
        return Err(ReadError::Fault(self::fault(fault)));
    }
    read(part("Header"), body)
}

/// Reads a message and hands its body on.
pub(super) fn body<T>(
    bytes: &[u8],
    limit_bytes: usize,
    read: impl FnOnce(Node<'_, '_>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    self::read(bytes, limit_bytes, |_, body| read(body))
}

/// What would take long to be read, seen before it is.
fn check(bytes: &[u8], limit_bytes: usize) -> Result<(), ReadError> {
    let within = |what, actual, limit| match actual <= limit {
        true => Ok(()),
        false => Err(ReadError::TooLarge { what, actual, limit }),
    };
    within("bytes", bytes.len(), limit_bytes)?;
    let attributes = bytes.iter().filter(|byte| **byte == b'=').count();
    within("attributes", attributes, MAX_ATTRIBUTES)?;
    let namespaces = bytes.windows(5).filter(|word| word == b"xmlns").count();
    within("namespaces", namespaces, MAX_NAMESPACES)?;
    within("elements within each other", depth(bytes), MAX_DEPTH)
}

/// How deep elements are within each other, as far as it is XML. What is none beyond some point is not read beyond it either.
fn depth(bytes: &[u8]) -> usize {
    let find = |from: usize, what: &[u8]| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.windows(what.len())
            .position(|window| window == what)
            .map(|found| from + found)
    };
    let (mut at, mut depth, mut deepest) = (0, 0_usize, 0);
    while let Some(start) = find(at, b"<") {
        let behind = |end: &[u8]| find(start, end).map_or(bytes.len(), |found| found + end.len());
        at = match bytes.get(start + 1..).unwrap_or_default() {
            [b'!', b'-', b'-', ..] => behind(b"-->"),
            [b'!', ..] => behind(b"]]>"),
            [b'?', ..] => behind(b"?>"),
            [b'/', ..] => {
                depth = depth.saturating_sub(1);
                start + 2
            }
            _ => {
                let end = end_of_tag(bytes, start + 1);
                if bytes.get(end.saturating_sub(1)) != Some(&b'/') {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                end
            }
        };
    }
    deepest
}

/// Where the `>` of a tag is: not within quotes.
fn end_of_tag(bytes: &[u8], from: usize) -> usize {
    let mut quote = None;
    let rest = bytes.iter().enumerate().skip(from);
    for (at, byte) in rest {
        match (quote, byte) {
            (None, b'>') => return at,
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
    }
    bytes.len()
}

fn fault(node: Node<'_, '_>) -> Fault {
    let all = |name: &'static str| {
        let found = node
            .descendants()
            .filter(move |node| node.is_element() && node.tag_name().name() == name);
        found.filter_map(|node| node.text()).map(str::trim)
    };
    // Codes are qualified names, whose prefixes mean what they mean.
    let codes: Vec<&str> = all("Value")
        .chain(all("faultcode"))
        .map(|code| code.rsplit(':').next().unwrap_or(code))
        .collect();
    let reason = all("Text").chain(all("faultstring")).find(|text| !text.is_empty());
    let is_known = codes
        .iter()
        .any(|code| LOGIN.iter().any(|known| code.eq_ignore_ascii_case(known)));
    // Some name no code of their own.
    let said = reason.unwrap_or_default().to_ascii_lowercase();
    let is_said = ["not authorized", "unauthorized", "not authorised", "authentication"]
        .iter()
        .any(|words| said.contains(words));
    Fault {
        is_about_login: is_known || is_said,
        reason: shortened(reason.or(codes.last().copied()).unwrap_or("no reason given")),
    }
}

/// Codes of faults that are about user and password (ONVIF core §5.8.2, WS-Security 1.1 §12).
const LOGIN: [&str; 6] = [
    "NotAuthorized",
    "FailedAuthentication",
    "InvalidSecurityToken",
    "InvalidSecurity",
    "OperationProhibited",
    "SenderNotAuthorized",
];

/// The first element of this name among what is below, whatever is between.
pub(super) fn find<'a, 'i>(node: Node<'a, 'i>, namespace: &str, name: &str) -> Option<Node<'a, 'i>> {
    node.descendants().find(|node| node.has_tag_name((namespace, name)))
}

/// Its trimmed text, if it has some.
pub(super) fn text<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    node.text().map(str::trim).filter(|text| !text.is_empty())
}

/// As much of it as people are shown.
pub(super) fn shortened(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(MAX_TEXT_CHARS).collect::<String>().trim().to_owned()
}
