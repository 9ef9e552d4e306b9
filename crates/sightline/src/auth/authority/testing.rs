//! For tests: keys and tokens made by hand, and a server that does what it is told.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The keys of an authority: by RSA, P-256 and Ed25519.
pub(in crate::auth) struct Signers {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

/// Made once: RSA takes a while.
pub(in crate::auth) static SIGNERS: LazyLock<Signers> = LazyLock::new(Signers::new);

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signers {
    pub(in crate::auth) fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
        }
    }

    /// The JWK set, with numbers `rsa`, `ec` and `ed`.
    pub(in crate::auth) fn set(&self) -> Value {
        // RFC 8017 §A.1.1 of 2,048 bits: the modulus begins behind nine bytes, and the exponent is 65,537.
        let rsa = self.rsa.public_key().as_ref();
        let ec = self.ec.public_key().as_ref();
        json!({ "keys": [
            { "kty": "RSA", "kid": "rsa", "use": "sig", "n": b64(&rsa[9..265]), "e": "AQAB" },
            { "kty": "EC", "kid": "ec", "crv": "P-256", "x": b64(&ec[1..33]), "y": b64(&ec[33..65]) },
            { "kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64(self.ed.public_key().as_ref()) },
        ]})
    }

    /// The public key by RSA as others find it in files.
    pub(in crate::auth) fn rsa_public_der(&self) -> Vec<u8> {
        self.rsa.public_key().as_der().unwrap().as_ref().to_vec()
    }

    /// A token with this head, signed as it says.
    pub(in crate::auth) fn sign(&self, head: &Value, claims: &Value) -> String {
        let text = format!("{}.{}", b64(head.to_string()), b64(claims.to_string()));
        let random = SystemRandom::new();
        let rsa = |padding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa
                .sign(padding, &random, text.as_bytes(), &mut signature)
                .unwrap();
            signature
        };
        let signature = match head["alg"].as_str().unwrap() {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "ES256" => self.ec.sign(&random, text.as_bytes()).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(text.as_bytes()).as_ref().to_vec(),
            _ => Vec::new(),
        };
        format!("{text}.{}", b64(signature))
    }

    /// One by P-256.
    pub(in crate::auth) fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": "ES256", "kid": "ec" }), claims)
    }
}

/// What a server does with a request.
pub(in crate::auth) enum Does {
    /// Answers this status with this body.
    Says(u16, String),
    /// Answers this, once it is told to.
    Later(Arc<Notify>, String),
    /// Sends the client elsewhere.
    Sends(String),
    /// Nothing, and leaves the connection open.
    Nothing,
    /// A body of 100 MB.
    Floods,
    /// Something that is not HTTP.
    Babbles,
}

/// A server by HTTP, until it is dropped.
pub(in crate::auth) struct Server {
    pub(in crate::auth) url: String,
    asked: Arc<Mutex<Vec<String>>>,
    running: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Server {
    pub(in crate::auth) async fn new(does: impl Fn(&str) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (asked, does) = (Arc::new(Mutex::new(Vec::new())), Arc::new(does));
        let heard = Arc::clone(&asked);
        let running = tokio::spawn(async move {
            let mut all = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (does, heard) = (Arc::clone(&does), Arc::clone(&heard));
                all.spawn(async move {
                    // The client may hang up whenever it likes.
                    let _ = serve(socket, &*does, &heard).await;
                });
            }
        });
        Self { url, asked, running }
    }

    /// Heads and bodies of what it was asked.
    pub(in crate::auth) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    mut socket: TcpStream,
    does: &(impl Fn(&str) -> Does + ?Sized),
    heard: &Mutex<Vec<String>>,
) -> io::Result<()> {
    loop {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let length = head
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next());
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        socket.read_exact(&mut body).await?;
        request.extend_from_slice(&body);
        let request = String::from_utf8(request).unwrap();
        let done = does(&request);
        heard.lock().unwrap().push(request);
        match done {
            Does::Says(status, body) => {
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
                socket.write_all((head + &body).as_bytes()).await?;
            }
            Does::Later(told, body) => {
                told.notified().await;
                let head = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n", body.len());
                socket.write_all((head + &body).as_bytes()).await?;
            }
            Does::Sends(to) => {
                let head = format!("HTTP/1.1 307 X\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
                socket.write_all(head.as_bytes()).await?;
            }
            Does::Nothing => std::future::pending().await,
            Does::Floods => {
                socket
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
                    .await?;
                for _ in 0..1_000 {
                    socket.write_all(&[b' '; 100_000]).await?;
                }
            }
            Does::Babbles => socket.write_all(b"220 mail.example ESMTP\r\n\r\n").await?,
        }
    }
}
