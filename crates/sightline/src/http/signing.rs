//! Signing in and out: the form without a script, in English and Vietnamese, and `session` of the API.
//!
//! Belongs here: from what is shown to a session and its cookies, how late a wrong password is answered. Does not belong here: whether it is right
//! ([`crate::auth`]), where sessions are kept ([`crate::state::control`]), cookies as such (`super::access`).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use axum_core::body::Body;
use axum_core::response::{IntoResponse as _, Response};
use http::header::{ACCEPT_LANGUAGE, CONTENT_TYPE, SET_COOKIE, USER_AGENT};
use http::{HeaderMap, HeaderValue, StatusCode};
use media::time::micros;
use url::form_urlencoded;

use super::answer::{escaped, page, see};
use super::api::people::not_done;
use super::pages::{is_place, root};
use super::peer::{self, Peer};
use super::problem::Problem;
use super::routes::{self, Answer, Call};
use super::trail::Trail;
use super::{Shared, access, assets, body};
use crate::auth::people::{Change, People, Refused, SESSION_US, Session};
use crate::auth::{Device, Identity, Refusal, secrets};
use crate::secret::Secret;
use crate::state::control::NotDone;

/// What somebody shows. Without a name it is a token.
pub(super) struct Shows {
    pub(super) name: String,
    pub(super) secret: Secret,
}

/// Somebody who signed in.
pub(super) struct SignedIn {
    pub(super) identity: Identity,
    pub(super) cookies: Vec<HeaderValue>,
}

/// Signs somebody in.
///
/// # Errors
/// A problem, which is told to the log.
pub(super) async fn sign_in(
    shared: &Arc<Shared>,
    peer: Peer,
    headers: &HeaderMap,
    shows: &Shows,
    trail: &Trail,
) -> Result<SignedIn, Problem> {
    if peer::is_from_another_site(headers) {
        return Err(Problem::another_site());
    }
    let (began, before) = (shared.clock.now(), shared.auth.everybody());
    let device = access::device(shared, peer, headers, &shows.name);
    let shown = (shows.name.as_str(), shows.secret.expose());
    let known = shared.auth.sign_in(shown.0, shown.1, peer.remote, device, began);
    let identity = match known {
        Ok(identity) => identity,
        Err(refusal) => {
            routes::refused("/sign-in", shared, peer, refusal.to_string());
            if refusal == Refusal::Wrong {
                as_late_as_others(shared, began).await;
            }
            return Err(Problem::refused(refusal, headers));
        }
    };
    trail.is(&name_of(shared, &identity));
    let cookies = cookies_with(shared, peer, headers, (&identity, &before), (&shows.name, device)).await?;
    Ok(SignedIn { identity, cookies })
}

fn name_of(shared: &Shared, identity: &Identity) -> Box<str> {
    match identity {
        Identity::Role(role) => role.name().into(),
        Identity::Account(account) => account.name.clone(),
        Identity::Granted(grant) => grant.name.clone(),
        Identity::User(user) => {
            let people = shared.auth.everybody();
            people
                .user(*user)
                .map_or_else(|| "nobody".into(), |user| user.name.clone())
        }
        Identity::Free => "anyone".into(),
    }
}

/// The cookies of somebody who made an account, or opened a share.
///
/// # Errors
/// A problem, where a session cannot begin now.
pub(super) async fn cookies(
    shared: &Arc<Shared>,
    peer: Peer,
    headers: &HeaderMap,
    identity: &Identity,
    name: &str,
) -> Result<Vec<HeaderValue>, Problem> {
    let before = shared.auth.everybody();
    cookies_with(shared, peer, headers, (identity, &before), (name, None)).await
}

