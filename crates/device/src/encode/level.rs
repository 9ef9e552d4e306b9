//! H.264 levels (ITU-T H.264 table A-1): which one a size, rate and bitrate need.

use super::Settings;

/// A level and its limits for the Baseline profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// `level_idc`: ten times the level's number.
    pub(super) idc: u8,
    /// MaxMBPS: macroblocks per second.
    macroblocks_per_second: u64,
    /// MaxFS: macroblocks per picture.
    macroblocks: u64,
    /// MaxBR in kb/s (cpbBrVclFactor 1,000).
    pub(super) kbps: u32,
}

/// From 3.0 on: naming a lower one than 3.0 saves nobody anything, and a bitrate raised later needs no new parameter sets.
const LEVELS: [Level; 10] = [
    level(30, 40_500, 1_620, 10_000),
    level(31, 108_000, 3_600, 14_000),
    level(32, 216_000, 5_120, 20_000),
    level(40, 245_760, 8_192, 20_000),
    level(41, 245_760, 8_192, 50_000),
    level(42, 522_240, 8_704, 50_000),
    level(50, 589_824, 22_080, 135_000),
    level(51, 983_040, 36_864, 240_000),
    level(52, 2_073_600, 36_864, 240_000),
    // 6.2: the highest there is. openh264 knows nothing above 5.2.
    level(62, 16_711_680, 139_264, 800_000),
];

const fn level(idc: u8, macroblocks_per_second: u64, macroblocks: u64, kbps: u32) -> Level {
    Level {
        idc,
        macroblocks_per_second,
        macroblocks,
        kbps,
    }
}

/// The lowest level that holds the settings, with a tenth of the bitrate to spare for the outer loop; `None` beyond 6.2.
pub(super) fn lowest(settings: &Settings) -> Option<Level> {
    let macroblocks = u64::from(settings.width.div_ceil(16)) * u64::from(settings.height.div_ceil(16));
    let fps = settings.fps;
    let per_second = (macroblocks * u64::from(fps.frames())).div_ceil(u64::from(fps.seconds()));
    let kbps = u64::from(settings.bitrate_kbps) * 11 / 10;
    LEVELS.into_iter().find(|level| {
        level.macroblocks >= macroblocks && level.macroblocks_per_second >= per_second && u64::from(level.kbps) >= kbps
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::FrameRate;

    fn idc(width: u32, height: u32, fps: u32, bitrate_kbps: u32) -> Option<u8> {
        let fps = FrameRate::whole(fps);
        let settings = Settings {
            width,
            height,
            fps,
            bitrate_kbps,
            ..Settings::default()
        };
        lowest(&settings).map(|level| level.idc)
    }

    #[test]
    fn known_sizes() {
        assert_eq!(idc(640, 480, 30, 800), Some(30));
        assert_eq!(idc(640, 480, 60, 800), Some(31));
        assert_eq!(idc(1280, 720, 30, 3_000), Some(31));
        assert_eq!(idc(1920, 1080, 30, 5_000), Some(40));
        assert_eq!(idc(1920, 1080, 60, 5_000), Some(42));
        assert_eq!(idc(3840, 2160, 30, 20_000), Some(51));
        assert_eq!(idc(640, 480, 30, 9_500), Some(31));
        assert_eq!(idc(8192, 8192, 480, 800), None);
    }
}
