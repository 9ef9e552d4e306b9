use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::super::tests::archive_of;
use super::super::tests::liar::{self, Said};
use super::*;
use crate::record::library::made::Made;
use crate::s3::Bucket;

/// What makes the catalogue anew of what such a server has.
fn remake(made: &Made, answer: impl Fn(&str) -> Said + Send + Sync + 'static) -> Remake {
    let (access, place) = liar::start(answer);
    let door = Door::new(Bucket::new(&access, &place.bucket, None).unwrap());
    Remake::new(archive_of(made, "archive.sqlite"), place, door)
}

fn come_to(remake: &Remake) -> Option<String> {
    remake.archive.ask(Catalogue::remaking).unwrap()
}

fn is_list(asked: &str) -> bool {
    asked.contains("list-type=2")
}

/// "Create folder" of a console makes an object with a slash at its end; and some servers tell all again whatever is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn it_ends_in_any_bucket() {
    let buckets: [&[(&str, u64)]; 3] = [
        &[("rec/", 0)],
        &[("rec/", 0), ("rec/cam/", 0), ("rec/cam/notes.txt", 5)],
        &[("rec/cam/notes.txt", 5), ("rec/zoo/", 0)],
    ];
    for bucket in buckets {
        let made = Made::new();
        let lists = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&lists);
        let remake = remake(&made, move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Said::list(bucket)
        });
        let mut steps = 0;
        while remake.step(&mut 0).await.unwrap() == Step::More {
            steps += 1;
            assert!(steps < 5, "{bucket:?}");
        }
        let asked = lists.load(Ordering::Relaxed);
        assert_eq!((come_to(&remake), asked), (None, 2), "{bucket:?}");
    }
}

/// What a network breaks off is not all read again.
#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_where_it_was_broken_off() {
    let made = Made::new();
    let names: Vec<String> = (0..40).map(|number| format!("rec/cam/{number:03}-1.mp4")).collect();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asking = Arc::clone(&asked);
    let is_busy = Arc::new(AtomicBool::new(true));
    let busy = Arc::clone(&is_busy);
    let remake = remake(&made, move |asked| {
        if is_list(asked) {
            let objects: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 9)).collect();
            return Said::list(&objects);
        }
        asking.lock().unwrap().push(asked.to_owned());
        match asked.contains("020-1") && busy.load(Ordering::Relaxed) {
            true => Said::no("503 Service Unavailable", "SlowDown"),
            false => Said::no("404 Not Found", "NoSuchKey"),
        }
    });
    let failed = remake.step(&mut 0).await.unwrap_err();
    assert_eq!(failed.kind, Kind::Passing, "{failed}");
    assert_eq!(come_to(&remake).as_deref(), Some("rec/cam/015-1.mp4"));
    is_busy.store(false, Ordering::Relaxed);
    asked.lock().unwrap().clear();
    assert_eq!(remake.step(&mut 0).await, Ok(Step::More));
    let read = asked
        .lock()
        .unwrap()
        .iter()
        .filter(|asked| asked.contains("/00"))
        .count();
    assert_eq!(read, 0, "they were looked at before");
    assert_eq!(remake.step(&mut 0).await, Ok(Step::More));
    assert_eq!(come_to(&remake), None);
}

/// A token that ran out says nothing of the objects; what is wrong with one of them is no reason to wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_waited_for_and_an_odd_object_is_not() {
    let made = Made::new();
    let has_right = Arc::new(AtomicBool::new(false));
    let right = Arc::clone(&has_right);
    let objects = [("rec/cam/a-1.mp4", 5), ("rec/cam/b-2.mp4", 5), ("rec/cam/c-3.mp4", 5)];
    let remake = remake(&made, move |asked| match asked {
        list if is_list(list) => Said::list(&objects),
        _ if !right.load(Ordering::Relaxed) => Said::no("403 Forbidden", "AccessDenied"),
        cold if cold.contains("/a-1.mp4") => Said::no("403 Forbidden", "InvalidObjectState"),
        packed if packed.contains("/b-2.mp4") => Said::object(packed, b"other").with("Content-Encoding", "br"),
        other => Said::object(other, b"other").with("x-amz-meta-note", "d\u{e9}j\u{e0} vu"),
    });
    let failed = remake.step(&mut 0).await.unwrap_err();
    assert!(
        failed.kind == Kind::Lasting && failed.detail.contains(".mp4 cannot be read"),
        "{failed}"
    );
    assert_eq!(come_to(&remake).as_deref(), Some(""));
    has_right.store(true, Ordering::Relaxed);
    assert_eq!(remake.step(&mut 0).await, Ok(Step::More));
    assert_eq!(come_to(&remake).as_deref(), Some("rec/cam/c-3.mp4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_ends_the_list_is_told() {
    let made = Made::new();
    let remake = remake(&made, |_| Said::list(&[("rec/a", 1), ("rec//b", 1)]));
    let failed = remake.step(&mut 0).await.unwrap_err();
    assert!(
        failed.kind == Kind::Lasting && failed.detail.contains("rec//b"),
        "{failed}"
    );
}