/// Of a session, and of the device from which a name was let in.
async fn cookies_with(
    shared: &Arc<Shared>,
    peer: Peer,
    headers: &HeaderMap,
    (identity, before): (&Identity, &People),
    (name, device): (&str, Option<Device>),
) -> Result<Vec<HeaderValue>, Problem> {
    let mut cookies: Vec<HeaderValue> = begin(shared, peer, headers, identity, before)
        .await?
        .into_iter()
        .collect();
    if !name.is_empty()
        && let Some(device) = device.or_else(|| Device::new().ok())
    {
        let sealed = device.seal(name, shared.settings.control.device_key());
        cookies.extend(access::device_cookie(&sealed, peer.jar(headers)));
    }
    Ok(cookies)
}

/// A name that nobody has needs no hash to be computed; that is not to be seen by how long the answer takes.
async fn as_late_as_others(shared: &Shared, began: Instant) {
    let took = shared.clock.now().saturating_duration_since(began);
    let took_us = u64::try_from(micros(took)).unwrap_or_default();
    let slowest = shared.slowest_us.fetch_max(took_us, Relaxed).max(took_us);
    let until = Duration::from_micros(slowest).clamp(LEAST_WRONG, MOST_WRONG);
    tokio::time::sleep(until.saturating_sub(took)).await;
}

/// Begins a session; gives its cookie. `None` where nobody needs one. `before` are the people before it was asked who it is: a password that was changed since
/// may be the one that was shown.
///
/// # Errors
/// A problem, where none can begin now: whoever signs in learns it, and is not sent on without a cookie.
pub(super) async fn begin(
    shared: &Arc<Shared>,
    peer: Peer,
    headers: &HeaderMap,
    identity: &Identity,
    before: &People,
) -> Result<Option<HeaderValue>, Problem> {
    let (value, sum) = secrets::session().map_err(|_| Problem::bug())?;
    let Some(owner) = shared.auth.owner(identity, sum) else {
        return Ok(None);
    };
    let now = shared.clock.wall();
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let session = Session {
        sum,
        owner,
        made_at: now,
        seen_us: now.unix_micros().into(),
        ends_at: now.offset_micros(SESSION_US),
        remote: peer.remote,
        agent: agent.unwrap_or_default().chars().take(MAX_AGENT_CHARS).collect(),
        kept: true,
    };
    let begun = shared.settings.control.change(Change::Begin(Arc::new(session))).await;
    match begun {
        Ok(()) => {}
        Err(NotDone::Refused(Refused::Gone)) => return Err(Problem::refused(Refusal::Wrong, headers)),
        Err(error) => {
            tracing::warn!("a session could not begin: {error}");
            return Err(not_done(&error));
        }
    }
    if let Identity::User(user) = identity {
        let now = shared.auth.everybody();
        let [before, now] = [before, &*now].map(|people| people.user(*user).and_then(|user| user.hash.clone()));
        if before != now {
            // What waited in front of it ended the sessions that there were. Where this one is gone, too, all is well.
            let _ = shared.settings.control.change(Change::End(sum)).await;
            return Err(Problem::refused(Refusal::Wrong, headers));
        }
    }
    Ok(access::cookie(&value, peer.jar(headers)))
}

/// Ends the session that a request shows; gives what removes its cookie.
pub(super) async fn end(shared: &Arc<Shared>, peer: Peer, headers: &HeaderMap, trail: &Trail) -> Option<HeaderValue> {
    if let Some(grant) = access::session(shared, peer, headers) {
        trail.is(&grant.name);
        // Where the disk is full it is over all the same, until the program starts again.
        if let Err(error) = shared.settings.control.change(Change::End(grant.sum)).await {
            tracing::warn!("the end of a session could not be kept: {error}");
        }
    }
    access::no_cookie(peer.jar(headers))
}

/// Where to sign in, in place of a page that is not shown, and which is shown then. Without a credential that is no error: nobody has been
/// asked for one yet.
pub(super) fn in_place_of(problem: &Problem, headers: &HeaderMap, page_path: &str) -> Response {
    form_page(problem, headers, &root(page_path), page_path.trim_start_matches('/'))
}

