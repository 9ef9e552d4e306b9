//! The certificates of MediaMTX's file.
//!
//! Belongs here: what the pairs of files, one for each protocol there, come to with the one that we show everywhere. As there, a pair that no
//! protocol uses is not looked at.

use super::{Given, Translator};

/// Protocols that may encrypt, and what their files are called without a word in the file.
const PROTOCOLS: [&str; 5] = ["rtsp", "hls", "webrtc", "api", "metrics"];
const USUAL: [&str; 2] = ["server.crt", "server.key"];

impl Translator<'_> {
    pub(super) fn certificates(&mut self, all: &[Given]) {
        let last = |name: String| {
            all.iter()
                .rev()
                .find(|given| given.name == name && !given.value.is_null())
        };
        let mut first: Option<[String; 2]> = None;
        for protocol in PROTOCOLS {
            let encryption = last(format!("{protocol}Encryption"));
            // `optional` and `strict` of RTSP, `yes` of the others.
            let Some(encryption) = encryption.filter(|given| {
                let word = given.value.word();
                given.value.truth() == Some(true) || matches!(word, Some("optional" | "strict"))
            }) else {
                continue;
            };
            let given = ["Cert", "Key"].map(|what| last(format!("{protocol}Server{what}")));
            let place = given
                .iter()
                .flatten()
                .next()
                .map_or(encryption.place, |given| given.place);
            let [certificate, key] = &given;
            let path = |given: &Option<&Given>, usual: &str| {
                let word = given.and_then(|given| given.value.word());
                word.filter(|word| !word.is_empty()).unwrap_or(usual).to_owned()
            };
            let files = [path(certificate, USUAL[0]), path(key, USUAL[1])];
            match &first {
                None => {
                    for (key, file) in ["certificate", "key"].into_iter().zip(&files) {
                        self.set(&["tls", key], toml::Value::String(file.clone()), place);
                    }
                    first = Some(files);
                }
                Some(first) if *first != files => {
                    let [file, _] = &files;
                    let what = format!(
                        "{file} is not honoured: HTTPS and RTSPS share one certificate here, and {} comes first",
                        first[0]
                    );
                    self.note(place, &format!("{protocol}ServerCert"), &what);
                }
                Some(_) => {}
            }
        }
    }
}
