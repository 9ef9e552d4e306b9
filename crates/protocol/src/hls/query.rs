//! What clients may ask for: delivery directives (§6.2.5), and the names of media.

use super::Identity;

/// The delivery directives of a request for a media list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// `_HLS_msn`: answer when this segment is listed.
    pub msn: Option<u64>,
    /// `_HLS_part`: answer when this part of it is.
    pub part: Option<u64>,
    /// `_HLS_skip`: leave out what the client has.
    pub skip: bool,
}

/// Directives that cannot be followed. The request is a bad one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// No decimal integer (§4.2).
    #[error("{0} is to be a decimal number")]
    NoNumber(&'static str),
    /// More than once.
    #[error("{0} is there twice")]
    Twice(&'static str),
    /// `_HLS_part` alone.
    #[error("_HLS_part needs _HLS_msn, the segment that it is a part of")]
    PartAlone,
    /// Neither of the words.
    #[error("_HLS_skip is to be YES or v2")]
    Skip,
}

impl Query {
    /// From the query of a URI, without the question mark. What is no directive is passed over.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let mut found = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "_HLS_msn" => set(&mut found.msn, "_HLS_msn", value)?,
                "_HLS_part" => set(&mut found.part, "_HLS_part", value)?,
                "_HLS_skip" => match value {
                    "YES" | "v2" => found.skip = true,
                    _ => return Err(QueryError::Skip),
                },
                _ => {}
            }
        }
        if found.part.is_some() && found.msn.is_none() {
            return Err(QueryError::PartAlone);
        }
        Ok(found)
    }
}

fn set(place: &mut Option<u64>, name: &'static str, value: &str) -> Result<(), QueryError> {
    if place.is_some() {
        return Err(QueryError::Twice(name));
    }
    *place = Some(number(value).ok_or(QueryError::NoNumber(name))?);
    Ok(())
}

/// A decimal integer: digits alone, up to 2⁶⁴−1.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A piece of media by its name, without the ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// Header number so much.
    Init(u32),
    /// A whole segment.
    Segment(u64),
    /// A part of a segment.
    Part(u64, u32),
}

impl File {
    /// Which file of this run it is; `None`: none.
    pub(super) fn parse(name: &str, identity: &Identity) -> Option<Self> {
        let rest = name.strip_prefix(&*identity.name)?.strip_prefix('_')?;
        if let Some(init) = rest.strip_prefix('i') {
            return Some(Self::Init(u32::try_from(exact(init)?).ok()?));
        }
        match rest.split_once('.') {
            None => Some(Self::Segment(exact(rest)?)),
            Some((segment, part)) => Some(Self::Part(exact(segment)?, u32::try_from(exact(part)?).ok()?)),
        }
    }
}

/// A number in the one form in which we write it, so that no file has two names.
fn exact(text: &str) -> Option<u64> {
    let leads = text.len() > 1 && text.starts_with('0');
    number(text).filter(|_| !leads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn query(msn: Option<u64>, part: Option<u64>, skip: bool) -> Result<Query, QueryError> {
        Ok(Query { msn, part, skip })
    }

    #[rstest]
    #[case("", query(None, None, false))]
    #[case("token=abc&x", query(None, None, false))]
    #[case("_HLS_msn=5", query(Some(5), None, false))]
    #[case(
        "token=a&_HLS_part=0&_HLS_msn=18446744073709551615",
        query(Some(u64::MAX), Some(0), false)
    )]
    #[case("_HLS_skip=YES", query(None, None, true))]
    #[case("_HLS_msn=1&_HLS_part=2&_HLS_skip=v2&_HLS_new=1", query(Some(1), Some(2), true))]
    #[case("_HLS_part=0", Err(QueryError::PartAlone))]
    #[case("_HLS_msn=", Err(QueryError::NoNumber("_HLS_msn")))]
    #[case("_HLS_msn", Err(QueryError::NoNumber("_HLS_msn")))]
    #[case("_HLS_msn=-1", Err(QueryError::NoNumber("_HLS_msn")))]
    #[case("_HLS_msn=+1", Err(QueryError::NoNumber("_HLS_msn")))]
    #[case("_HLS_msn=1.5", Err(QueryError::NoNumber("_HLS_msn")))]
    #[case("_HLS_msn=18446744073709551616", Err(QueryError::NoNumber("_HLS_msn")))]
    #[case("_HLS_msn=1&_HLS_part=x", Err(QueryError::NoNumber("_HLS_part")))]
    #[case("_HLS_msn=1&_HLS_msn=1", Err(QueryError::Twice("_HLS_msn")))]
    #[case("_HLS_skip=no", Err(QueryError::Skip))]
    fn directives(#[case] text: &str, #[case] expected: Result<Query, QueryError>) {
        assert_eq!(Query::parse(text), expected);
    }

    #[rstest]
    #[case("run_i0", Some(File::Init(0)))]
    #[case("run_7", Some(File::Segment(7)))]
    #[case("run_7.12", Some(File::Part(7, 12)))]
    #[case("other_7", None)]
    #[case("run_07", None)]
    #[case("run_7.", None)]
    #[case("run_7.1.2", None)]
    #[case("run_i", None)]
    #[case("run_7.4294967296", None)]
    #[case("run_-7", None)]
    #[case("run", None)]
    fn names(#[case] name: &str, #[case] expected: Option<File>) {
        let identity = Identity {
            name: "run".to_owned(),
            first: 0,
        };
        assert_eq!(File::parse(name, &identity), expected);
    }

    proptest! {
        #[test]
        fn anything_may_be_asked(text in "[_HLSmsnpartskip=&0-9a-z.%+-]{0,60}|.{0,40}") {
            let identity = Identity { name: "a".to_owned(), first: 0 };
            let _ = (Query::parse(&text), File::parse(&text, &identity));
        }
    }
}