fn form_page(problem: &Problem, headers: &HeaderMap, root: &str, to: &str) -> Response {
    let words = words(headers);
    let form = SIGN_IN
        .replace("{lang}", words.lang)
        .replace("{title}", words.title)
        .replace("{name}", words.name)
        .replace("{password}", words.password)
        .replace("{sign-in}", words.sign_in)
        .replace("{token}", words.token)
        .replace("{root}", root)
        .replace("{icon}", &assets::icon())
        .replace("{to}", if is_place(to) { to } else { "" });
    if problem.is_missing_credential() {
        return page(StatusCode::OK, form.replace("{word}", ""));
    }
    let known = words.problems.iter().find(|(code, _)| *code == problem.code());
    let sentence = known.map_or_else(|| problem.sentence(), |(_, sentence)| (*sentence).to_owned());
    let word = format!("<p role=\"alert\">{}</p>", escaped(&sentence));
    let mut response = page(problem.status(), form.replace("{word}", &word));
    response.headers_mut().extend(problem.headers().clone());
    response
}

/// `POST /sign-in`: what the form sends.
pub(super) fn take_form(call: Call) -> Answer {
    Box::pin(async move {
        let Call {
            shared,
            peer,
            request,
            trail,
            ..
        } = call;
        let (parts, form) = request.into_parts();
        let (shows, to) = match read_form(&parts.headers, form, shared.settings.patience.body).await {
            Ok(form) => form,
            Err(problem) => return problem.into_response(),
        };
        match sign_in(&shared, peer, &parts.headers, &shows, &trail).await {
            Ok(signed_in) => {
                let mut response = see(format!("./{to}"));
                for cookie in signed_in.cookies {
                    response.headers_mut().append(SET_COOKIE, cookie);
                }
                response
            }
            Err(problem) => form_page(&problem, &parts.headers, "./", &to),
        }
    })
}

async fn read_form(headers: &HeaderMap, form: Body, patience: Duration) -> Result<(Shows, String), Problem> {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "wrong-type",
            "Unsupported media type",
            "this path takes what the form of the sign-in page sends",
            "programs POST JSON to /api/v1/session, or show a token in the header Authorization",
        ));
    }
    let form = body::read(form, MAX_FORM_BYTES, patience).await?;
    let field =
        |wanted: &str| form_urlencoded::parse(&form).find_map(|(name, value)| (name == wanted).then_some(value));
    let name = field("name").map(|name| name.trim().to_owned()).unwrap_or_default();
    // Scripts of people send a token by its own name.
    let secret = match field("token").filter(|token| !token.is_empty()) {
        Some(token) => Secret::new(token.trim()),
        // A password may begin and end as it likes; a token is copied.
        None if name.is_empty() => field("password").map_or_else(Secret::default, |token| Secret::new(token.trim())),
        None => field("password").map_or_else(Secret::default, |password| Secret::new(&*password)),
    };
    let to = field("to").filter(|to| is_place(to)).unwrap_or_default().into_owned();
    Ok((Shows { name, secret }, to))
}

