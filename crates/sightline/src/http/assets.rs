//! The files of the built page (`web/dist`), which the program carries.
//!
//! Belongs here: what they are and how they are sent. Does not belong here: how they are built (`build.rs`, `web/vite.config.ts`).

use std::borrow::Cow;

use axum_core::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue};

use super::problem::Problem;
use super::routes::{Answer, Call, Route, Target, Verb};

pub(super) const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/assets/{file}",
    target: Target::Public {
        why: "scripts and styles of the pages, which say nothing of any stream",
        handler: asset,
    },
    about: None,
}];

#[derive(rust_embed::Embed)]
#[folder = "../../web/dist/"]
struct Built;

/// The page, with places left for what differs from request to request.
pub(super) fn page() -> String {
    let page = read("index.html").unwrap_or_default();
    String::from_utf8_lossy(&page).into_owned()
}

/// Where the icon of all our pages is, from `/` on.
pub(super) fn icon() -> String {
    let is_icon = |name: &str| name.starts_with("assets/icon-") && name.ends_with(".svg");
    let found = Built::iter().find(|name| is_icon(name));
    found.map_or_else(String::new, Cow::into_owned)
}

fn asset(call: Call) -> Answer {
    Box::pin(async move { send(call.params.get("file"), call.request.headers()) })
}

/// Names hold a hash of what is in them, so that what is at a name never changes.
fn send(file: &str, headers: &HeaderMap) -> Response {
    let compressed = ["br", "gz"].iter().any(|end| file.ends_with(&format!(".{end}")));
    let Some(kind) = content_type(file).filter(|_| !compressed) else {
        return Problem::no_such_path().into_response();
    };
    let taken = ENCODINGS.iter().filter(|(name, _)| takes(headers, name));
    let encoded = taken
        .filter_map(|(name, end)| Some((*name, read(&format!("assets/{file}.{end}"))?)))
        .next();
    let (encoding, body) = match encoded {
        Some((name, body)) => (Some(name), Some(body)),
        None => (None, read(&format!("assets/{file}"))),
    };
    let Some(body) = body else {
        return Problem::no_such_path().into_response();
    };
    let mut response = (
        [
            (CONTENT_TYPE, HeaderValue::from_static(kind)),
            (
                CACHE_CONTROL,
                HeaderValue::from_static("public, max-age=31536000, immutable"),
            ),
            (VARY, HeaderValue::from_static("Accept-Encoding")),
        ],
        body,
    )
        .into_response();
    if let Some(name) = encoding {
        let name = HeaderValue::from_static(name);
        response.headers_mut().insert(CONTENT_ENCODING, name);
    }
    response
}

fn read(path: &str) -> Option<Bytes> {
    Some(match Built::get(path)?.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    })
}

/// Whether the client takes this encoding (RFC 9110 §12.5.3).
fn takes(headers: &HeaderMap, encoding: &str) -> bool {
    let lists = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        let refused = parts.any(|weight| {
            let weight = weight.strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
            weight == Some(0.0)
        });
        named && !refused
    })
}

fn content_type(file: &str) -> Option<&'static str> {
    let (_, end) = file.rsplit_once('.')?;
    Some(match end {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webmanifest" => "application/manifest+json",
        _ => return None,
    })
}

