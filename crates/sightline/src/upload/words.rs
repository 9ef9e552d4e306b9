//! The words of `.env` by which one camera is uploaded: `STORAGE_BACKEND`, `S3_BUCKET` and so on.
//!
//! Does not belong here: the words for the camera, which are those of a relay ([`crate::relay::words`]); the keys of S3 ([`crate::s3::Access`]); tables of the settings
//! file ([`super::plan`]).

use std::path::PathBuf;

use crate::config::Environment;
use crate::config::settings::Upload;
use crate::config::upload::UploadTarget;
use crate::relay::words::Words;

const BACKEND: &str = "STORAGE_BACKEND";
const BUCKET: &str = "S3_BUCKET";
const PREFIX: &str = "S3_PREFIX";
const FOLDER: &str = "OUTPUT_DIR";
const INTERVAL: &str = "INTERVAL";
const RETENTION: &str = "RETENTION";

/// What these words say of an upload; what they do not is as it is by default.
///
/// # Errors
/// All that is wrong, a line for each, with the word and where it stands.
pub fn upload(environment: &Environment) -> Result<Upload, Vec<String>> {
    let mut words = Words::new(environment);
    let mut upload = Upload::default();
    if words.name_a_camera() {
        upload.source = words.source();
    }
    upload.to = to(&mut words);
    if let Some(every) = words.read(INTERVAL) {
        upload.every = every;
    }
    if let Some(keep) = words.read(RETENTION) {
        upload.keep = keep;
    }
    if words.wrong.is_empty() {
        Ok(upload)
    } else {
        Err(words.wrong)
    }
}

/// Whether these words want an upload.
pub fn are_meant(environment: &Environment) -> bool {
    [BACKEND, BUCKET].iter().any(|name| environment.get(name).is_some())
}

/// Which word stands for a key of a table.
pub fn word_of(key: &str) -> &'static str {
    match key {
        "to" => BUCKET,
        "every" => INTERVAL,
        "keep" => RETENTION,
        _ => "CAMERA_IP",
    }
}

fn to(words: &mut Words<'_>) -> Option<UploadTarget> {
    let backend = words.get(BACKEND).map(str::to_ascii_lowercase);
    let is_s3 = match backend.as_deref() {
        Some("s3") => true,
        Some("local") => false,
        Some(other) => {
            words.refuse(BACKEND, format!("{other:?} is none; write s3 or local"));
            return None;
        }
        None => words.get(BUCKET).is_some(),
    };
    if !is_s3 {
        let folder = words.get(FOLDER).map(PathBuf::from);
        if folder.is_none() && backend.is_some() {
            words.refuse(FOLDER, "not set; write the folder where snapshots go");
        }
        return folder.filter(|_| backend.is_some()).map(UploadTarget::Folder);
    }
    let Some(bucket) = words.get(BUCKET) else {
        words.refuse(BUCKET, "not set; write the bucket where snapshots go");
        return None;
    };
    // Some write it as a URL.
    let bucket = bucket.strip_prefix("s3://").unwrap_or(bucket);
    let place = format!("s3://{bucket}/{}", words.get(PREFIX).unwrap_or_default());
    match place.parse() {
        Ok(place) => Some(place),
        Err(why) => {
            words.refuse(BUCKET, why);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Upload, Vec<String>> {
        upload(&Environment::of(variables.iter().copied()))
    }

    #[test]
    fn the_words_of_the_guide() {
        let upload = read(&[
            ("CAMERA_IP", "192.168.1.141"),
            ("CAMERA_USERNAME", "admin"),
            ("CAMERA_PASSWORD", "p@ss"),
            ("STORAGE_BACKEND", "S3"),
            ("S3_BUCKET", "my-bucket"),
            ("S3_PREFIX", "/cameras/ # comment"),
            ("INTERVAL", "60"),
            ("RETENTION", "30d"),
        ]);
        let upload = upload.unwrap();
        assert_eq!(upload.to.unwrap().to_string(), "s3://my-bucket/cameras");
        assert_eq!((upload.every.0.as_secs(), upload.keep.0.as_secs()), (60, 2_592_000));
        assert!(upload.source.is_some_and(|list| list.0.len() > 1));
        let local = read(&[("STORAGE_BACKEND", "local"), ("OUTPUT_DIR", "/srv")]).unwrap();
        assert_eq!(local.to, Some(UploadTarget::Folder("/srv".into())));
        assert_eq!(read(&[("OUTPUT_DIR", "/srv")]).unwrap().to, None, "that is a relay's");
        assert!(
            are_meant(&Environment::of([("S3_BUCKET", "x")])) && !are_meant(&Environment::of([("CAMERA_IP", "x")]))
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_the_word() {
        for (variables, begins) in [
            (&[("STORAGE_BACKEND", "ftp")][..], "STORAGE_BACKEND"),
            (&[("STORAGE_BACKEND", "s3")], "S3_BUCKET: not set"),
            (&[("STORAGE_BACKEND", "local")], "OUTPUT_DIR: not set"),
            (&[("S3_BUCKET", "a b")], "S3_BUCKET"),
            (&[("S3_BUCKET", "bucket"), ("INTERVAL", "soon")], "INTERVAL"),
            (
                &[("CAMERA_IP", "rtsp://u:pa55@x"), ("S3_BUCKET", "bucket")],
                "CAMERA_IP",
            ),
        ] {
            let wrong = read(variables).unwrap_err();
            assert!(
                wrong.len() == 1 && wrong[0].contains(begins) && !wrong[0].contains("pa55"),
                "{wrong:?}"
            );
        }
    }
}
