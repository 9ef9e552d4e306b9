//! The client's side: which challenge to answer, and the answer.
//!
//! Belongs here: the choice among challenges, the value of `Authorization`. Does not belong here: when a request is sent again with it
//! ([`crate::rtsp::client`]), splitting a header into its parts ([`super::parameters`]).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Algorithm, get, parse_challenges, quote};

/// A challenge that we can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Basic,
    Digest(Digest),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// Whether the server named the algorithm: old cameras do not, and do not expect it back.
    named: bool,
    auth: bool,
    stale: bool,
    count: u32,
}

/// The strongest challenge we can answer: Digest with SHA-256, with MD5, then Basic. The error says what was offered.
pub(crate) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Result<Answer, String> {
    let mut best: Option<Answer> = None;
    let mut offered = Vec::new();
    for challenge in headers.take(MAX_HEADERS).flat_map(parse_challenges) {
        let answer = if challenge.scheme.eq_ignore_ascii_case("Basic") {
            Some(Answer::Basic)
        } else if challenge.scheme.eq_ignore_ascii_case("Digest") {
            Digest::from_challenge(&challenge.parameters).map(Answer::Digest)
        } else {
            None
        };
        offered.push(match get(&challenge.parameters, "algorithm") {
            Some(algorithm) => format!("{} {algorithm}", challenge.scheme),
            None => challenge.scheme,
        });
        if answer.as_ref().map(Answer::strength) > best.as_ref().map(Answer::strength) {
            best = answer;
        }
    }
    best.ok_or_else(|| super::super::message::printable(&offered.join(", "), 100))
}

/// The value of `Authorization` for a request, where these values of `WWW-Authenticate` ask for a Digest: for servers that are asked by HTTP and must not be
/// told a password. `cnonce` must be fresh. `None`: nothing of it is asked for that we know.
pub fn digest<'a>(
    challenges: impl Iterator<Item = &'a str>,
    (user, password): (&str, &str),
    (method, uri): (&str, &str),
    cnonce: &str,
) -> Option<String> {
    match choose(challenges).ok()? {
        Answer::Basic => None,
        mut answer @ Answer::Digest(_) => Some(answer.header(user, password, method, uri, cnonce)),
    }
}

impl Answer {
    pub(super) fn strength(&self) -> u8 {
        match self {
            Self::Basic => 0,
            Self::Digest(digest) if digest.algorithm == Algorithm::Md5 => 1,
            Self::Digest(_) => 2,
        }
    }

    /// Whether the server says that the credentials were right and only the nonce too old.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self, Self::Digest(digest) if digest.stale)
    }

    /// Whether both answer the same challenge, so that the second try would be the first again.
    pub(crate) fn is_same_nonce(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Digest(one), Self::Digest(other)) => one.nonce == other.nonce,
            (Self::Basic, Self::Basic) => true,
            _ => false,
        }
    }

    /// The value of `Authorization` for a request. `cnonce` must be fresh.
    pub(crate) fn header(&mut self, user: &str, password: &str, method: &str, uri: &str, cnonce: &str) -> String {
        match self {
            Self::Basic => format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))),
            Self::Digest(digest) => digest.header(user, password, method, uri, cnonce),
        }
    }
}

impl Digest {
    fn from_challenge(parameters: &[(String, String)]) -> Option<Self> {
        let algorithm = get(parameters, "algorithm");
        let known = Algorithm::parse(algorithm)?;
        let auth = match get(parameters, "qop").map(str::trim) {
            None | Some("") => false,
            Some(list) if list.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth")) => true,
            Some(_) => return None,
        };
        Some(Self {
            realm: get(parameters, "realm").unwrap_or_default().to_owned(),
            nonce: get(parameters, "nonce")?.to_owned(),
            opaque: get(parameters, "opaque").map(str::to_owned),
            algorithm: known,
            named: algorithm.is_some(),
            auth,
            stale: get(parameters, "stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
            count: 0,
        })
    }

    fn header(&mut self, user: &str, password: &str, method: &str, uri: &str, cnonce: &str) -> String {
        self.count = self.count.saturating_add(1);
        let algorithm = self.algorithm;
        let ha1 = algorithm.ha1(user, &self.realm, password);
        let ha2 = algorithm.hash(&[method, uri]);
        let count = format!("{:08x}", self.count);
        let response = if self.auth {
            algorithm.hash(&[&ha1, &self.nonce, &count, cnonce, "auth", &ha2])
        } else {
            algorithm.hash(&[&ha1, &self.nonce, &ha2])
        };
        let mut header = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\"",
            quote(user),
            quote(&self.realm),
            quote(&self.nonce),
            quote(uri)
        );
        if self.named {
            header += &format!(", algorithm={}", algorithm.name());
        }
        if let Some(opaque) = &self.opaque {
            header += &format!(", opaque={}", quote(opaque));
        }
        if self.auth {
            header += &format!(", qop=auth, nc={count}, cnonce={}", quote(cnonce));
        }
        header
    }
}

const MAX_HEADERS: usize = 8;
