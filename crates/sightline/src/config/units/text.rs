//! How the file, the environment and the schema hold settings that are written as text: one list of all of them. What each text means
//! is with its type.

use std::fmt;
use std::str::FromStr;

use super::{Address, Bitrate, Bytes, Field, Fps, Name, Size, Source, Span, StreamUrl, Switch};
use crate::auth::authority::Permission;
use crate::auth::{GroupRole, Network, Password, Replay, Role, Streams};
use crate::config::authority::{Directory, Domain};
use crate::config::destination::ForwardUrl;
use crate::config::elsewhere::AskedUrl;
use crate::config::hook::Hook;
use crate::config::motion;
use crate::config::record::FreeSpace;
use crate::config::seconds::{Seconds, SegmentTime};
use crate::config::settings::AuthMethod;
use crate::config::socket_url::SocketUrl;
use crate::config::stream_key::StreamKey;
use crate::config::stream_source::StreamSource;
use crate::config::upload::{S3Place, UploadTarget};
use crate::config::url_template::RtspUrl;
use crate::config::webhook::{EventWord, HookUrl, SigningSecret};
use crate::http::forwarded::Prefix;
use crate::log::Levels;
use crate::record::trigger::{Mode, Times};
use crate::rtsp::client::Fingerprint;
use crate::secret::Secret;

/// Makes types with `FromStr` and `Display` settings that are written as text, or also as the TOML types listed.
macro_rules! text_settings {
    ($($type:ty as $name:literal [$($json:literal),*] $expects:literal;)*) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Word {
                    expects: $expects,
                    kinds: &[$($json),*],
                    value: std::marker::PhantomData::<Self>,
                })
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": ["string" $(, $json)*], "format": $name })
            }
        }
    )*};
}

text_settings! {
    Span as "time span" [] "a time span such as \"5s\"";
    Seconds as "time in seconds" ["number"] "a time in seconds such as 60";
    SegmentTime as "length of a segment in seconds" ["number"] "a length in seconds such as 60";
    Bitrate as "bitrate" ["number"] "a bitrate such as \"800k\"";
    Bytes as "amount of bytes" [] "an amount of bytes such as \"16MiB\"";
    Size as "size" [] "a size such as \"640x480\"";
    Fps as "frame rate" ["number"] "a frame rate such as 30";
    Source as "source" [] "a source such as \"test\"";
    Name as "stream name" [] "a stream name such as \"zerolatency\"";
    Address as "address" [] "an IP address such as \"192.168.1.5\"";
    Network as "network" [] "a network such as \"192.168.1.0/24\"";
    Field as "header field" [] "the name of a header field such as \"X-Forwarded-User\"";
    Prefix as "path" [] "a path such as \"/cams\"";
    GroupRole as "group and role" [] "a group and its role such as \"camera-admins = admin\"";
    Switch as "switch" ["boolean"] "\"auto\", \"on\" or \"off\"";
    Levels as "log level" [] "a log level such as \"info\"";
    StreamUrl as "URL" [] "a URL such as \"rtsp://host:8554/zerolatency\"";
    StreamSource as "source of a stream" [] "a source such as \"rtsp://10.0.0.4/h264\"";
    ForwardUrl as "URL to send to" [] "a URL such as \"rtsp://10.0.0.5:8554/garden\"";
    RtspUrl as "stream URL" [] "a URL such as \"rtsp://10.0.0.4/h264\"";
    Fingerprint as "fingerprint" [] "the SHA-256 of a certificate, 64 hexadecimal digits";
    StreamKey as "stream name or expression" [] "a stream name such as \"zerolatency\"";
    SocketUrl as "socket URL" [] "a URL such as \"ws://host:8000/ws/camera/\"";
    Domain as "domain" [] "a name such as \"cam.example.org\"";
    Directory as "URL of an authority" [] "a URL such as \"https://ca.example/acme/acme/directory\"";
    Hook as "command" [] "a program and its arguments such as \"logger hello\"";
    Secret as "secret" [] "a text in quotes";
    SigningSecret as "secret" [] "a secret such as \"whsec_…\"";
    Password as "secret" [] "a text in quotes";
    Role as "role" [] "\"admin\", \"operator\", \"publisher\" or \"viewer\"";
    Replay as "whom recordings are free to" [] "\"open\", \"trusted\" or \"accounts\"";
    Streams as "stream" [] "a name, an expression, or \"*\" for all";
    AuthMethod as "who decides" [] "\"own\", \"jwt\" or \"http\"";
    AskedUrl as "URL of a web server" [] "a URL such as \"https://example.com/auth\"";
    Permission as "permission" [] "an action such as \"read\", or \"read door\"";
    HookUrl as "webhook URL" [] "a URL such as \"https://example.com/hooks/camera\"";
    Mode as "mode of recording" [] "a mode of recording such as \"continuous\"";
    Times as "time of the week" [] "times of the week such as \"mon-fri 08:00-18:00\"";
    motion::Mode as "mode of motion" [] "a mode of motion such as \"full\"";
    motion::Share as "part of a picture" [] "a part of a picture such as \"0.2%\"";
    FreeSpace as "part of a disk" [] "a part of the disk such as \"5%\"";
    UploadTarget as "place for uploads" [] "a place such as \"s3://bucket/prefix\" or a folder";
    S3Place as "place in S3" [] "a place such as \"s3://bucket/prefix\"";
    EventWord as "event" [] "a kind of event such as \"stream.available\"";
}

/// Reads a [`FromStr`] type from text and from the other JSON types in `kinds`.
struct Word<T> {
    expects: &'static str,
    kinds: &'static [&'static str],
    value: std::marker::PhantomData<T>,
}

impl<T: FromStr<Err: fmt::Display>> Word<T> {
    fn read<E: serde::de::Error>(self, kind: &str, text: &str, found: serde::de::Unexpected<'_>) -> Result<T, E> {
        if !self.kinds.contains(&kind) {
            return Err(E::invalid_type(found, &self));
        }
        text.parse().map_err(E::custom)
    }
}

impl<T: FromStr<Err: fmt::Display>> serde::de::Visitor<'_> for Word<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expects)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        self.read("number", &number.to_string(), serde::de::Unexpected::Signed(number))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        self.read("number", &number.to_string(), serde::de::Unexpected::Float(number))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<T, E> {
        self.read("boolean", &value.to_string(), serde::de::Unexpected::Bool(value))
    }
}
