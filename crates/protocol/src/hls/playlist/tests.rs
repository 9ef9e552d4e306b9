//! Lists as servers write them, and such as nobody should.

use super::*;
use proptest::prelude::*;

fn media(text: &str) -> Media {
    match Playlist::parse(text.as_bytes()) {
        Ok(Playlist::Media(media)) => media,
        other => panic!("{other:?}"),
    }
}

#[test]
fn segments_are_read_with_what_is_said_of_them() {
    let list = media(
        "#EXTM3U\r\n#EXT-X-VERSION:7\r\n#EXT-X-TARGETDURATION:2\r\n#EXT-X-MEDIA-SEQUENCE:41\r\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.4\r\n#EXT-X-MAP:URI=\"i,1.mp4\",BYTERANGE=\"700@10\"\r\n\
         #EXT-X-PROGRAM-DATE-TIME:2024-02-29T01:00:00.5+01:00\r\n#EXTINF:1.5,title\r\n#EXT-X-BYTERANGE:100@710\r\nall.mp4\r\n\
         #EXTINF:2,\r\n#EXT-X-BYTERANGE:50\r\nall.mp4\r\n#EXT-X-DISCONTINUITY\r\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\r\n\
         #EXTINF:2,\r\n../b.ts?x=1\r\n#EXT-X-GAP\r\n#EXT-X-KEY:METHOD=NONE\r\n#EXTINF:2,\r\nc.ts\r\n#EXT-X-ENDLIST\r\n",
    );
    assert!(list.can_block && list.ended && list.target == Duration::from_secs(2));
    let [first, second, third, fourth] = &list.segments[..] else {
        panic!("{list:?}")
    };
    assert_eq!((first.sequence, first.duration), (41, Duration::from_millis(1_500)));
    let range = |offset, length| Some(Range { offset, length });
    assert_eq!(
        (first.range, second.range, third.range),
        (range(710, 100), range(810, 50), None)
    );
    let map = first.map.as_ref().unwrap();
    assert_eq!((map.uri.as_str(), map.range), ("i,1.mp4", range(10, 700)));
    // 2024-02-29T00:00:00.5Z
    assert_eq!(first.date, Some(WallTime::from_unix_micros(1_709_164_800_500_000)));
    assert!(second.date.is_none() && !second.discontinuity);
    assert!(third.discontinuity && third.encrypted.as_deref() == Some("AES-128") && third.uri == "../b.ts?x=1");
    assert!(fourth.gap && fourth.encrypted.is_none() && fourth.sequence == 44);
}

#[test]
fn parts_are_read_with_what_is_said_of_their_segment() {
    let list = media(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.6\n#EXT-X-PART-INF:PART-TARGET=0.2\n\
         #EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"i.mp4\"\n#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:10Z\n\
         #EXT-X-PART:DURATION=0.2,URI=\"7.mp4\",BYTERANGE=\"100@0\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.2,URI=\"7.mp4\",BYTERANGE=\"50\"\n\
         #EXTINF:0.4,\n7.mp4\n#EXT-X-PART:DURATION=0.2,URI=\"8.0.mp4\",INDEPENDENT=YES\n\
         #EXT-X-PART:DURATION=0.2,URI=\"8.1.mp4\",GAP=YES\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"8.2.mp4\"\n",
    );
    let places: Vec<_> = list
        .parts
        .iter()
        .map(|part| (part.piece.sequence, part.index, part.independent))
        .collect();
    assert_eq!(places, [(7, 0, true), (7, 1, false), (8, 0, true), (8, 1, false)]);
    let pieces: Vec<_> = list.parts.iter().map(|part| &part.piece).collect();
    assert_eq!(
        pieces[1].range,
        Some(Range {
            offset: 100,
            length: 50
        })
    );
    assert!(pieces[0].discontinuity && !pieces[1].discontinuity && !pieces[2].discontinuity);
    let seconds = |piece: &Segment| piece.date.unwrap().unix_micros() as f64 / 1e6;
    assert_eq!(
        pieces.iter().map(|piece| seconds(piece)).collect::<Vec<_>>(),
        [10.0, 10.2, 10.4, 10.6]
    );
    assert!(pieces[3].gap && !pieces[2].gap && pieces[2].map.as_ref().is_some_and(|map| map.uri == "i.mp4"));
    assert_eq!((list.segments.len(), pieces[2].uri.as_str()), (1, "8.0.mp4"));
    for wrong in [
        "DURATION=0.2",
        "URI=\"a\"",
        "DURATION=x,URI=\"a\"",
        "DURATION=1,URI=\"a\",BYTERANGE=\"x\"",
    ] {
        assert!(
            Playlist::parse(format!("#EXTM3U\n#EXT-X-PART:{wrong}\n").as_bytes()).is_err(),
            "{wrong}"
        );
    }
    let many = "#EXT-X-PART:DURATION=1,URI=\"a\"\n".repeat(MAX_PARTS + 1);
    assert!(Playlist::parse(format!("#EXTM3U\n{many}").as_bytes()).is_err());
}

