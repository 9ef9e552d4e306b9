//! Certificates in files, as those who renew them do it, and handshakes that show which one it is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::clock::SystemClock;
use crate::shutdown;
use crate::state;

/// Longest wait for anything, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// Certificate and key, as text.
fn made(name: &str) -> [String; 2] {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    [params.self_signed(&key).unwrap().pem(), key.serialize_pem()]
}

fn files(folder: &Path) -> Files {
    Files {
        certificate: folder.join("fullchain.pem"),
        key: folder.join("privkey.pem"),
    }
}

fn write(files: &Files, [certificate, key]: &[String; 2]) {
    fs::write(&files.certificate, certificate).unwrap();
    fs::write(&files.key, key).unwrap();
}

fn shows(certificates: &Certificates, [certificate, _]: &[String; 2]) -> bool {
    let shown = certificates.shown.get().unwrap();
    shown.cert.first().unwrap() == &CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let looking = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect(what);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let [first, second, third] = ["one", "two", "three"].map(made);
    write(&files, &first);
    let certificates = Certificates::from_files(files.clone(), Arc::new(SystemClock)).unwrap();
    assert!(certificates.config(Inside::Http).await.is_some() && shows(&certificates, &first));
    let (trigger, stop) = shutdown::channel();
    let running = tokio::spawn(Arc::clone(&certificates).run(stop));

    // The certificate comes before its key: what was there is shown until both fit.
    fs::write(&files.certificate, &second[0]).unwrap();
    tokio::time::sleep(files::EVERY * 2).await;
    assert!(shows(&certificates, &first));
    fs::write(&files.key, &second[1]).unwrap();
    until("the second is shown", || shows(&certificates, &second)).await;

    // By links, as certbot does it; then what is no certificate; then none at all.
    let renewed = folder.path().join("renewed.pem");
    fs::write(&renewed, third.concat()).unwrap();
    for path in [&files.certificate, &files.key] {
        fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink(&renewed, path).unwrap();
    }
    until("the third is shown", || shows(&certificates, &third)).await;
    for broken in ["", "-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----\n"] {
        fs::write(&renewed, broken).unwrap();
        tokio::time::sleep(files::EVERY * 2).await;
        assert!(shows(&certificates, &third));
    }
    trigger.request();
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
}

#[test]
fn what_cannot_be_used_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let why = || {
        let loaded = Certificates::from_files(files.clone(), Arc::new(SystemClock));
        loaded.map(drop).unwrap_err().to_string()
    };
    assert!(why().contains("fullchain.pem cannot be read"), "{}", why());
    let [one, two] = ["one", "two"].map(made);
    write(&files, &[one[0].clone(), two[1].clone()]);
    assert!(why().contains("cannot be used together"), "{}", why());
    write(&files, &[one[1].clone(), one[1].clone()]);
    assert!(why().contains("fullchain.pem holds no certificate"), "{}", why());
    let canary = one[1].replace("-----END", "canary!-----END");
    write(&files, &[one[0].clone(), canary]);
    assert!(
        why().contains("privkey.pem holds") && !why().contains("canary"),
        "{}",
        why()
    );
    fs::write(&files.certificate, vec![b'a'; 2 << 20]).unwrap();
    assert!(why().contains("cannot be read"), "{}", why());
}

#[tokio::test]
async fn without_a_folder_there_is_one_for_this_run() {
    let folder: OpenFolder = Arc::new(|| Err(state::Error::NoPlace));
    let certificates = Certificates::own(folder, Vec::new, Arc::new(SystemClock));
    let first = certificates.config(Inside::Http).await.unwrap();
    let second = certificates.config(Inside::Http).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second), "made once");
    assert_eq!(first.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    let rtsp = certificates.config(Inside::Rtsp).await.unwrap();
    assert!(rtsp.alpn_protocols.is_empty());
}

/// A client whose user said that the certificate is fine.
pub(crate) async fn connect(socket: TcpStream, protocols: &[&str]) -> TlsStream<TcpStream> {
    let builder = rustls::ClientConfig::builder_with_provider(provider());
    let mut config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, socket);
    connecting.await.unwrap()
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
