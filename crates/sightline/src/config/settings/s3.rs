//! Where S3 is, and who asks there.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rtsp::client::Fingerprint;
use crate::secret::Secret;

/// Where S3 is, for uploads and the archive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct S3 {
    /// A server that speaks as S3 does (MinIO, Ceph, R2, B2), such as "https://minio.example:9000". Left out: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else AWS. Not
    /// changed by HTTP.
    #[schemars(example = &"https://minio.example:9000")]
    pub endpoint: Option<String>,
    /// Its region. Left out: AWS_REGION, AWS_DEFAULT_REGION, else us-east-1.
    #[schemars(example = &"eu-central-1")]
    pub region: Option<String>,
    /// The access key. Left out: AWS_ACCESS_KEY_ID.
    #[schemars(example = &"AKIAIOSFODNN7EXAMPLE")]
    pub access_key_id: Option<String>,
    /// The secret key. Left out, with its file too: AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN where there is one.
    #[schemars(example = &"a-long-secret")]
    pub secret_access_key: Option<Secret>,
    /// The file that holds it instead, read at the start. Not changed by HTTP.
    #[schemars(example = &"/etc/sightline/s3-secret")]
    pub secret_access_key_file: Option<PathBuf>,
    /// Name the bucket in the host (https://BUCKET.s3.REGION.amazonaws.com/) and not in the path, which all servers understand. An endpoint has the bucket in it then.
    pub virtual_hosted: bool,
    /// The SHA-256 of the certificate that a server with https:// shows, where nobody vouches for it.
    #[schemars(example = &"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
    pub fingerprint: Option<Fingerprint>,
}
