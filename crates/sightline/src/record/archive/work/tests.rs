use super::super::tests::archive_of;
use super::super::tests::liar::{self, Said};
use super::*;
use crate::config::upload::S3Place;
use crate::record::library::Places;
use crate::record::library::made::{Made, NOON_90K, pictures};
use crate::s3::Access;

/// A file of two parts.
fn large(made: &Made) -> (Segment, Opened) {
    let (track, mut frames) = pictures(2, 25, "160x120");
    for frame in &mut frames {
        let more = [&200_000_u32.to_be_bytes()[..], &[12; 200_000]].concat();
        frame.data = [frame.data.to_vec(), more].concat().into();
    }
    let segment = made
        .record("door", NOON_90K, &[track], frames, Duration::from_secs(60))
        .remove(0);
    assert!(segment.bytes > PART_BYTES as u64, "{segment:?}");
    let places = Places::of(&made.recorder, &made.recorder.reader().unwrap()).unwrap();
    let (file, _) = places.open(&segment).unwrap();
    (segment, file)
}

fn work(made: &Made, catalogue: &str, server: (Access, S3Place)) -> Work {
    let (access, place) = server;
    let bucket = Bucket::new(&access, &place.bucket, None).unwrap();
    let plan = Plan {
        place,
        access,
        after: Duration::ZERO,
        bytes_per_second: None,
    };
    Work::new(archive_of(made, catalogue), plan, bucket)
}

/// What lies in the bucket is another of the same length, and the parts are forgotten before they are made one: the file here is the last copy.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_does_not_pass_for_what_was_sent() {
    let made = Made::new();
    let (segment, file) = large(&made);
    let bytes = segment.bytes as usize;
    let server = liar::start(move |asked| match asked.split_once(' ').unwrap() {
        ("HEAD", _) => Said::well(vec![0; bytes]).with("ETag", "\"another\""),
        ("PUT", _) => Said::well("").with("ETag", "\"part\""),
        ("POST", target) if target.contains("uploads") => Said::well(
            "<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>key</Key><UploadId>one</UploadId></InitiateMultipartUploadResult>",
        ),
        _ => Said::no("404 Not Found", "NoSuchUpload"),
    });
    let key = server.1.key(&name(&segment));
    let file = Arc::new(file);
    for etag in [Some("\"ours\"".to_owned()), None] {
        let work = work(&made, &format!("{etag:?}.sqlite").replace('"', ""), server.clone());
        let known = Known { key: key.clone(), etag };
        let found = Discovered {
            segment: segment.clone(),
            known: known.clone(),
            contents: Contents {
                header: head(&file, u64::from(segment.head_bytes)).unwrap(),
                fragments: Fragments::new(),
            },
        };
        work.archive.ask(|catalogue| catalogue.done(&found)).unwrap();
        match work.send(&made.recorder, &segment, Arc::clone(&file)).await {
            Err(Why::Failed(failed)) => assert!(failed.detail.contains("not known to be it"), "{failed}"),
            _ => panic!("it was taken for the file"),
        }
        assert_eq!(work.archive.ask(|catalogue| catalogue.known(&segment)), Ok(Some(known)));
        assert_eq!(work.archive.ask(Catalogue::begun), Ok(None), "it is begun anew");
    }
    // Of what nobody knew before, a kill came between its completion and our knowing of it.
    let work = work(&made, "new.sqlite", server);
    assert!(work.send(&made.recorder, &segment, file).await.is_ok());
    let known = work.archive.ask(|catalogue| catalogue.known(&segment)).unwrap();
    assert_eq!(known.and_then(|known| known.etag).as_deref(), Some("\"another\""));
    // It is deleted on request while it is sent.
    work.take_back(&segment).await.unwrap();
    assert_eq!(work.archive.ask(|catalogue| catalogue.known(&segment)), Ok(None));
}
