//! Our own publishing: a session in which the offer is ours and we send (WHIP's other side).
//!
//! Belongs here: offering a stream's tracks ([`Pushing`]), which of them the server takes. Does not belong here: what a server does
//! ([`super::Publisher`]), sending, which is done as to viewers ([`super::Viewer`]), HTTP, sockets.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use media::audio::Law;
use media::{Format, Kind, Track, h264, h265};

use super::answer::{ABS_CAPTURE_TIME, line, rtpmap};
use super::channel::Channel;
use super::choice::{describe, outlet, sources};
use super::offer::{OfferedCodec, Section, SectionKind};
use super::{Credentials, Identity, OfferError, Playout, Refusal, Viewer, codecs, offering, peer};

/// Why a stream cannot be sent to a server by WebRTC. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The stream has nothing that goes by WebRTC.
    #[error("the stream has nothing that can be sent by WebRTC: {0}")]
    NothingToSend(String),
    /// The answer cannot be read.
    #[error("the server's answer cannot be used: {0}")]
    Unreadable(#[from] OfferError),
    /// The server does not take the picture, or the sound of a stream without one.
    #[error("the server does not take {has}: its answer has {answered}")]
    NotTaken {
        /// What was offered.
        has: String,
        /// What it answers with.
        answered: String,
    },
    /// The session could not be set up.
    #[error("the server's answer cannot be used: {0}")]
    Setup(#[from] Refusal),
}

/// From the offer until it is answered.
#[derive(Debug)]
pub struct Pushing {
    identity: Arc<Identity>,
    local: SocketAddr,
    ours: Credentials,
    planned: Vec<Planned>,
    left_out: Vec<String>,
}

/// A session, and what is not sent in it.
#[derive(Debug)]
pub struct Pushed {
    /// What is sent by. Its first words wait for [`Viewer::handle_timeout`].
    pub session: Viewer,
    /// Tracks that are not part of it, and why, for people.
    pub left_out: Vec<String>,
}

/// A track that is offered.
#[derive(Debug)]
struct Planned {
    track: Track,
    mid: &'static str,
    /// What it may be called, best first.
    codecs: Vec<OfferedCodec>,
    source: u32,
    repeats: u32,
}

impl Planned {
    fn kind(&self) -> SectionKind {
        match self.track.kind() {
            Kind::Video => SectionKind::Video,
            Kind::Audio => SectionKind::Audio,
        }
    }

    /// What the server takes it as.
    fn accepted<'a>(&self, section: &'a Section) -> Option<&'a OfferedCodec> {
        let fits = section.kind == self.kind() && section.direction.receives && section.rtcp_mux && !section.disabled;
        let is_ours = |answered: &&OfferedCodec| {
            let same = |ours: &OfferedCodec| (ours.payload_type, &ours.name) == (answered.payload_type, &answered.name);
            fits && self.codecs.iter().any(same)
        };
        section.codecs.iter().find(is_ours)
    }
}

impl Pushing {
    /// The offer of a stream with these tracks: the first picture and the first sound that go by WebRTC. `local` is where datagrams to us arrive.
    ///
    /// # Errors
    /// [`PushError::NothingToSend`].
    pub fn offer(
        identity: &Arc<Identity>,
        local: SocketAddr,
        tracks: &[Track],
        random: &mut dyn FnMut() -> u64,
    ) -> Result<(Self, String), PushError> {
        let ours = Credentials::random(random);
        let mut planned: Vec<Planned> = Vec::new();
        let mut left_out = Vec::new();
        for track in tracks {
            let name = track.format.codec().name();
            if let Some(why) = codecs::never(&track.format) {
                left_out.push(format!("{name}: {why}"));
                continue;
            }
            if planned.iter().any(|other| other.track.kind() == track.kind()) {
                left_out.push(format!("{name}: one of each kind is sent"));
                continue;
            }
            let known: Vec<u32> = planned.iter().map(|other| other.source).collect();
            let (source, repeats) = sources(&known, random);
            planned.push(Planned {
                track: track.clone(),
                mid: if planned.is_empty() { "0" } else { "1" },
                codecs: names(&track.format),
                source,
                repeats,
            });
        }
        if planned.is_empty() {
            return Err(PushError::NothingToSend(left_out.join("; ")));
        }
        let pushing = Self {
            identity: Arc::clone(identity),
            local,
            ours,
            planned,
            left_out,
        };
        let sdp = pushing.written(random() >> 1);
        Ok((pushing, sdp))
    }

    /// What the server answered, which was asked at `server`.
    ///
    /// # Errors
    /// [`PushError`].
    pub fn answered(
        self,
        sdp: &[u8],
        server: Option<IpAddr>,
        random: &mut dyn FnMut() -> u64,
        now: Instant,
    ) -> Result<Pushed, PushError> {
        let answer = offering::answer(sdp, server)?;
        let mut left_out = self.left_out;
        let mut outlets = Vec::new();
        for planned in &self.planned {
            let section = answer.sections.iter().find(|section| section.mid == planned.mid);
            let Some((section, codec)) = section.and_then(|section| Some((section, planned.accepted(section)?))) else {
                // A stream without its sound is one, without its picture it is none.
                if planned.track.kind() == Kind::Video || self.planned.len() == 1 {
                    return Err(PushError::NotTaken {
                        has: describe(&planned.track.format),
                        answered: answer.offered(),
                    });
                }
                let name = planned.track.format.codec().name();
                left_out.push(format!("{name}: the server does not take it"));
                continue;
            };
            let rtx = codec.rtx.is_some() && codec.nack && planned.kind() == SectionKind::Video;
            let sources = (planned.source, rtx.then_some(planned.repeats));
            let extensions = peer::agreed(&section.extensions, &[ABS_CAPTURE_TIME], &[]);
            outlets.push(outlet(&planned.track, codec, sources, &extensions, random()));
        }
        let channel = Channel::answered(&answer, &self.identity, (&self.ours, self.local), random(), now)?;
        let session = Viewer::over(channel, outlets, Playout::Smooth, random() as u16, now);
        Ok(Pushed { session, left_out })
    }