#[test]
fn numbers_that_go_back_are_no_list() {
    let list = b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:55\n#EXTINF:2,\na.ts\n#EXT-X-MEDIA-SEQUENCE:41\n#EXTINF:2,\nb.ts\n";
    let what = "the number of the first segment stands behind it";
    assert_eq!(Playlist::parse(list), Err(PlaylistError::Line { line: 5, what }));
}

#[test]
fn variants_are_read() {
    let list = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=800000,CODECS=\"avc1.42c01f,mp4a.40.2\",AUDIO=\"a\"\nlow.m3u8\n\
                #EXT-X-STREAM-INF:BANDWIDTH=2000000\n\nhttps://elsewhere/high.m3u8\n";
    let Ok(Playlist::Variants(variants)) = Playlist::parse(list.as_bytes()) else {
        panic!("none")
    };
    assert_eq!(
        (variants[0].bits_per_second, variants[0].codecs.as_str()),
        (800_000, "avc1.42c01f,mp4a.40.2")
    );
    assert!(variants[0].sound.is_none() && variants[1].sound.is_none());
    assert_eq!(variants[1].uri, "https://elsewhere/high.m3u8");
}

#[test]
fn sound_of_variants_is_that_which_players_take_by_themselves() {
    let list = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"a\"\nv0\n#EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO=\"b\"\nv1\n\
                #EXT-X-STREAM-INF:BANDWIDTH=3,AUDIO=\"none\"\nv2\n\
                #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"x\",URI=\"a0\"\n\
                #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"y\",AUTOSELECT=YES,URI=\"a1\"\n\
                #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"z\",AUTOSELECT=YES,DEFAULT=YES,URI=\"a2,a\"\n\
                #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"z\",DEFAULT=YES,URI=\"a3\"\n\
                #EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"a\",NAME=\"s\",DEFAULT=YES,URI=\"s\"\n\
                #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"b\",NAME=\"in the variant\",DEFAULT=YES\n\
                #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"b\",NAME=\"y\",URI=\"b1\"\n";
    let Ok(Playlist::Variants(variants)) = Playlist::parse(list.as_bytes()) else {
        panic!("none")
    };
    let sounds: Vec<_> = variants.iter().map(|variant| variant.sound.as_deref()).collect();
    assert_eq!(sounds, [Some("a2,a"), None, None]);
    let many: String = (0..=MAX_GROUPS)
        .map(|group| format!("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{group}\",URI=\"a\"\n"))
        .collect();
    let long = format!(
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",URI=\"{}\"",
        "a".repeat(MAX_URI_BYTES + 1)
    );
    for wrong in [many.as_str(), &long, "#EXT-X-MEDIA:TYPE=AUDIO,URI=\"a\""] {
        assert!(
            Playlist::parse(format!("#EXTM3U\n{wrong}\n").as_bytes()).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn a_hint_is_the_part_behind_the_last() {
    let begins =
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"i.mp4\"\n#EXTINF:1,\n7.mp4\n";
    let part = "#EXT-X-PART:DURATION=0.2,URI=\"8.0.mp4\"\n";
    let hint = |text: &str| media(&format!("{begins}{text}")).hint;
    let said = "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"8.1.mp4\"";
    let next = hint(&format!("{part}{said}\n")).unwrap();
    assert_eq!(
        (next.piece.sequence, next.index, next.piece.uri.as_str()),
        (8, 1, "8.1.mp4")
    );
    assert!(next.piece.range.is_none() && next.piece.map.is_some_and(|map| map.uri == "i.mp4"));
    assert_eq!(hint(&format!("{said}\n")).unwrap().index, 0);
    let ranged = hint(&format!("{said},BYTERANGE-START=5,BYTERANGE-LENGTH=7\n"))
        .unwrap()
        .piece
        .range;
    assert_eq!(ranged, Some(Range { offset: 5, length: 7 }));
    for none in [
        format!("{said},BYTERANGE-START=5\n"),
        "#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"i\"\n".to_owned(),
        format!("{said}\n{part}"),
        format!("{said}\n#EXTINF:1,\n8.mp4\n"),
    ] {
        assert_eq!(hint(&none), None, "{none}");
    }
    for wrong in ["#EXT-X-PRELOAD-HINT:TYPE=PART", &format!("{said},BYTERANGE-START=x")] {
        assert!(
            Playlist::parse(format!("{begins}{wrong}\n").as_bytes()).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn what_is_no_list_is_refused() {
    for (text, error) in [
        ("", "first line is not #EXTM3U"),
        ("<html>", "first line is not #EXTM3U"),
        ("#EXTM3U\n", "neither variants nor segments"),
        ("#EXTM3U\n#EXTINF:x,\na", "line 2 cannot be read: a duration"),
        ("#EXTM3U\n#EXTINF:-1,\na", "line 2 cannot be read: a duration"),
        ("#EXTM3U\n#EXTINF:1e99,\na", "line 2 cannot be read: a duration"),
        (
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\na.ts",
            "line 3 cannot be read: there is no #EXTINF",
        ),
        (
            "#EXTM3U\n#EXT-X-MAP:BYTERANGE=1",
            "line 2 cannot be read: a header has no URI",
        ),
        ("#EXTM3U\n#EXT-X-BYTERANGE:a@1", "line 2 cannot be read: a byte range"),
    ] {
        let said = Playlist::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(said.contains(error), "{text:?}: {said}");
    }
    let many = format!("#EXTM3U\n{}", "#EXTINF:1,\na\n".repeat(MAX_ENTRIES + 1));
    assert!(matches!(
        Playlist::parse(many.as_bytes()),
        Err(PlaylistError::TooLarge { what: "entries", .. })
    ));
    let large = vec![b'#'; MAX_BYTES + 1];
    assert!(matches!(
        Playlist::parse(&large),
        Err(PlaylistError::TooLarge { what: "bytes", .. })
    ));
    let long = format!("#EXTM3U\n#EXTINF:1,\n{}", "a".repeat(MAX_URI_BYTES + 1));
    assert!(Playlist::parse(long.as_bytes()).is_err());
}

proptest! {
    #[test]
    fn dates_are_read_as_they_are_written(micros in 0_i64..4_000_000_000_000_000) {
        let millis = micros / 1_000 * 1_000;
        let time = WallTime::from_unix_micros(millis);
        prop_assert_eq!(date(&time.to_rfc3339()), Some(time));
    }

    #[test]
    fn no_text_panics(text in "(#EXT(M3U|INF|-X-MAP|-X-PART|-X-PRELOAD-HINT|-X-MEDIA|-X-KEY|-X-BYTERANGE|-X-STREAM-INF|-X-PROGRAM-DATE-TIME)?:?[0-9A-Z=\"@,.:+-]{0,30}\n?){0,8}") {
        let _ = Playlist::parse(format!("#EXTM3U\n{text}").as_bytes());
        let _ = date(&text);
    }
}
