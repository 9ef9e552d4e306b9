//! WS-Discovery (2005/04, as ONVIF core §7 has it): a question to all, and what cameras answer.

use std::net::IpAddr;

use super::soap::{escaped, find, read, shortened, text};
use super::{MAX_DATAGRAM_BYTES, ReadError};

/// Where questions to all go.
pub const MULTICAST: (std::net::Ipv4Addr, u16) = (std::net::Ipv4Addr::new(239, 255, 255, 250), 3702);

const DISCOVERY: &str = "http://schemas.xmlsoap.org/ws/2005/04/discovery";
const ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
const NETWORK: &str = "http://www.onvif.org/ver10/network/wsdl";
const DEVICE: &str = "http://www.onvif.org/ver10/device/wsdl";

/// Cameras in one answer. They answer for themselves; proxies may for some.
const MAX_MATCHES: usize = 16;
/// Addresses of one camera.
const MAX_ADDRESSES: usize = 8;
/// Of one address or name.
const MAX_CHARS: usize = 512;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// As ONVIF wants it.
    Cameras,
    /// As a management service: there are cameras that answer to nothing else.
    Devices,
}

/// A question. `id` is a UUID, another for each, and what answers relate to.
pub fn probe(asked: Asked, id: &str) -> String {
    let types = match asked {
        Asked::Cameras => format!("<d:Types xmlns:t=\"{NETWORK}\">t:NetworkVideoTransmitter</d:Types>"),
        Asked::Devices => format!("<d:Types xmlns:t=\"{DEVICE}\">t:Device</d:Types>"),
    };
    let id = escaped(id);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" xmlns:a=\"{ADDRESSING}\" \
         xmlns:d=\"{DISCOVERY}\"><s:Header><a:Action s:mustUnderstand=\"1\">{DISCOVERY}/Probe</a:Action><a:MessageID>urn:uuid:{id}</a:MessageID>\
         <a:ReplyTo><a:Address>{ADDRESSING}/role/anonymous</a:Address></a:ReplyTo><a:To s:mustUnderstand=\"1\">urn:schemas-xmlsoap-org:ws:2005:04:discovery\
         </a:To></s:Header><s:Body><d:Probe>{types}</d:Probe></s:Body></s:Envelope>"
    )
}

/// What came in answer to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// To which question, as far as it says.
    pub relates_to: Option<String>,
    /// Who answers.
    pub found: Vec<Found>,
}

impl Answer {
    /// Whether it is an answer to one of these. One that does not say is believed to be: strangers have nothing to gain by it.
    pub fn is_to(&self, ids: &[String]) -> bool {
        let is = |theirs: &str| ids.iter().any(|id| theirs.to_ascii_lowercase().ends_with(id.as_str()));
        self.relates_to.as_deref().is_none_or(is)
    }
}

/// A camera that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is called for good, whatever its address: `urn:uuid:…`.
    pub endpoint: String,
    /// Where it says that it is asked by HTTP.
    pub addresses: Vec<String>,
    /// Its name and model, as far as its scopes say.
    pub name: Option<String>,
    /// See `name`.
    pub hardware: Option<String>,
}

impl Found {
    /// Where it is asked by HTTP, when the answer came from `from`: that of its addresses which has this host, else the first with its host
    /// replaced: cameras behind routers and such that were moved name others, and whoever answers is not to send us to somebody else.
    pub fn address(&self, from: IpAddr) -> Option<String> {
        let host = match from {
            IpAddr::V4(from) => from.to_string(),
            IpAddr::V6(from) => format!("[{from}]"),
        };
        let replaced = self.addresses.iter().filter_map(|address| with_host(address, &host));
        let mut all: Vec<(bool, String)> = replaced.collect();
        // Its own host first, which a stable sort leaves in order.
        all.sort_by_key(|(own, _)| !own);
        all.into_iter().next().map(|(_, address)| address)
    }

    /// Whether both are one device, which answered by two ways: there are cameras whose maker gave all of them the same name.
    pub fn is_same(&self, other: &Self) -> bool {
        let shared = || self.addresses.iter().any(|address| other.addresses.contains(address));
        self.endpoint == other.endpoint && shared()
    }
}

/// The URL with this host; whether it had it before.
fn with_host(url: &str, host: &str) -> Option<(bool, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let authority = authority.rsplit('@').next()?;
    let port_at = match authority.rfind(']') {
        Some(end) => authority.get(end..)?.find(':').map(|at| at + end),
        None => authority.rfind(':'),
    };
    let (own, port) = authority.split_at_checked(port_at.unwrap_or(authority.len()))?;
    let known = matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https");
    known.then(|| (own.eq_ignore_ascii_case(host), format!("{scheme}://{host}{port}{path}")))
}

/// Reads an answer.
///
/// # Errors
/// [`ReadError`].
pub fn answer(datagram: &[u8]) -> Result<Answer, ReadError> {
    read(datagram, MAX_DATAGRAM_BYTES, |header, body| {
        // Some leave out the element around them.
        let each = body
            .descendants()
            .filter(|node| node.has_tag_name((DISCOVERY, "ProbeMatch")));
        let found: Vec<Found> = each.filter_map(found).take(MAX_MATCHES).collect();
        if found.is_empty() {
            return Err(ReadError::Missing("ProbeMatch with an address"));
        }
        let relates_to = header.and_then(|header| find(header, ADDRESSING, "RelatesTo"));
        Ok(Answer {
            relates_to: relates_to.and_then(text).map(shortened),
            found,
        })
    })
}

fn found(node: roxmltree::Node<'_, '_>) -> Option<Found> {
    let words = |name| find(node, DISCOVERY, name).and_then(text).unwrap_or_default();
    let short = |word: &&str| word.len() <= MAX_CHARS;
    let addresses = words("XAddrs").split_ascii_whitespace().filter(short);
    let addresses: Vec<String> = addresses.take(MAX_ADDRESSES).map(str::to_owned).collect();
    let scope = |kind: &str| {
        let mut scopes = words("Scopes").split_ascii_whitespace().filter(short);
        let value = scopes.find_map(|scope| scope.strip_prefix("onvif://www.onvif.org/")?.strip_prefix(kind));
        value
            .map(|value| shortened(&decoded(value)))
            .filter(|value| !value.is_empty())
    };
    let endpoint = find(node, ADDRESSING, "Address").and_then(text).filter(short)?;
    (!addresses.is_empty()).then(|| Found {
        endpoint: shortened(endpoint),
        addresses,
        name: scope("name/"),
        hardware: scope("hardware/"),
    })
}

/// `%20` and the like.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        let code = code
            .filter(|_| byte == b'%')
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() {
            tail.get(2..).unwrap_or_default()
        } else {
            tail
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
