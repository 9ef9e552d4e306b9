use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use testkit::stream::{Settings, Video};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::SystemClock;

/// Segments 7 and 8 with three parts each, and two parts of 9.
fn list() -> Media {
    let segment = |sequence| Segment {
        sequence,
        ..Segment::default()
    };
    let part = |sequence, index| playlist::Part {
        index,
        independent: index == 0,
        piece: segment(sequence),
    };
    Media {
        segments: vec![segment(7), segment(8)],
        parts: [(7, 0), (7, 1), (7, 2), (8, 0), (8, 1), (8, 2), (9, 0), (9, 1)]
            .map(|(sequence, index)| part(sequence, index))
            .to_vec(),
        ..Media::default()
    }
}

const fn at(sequence: u64, part: Option<u64>) -> Place {
    Place { sequence, part }
}

#[test]
fn what_follows_is_the_next_part_or_the_next_segment() {
    let list = list();
    assert_eq!(behind(&list, at(9, Some(1))), at(9, Some(2)));
    assert_eq!(behind(&list, at(8, Some(2))), at(9, Some(0)));
    assert_eq!(behind(&list, at(8, None)), at(9, None));
}

#[test]
fn it_goes_on_where_it_was_or_begins_anew() {
    let list = list();
    let (parts, segments) = (pieces(&list, true), pieces(&list, false));
    assert_eq!((parts.len(), segments.len()), (8, 2));
    for (pieces, next, goes_on) in [
        (&parts, None, false),
        (&parts, Some(at(7, Some(0))), true),
        (&parts, Some(at(9, Some(2))), true),
        (&parts, Some(at(10, Some(0))), true),
        (&parts, Some(at(6, Some(2))), false),
        (&parts, Some(at(11, Some(0))), false),
        (&segments, Some(at(9, None)), true),
        (&segments, Some(at(10, None)), false),
        (&segments, Some(at(6, None)), false),
    ] {
        assert_eq!(begin(pieces, next), next.filter(|_| goes_on), "{next:?}");
    }
    assert_eq!(begin(&[], Some(at(1, None))), None);
    let newest = parts.iter().rev().find(|piece| piece.starts);
    assert_eq!(newest.map(|piece| piece.place), Some(at(9, Some(0))));
}

/// A server that answers each path as it is told, or never; the URL of its list.
async fn server<F>(answer: impl Fn(String) -> F + Clone + Send + Sync + 'static) -> Url
where
    F: Future<Output = Bytes> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/live.m3u8", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, answer.clone()));
        }
    });
    url.parse().unwrap()
}

async fn serve<F: Future<Output = Bytes>>(socket: TcpStream, answer: impl Fn(String) -> F) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if socket.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        let body = answer(path.to_owned()).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        socket.write_all(&[head.as_bytes(), &body].concat()).await?;
    }
}

/// A list that may be waited for, of one segment that is not complete: its parts have their numbers for names.
fn of_parts(count: usize) -> Bytes {
    let mut text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n".to_owned();
    text += "#EXT-X-MAP:URI=\"map\"\n";
    for part in 0..count {
        let _ = writeln!(text, "#EXT-X-PART:DURATION=0.1,INDEPENDENT=YES,URI=\"{part}\"");
    }
    let _ = writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{count}\"");
    text.into()
}

/// The header of the parts.
fn map() -> Bytes {
    let track = Video::new(Settings::default()).track();
    let writer = media::fmp4::Writer::new(&[track], media::MediaTime::new(0, media::Timescale::VIDEO)).unwrap();
    writer.init_segment().clone()
}

/// A part with nothing in it.
const PART: &[u8] = b"\0\0\0\x08free";

fn fetcher(url: Url) -> Fetcher {
    Fetcher::new(url, Trust::System, Arc::new(SystemClock))
}

/// As a server does that forgets who asked too early.
#[tokio::test]
async fn hints_that_never_answer_are_given_up() {
    let (listed, hung) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let hanging = Arc::clone(&hung);
    let url = server(move |path| {
        let (listed, hung) = (Arc::clone(&listed), Arc::clone(&hanging));
        async move {
            if path.starts_with("live.m3u8") {
                // Each hint is followed before what it hints at is listed.
                while hung.load(Relaxed) < listed.load(Relaxed).min(MAX_FAILURES as usize) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                return of_parts(listed.fetch_add(1, Relaxed) + 1);
            }
            match path.parse::<usize>() {
                Err(_) => map(),
                Ok(part) if part < listed.load(Relaxed) => Bytes::from_static(PART),
                Ok(_) => {
                    hung.fetch_add(1, Relaxed);
                    std::future::pending().await
                }
            }
        }
    })
    .await;
    let mut fetcher = fetcher(url);
    let found = fetcher.find().await.unwrap();
    let (out, mut inbox) = mpsc::channel(1);
    let taking = async {
        for _ in 0..8 {
            inbox.recv().await.unwrap();
        }
    };
    tokio::select! {
        why = fetcher.run(found, out) => panic!("{why:?}"),
        taken = tokio::time::timeout(ANSWER_WITHIN, taking) => taken.expect("eight parts, and three target durations"),
    }
    assert_eq!(hung.load(Relaxed), MAX_FAILURES as usize);
}

#[tokio::test]
async fn a_server_that_does_not_wait_is_not_asked_without_a_pause() {
    // The last that there can be: nothing follows, so that it seems to be anew each time.
    let last = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n\
                #EXT-X-MEDIA-SEQUENCE:18446744073709551615\n#EXT-X-MAP:URI=\"map\"\n\
                #EXT-X-PART:DURATION=0.1,INDEPENDENT=YES,URI=\"0\"\n#EXTINF:0.1,\n0\n";
    for list in [of_parts(1), Bytes::from_static(last.as_bytes())] {
        let asked = Arc::new(AtomicUsize::new(0));
        let asking = Arc::clone(&asked);
        let url = server(move |path| {
            let (asked, list) = (Arc::clone(&asking), list.clone());
            async move {
                match &path[..] {
                    "map" => map(),
                    "0" => Bytes::from_static(PART),
                    "1" => std::future::pending().await,
                    _ => {
                        asked.fetch_add(1, Relaxed);
                        list
                    }
                }
            }
        })
        .await;
        let mut fetcher = fetcher(url);
        let found = fetcher.find().await.unwrap();
        let (out, mut inbox) = mpsc::channel(1);
        tokio::spawn(async move { while inbox.recv().await.is_some() {} });
        let begun = SystemClock.now();
        let ended = tokio::time::timeout(LEAST_WAIT * 10, fetcher.run(found, out)).await;
        assert!(ended.is_err(), "{ended:?}");
        // That by which it was found, and one at once because that had something new.
        let most = 3 + begun.elapsed().as_millis() / LEAST_WAIT.as_millis();
        let asked = asked.load(Relaxed) as u128;
        assert!(asked <= most, "asked {asked} times, not {most}");
    }
}

#[test]
fn a_list_that_is_waited_for_keeps_nobody_for_hours() {
    for (seconds, can_block, stall) in [(1, true, 10), (6, true, 18), (3_600, true, 60), (30, false, 90)] {
        let list = Media {
            target: Duration::from_secs(seconds),
            can_block,
            ..Media::default()
        };
        assert_eq!(longest_stall(&list), Duration::from_secs(stall), "{seconds} s");
        assert!(longest_answer(&list) <= ANSWER_WITHIN + longest_stall(&list));
    }
}
