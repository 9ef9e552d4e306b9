//! How a bucket is reached: by `[s3]`, and by the variables that every program for S3 knows where that leaves something out.
//!
//! Keys are asked for by name; no file of another program is searched for them, and no service of a cloud is asked.

use std::fmt;
use std::path::Path;

use url::Url;

use crate::config::Environment;
use crate::config::settings;
use crate::relay::words::Words;
use crate::secret::{Secret, redacted_url};
use crate::trust::{Fingerprint, Trust};

/// Where S3 is, and who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// `None`: AWS.
    pub(super) endpoint: Option<Url>,
    pub(super) region: String,
    pub(super) key_id: String,
    pub(super) secret_key: Secret,
    pub(super) session_token: Option<Secret>,
    pub(super) virtual_hosted: bool,
    fingerprint: Option<Fingerprint>,
}

/// What is missing or wrong, a line for each, with the name of the setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct NoAccess(pub Vec<String>);

/// Where nothing is said. Servers other than AWS take any.
const REGION: &str = "us-east-1";
/// A secret and what an editor leaves behind it.
const MAX_SECRET_BYTES: u64 = 4 << 10;

impl Access {
    /// By the settings and the environment. Reads the file of the secret, where one is named.
    ///
    /// # Errors
    /// [`NoAccess`].
    pub fn of(s3: &settings::S3, environment: &Environment) -> Result<Self, NoAccess> {
        let words = Words::new(environment);
        let mut wrong = Vec::new();
        let endpoint = match (
            &s3.endpoint,
            first(&words, &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
        ) {
            (Some(text), _) => read_endpoint("s3.endpoint", text, &mut wrong),
            (None, Some((name, text))) => read_endpoint(&words.called(name), text, &mut wrong),
            (None, None) => None,
        };
        let region = s3.region.clone();
        let region = region.or_else(|| Some(first(&words, &["AWS_REGION", "AWS_DEFAULT_REGION"])?.1.to_owned()));
        let key_id = s3.access_key_id.clone();
        let is_own = key_id.is_some();
        let key_id = key_id.or_else(|| words.get("AWS_ACCESS_KEY_ID").map(str::to_owned));
        if key_id.is_none() {
            wrong.push("AWS_ACCESS_KEY_ID: not set; write the access key of S3 into .env or the environment, or s3.access_key_id into the settings".to_owned());
        }
        let secret_key = match (&s3.secret_access_key, &s3.secret_access_key_file) {
            (Some(secret), _) => Some(secret.clone()),
            (None, Some(file)) => match read_secret(file) {
                Ok(secret) => Some(secret),
                Err(why) => {
                    wrong.push(format!("s3.secret_access_key_file: {}: {why}", file.display()));
                    None
                }
            },
            (None, None) => {
                let secret = words.get("AWS_SECRET_ACCESS_KEY").map(Secret::new);
                if secret.is_none() {
                    wrong.push("AWS_SECRET_ACCESS_KEY: not set; write the secret key of S3 into .env or the environment, or the file that holds it as s3.secret_access_key_file into the settings".to_owned());
                }
                secret
            }
        };
        match (key_id, secret_key) {
            (Some(key_id), Some(secret_key)) if wrong.is_empty() => Ok(Self {
                endpoint,
                region: region.unwrap_or_else(|| REGION.to_owned()),
                key_id,
                secret_key,
                // It belongs to the key that stands beside it.
                session_token: words.get("AWS_SESSION_TOKEN").filter(|_| !is_own).map(Secret::new),
                virtual_hosted: s3.virtual_hosted,
                fingerprint: s3.fingerprint,
            }),
            _ => Err(NoAccess(wrong)),
        }
    }

    pub(super) fn trust(&self) -> Trust {
        self.fingerprint.map_or(Trust::System, Trust::Fingerprint)
    }
}

impl fmt::Debug for Access {
    // The key's name is nobody's business either.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.as_ref().map(|url| redacted_url(url.as_str()));
        f.debug_struct("Access")
            .field("endpoint", &endpoint)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

fn read_endpoint(called: &str, text: &str, wrong: &mut Vec<String>) -> Option<Url> {
    let url = Url::parse(text.trim()).ok();
    let url = url.filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
    });
    if url.is_none() {
        wrong.push(format!(
            "{called}: that is no URL of a server without a user in it; write it like https://s3.example.com or http://192.168.1.5:9000"
        ));
    }
    url
}

fn read_secret(file: &Path) -> Result<Secret, String> {
    let length = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if length > MAX_SECRET_BYTES {
        return Err(format!(
            "it is longer than {MAX_SECRET_BYTES} bytes, which is no secret key"
        ));
    }
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    text.trim().parse::<Secret>().map_err(|error| error.to_string())
}

fn first<'n, 'a>(words: &Words<'a>, names: &[&'n str]) -> Option<(&'n str, &'a str)> {
    names.iter().find_map(|name| Some((*name, words.get(name)?)))
}
