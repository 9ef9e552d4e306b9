//! Ranges of bytes (RFC 9110 §14).

/// What of an answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// Both included.
    Part { first: u64, last: u64 },
    /// It lies behind the end.
    Outside,
}

impl Range {
    /// `None`: not one that we know, and so not one to keep to. Several at once are not.
    pub(super) fn parse(text: &str, length: u64) -> Option<Self> {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(first) || !digits(last) {
            return None;
        }
        let end = length.checked_sub(1);
        let (first, last) = match (first, last) {
            ("", "") => return None,
            // The last so many.
            ("", count) => {
                let count: u64 = count.parse().unwrap_or(u64::MAX);
                let first = length.saturating_sub(count);
                (first, if count == 0 { None } else { end })
            }
            (first, "") => (first.parse().unwrap_or(u64::MAX), end),
            (first, last) => {
                let (first, last) = (first.parse().unwrap_or(u64::MAX), last.parse().unwrap_or(u64::MAX));
                if last < first {
                    return None;
                }
                (first, end.map(|end: u64| end.min(last)))
            }
        };
        match last.filter(|last| first <= *last) {
            Some(last) => Some(Self::Part { first, last }),
            None => Some(Self::Outside),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("bytes=0-0", Some((0, 0)))]
    #[case("bytes=2-", Some((2, 9)))]
    #[case("bytes=2-100", Some((2, 9)))]
    #[case("bytes=-3", Some((7, 9)))]
    #[case("bytes=-300", Some((0, 9)))]
    #[case("bytes=3-5", Some((3, 5)))]
    fn ranges(#[case] text: &str, #[case] expected: Option<(u64, u64)>) {
        let expected = expected.map(|(first, last)| Range::Part { first, last });
        assert_eq!(Range::parse(text, 10), expected);
    }

    #[rstest]
    #[case("bytes=10-", Some(Range::Outside))]
    #[case("bytes=99999999999999999999999-", Some(Range::Outside))]
    #[case("bytes=-0", Some(Range::Outside))]
    #[case("bytes=5-3", None)]
    #[case("bytes=0-1,3-4", None)]
    #[case("bytes=-", None)]
    #[case("bytes=a-b", None)]
    #[case("lines=1-2", None)]
    #[case("", None)]
    fn ranges_that_are_none(#[case] text: &str, #[case] expected: Option<Range>) {
        assert_eq!(Range::parse(text, 10), expected);
    }
}
