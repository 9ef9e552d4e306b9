//! Certificates by ACME, from Pebble: the test server of Let's Encrypt, in its strict mode, which refuses good nonces and forgets what it checked at random.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::support::{PATIENCE, Process, free_port, test_tool};
use crate::{Server, curl, wait_for_event};

const DOMAIN: &str = "cam.example.test";
const ISSUED: &str = "a certificate was issued; connections that begin now are shown it";
const NONE: &str = "there is no certificate that browsers believe";

/// Where an authority will be, and all that it needs.
struct Authority {
    folder: tempfile::TempDir,
    port: u16,
    management_port: u16,
    names: TcpListener,
}

impl Authority {
    /// It does not run yet.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [root_key, key] = [(); 2].map(|()| KeyPair::generate().unwrap());
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.distinguished_name.push(DnType::CommonName, "of the house");
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
        for (name, text) in [
            ("root.pem", root_pem),
            ("certificate.pem", certificate.pem()),
            ("key.pem", key.serialize_pem()),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self {
            folder,
            port: free_port(),
            management_port: free_port(),
            names: answer_with_this_machine(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A server that asks it.
    fn server(&self, folder: tempfile::TempDir, challenge: &str) -> Server {
        let directory = format!("https://127.0.0.1:{}/dir", self.port);
        let variables = [
            ("SIGHTLINE_ACME_DOMAINS", DOMAIN),
            ("SIGHTLINE_ACME_AGREE_TO_TERMS", "true"),
            ("SIGHTLINE_ACME_EMAIL", "me@example.test"),
            ("SIGHTLINE_ACME_DIRECTORY", &directory),
            ("SIGHTLINE_ACME_ROOT", &self.path("root.pem")),
            ("SIGHTLINE_ACME_CHALLENGE", challenge),
        ];
        Server::start_with(folder, &["--open"], &variables)
    }

    /// Starts it, looking for names at these ports.
    fn start(&self, http_port: u64, https_port: u64, life_s: u64) -> Process {
        let settings = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": format!("127.0.0.1:{}", self.management_port),
            "certificate": self.path("certificate.pem"),
            "privateKey": self.path("key.pem"),
            "httpPort": http_port,
            "tlsPort": https_port,
            "keyAlgorithm": "ecdsa",
            "retryAfter": { "authz": 1, "order": 1 },
            "profiles": { "default": { "description": "short", "validityPeriod": life_s } },
        }});
        std::fs::write(self.path("pebble.json"), settings.to_string()).unwrap();
        let mut command = Command::new(test_tool("pebble"));
        command.args(["-strict", "-config", &self.path("pebble.json"), "-dnsserver"]);
        command.arg(self.names.local_addr().unwrap().to_string());
        let mut process = Process::start(command.env("PEBBLE_VA_NOSLEEP", "1"));
        process.collect_stdout();
        let address = ("127.0.0.1", self.management_port);
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "{:?}", process.said());
            std::thread::sleep(Duration::from_millis(10));
        }
        process
    }

    /// Whom browsers would have to believe.
    fn root(&self) -> CertificateDer<'static> {
        let url = format!("https://127.0.0.1:{}/roots/0", self.management_port);
        let (status, pem) = curl(&["--cacert", &self.path("root.pem"), &url]);
        assert_eq!(status, 200);
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }
}

/// A name server for which everything is this machine (RFC 1035 §4), by TCP, as Pebble asks. It ends with the test.
fn answer_with_this_machine() -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let accepting = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        while let Ok((socket, _)) = accepting.accept() {
            std::thread::spawn(move || answer_all(socket));
        }
    });
    listener
}

fn answer_all(mut socket: TcpStream) -> Option<()> {
    loop {
        let mut len = [0; 2];
        socket.read_exact(&mut len).ok()?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
        socket.read_exact(&mut query).ok()?;
        let name_end = query.get(12..)?.iter().position(|byte| *byte == 0)?;
        let question = query.get(12..12 + name_end + 5)?;
        let is_address = question[name_end + 1..name_end + 3] == [0, 1];
        let head = [0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0];
        let mut answer = [&query[..2], &head, question].concat();
        if is_address {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
        }
        let len = u16::try_from(answer.len()).unwrap().to_be_bytes();
        socket.write_all(&[&len[..], &answer].concat()).ok()?;
    }
}

/// What is shown to somebody who believes `root` alone and wants our name; and what is answered.
fn ask(port: u64, root: &CertificateDer<'static>, says: &str) -> Result<(CertificateDer<'static>, String), String> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(DOMAIN).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    stream.write_all(says.as_bytes()).map_err(|error| error.to_string())?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).map_err(|error| error.to_string())?;
    let shown = stream.conn.peer_certificates().unwrap()[0].clone().into_owned();
    Ok((shown, String::from_utf8_lossy(&answer).into_owned()))
}

