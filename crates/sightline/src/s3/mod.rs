//! S3: objects in a bucket, of AWS or of a server that speaks as it does.
//!
//! Belongs here: how a bucket is reached ([`access`]), what is asked of it ([`Bucket`]), what went wrong with it in words ([`Failed`]). Does not belong here: what is
//! put there and when ([`crate::upload`], [`crate::record::archive`]), when it is tried again (their policy).
//!
//! `object_store` signs requests and reads answers; it asks by our own client of HTTP ([`asking`]), so the same addresses, limits and certificates hold as
//! everywhere. It tries nothing again by itself: who asks knows what else waits.

mod access;
mod asking;
mod pace;
#[cfg(test)]
mod tests;

use std::error::Error as _;
use std::num::NonZeroU64;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use object_store::{
    Attribute, AttributeValue, Attributes, GetOptions, ObjectStore as _, ObjectStoreExt as _, PutMultipartOptions,
    PutOptions, PutPayload, RetryConfig,
};

pub use access::{Access, NoAccess};
use asking::{Connector, Refused};
pub use pace::Pace;

use crate::fetch::FetchError;

/// A bucket, and who asks for what is in it.
pub struct Bucket {
    store: AmazonS3,
    name: String,
}

/// Why something was not done. The text names the peer's fault, and no credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Failed {
    /// What kind of fault it is, by which it is tried again.
    pub kind: Kind,
    /// For people.
    pub detail: String,
}

/// By whose doing it may go another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By itself: the network, a server that is busy.
    Passing,
    /// A person has to change something: credentials, rights, the name of the bucket.
    Lasting,
    /// What is asked for is not there.
    Missing,
    /// What is asked for is there, and cannot be taken as it is: it is packed, in a class of storage from which it has to be brought back first, or longer than what was asked for.
    Unfit,
}

/// An object that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its whole name.
    pub key: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// What the server says of its contents.
    pub etag: Option<String>,
}

/// What is kept beside the bytes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// What kind of file it is.
    pub content_type: &'static str,
    /// A name, of small letters and hyphens, and what stands under it: printable ASCII, 2 KB with the name at the most.
    pub told: Option<(&'static str, String)>,
}

impl About {
    /// Its kind alone.
    pub fn kind(content_type: &'static str) -> Self {
        Self {
            content_type,
            told: None,
        }
    }

    fn attributes(self) -> Attributes {
        let kind = (Attribute::ContentType, AttributeValue::from(self.content_type));
        let told = self
            .told
            .map(|(name, text)| (Attribute::Metadata(name.into()), AttributeValue::from(text)));
        [kind].into_iter().chain(told).collect()
    }
}

/// A part that the server has: what it called it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part(pub String);

/// The least length of a part but the last, in bytes, by the rules of S3.
pub const LEAST_PART_BYTES: usize = 5 << 20;

