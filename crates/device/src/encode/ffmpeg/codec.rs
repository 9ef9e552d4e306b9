//! The H.264 encoders that FFmpeg brings, and what each must be told so that it holds nothing back.

use std::fmt;
use std::str::FromStr;

use crate::encode::Settings;

/// An encoder of FFmpeg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// `h264_v4l2m2m`: Raspberry Pi up to 4, and other boards with a V4L2 encoder.
    V4l2M2m,
    /// `h264_nvenc`: NVIDIA.
    Nvenc,
    /// `h264_qsv`: Intel Quick Sync.
    Qsv,
    /// `h264_vaapi`: Intel and AMD through VA-API.
    Vaapi,
    /// `libx264`: software.
    X264,
}

/// Not the name of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no H.264 encoder known here; write h264_v4l2m2m, h264_nvenc, h264_qsv, h264_vaapi or libx264")]
pub struct UnknownCodec(String);

impl Codec {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 5] = [Self::V4l2M2m, Self::Nvenc, Self::Qsv, Self::Vaapi, Self::X264];

    /// FFmpeg's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4l2M2m => "h264_v4l2m2m",
            Self::Nvenc => "h264_nvenc",
            Self::Qsv => "h264_qsv",
            Self::Vaapi => "h264_vaapi",
            Self::X264 => "libx264",
        }
    }

    /// The command line of an FFmpeg that encodes raw pictures from its input to FLV on its output.
    pub(super) fn arguments(self, settings: &Settings) -> Vec<String> {
        let Settings { width, height, fps, .. } = settings;
        let rate = format!("{}/{}", fps.frames(), fps.seconds());
        let mut arguments = words("-hide_banner -loglevel error -nostdin");
        if self == Self::Vaapi {
            arguments.extend(words("-vaapi_device /dev/dri/renderD128"));
        }
        // Nothing is to be found out about raw pictures.
        arguments.extend(words("-probesize 32 -analyzeduration 0 -f rawvideo -pix_fmt yuv420p"));
        arguments.extend(words(&format!(
            "-video_size {width}x{height} -framerate {rate} -i pipe:0 -an"
        )));
        arguments.extend(words(self.options()));
        let bits = u64::from(settings.bitrate_kbps) * 1_000;
        // A buffer of half a second: less leaves keyframes no room, more lets the rate swing.
        arguments.extend(words(&format!(
            "-b:v {bits} -maxrate {bits} -bufsize {} -g {} -bf 0",
            bits / 2,
            super::gop_frames(settings)
        )));
        arguments.extend(words(
            "-color_range tv -colorspace smpte170m -color_primaries smpte170m -color_trc smpte170m",
        ));
        arguments.extend(words(
            "-flush_packets 1 -f flv -flvflags +no_metadata+no_duration_filesize pipe:1",
        ));
        arguments
    }

    fn options(self) -> &'static str {
        match self {
            Self::V4l2M2m => "-c:v h264_v4l2m2m -num_output_buffers 6 -num_capture_buffers 4",
            Self::Nvenc => {
                "-c:v h264_nvenc -preset p1 -tune ull -profile:v baseline -rc cbr -delay 0 -zerolatency 1 -forced-idr 1"
            }
            Self::Qsv => {
                "-pix_fmt nv12 -c:v h264_qsv -preset veryfast -profile:v baseline -async_depth 1 -look_ahead 0 -forced_idr 1"
            }
            Self::Vaapi => {
                "-vf format=nv12,hwupload -c:v h264_vaapi -profile:v constrained_baseline -rc_mode CBR -async_depth 1 -sei 0"
            }
            Self::X264 => "-c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline",
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(text: &str) -> Result<Self, UnknownCodec> {
        let named = Self::ALL.into_iter().find(|codec| codec.name() == text);
        named.ok_or_else(|| UnknownCodec(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ffmpegs() {
        for codec in Codec::ALL {
            assert_eq!(codec.name().parse(), Ok(codec));
        }
        assert!("h264".parse::<Codec>().unwrap_err().to_string().contains("libx264"));
    }

    #[test]
    fn every_command_line_asks_for_no_delay() {
        for codec in Codec::ALL {
            let line = codec.arguments(&Settings::default()).join(" ");
            for part in [
                "-video_size 640x480 -framerate 30/1 -i pipe:0",
                &format!("-c:v {codec}"),
                "-b:v 800000 -maxrate 800000 -bufsize 400000 -g 10 -bf 0",
                "-flush_packets 1 -f flv",
            ] {
                assert!(line.contains(part), "{line}");
            }
        }
    }
}
