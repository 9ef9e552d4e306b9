//! What went wrong with a source: the one table of causes, with the way out of each.
//!
//! Belongs here: causes, their words, which error of which protocol is which of them. Does not belong here: what is done about them ([`super::machine`]),
//! where they are shown (`http`, the page, which has the same codes in its own words).

use std::io;
use std::sync::Arc;

use protocol::rtsp::client::Error as Refused;

use super::Trouble;
use crate::fetch::FetchError;
use crate::rtsp::client::Error as RtspError;
use crate::state::credentials::NotGiven;
use crate::trust::Fingerprint;

/// What went wrong with a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// In a word.
    pub trouble: Trouble,
    /// More exactly, where that is known.
    pub cause: Cause,
    /// For whoever runs the server: names hosts, but no credentials.
    pub detail: Arc<str>,
    /// Of the certificate that is shown and not believed.
    pub fingerprint: Option<Fingerprint>,
}

impl Why {
    pub(crate) fn new(trouble: Trouble, detail: impl Into<Arc<str>>) -> Self {
        Self {
            trouble,
            cause: Cause::of(trouble),
            detail: detail.into(),
            fingerprint: None,
        }
    }

    /// Nobody was asked, since the login that is set is not for them.
    pub(crate) fn withheld(not_given: &NotGiven) -> Self {
        let cause = match not_given {
            NotGiven::Unknown(_) => Cause::CredentialUnknown,
            NotGiven::Elsewhere { .. } => Cause::CredentialElsewhere,
        };
        Self::new(Trouble::Credential, not_given.to_string()).because(cause)
    }

    /// More exactly.
    pub(super) fn because(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// As an error of HTTP says it.
    pub(super) fn of_fetch(mut self, error: &FetchError) -> Self {
        self.cause = match error {
            FetchError::Resolve { .. } => Cause::NameUnknown,
            FetchError::Connect { error, .. } => of_connecting(error),
            FetchError::Slow { .. } => Cause::Silent,
            FetchError::Tls { .. } => Cause::NoTls,
            FetchError::Http { .. } => Cause::NotRtsp,
            FetchError::Certificate { fingerprint, .. } => {
                self.fingerprint = Some(*fingerprint);
                Cause::Certificate
            }
            _ => return self,
        };
        self
    }

    /// As an error of RTSP says it.
    pub(super) fn of_rtsp(mut self, error: &RtspError) -> Self {
        self.cause = match error {
            RtspError::Resolve { .. } => Cause::NameUnknown,
            RtspError::Connect { error, .. } => of_connecting(error),
            RtspError::Silent { .. } | RtspError::Session(Refused::Timeout { .. }) => Cause::Silent,
            RtspError::Tls { .. } => Cause::NoTls,
            RtspError::Session(Refused::Protocol { .. }) => Cause::NotRtsp,
            RtspError::NoTracks(_) | RtspError::Session(Refused::NoTracks { .. }) => Cause::NoVideo,
            RtspError::Session(Refused::Redirect { .. }) => Cause::Moved,
            RtspError::Certificate { fingerprint, .. } => {
                self.fingerprint = Some(*fingerprint);
                Cause::Certificate
            }
            _ => return self,
        };
        self
    }
}

fn of_connecting(error: &io::Error) -> Cause {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => Cause::Refused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => Cause::NoRoute,
        _ => Cause::Silent,
    }
}

macro_rules! causes {
    ($($(#[$about:meta])* $cause:ident $code:literal $what:literal $way:literal)*) => {
        /// Causes of what can be wrong with a camera, or worth knowing of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Cause {
            $($(#[$about])* $cause,)*
        }

        impl Cause {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$cause,)*];

            /// A word for programs; it does not change.
            pub fn code(self) -> &'static str {
                match self { $(Self::$cause => $code,)* }
            }

            /// What is wrong, in a sentence.
            pub fn what(self) -> &'static str {
                match self { $(Self::$cause => $what,)* }
            }

            /// What to do about it.
            pub fn way_out(self) -> &'static str {
                match self { $(Self::$cause => $way,)* }
            }
        }
    };
}

