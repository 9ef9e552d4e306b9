//! As much of a playlist as a load of viewers needs (RFC 8216bis §4).
//!
//! Belongs here: reading what is listed. Does not belong here: whether a list keeps the rules, which tests check.

/// A list of renditions, or of media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Playlist {
    /// URIs of media lists, the first of them for video.
    Multivariant(Vec<String>),
    Media(Media),
}

/// A list of media.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Media {
    /// URI of the initialisation section.
    pub(super) map: Option<String>,
    /// Whether it can be asked for what is not there yet.
    pub(super) blocks: bool,
    pub(super) ended: bool,
    /// Whether it has parts at all.
    pub(super) has_parts: bool,
    /// What can be fetched, in order: parts where there are some, else whole segments.
    pub(super) pieces: Vec<Piece>,
    /// Number of the segment that is being made.
    pub(super) next_msn: u64,
    /// How many of its parts there are.
    pub(super) next_part: u64,
}

/// A part, or a segment as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Media sequence number and part, in order.
    pub(super) at: (u64, u64),
    pub(super) uri: String,
    /// Starts with a keyframe.
    pub(super) independent: bool,
}

impl Playlist {
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with("#EXTM3U") {
            return Err("the answer is no playlist: it does not begin with #EXTM3U".to_owned());
        }
        if !text.contains("#EXT-X-STREAM-INF") {
            return Media::parse(text).map(Self::Media);
        }
        let mut lines = text.lines();
        let mut variants = Vec::new();
        while let Some(line) = lines.next() {
            if line.starts_with("#EXT-X-STREAM-INF") {
                variants.extend(lines.next().map(str::to_owned));
            }
        }
        Ok(Self::Multivariant(variants))
    }
}

impl Media {
    fn parse(text: &str) -> Result<Self, String> {
        let mut media = Self {
            has_parts: text.contains("#EXT-X-PART:"),
            ..Self::default()
        };
        for line in text.lines() {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            match tag {
                "#EXT-X-MEDIA-SEQUENCE" => {
                    let number = value.trim().parse();
                    media.next_msn = number.map_err(|_| format!("{line} holds no number"))?;
                }
                "#EXT-X-SERVER-CONTROL" => media.blocks = attribute(value, "CAN-BLOCK-RELOAD") == Some("YES"),
                "#EXT-X-MAP" => media.map = attribute(value, "URI").map(str::to_owned),
                "#EXT-X-ENDLIST" => media.ended = true,
                "#EXT-X-PART" => {
                    let uri = attribute(value, "URI").ok_or_else(|| format!("{line} has no URI"))?;
                    media.pieces.push(Piece {
                        at: (media.next_msn, media.next_part),
                        uri: uri.to_owned(),
                        independent: attribute(value, "INDEPENDENT") == Some("YES"),
                    });
                    media.next_part += 1;
                }
                _ if line.starts_with('#') || line.trim().is_empty() => {}
                _ => {
                    if !media.has_parts {
                        media.pieces.push(Piece {
                            at: (media.next_msn, 0),
                            uri: line.trim().to_owned(),
                            independent: true,
                        });
                    }
                    media.next_msn += 1;
                    media.next_part = 0;
                }
            }
        }
        Ok(media)
    }
}

/// Of an attribute list (§4.2): commas may stand in quotes.
fn attribute<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = list;
    loop {
        let (key, value) = rest.split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        if key.trim() == name {
            return Some(value);
        }
        rest = after.strip_prefix(',')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn parts_are_numbered_within_their_segments() {
        let text = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:1\n\
            #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.3\n#EXT-X-PART-INF:PART-TARGET=0.1\n\
            #EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"init.mp4?token=a,b\"\n#EXTINF:1,\nseg7.m4s\n\
            #EXT-X-PART:DURATION=0.1,URI=\"8.0.m4s\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.1,URI=\"8.1.m4s\"\n\
            #EXTINF:0.2,\nseg8.m4s\n#EXT-X-PART:DURATION=0.1,INDEPENDENT=YES,URI=\"9.0.m4s\"\n\
            #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"9.1.m4s\"\n";
        let Ok(Playlist::Media(media)) = Playlist::parse(text) else {
            panic!("it is a media list")
        };
        let pieces: Vec<_> = media
            .pieces
            .iter()
            .map(|piece| (piece.at, piece.uri.as_str(), piece.independent))
            .collect();
        assert_eq!(
            pieces,
            [
                ((8, 0), "8.0.m4s", true),
                ((8, 1), "8.1.m4s", false),
                ((9, 0), "9.0.m4s", true)
            ]
        );
        assert_eq!(media.map.as_deref(), Some("init.mp4?token=a,b"));
        assert_eq!(
            (media.next_msn, media.next_part, media.blocks, media.ended),
            (9, 1, true, false)
        );
    }

    #[test]
    fn whole_segments_where_there_are_no_parts() {
        let text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:3\n#EXTINF:2,\na.ts\n#EXTINF:2,\nb.ts\n#EXT-X-ENDLIST\n";
        let Ok(Playlist::Media(media)) = Playlist::parse(text) else {
            panic!("it is a media list")
        };
        let at: Vec<_> = media.pieces.iter().map(|piece| piece.at).collect();
        assert_eq!((at, media.next_msn, media.ended), (vec![(3, 0), (4, 0)], 5, true));
    }

    #[test]
    fn variants_are_followed_by_their_uri() {
        let text =
            "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI=\"audio.m3u8\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nvideo.m3u8?x=1\n";
        assert_eq!(
            Playlist::parse(text),
            Ok(Playlist::Multivariant(vec!["video.m3u8?x=1".to_owned()]))
        );
    }

    #[rstest]
    #[case("<html>")]
    #[case("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:x\n")]
    #[case("#EXTM3U\n#EXT-X-PART:DURATION=0.1\n")]
    #[case("#EXTM3U\n#EXT-X-PART:URI=\"a\n")]
    fn what_cannot_be_read_is_said(#[case] text: &str) {
        assert!(!Playlist::parse(text).unwrap_err().is_empty());
    }
}
