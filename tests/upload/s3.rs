//! moto: a server that speaks as S3 does, with accounts that it checks.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Process, free_port, test_tool};

/// The server. What it holds is gone with it.
pub(crate) struct S3 {
    process: Process,
    pub(crate) port: u16,
}

/// It takes any, until [`S3::check_accounts`].
pub(crate) const KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "s3cret/of+the=test"),
    ("AWS_REGION", "us-east-1"),
];

const UNCHECKED: &str = "Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=a\r\n";

impl S3 {
    /// On a free port, or on this one, with an empty bucket `bucket`.
    pub(crate) fn start(port: Option<u16>) -> Self {
        let port = port.unwrap_or_else(free_port);
        let mut command = Command::new(test_tool("moto/bin/moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let process = Process::start(&mut command);
        let server = Self { process, port };
        let begun = Instant::now();
        while server
            .ask("PUT", "/bucket", "")
            .is_none_or(|answer| !answer.0.starts_with("HTTP/1.1 200"))
        {
            assert!(begun.elapsed() < 2 * PATIENCE, "{:#?}", server.process.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// From now on only a request with the keys that come back is taken, and its signature is looked at.
    pub(crate) fn check_accounts(&self) -> (String, String) {
        let iam = |body: &str| self.ask_iam(body);
        iam("Action=CreateUser&UserName=camera&Version=2010-05-08");
        let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22s3%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";
        iam(&format!(
            "Action=PutUserPolicy&UserName=camera&PolicyName=all&PolicyDocument={policy}&Version=2010-05-08"
        ));
        let keys = iam("Action=CreateAccessKey&UserName=camera&Version=2010-05-08");
        let of = |name: &str| texts(&keys, name).remove(0);
        let made = (of("AccessKeyId"), of("SecretAccessKey"));
        self.ask("POST", "/moto-api/reset-auth", "0").unwrap();
        made
    }

    fn ask_iam(&self, body: &str) -> String {
        let headers = "Content-Type: application/x-www-form-urlencoded\r\nAuthorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=a\r\n";
        let mut text = String::new();
        let mut stream = self.send_with("POST", "/", headers, body).unwrap();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        text
    }

    /// How often it was asked something, by its own log.
    pub(crate) fn asked(&self, text: &str) -> usize {
        self.process.said().iter().filter(|line| line.contains(text)).count()
    }

    /// How often it answered that with success.
    pub(crate) fn taken(&self, text: &str) -> usize {
        let said = self.process.said();
        said.iter()
            .filter(|line| line.contains(text) && line.contains(" 200 "))
            .count()
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What a program is to know of it.
    pub(crate) fn variables<'a>(&self, endpoint: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut variables = KEYS.to_vec();
        variables.push(("AWS_ENDPOINT_URL", endpoint));
        variables
    }

    /// The names of all objects, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        let (_, body) = self.ask("GET", "/bucket?list-type=2&max-keys=1000", "").unwrap();
        texts(&body, "Key")
    }

    /// The names of what was begun and is not complete.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let (_, body) = self.ask("GET", "/bucket?uploads", "").unwrap();
        texts(&body, "Key")
    }

    /// Head and body of an object.
    pub(crate) fn object(&self, key: &str) -> (String, Vec<u8>) {
        let mut stream = self.send("GET", &format!("/bucket/{key}"), "").unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        (
            String::from_utf8_lossy(&all[..end]).into_owned(),
            all[end + 4..].to_vec(),
        )
    }

    pub(crate) fn put(&self, key: &str, body: &str) {
        self.ask("PUT", &format!("/bucket/{key}"), body).unwrap();
    }

    /// The tag of the object.
    pub(crate) fn put_bytes(&self, key: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "PUT /bucket/{key} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\nConnection: close\r\n{UNCHECKED}\r\n",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let tag = text.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("etag").then(|| value.trim().to_owned())
        });
        tag.unwrap_or_else(|| panic!("{text}"))
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    fn ask(&self, method: &str, target: &str, body: &str) -> Option<(String, String)> {
        let mut text = String::new();
        self.send(method, target, body)?.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.to_owned(), body.to_owned()))
    }

    /// With a signature that nobody made: moto shows objects to those alone who have one, and does not look at it.
    fn send(&self, method: &str, target: &str, body: &str) -> Option<TcpStream> {
        self.send_with(method, target, UNCHECKED, body)
    }

    fn send_with(&self, method: &str, target: &str, headers: &str, body: &str) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body.as_bytes()).ok()?;
        Some(stream)
    }
}

fn texts(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let parts = xml.split(&open).skip(1);
    parts
        .filter_map(|part| Some(part.split_once(&close)?.0.to_owned()))
        .collect()
}
