//! HTTPS with the certificate that the program made.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::PATIENCE;
use crate::{Server, curl};

#[test]
fn the_certificate_is_made_once_kept_and_good_for_localhost() {
    let server = Server::start(&[]);
    let file = server.state().join("certificate.json");
    let begun = std::time::Instant::now();
    while !file.exists() {
        assert!(begun.elapsed() < PATIENCE, "{:?}", server.process.said());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let first = std::fs::read(&file).unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let stored: Value = serde_json::from_slice(&first).unwrap();
    let trusted = server.folder.path().join("certificate.pem");
    std::fs::write(&trusted, stored["certificate"].as_str().unwrap()).unwrap();
    let trusted = trusted.display().to_string();

    // With the certificate as the one that is trusted, names and dates are checked too.
    let check = |server: &Server, http: &str| {
        let url = format!("https://localhost:{}/healthz", server.port("https"));
        assert_eq!(
            curl(&["--cacert", &trusted, http, &url]),
            (200, "{\"status\":\"ok\"}".to_owned())
        );
    };
    check(&server, "--http1.1");
    check(&server, "--http2");
    let Server { process, folder, .. } = server;
    drop(process);
    let server = Server::start_in(folder, &["--open"]);
    check(&server, "--http2");
    assert_eq!(std::fs::read(&file).unwrap(), first);
}
