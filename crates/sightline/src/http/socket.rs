//! From a request to a WebSocket: the handshake (RFC 6455 §4.2), and the status socket, on every port.
//!
//! Every port has it because pages measure their clock's offset through it, and their browser sends a cookie to the port alone from which they came.

use axum_core::response::{IntoResponse as _, Response};
use http::header::{
    CONNECTION, HeaderMap, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use media::StreamName;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use url::form_urlencoded;

use super::access::Caller;
use super::problem::Problem;
use super::routes::{Answer, Call, Route, Target, Verb};
use crate::auth::Action;
use crate::net;
use crate::shutdown::Shutdown;
use crate::status;
use crate::websocket::{self, Sizes, Talk};

/// With and without the slash: scripts of people have both.
pub(super) const ROUTES: &[Route] = &[route("/ws/camera/"), route("/ws/camera")];

/// Words that wait in the kernel for a client that reads slowly; what waits before it are the newest, and its oldest are lost.
const UNSENT_BYTES: u32 = 16 << 10;

const fn route(path: &'static str) -> Route {
    Route {
        verb: Verb::Get,
        path,
        target: Target::Socket {
            actions: &[Action::View, Action::Publish],
            handler: camera,
        },
        about: None,
    }
}

/// What each word on it asks for is asked again in the room.
fn camera(mut call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let camera = match named_camera(&call) {
            Ok(camera) => camera,
            Err(problem) => return problem.into_response(),
        };
        let handshake = match handshake(&mut call) {
            Ok(handshake) => handshake,
            Err(problem) => return problem.into_response(),
        };
        let joined = match call.shared.settings.status.join(caller.who, camera) {
            Ok(joined) => joined,
            Err(full) => return too_many(full.to_string()).into_response(),
        };
        let stop = joined.stop();
        handshake.switch(joined, status::SIZES, stop)
    })
}

/// A request that may become a WebSocket.
pub(super) struct Handshake {
    accept: String,
    upgrade: OnUpgrade,
}

/// What a request needs to become one.
///
/// # Errors
/// 426, which says what is here.
pub(super) fn handshake(call: &mut Call) -> Result<Handshake, Problem> {
    let path = call.request.uri().path().to_owned();
    let accept = accept_key(call.request.headers()).ok_or_else(|| not_a_socket(&path))?;
    // Not there by HTTP/2, whose browsers open another connection for WebSockets.
    let upgrade = call.request.extensions_mut().remove::<OnUpgrade>();
    let upgrade = upgrade.ok_or_else(|| not_a_socket(&path))?;
    Ok(Handshake { accept, upgrade })
}

impl Handshake {
    /// The answer; what is said behind it, `talk` says in a task of its own.
    pub(super) fn switch(self, talk: impl Talk + Send + 'static, sizes: Sizes, stop: Shutdown) -> Response {
        let Self { accept, upgrade } = self;
        tokio::spawn(async move {
            // The connection may end in between; then nobody is there.
            if let Ok(upgraded) = upgrade.await {
                run(upgraded, talk, sizes, stop).await;
            }
        });
        switching(&accept)
    }
}

/// Without TLS the socket itself is had back.
async fn run(upgraded: Upgraded, talk: impl Talk, sizes: Sizes, stop: Shutdown) {
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) if parts.read_buf.is_empty() => {
            let socket = parts.io.into_inner();
            net::bound_unsent(&socket, UNSENT_BYTES);
            websocket::serve(socket, talk, sizes, stop).await;
        }
        // It began to talk before it was answered, which RFC 6455 §4.1 forbids.
        Ok(_) => {}
        Err(upgraded) => websocket::serve(TokioIo::new(upgraded), talk, sizes, stop).await,
    }
}

/// The camera that the address names.
fn named_camera(call: &Call) -> Result<Option<StreamName>, Problem> {
    let query = call.request.uri().query().unwrap_or_default().as_bytes();
    let Some((_, name)) = form_urlencoded::parse(query).find(|(name, _)| name == "camera") else {
        return Ok(None);
    };
    name.parse().map(Some).map_err(|error: media::name::InvalidName| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-name",
            "Not the name of a camera",
            error.to_string(),
            "give the name of its stream as ?camera=NAME, or none",
        )
    })
}

/// What proves that we mean a WebSocket.
fn accept_key(headers: &HeaderMap) -> Option<String> {
    let says = |name, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    if !says(CONNECTION, "upgrade") || !says(UPGRADE, "websocket") {
        return None;
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return None;
    }
    // 16 bytes by base64.
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24)?;
    Some(derive_accept_key(key.as_bytes()))
}

fn switching(accept: &str) -> Response {
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn not_a_socket(path: &str) -> Problem {
    Problem::new(
        StatusCode::UPGRADE_REQUIRED,
        "not-a-websocket",
        "A WebSocket is here",
        "this is no handshake of a WebSocket, version 13, by HTTP/1.1",
        format!("connect to it as ws://HOST:PORT{path}; a proxy has to pass the headers Upgrade and Connection on"),
    )
    .with(UPGRADE, HeaderValue::from_static("websocket"))
    .with(CONNECTION, HeaderValue::from_static("Upgrade"))
    .with(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
}

fn too_many(detail: String) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "too-many-clients",
        "Too many clients",
        detail,
        "try again later, or raise limits.status_clients",
    )
    .with(RETRY_AFTER, HeaderValue::from_static("5"))
}