    fn written(&self, session_id: u64) -> String {
        let mut sdp = String::with_capacity(2_048);
        let out = &mut sdp;
        let mids: Vec<_> = self.planned.iter().map(|planned| planned.mid).collect();
        offering::head(out, session_id, &mids);
        let transport = offering::Transport {
            identity: &self.identity,
            ours: &self.ours,
            local: self.local,
        };
        for planned in &self.planned {
            let numbers = planned
                .codecs
                .iter()
                .flat_map(|codec| [Some(codec.payload_type), codec.rtx]);
            transport.write(out, (planned.kind(), planned.mid), numbers.flatten());
            line(out, &format!("a=extmap:{CAPTURE_ID} {ABS_CAPTURE_TIME}"));
            line(out, "a=sendonly");
            line(out, &format!("a=msid:sightline {}", planned.mid));
            line(out, "a=rtcp-mux");
            line(out, "a=rtcp-rsize");
            for codec in &planned.codecs {
                describe_codec(out, codec);
            }
            let repeats = (planned.kind() == SectionKind::Video).then_some(planned.repeats);
            if let Some(repeats) = repeats {
                line(out, &format!("a=ssrc-group:FID {} {repeats}", planned.source));
            }
            for source in [Some(planned.source), repeats].into_iter().flatten() {
                line(out, &format!("a=ssrc:{source} cname:sightline"));
                line(out, &format!("a=ssrc:{source} msid:sightline {}", planned.mid));
            }
        }
        sdp
    }
}

fn describe_codec(out: &mut String, codec: &OfferedCodec) {
    let number = codec.payload_type;
    rtpmap(out, codec);
    if !codec.parameters.is_empty() {
        line(out, &format!("a=fmtp:{number} {}", codec.parameters));
    }
    if let Some(rtx) = codec.rtx {
        for feedback in ["ccm fir", "nack", "nack pli"] {
            line(out, &format!("a=rtcp-fb:{number} {feedback}"));
        }
        line(out, &format!("a=rtpmap:{rtx} rtx/{}", codec.clock_hz));
        line(out, &format!("a=fmtp:{rtx} apt={number}"));
    }
}

/// What a track may be called, best first: pictures by their own profile, and H.264 as servers list it that know browsers alone.
fn names(format: &Format) -> Vec<OfferedCodec> {
    match format {
        Format::H264(format) => {
            let own = own_profile(format);
            let usual = "42e01f".to_owned();
            let mut names = vec![video(96, "H264", h264_parameters(&own))];
            if own != usual {
                names.push(video(98, "H264", h264_parameters(&usual)));
            }
            names
        }
        Format::H265(format) => vec![video(96, "H265", h265_parameters(format))],
        Format::Opus(opus) => {
            let stereo = if opus.channels > 1 {
                ";stereo=1;sprop-stereo=1"
            } else {
                ""
            };
            vec![OfferedCodec {
                channels: 2,
                ..audio(111, "OPUS", 48_000, format!("minptime=10;useinbandfec=1{stereo}"))
            }]
        }
        Format::G711(g711) if g711.law == Law::A => vec![audio(8, "PCMA", 8_000, String::new())],
        Format::G711(_) => vec![audio(0, "PCMU", 8_000, String::new())],
        Format::Aac(_) => Vec::new(),
    }
}

fn own_profile(format: &h264::Format) -> String {
    let [profile, constraints, level] = format.profile_level_id().unwrap_or([0x42, 0xe0, 0x1f]);
    format!("{profile:02x}{constraints:02x}{level:02x}")
}

fn h264_parameters(profile: &str) -> String {
    format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}")
}

/// RFC 7798 §7.1.
fn h265_parameters(format: &h265::Format) -> String {
    let own = format.profile_tier_level();
    let profile = own.map_or(1, h265::ProfileTierLevel::profile_idc);
    let level = own.map_or(93, h265::ProfileTierLevel::level_idc);
    let tier = u8::from(own.is_some_and(h265::ProfileTierLevel::high_tier));
    format!("level-id={level};profile-id={profile};tier-flag={tier};tx-mode=SRST")
}

fn video(payload_type: u8, name: &str, parameters: String) -> OfferedCodec {
    OfferedCodec {
        payload_type,
        name: name.to_owned(),
        clock_hz: 90_000,
        channels: 1,
        parameters,
        rtx: Some(payload_type + 1),
        nack: true,
        transport_cc: false,
        remb: false,
    }
}

fn audio(payload_type: u8, name: &str, clock_hz: u32, parameters: String) -> OfferedCodec {
    OfferedCodec {
        rtx: None,
        nack: false,
        clock_hz,
        ..video(payload_type, name, parameters)
    }
}

/// As browsers number it.
const CAPTURE_ID: u8 = 13;
