//! A server of S3 for tests that does what no real one is made to do: it forgets, refuses, and answers what was not asked. Real ones are asked by `tests/upload`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use crate::config::upload::S3Place;
use crate::config::{Environment, settings};
use crate::s3::Access;

/// What it says to a question.
pub(in crate::record::archive) struct Said {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Said {
    pub(in crate::record::archive) fn well(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: "200 OK",
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// That it refuses, by a code of S3.
    pub(in crate::record::archive) fn no(status: &'static str, code: &str) -> Self {
        Self {
            status,
            ..Self::well(format!("<Error><Code>{code}</Code></Error>"))
        }
    }

    /// A range of an object, as it was asked for; all of it without one.
    pub(in crate::record::archive) fn object(asked: &str, all: &[u8]) -> Self {
        let range = asked
            .rsplit_once(" bytes=")
            .and_then(|(_, range)| range.split_once('-'));
        let Some((first, last)) = range else {
            return Self::well(all).with("ETag", "\"a\"");
        };
        let (first, last) = (first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap());
        let last = last.min(all.len() - 1);
        let said = Self {
            status: "206 Partial Content",
            ..Self::well(&all[first..=last])
        };
        let range = format!("bytes {first}-{last}/{}", all.len());
        said.with("Content-Range", &range).with("ETag", "\"a\"")
    }

    /// A list of objects: name and length of each.
    pub(in crate::record::archive) fn list(objects: &[(&str, u64)]) -> Self {
        let contents = objects.iter().map(|(key, bytes)| {
            format!("<Contents><Key>{key}</Key><Size>{bytes}</Size><LastModified>2026-11-23T07:00:00.000Z</LastModified><ETag>\"a\"</ETag></Contents>")
        });
        let contents: String = contents.collect();
        Self::well(format!(
            "<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
        ))
    }

    pub(in crate::record::archive) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// Who is let in, and where to. It is asked with method, target and range, `GET /bucket/… bytes=0-99`, until the program ends.
pub(in crate::record::archive) fn start(answer: impl Fn(&str) -> Said + Send + Sync + 'static) -> (Access, S3Place) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || serve(stream, &*answer));
        }
    });
    let s3 = settings::S3 {
        endpoint: Some(endpoint),
        ..settings::S3::default()
    };
    let keys = [("AWS_ACCESS_KEY_ID", "AKIA1"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let place = S3Place {
        bucket: "bucket".to_owned(),
        prefix: "rec".to_owned(),
    };
    (Access::of(&s3, &Environment::of(keys)).unwrap(), place)
}

/// Until whoever asks hangs up.
fn serve(mut stream: TcpStream, answer: &dyn Fn(&str) -> Said) -> Option<()> {
    loop {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            head.extend(byte);
        }
        let head = String::from_utf8(head).ok()?;
        let header = |wanted: &str| {
            head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case(wanted).then_some(value)
            })
        };
        let mut body = vec![0; header("content-length").map_or(Some(0), |length| length.parse().ok())?];
        stream.read_exact(&mut body).ok()?;
        let asked = head.lines().next()?.trim_end_matches(" HTTP/1.1");
        let range = header("range").map(|range| format!(" {range}")).unwrap_or_default();
        let said = answer(&format!("{asked}{range}"));
        let mut text = format!("HTTP/1.1 {}\r\nContent-Length: {}\r\n", said.status, said.body.len());
        text += "Last-Modified: Mon, 23 Nov 2026 07:00:00 GMT\r\n";
        said.headers
            .iter()
            .for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        stream.write_all(format!("{text}\r\n").as_bytes()).ok()?;
        if !asked.starts_with("HEAD ") {
            stream.write_all(&said.body).ok()?;
        }
    }
}