/// The same certificate on both ports, and what is said behind it.
fn shown(server: &Server, root: &CertificateDer<'static>) -> CertificateDer<'static> {
    let http = format!("GET /healthz HTTP/1.1\r\nHost: {DOMAIN}\r\n\r\n");
    let (by_https, answer) = ask(server.port("https"), root, &http).unwrap();
    assert_eq!(answer, "HTTP/1.1 200");
    let (by_rtsps, answer) = ask(server.port("rtsps"), root, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").unwrap();
    assert_eq!(answer, "RTSP/1.0 200");
    assert_eq!(by_https, by_rtsps);
    by_https
}

fn count(server: &Server, event: &str) -> usize {
    let said = server.process.said();
    let events = said.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|line| line["event"] == event).count()
}

fn wait_until_issued(server: &Server, pebble: &Process, times: usize) {
    let begun = Instant::now();
    while count(server, ISSUED) < times {
        assert!(
            begun.elapsed() < PATIENCE,
            "{:?}\n{:?}",
            server.process.said(),
            pebble.said()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// From an authority that is down to a certificate that was renewed and outlives a restart.
#[test]
fn a_certificate_is_issued_shown_renewed_and_kept() {
    let authority = Authority::new();
    let mut server = authority.server(tempfile::tempdir().unwrap(), "auto");
    let said = wait_for_event(&mut server.process, NONE);
    let reason = said["reason"].as_str().unwrap();
    assert!(
        reason.contains("cannot connect to 127.0.0.1:") && reason.contains("check that the server runs"),
        "{reason}"
    );
    // Our own meanwhile, which it is not worse for.
    let https = format!("https://localhost:{}/healthz", server.port("https"));
    assert_eq!(curl(&["--insecure", &https]).0, 200);

    // Long enough to be looked at, short enough to be waited for: renewed after two thirds.
    let pebble = authority.start(server.port("http"), server.port("https"), 24);
    wait_for_event(&mut server.process, ISSUED);
    let root = authority.root();
    let first = shown(&server, &root);
    let file = server.state().join("acme.json");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    wait_until_issued(&server, &pebble, 2);
    assert_ne!(shown(&server, &root), first);
    let accounts = pebble
        .said()
        .iter()
        .filter(|line| line.contains("POST /sign-me-up"))
        .count();
    assert!(accounts > 0, "{:?}", pebble.said());
    let challenge = format!("http://127.0.0.1:{}/.well-known/acme-challenge/x", server.port("http"));
    assert_eq!(curl(&[&challenge]).0, 404, "nothing is left of the challenges");

    // It is down when the program starts the next time: what was kept is shown.
    drop(pebble);
    let Server { process, folder, .. } = server;
    drop(process);
    let kept: Value = serde_json::from_slice(&std::fs::read(folder.path().join("state/acme.json")).unwrap()).unwrap();
    let kept = CertificateDer::from_pem_slice(kept["certificate"]["chain"].as_str().unwrap().as_bytes()).unwrap();
    let server = authority.server(folder, "auto");
    match ask(server.port("rtsps"), &root, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n") {
        Ok((shown, _)) => assert_eq!(shown, kept),
        // The machine was busy for longer than it lives: it says so, and it is no other one.
        Err(why) => assert!(why.contains("Expired"), "{why}"),
    }
}

/// By the plain port, from an authority that has forgotten the account: it was started anew.
#[test]
fn by_http_and_after_the_authority_forgot_us() {
    let authority = Authority::new();
    let mut server = authority.server(tempfile::tempdir().unwrap(), "http-01");
    // Nobody is at the port of TLS: it is not needed.
    let pebble = authority.start(server.port("http"), u64::from(free_port()), 12);
    wait_for_event(&mut server.process, ISSUED);
    let before = shown(&server, &authority.root());
    drop(pebble);
    let issued = count(&server, ISSUED);
    let pebble = authority.start(server.port("http"), u64::from(free_port()), 3_600);
    wait_until_issued(&server, &pebble, issued + 1);
    assert_ne!(shown(&server, &authority.root()), before);
}

#[test]
fn what_the_authority_did_not_find_is_said() {
    let authority = Authority::new();
    let mut server = authority.server(tempfile::tempdir().unwrap(), "tls-alpn-01");
    let elsewhere = u64::from(free_port());
    let _pebble = authority.start(server.port("http"), elsewhere, 3_600);
    let refused = format!("Failed to connect to 127.0.0.1:{elsewhere}");
    let reason = server.process.wait_for("why there is none", |line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let reason = line["reason"].as_str().filter(|_| line["event"] == NONE)?;
        reason.contains(DOMAIN).then(|| reason.to_owned())
    });
    for part in [
        "did not find this program at cam.example.test",
        &refused,
        "port 443",
        "http.https_port",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
}
