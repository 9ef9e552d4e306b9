//! A text as a QR code, for pages that show an address to a telephone: the page draws it and needs no library for it, and no secret goes through a URL.

use axum_core::response::{IntoResponse as _, Response};
use http::StatusCode;
use qrcode::{Color, EcLevel, QrCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::body;
use crate::http::openapi::{Content, Operation};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call, Seen};

/// Longest text. A code of it has 105 modules a side, about as many as telephones read from a screen.
const MAX_TEXT_BYTES: usize = 512;
/// Longest body: each byte of the text may be written in six.
const MAX_BYTES: usize = 6 * MAX_TEXT_BYTES + 64;

pub(super) const QR: Operation = Operation {
    body: Some(Content::json::<Text>()),
    problems: &[400, 408, 413, 415],
    ..Operation::reads::<Code>("A text as a QR code")
};

/// What the code is of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "QrText")]
struct Text {
    /// 1 to 512 bytes.
    text: String,
}

/// A QR code (ISO/IEC 18004) that can still be read with 15 % of it damaged, without the quiet zone of four modules around it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "QrCode")]
struct Code {
    /// From the top: `1` for a dark module, `0` for a light one.
    rows: Vec<String>,
}

/// `POST /api/v1/qr`.
pub(super) fn qr(call: Call, _: Caller, _: Seen) -> Answer {
    Box::pin(async move {
        let patience = call.shared.settings.patience.body;
        let (parts, bytes) = call.request.into_parts();
        let taken = (body::JSON, "a text");
        match body::json(&parts.headers, bytes, taken, MAX_BYTES, patience).await {
            Ok(bytes) => answer(&bytes),
            Err(problem) => problem.into_response(),
        }
    })
}

fn answer(bytes: &[u8]) -> Response {
    let text = match serde_json::from_slice::<Text>(bytes) {
        Ok(Text { text }) if (1..=MAX_TEXT_BYTES).contains(&text.len()) => text,
        Ok(Text { text }) => return refused(format!("it has {} bytes", text.len())),
        Err(error) => return refused(error.to_string()),
    };
    match QrCode::with_error_correction_level(&text, EcLevel::M) {
        Ok(code) => json(&Code { rows: rows(&code) }),
        Err(error) => refused(error.to_string()),
    }
}

fn rows(code: &QrCode) -> Vec<String> {
    let bit = |color: &Color| if *color == Color::Dark { '1' } else { '0' };
    let colors = code.to_colors();
    colors
        .chunks(code.width())
        .map(|row| row.iter().map(bit).collect())
        .collect()
}

fn refused(why: String) -> Response {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "bad-text",
        "Not a text for a QR code",
        why,
        "send an object such as {\"text\":\"rtsp://10.0.0.2:8554/door\"}, of 1 to 512 bytes",
    )
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn is_a_square_with_its_three_corners() {
        let code = QrCode::with_error_correction_level("rtsp://10.0.0.2:8554/door", EcLevel::M).unwrap();
        let rows = rows(&code);
        assert!(rows.iter().all(|row| row.len() == rows.len()), "{rows:?}");
        for (from, row) in [(0, &rows[0]), (rows.len() - 7, &rows[0]), (0, &rows[rows.len() - 1])] {
            assert_eq!(&row[from..from + 7], "1111111", "{rows:?}");
        }
    }

    #[rstest]
    #[case(format!(r#"{{"text":"{}"}}"#, "x".repeat(MAX_TEXT_BYTES)), 200)]
    #[case(format!(r#"{{"text":"{}"}}"#, "x".repeat(MAX_TEXT_BYTES + 1)), 400)]
    #[case(r#"{"text":""}"#.to_owned(), 400)]
    #[case(r#"{"text":5}"#.to_owned(), 400)]
    #[case(r#"{"text":"a","size":9}"#.to_owned(), 400)]
    #[case("a".to_owned(), 400)]
    fn takes_texts_up_to_its_limit(#[case] body: String, #[case] status: u16) {
        assert_eq!(answer(body.as_bytes()).status(), status);
    }

    /// The body may be as long as the longest text needs, however it is written.
    #[test]
    fn the_longest_text_fits_the_body() {
        let escaped = "\\u0001".repeat(MAX_TEXT_BYTES);
        let body = format!(r#"{{"text":"{escaped}"}}"#);
        assert!(body.len() <= MAX_BYTES);
        assert_eq!(answer(body.as_bytes()).status(), 200);
    }
}