causes! {
    /// DNS knows nothing of it.
    NameUnknown "name-unknown" "The name of the camera is not known here."
        "Check its spelling, or use the camera's address, such as 192.168.1.20: its page or the router lists it."
    /// The operating system has no way there.
    NoRoute "no-route" "There is no way from this machine to that address."
        "See whether camera and machine are in the same network, and whether the address is right."
    /// There is a machine, and nobody listens.
    Refused "refused" "The machine is there, but nothing listens at that port."
        "Switch RTSP (or ONVIF) on in the camera's own page, and see there which port it has: 554 mostly, 8554 with some."
    /// Nobody answers, or no longer.
    Silent "silent" "Nobody answers there."
        "See whether the camera has power and network, whether the address is right, and whether a firewall is between."
    /// There is no TLS.
    NoTls "no-tls" "What listens there does not speak TLS."
        "Write rtsp:// (onvif://, http://) in place of rtsps://, or use the port that the camera has for TLS."
    /// Another protocol, or none.
    NotRtsp "not-rtsp" "What answers there does not speak the protocol of this URL."
        "Check the port: 554 mostly is RTSP, 80 a page. With onvif:// the camera says by itself where its streams are."
    /// Its certificate is its own.
    Certificate "certificate" "The camera shows a certificate that nobody vouches for, as cameras do."
        "If it is your camera, believe its fingerprint: it is kept, and another one will not be believed."
    /// A login was shown once, and refused.
    LoginWrong "login-wrong" "The camera does not accept this user and password."
        "Check both; cameras lock accounts after some tries, so it was asked once. Many have accounts of their own for RTSP or ONVIF."
    /// None was shown.
    LoginNeeded "login-needed" "The camera wants a user and a password."
        "Give those of an account of the camera that may view."
    /// No such credential.
    CredentialUnknown "credential-unknown" "The login that is set for it is not there."
        "Give user and password again."
    /// A credential for another.
    CredentialElsewhere "credential-elsewhere" "The login that is set was given for another camera, and is not shown to this one."
        "Give user and password for this address, if it is the same camera or another one of yours."
    /// 404.
    NoSuchPath "no-such-path" "The camera has no stream at this path."
        "Use the path of its maker: Hikvision /Streaming/Channels/101, Dahua and Amcrest /cam/realmonitor?channel=1&subtype=0, Axis /axis-media/media.amp, Reolink /h264Preview_01_main, Tapo /stream1. With onvif:// it says so itself."
    /// A redirect that is not followed.
    Moved "moved" "The camera sends to another place, which is not followed."
        "Use the address that it names, if you trust it."
    /// Nothing that can be carried.
    NoVideo "no-video" "The stream has no picture that can be used here."
        "Set the camera to H.264 or H.265; MJPEG by RTSP and MPEG-4 are not carried."
    /// No keyframe while it was probed.
    NoKeyframe "no-keyframe" "The camera answers, but no whole picture came in time."
        "Set its distance of keyframes (I-frame interval, GOP) to two seconds. Where media comes by UDP a firewall may keep it away: use TCP."
    /// Something that cannot be used.
    Unusable "unusable" "What the camera gives cannot be used here."
        "Try another of its streams or codecs, or an update of the camera."
    /// It ended the stream.
    Ended "ended" "The camera ended the stream."
        "Try again. Some give one stream at a time: close other programs that watch it."
    /// Another program has the device.
    DeviceHeld "device-held" "Another program has the camera."
        "End that program, or let it go on and choose another camera."
    /// The user is not in the group.
    DeviceRights "device-rights" "This program may not open the camera."
        "Add its user to the group video (`sudo usermod -aG video USER`), and start it again."
    /// Nothing is plugged in.
    DeviceMissing "device-missing" "There is no such camera at this machine."
        "Plug it in, and look for cameras again."
    /// The device gives nothing.
    DeviceUnusable "device-unusable" "The camera of this machine gives no picture."
        "Plug it in again, into another port where there is one, and see the log."
    /// A note: it is fetched already.
    Known "known" "This is a stream of this server already."
        "Go on if you want it twice; a camera may allow a few connections alone."
    /// A note: who can play it.
    H265 "h265" "It sends H.265, which not all browsers play."
        "Safari plays it, and Chrome and Edge where the machine decodes it. Set the camera to H.264 to have it everywhere."
    /// A note: joining takes long.
    KeyframesFar "keyframes-far" "Its keyframes are more than four seconds apart: so long may a viewer wait for the first picture."
        "Set I-frame interval (GOP) in the camera's video settings to two seconds: twice its frames per second."
    /// A note: by WebRTC they cannot be shown.
    BFrames "b-frames" "It sends B-frames, which add delay and which browsers do not play by WebRTC."
        "Set the profile to Baseline, or switch B-frames off, in the camera's video settings."
    /// A bug of ours.
    Bug "bug" "A bug of this server ended it."
        "Please report what its log says."
}