impl Bucket {
    /// Opens nothing: the first question does. `bytes_per_second`: how fast is sent at the most.
    ///
    /// # Errors
    /// What is set cannot be used.
    pub fn new(access: &Access, bucket: &str, bytes_per_second: Option<NonZeroU64>) -> Result<Self, Failed> {
        let connector = Connector::new(access.trust(), bytes_per_second);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&access.region)
            .with_access_key_id(&access.key_id)
            .with_secret_access_key(access.secret_key.expose())
            .with_virtual_hosted_style_request(access.virtual_hosted)
            .with_disable_bulk_delete(true)
            .with_http_connector(connector)
            .with_retry(RetryConfig {
                max_retries: 0,
                retry_timeout: Duration::ZERO,
                ..RetryConfig::default()
            });
        if let Some(token) = &access.session_token {
            builder = builder.with_token(token.expose());
        }
        if let Some(endpoint) = &access.endpoint {
            builder = builder
                .with_endpoint(endpoint.as_str().trim_end_matches('/'))
                .with_allow_http(endpoint.scheme() == "http");
        }
        let store = builder.build().map_err(|error| Failed {
            kind: Kind::Lasting,
            detail: format!("the bucket {bucket} cannot be used: {error}"),
        })?;
        Ok(Self {
            store,
            name: bucket.to_owned(),
        })
    }

    /// Puts an object, in place of what has the name.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn put(&self, key: &str, bytes: Bytes, about: About) -> Result<(), Failed> {
        let options = PutOptions {
            attributes: about.attributes(),
            ..PutOptions::default()
        };
        let put = self.store.put_opts(&self.path(key)?, bytes.into(), options).await;
        put.map(|_| ()).map_err(|error| self.failed(&error))
    }

    /// What is said of an object; `None`: it is not there.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn head(&self, key: &str) -> Result<Option<Object>, Failed> {
        match self.store.head(&self.path(key)?).await {
            Ok(meta) => Ok(Some(Object {
                key: meta.location.to_string(),
                bytes: meta.size,
                etag: meta.e_tag,
            })),
            Err(error) => match self.failed(&error) {
                Failed {
                    kind: Kind::Missing, ..
                } => Ok(None),
                failed => Err(failed),
            },
        }
    }

    /// The objects in a folder, and in those below it, each handed to `visit`.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn list(&self, folder: &str, mut visit: impl FnMut(Object)) -> Result<(), Failed> {
        let mut listed = self.store.list(Some(&self.path(folder)?));
        while let Some(meta) = listed.try_next().await.map_err(|error| self.failed(&error))? {
            visit(Object {
                key: meta.location.to_string(),
                bytes: meta.size,
                etag: meta.e_tag,
            });
        }
        Ok(())
    }

    /// Up to so many objects in a folder, and in those below it: those whose names are greater than this one. In the order of their names, but for those that end with a slash, which they
    /// lose.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn page(&self, folder: &str, behind: Option<&str>, limit: usize) -> Result<Vec<Object>, Failed> {
        let folder = match folder.is_empty() {
            true => None,
            false => Some(self.path(folder)?),
        };
        let listed = match behind {
            Some(behind) => self.store.list_with_offset(folder.as_ref(), &self.path(behind)?),
            None => self.store.list(folder.as_ref()),
        };
        // A server may tell all again, and what a name lost at its end makes it smaller than what it was asked for.
        let is_behind = |meta: &object_store::ObjectMeta| behind.is_none_or(|behind| meta.location.as_ref() > behind);
        let listed: Vec<_> = listed
            .try_filter(|meta| std::future::ready(is_behind(meta)))
            .take(limit)
            .try_collect()
            .await
            .map_err(|error| self.failed(&error))?;
        let object = |meta: object_store::ObjectMeta| Object {
            key: meta.location.to_string(),
            bytes: meta.size,
            etag: meta.e_tag,
        };
        Ok(listed.into_iter().map(object).collect())
    }

    /// Reads a range of an object: fewer bytes where it ends before.
    ///
    /// # Errors
    /// [`Failed`]; [`Kind::Missing`]: there is no such object.
    pub async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, Failed> {
        let read = self.store.get_range(&self.path(key)?, range).await;
        read.map_err(|error| self.failed(&error))
    }

    /// The same, with what stands beside it under this name ([`About::told`]).
    ///
    /// # Errors
    /// [`Failed`]; [`Kind::Missing`]: there is no such object.
    pub async fn read_with(
        &self,
        key: &str,
        range: Range<u64>,
        name: &'static str,
    ) -> Result<(Bytes, Option<String>), Failed> {
        let options = GetOptions::new().with_range(Some(range));
        let got = self.store.get_opts(&self.path(key)?, options).await;
        let got = got.map_err(|error| self.failed(&error))?;
        let told = got.attributes.get(&Attribute::Metadata(name.into()));
        let told = told.map(|told| told.as_ref().to_owned());
        let bytes = got.bytes().await.map_err(|error| self.failed(&error))?;
        Ok((bytes, told))
    }

    /// Deletes an object. One that is not there is deleted.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn delete(&self, key: &str) -> Result<(), Failed> {
        let deleted = self.store.delete(&self.path(key)?).await;
        match deleted.map_err(|error| self.failed(&error)) {
            Err(Failed {
                kind: Kind::Missing, ..
            }) => Ok(()),
            done => done,
        }
    }

    /// Begins an object that is sent in parts. Gives the number by which the server knows it.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn begin(&self, key: &str, about: About) -> Result<String, Failed> {
        let options = PutMultipartOptions {
            attributes: about.attributes(),
            ..PutMultipartOptions::default()
        };
        let begun = self.store.create_multipart_opts(&self.path(key)?, options).await;
        begun.map_err(|error| self.failed(&error))
    }

    /// Sends a part, in place of what the server has of this number; from 0.
    ///
    /// # Errors
    /// [`Failed`]; [`Kind::Missing`]: the server does not know this upload any more.
    pub async fn part(&self, key: &str, upload: &str, number: usize, bytes: Bytes) -> Result<Part, Failed> {
        let payload = PutPayload::from(bytes);
        let put = self
            .store
            .put_part(&self.path(key)?, &upload.to_owned(), number, payload)
            .await;
        put.map(|part| Part(part.content_id))
            .map_err(|error| self.failed(&error))
    }

    /// Makes an object of its parts, in this order.
    ///
    /// # Errors
    /// [`Failed`]; [`Kind::Missing`]: the server does not know this upload any more.
    pub async fn complete(&self, key: &str, upload: &str, parts: &[Part]) -> Result<Option<String>, Failed> {
        let parts = parts.iter().map(|part| PartId {
            content_id: part.0.clone(),
        });
        let completed = self
            .store
            .complete_multipart(&self.path(key)?, &upload.to_owned(), parts.collect())
            .await;
        completed.map(|put| put.e_tag).map_err(|error| self.failed(&error))
    }

    /// Has the server forget the parts of an upload.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn abort(&self, key: &str, upload: &str) -> Result<(), Failed> {
        let aborted = self.store.abort_multipart(&self.path(key)?, &upload.to_owned()).await;
        match aborted.map_err(|error| self.failed(&error)) {
            Err(Failed {
                kind: Kind::Missing, ..
            }) => Ok(()),
            done => done,
        }
    }

    fn path(&self, key: &str) -> Result<Path, Failed> {
        Path::parse(key).map_err(|error| Failed {
            kind: Kind::Lasting,
            detail: format!("{key:?} cannot be the name of an object: {error}"),
        })
    }

    /// In words: what our client met, or what the server answered.
    fn failed(&self, error: &object_store::Error) -> Failed {
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(refused) = error.downcast_ref::<Refused>() {
                return refused.in_words(&self.name);
            }
            if let Some(error) = error.downcast_ref::<FetchError>() {
                return Failed {
                    kind: kind_of(error),
                    detail: error.to_string(),
                };
            }
            cause = error.source();
        }
        if let object_store::Error::InvalidPath { source } = error {
            return Failed {
                kind: Kind::Lasting,
                detail: format!(
                    "the list of the bucket {} ends at a name that no object of ours has: {}; give that object another name, or remove it",
                    self.name,
                    short(&source.to_string())
                ),
            };
        }
        Failed {
            kind: Kind::Passing,
            detail: format!("S3 does not answer as it should: {}", short(&error.to_string())),
        }
    }
}

fn kind_of(error: &FetchError) -> Kind {
    match error {
        FetchError::Certificate { .. } | FetchError::Url(_) => Kind::Lasting,
        FetchError::Encoding { .. } | FetchError::TooLarge { .. } => Kind::Unfit,
        _ => Kind::Passing,
    }
}

/// What a peer says, as far as it is worth a line.
fn short(text: &str) -> String {
    let line: String = text.chars().take(300).collect();
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