/// `POST /sign-out`.
pub(super) fn sign_out(call: Call) -> Answer {
    Box::pin(async move {
        let Call {
            shared,
            peer,
            request,
            trail,
            ..
        } = call;
        let headers = request.into_parts().0.headers;
        if peer::is_from_another_site(&headers) {
            return Problem::another_site().into_response();
        }
        let mut response = see("./".to_owned());
        if let Some(cookie) = end(&shared, peer, &headers, &trail).await {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        response
    })
}

/// What the form says.
struct Words {
    lang: &'static str,
    title: &'static str,
    name: &'static str,
    password: &'static str,
    sign_in: &'static str,
    token: &'static str,
    /// In place of the server's own sentences.
    problems: &'static [(&'static str, &'static str)],
}

const ENGLISH: Words = Words {
    lang: "en",
    title: "Sign in",
    name: "Name",
    password: "Password",
    sign_in: "Sign in",
    token: "No account yet? Leave the name empty and give a token in place of the password: <code>sightline up</code> prints it in each URL, \
            behind <code>token=</code> or in front of the <code>@</code>. <code>sightline link</code> on the server gives a link that makes \
            the first account.",
    problems: &[(
        "credential-wrong",
        "The name or the password is wrong. Passwords tell capital letters from small ones.",
    )],
};
const VIETNAMESE: Words = Words {
    lang: "vi",
    title: "Đăng nhập",
    name: "Tên",
    password: "Mật khẩu",
    sign_in: "Đăng nhập",
    token: "Chưa có tài khoản? Để trống tên và nhập token thay cho mật khẩu: <code>sightline up</code> in token trong mỗi URL, \
            sau <code>token=</code> hoặc trước dấu <code>@</code>. Lệnh <code>sightline link</code> trên máy chủ cho một liên kết để tạo \
            tài khoản đầu tiên.",
    problems: &[
        (
            "credential-wrong",
            "Tên hoặc mật khẩu không đúng. Mật khẩu phân biệt chữ hoa và chữ thường.",
        ),
        ("too-many-guesses", "Sai quá nhiều lần. Hãy chờ một lát rồi thử lại."),
        (
            "too-many-logins",
            "Có quá nhiều người đang đăng nhập. Hãy thử lại sau vài giây.",
        ),
        (
            "forbidden",
            "Tài khoản này không được xem trang này. Hãy đăng nhập bằng tài khoản khác.",
        ),
        (
            "another-site",
            "Yêu cầu này đến từ một trang khác. Hãy mở lại trang này và đăng nhập.",
        ),
    ],
};

/// In the language that the browser likes best.
fn words(headers: &HeaderMap) -> &'static Words {
    let listed = headers.get(ACCEPT_LANGUAGE).and_then(|list| list.to_str().ok());
    let mut best = (0.0_f32, &ENGLISH);
    for wanted in listed.unwrap_or_default().split(',').take(MAX_LANGUAGES) {
        let (tag, rest) = wanted.split_once(';').unwrap_or((wanted, ""));
        let quality = rest.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse);
        let primary = tag.trim().split('-').next().unwrap_or_default();
        let known = [&ENGLISH, &VIETNAMESE]
            .into_iter()
            .find(|words| words.lang.eq_ignore_ascii_case(primary));
        // Of two that are liked the same the first.
        if let (Some(words), Ok(quality)) = (known, quality)
            && quality > best.0
        {
            best = (quality, words);
        }
    }
    best.1
}

/// A password has 128 characters at most, of four bytes that are percent-encoded at the worst.
const MAX_FORM_BYTES: usize = 4 << 10;
/// Of what a browser calls itself.
const MAX_AGENT_CHARS: usize = 256;
/// Languages that are looked at.
const MAX_LANGUAGES: usize = 16;
/// A wrong password is answered after so long at least: longer than its hash takes …
const LEAST_WRONG: Duration = Duration::from_millis(100);
/// … and never after longer, on however slow a machine.
const MOST_WRONG: Duration = Duration::from_secs(2);
const SIGN_IN: &str = include_str!("pages/sign_in.html");

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", "en")]
    #[case("vi", "vi")]
    #[case("vi-VN,vi;q=0.9,en;q=0.8", "vi")]
    #[case("en-GB,en;q=0.9,vi;q=0.8", "en")]
    #[case("fr,de;q=0.9", "en")]
    #[case("fr,vi;q=0.3,en;q=0.2", "vi")]
    #[case("vi;q=x,en", "en")]
    #[case("vi;q=0", "en")]
    fn languages(#[case] list: &'static str, #[case] expected: &str) {
        let headers = [(ACCEPT_LANGUAGE, HeaderValue::from_static(list))]
            .into_iter()
            .collect();
        assert_eq!(words(&headers).lang, expected);
    }
}