impl Cause {
    fn of(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unreachable => Self::Silent,
            Trouble::Login => Self::LoginWrong,
            Trouble::LoginNeeded => Self::LoginNeeded,
            Trouble::Credential => Self::CredentialUnknown,
            Trouble::Certificate => Self::Certificate,
            Trouble::NotThere => Self::NoSuchPath,
            Trouble::Unusable | Trouble::Program => Self::Unusable,
            Trouble::Ended => Self::Ended,
            Trouble::Occupied => Self::Known,
            Trouble::Bug => Self::Bug,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_cause_has_a_word_of_its_own_and_a_way_out() {
        let codes: BTreeSet<&str> = Cause::ALL.iter().map(|cause| cause.code()).collect();
        assert_eq!(codes.len(), Cause::ALL.len());
        for cause in Cause::ALL {
            assert!(
                cause.what().ends_with('.') && cause.way_out().ends_with('.'),
                "{cause:?}"
            );
            assert!(
                cause
                    .code()
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            );
        }
    }

    #[test]
    fn the_reference_has_the_same_table() {
        let reference = include_str!("../../../../docs/reference/http.md");
        for cause in Cause::ALL {
            let row = format!("| `{}` | {} | {} |", cause.code(), cause.what(), cause.way_out());
            assert!(reference.contains(&row), "{row}");
        }
    }

    #[test]
    fn what_cannot_be_connected_to_has_three_causes() {
        for (kind, cause) in [
            (io::ErrorKind::ConnectionRefused, Cause::Refused),
            (io::ErrorKind::HostUnreachable, Cause::NoRoute),
            (io::ErrorKind::NetworkUnreachable, Cause::NoRoute),
            (io::ErrorKind::TimedOut, Cause::Silent),
        ] {
            let error = RtspError::Connect {
                address: "cam:554".to_owned(),
                error: kind.into(),
            };
            assert_eq!(Why::new(Trouble::Unreachable, "").of_rtsp(&error).cause, cause);
            let error = FetchError::Connect {
                address: "cam:80".to_owned(),
                error: kind.into(),
            };
            assert_eq!(Why::new(Trouble::Unreachable, "").of_fetch(&error).cause, cause);
        }
    }

    #[test]
    fn a_certificate_that_is_not_believed_is_offered() {
        let fingerprint: Fingerprint = "ab".repeat(32).parse().unwrap();
        let error = RtspError::Certificate {
            address: "cam:322".to_owned(),
            why: "unknown issuer".to_owned(),
            fingerprint,
            setting: "source_fingerprint",
        };
        let why = Why::new(Trouble::Certificate, "").of_rtsp(&error);
        assert_eq!((why.cause, why.fingerprint), (Cause::Certificate, Some(fingerprint)));
    }
}
