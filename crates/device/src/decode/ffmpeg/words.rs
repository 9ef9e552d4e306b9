//! What FFmpeg says on its standard error, a line at a time: when pictures are shown, and what went wrong.

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// The filter `showinfo`: a picture comes that is shown then, on FFmpeg's clock; `None` where it does not know.
    Picture(Option<i64>),
    /// Ticks of that clock in a second, as numerator and denominator of a tick.
    Clock(u32, u32),
    /// Something went wrong.
    Trouble(&'a str),
    /// Anything else.
    Other,
}

/// Reads a line of FFmpeg 4.4 or newer that was told `-v level+info`. Whatever it is, something is made of it.
pub fn line(text: &str) -> Line<'_> {
    let Some((_, said)) = text.split_once("[Parsed_showinfo_") else {
        let is_trouble = ["[error]", "[fatal]", "[panic]"]
            .iter()
            .any(|level| text.contains(level));
        return if is_trouble { Line::Trouble(text) } else { Line::Other };
    };
    let Some((_, said)) = said.split_once("[info] ") else {
        return Line::Trouble(text);
    };
    if let Some(clock) = said.strip_prefix("config in time_base: ") {
        let mut numbers = clock.split([',', '/']).map(|number| number.trim().parse().ok());
        return match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(numerator), Some(denominator)) => Line::Clock(numerator, denominator),
            _ => Line::Trouble(text),
        };
    }
    let Some((_, at)) = said.strip_prefix("n:").and_then(|said| said.split_once(" pts:")) else {
        return Line::Other;
    };
    Line::Picture(at.split_whitespace().next().and_then(|at| at.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_ffmpeg_are_read() {
        for (text, expected) in [
            (
                "[Parsed_showinfo_2 @ 0x55d0c0] [info] config in time_base: 1/2000000, frame_rate: 25/1",
                Line::Clock(1, 2_000_000),
            ),
            (
                "[Parsed_showinfo_2 @ 0x55d0c0] [info] config out time_base: 0/0, frame_rate: 0/0",
                Line::Other,
            ),
            (
                "[Parsed_showinfo_2 @ 0x55d0c0] [info] n:   0 pts:  80001 pts_time:0.0400005 duration: 80000 fmt:yuv420p sar:1/1 s:160x90 i:P iskey:1 type:I ",
                Line::Picture(Some(80_001)),
            ),
            (
                "[Parsed_showinfo_2 @ 0x55d0c0] [info] n:  12 pts:-7 pts_time:-1e-06",
                Line::Picture(Some(-7)),
            ),
            (
                "[Parsed_showinfo_2 @ 0x55d0c0] [info] n:   1 pts: NOPTS pts_time:NOPTS",
                Line::Picture(None),
            ),
            (
                "[Parsed_showinfo_2 @ 0x55d0c0] [info]   side data - User Data Unregistered:",
                Line::Other,
            ),
            ("[info] Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'pipe:0':", Line::Other),
            (
                "[hevc @ 0x1] [error] Could not find ref with POC 7",
                Line::Trouble("[hevc @ 0x1] [error] Could not find ref with POC 7"),
            ),
            ("", Line::Other),
        ] {
            assert_eq!(line(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_taken(text: String, behind in "(n:|config in time_base: )?[ 0-9a-z:/,-]{0,40}") {
            let _ = line(&text);
            let _ = line(&format!("[Parsed_showinfo_1 @ 0x1] [info] {behind}"));
        }
    }
}