/// As they are called in headers and at the end of file names, the smallest first.
const ENCODINGS: [(&str, &str); 2] = [("br", "br"), ("gzip", "gz")];

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use rstest::rstest;

    #[rstest]
    #[case("gzip, deflate, br, zstd", "br", true)]
    #[case("gzip, deflate", "br", false)]
    #[case("GZIP;q=0.5", "gzip", true)]
    #[case("gzip;q=0, br;q=0.000", "gzip", false)]
    #[case("gzip;q=0, br;q=0.000", "br", false)]
    #[case("", "gzip", false)]
    fn what_a_client_takes(#[case] value: &'static str, #[case] encoding: &str, #[case] expected: bool) {
        let headers = [(ACCEPT_ENCODING, HeaderValue::from_static(value))]
            .into_iter()
            .collect();
        assert_eq!(takes(&headers, encoding), expected);
    }

    /// The file of this kind that the page names, such as `shell-` and `.js`; small parts beside those are sent as they are.
    fn named_in_page(begin: &str, end: &str) -> String {
        let page = page();
        let names = page.split("assets/").filter_map(|rest| rest.split_once('"'));
        let mut names = names.filter(|(name, _)| name.starts_with(begin) && name.ends_with(end));
        names.next().unwrap().0.to_owned()
    }

    #[rstest]
    #[case(".js", "text/javascript; charset=utf-8")]
    #[case(".css", "text/css; charset=utf-8")]
    fn what_the_page_names_is_there_in_every_encoding(#[case] end: &str, #[case] kind: &str) {
        let file = named_in_page("shell-", end);
        let mut sizes = Vec::new();
        for accepted in ["", "gzip", "br, gzip"] {
            let headers = [(ACCEPT_ENCODING, HeaderValue::from_static(accepted))]
                .into_iter()
                .collect();
            let response = send(&file, &headers);
            assert_eq!(
                (response.status(), &response.headers()[CONTENT_TYPE]),
                (StatusCode::OK, &HeaderValue::from_str(kind).unwrap())
            );
            assert!(
                response.headers()[CACHE_CONTROL]
                    .to_str()
                    .unwrap()
                    .contains("immutable")
            );
            let encoding = response
                .headers()
                .get(CONTENT_ENCODING)
                .map(|value| value.to_str().unwrap());
            assert_eq!(encoding, [None, Some("gzip"), Some("br")][sizes.len()]);
            sizes.push(hyper::body::Body::size_hint(response.body()).exact().unwrap());
        }
        assert!(sizes[0] > sizes[1] && sizes[1] > sizes[2], "{sizes:?}");
    }

    /// Browsers offer to install what names a manifest with an icon of 192 pixels and one of 512.
    #[test]
    fn the_page_can_be_installed() {
        let send = |file: &str| {
            let response = send(file, &HeaderMap::new());
            assert_eq!(response.status(), StatusCode::OK, "{file}");
            response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned()
        };
        let file = named_in_page("app-", ".webmanifest");
        assert_eq!(send(&file), "application/manifest+json");
        let manifest: serde_json::Value = serde_json::from_slice(&read(&format!("assets/{file}")).unwrap()).unwrap();
        // From the manifest's own place to where the dashboard is, whatever a proxy puts in front.
        assert_eq!(
            (&manifest["start_url"], &manifest["scope"]),
            (&"../".into(), &"../".into())
        );
        for size in ["192x192", "512x512"] {
            let icons = manifest["icons"].as_array().unwrap();
            let icon = icons.iter().find(|icon| icon["sizes"] == size).unwrap();
            assert_eq!(send(icon["src"].as_str().unwrap()), "image/png");
        }
    }

    #[rstest]
    #[case("index-00000000.js")]
    #[case("index.html")]
    #[case("../index.html")]
    #[case(".built-from")]
    #[case("")]
    fn nothing_else_is_sent(#[case] file: &str) {
        assert_eq!(send(file, &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
        let compressed = format!("{}.gz", named_in_page("index-", ".js"));
        assert_eq!(send(&compressed, &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
    }

    /// The policy of our pages allows nothing that stands in them, and nothing from elsewhere.
    #[test]
    fn the_page_keeps_to_its_policy() {
        let page = page();
        assert!(page.contains("{config}") && page.contains("{title}"), "{page}");
        assert!(
            !page.contains("style=") && !page.contains("<style") && !page.contains("://\""),
            "{page}"
        );
        let inline = page
            .split("<script")
            .skip(1)
            .filter(|script| !script.contains("src=\""));
        assert!(
            inline
                .clone()
                .all(|script| script.contains("type=\"application/json\"")),
            "{page}"
        );
    }
}
