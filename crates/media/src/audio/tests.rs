use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn says(config: &[u8]) -> AudioSpecificConfig {
    AudioSpecificConfig::parse(config).unwrap()
}

// Written by FFmpeg's and Fraunhofer's encoders and by cameras.
#[rstest]
#[case::lc_44100_stereo(&[0x12, 0x10], "mp4a.40.2", 44_100, 2, 1024)]
#[case::lc_48000_mono_with_padding(&[0x11, 0x88, 0x56, 0xe5, 0x00], "mp4a.40.2", 48_000, 1, 1024)]
#[case::lc_16000_mono(&[0x14, 0x08], "mp4a.40.2", 16_000, 1, 1024)]
#[case::main_profile(&[0x0a, 0x10], "mp4a.40.1", 44_100, 2, 1024)]
#[case::lc_960(&[0x12, 0x14], "mp4a.40.2", 44_100, 2, 960)]
#[case::escaped_rate(&[0x17, 0x80, 0x1f, 0x40, 0x10], "mp4a.40.2", 16_000, 2, 1024)]
#[case::five_one(&[0x11, 0xb0], "mp4a.40.2", 48_000, 6, 1024)]
#[case::seven_one(&[0x11, 0xb8], "mp4a.40.2", 48_000, 8, 1024)]
#[case::he_explicit(&[0x2b, 0x11, 0x88, 0x00], "mp4a.40.5", 48_000, 2, 2048)]
#[case::he_overlooked(&[0x13, 0x10, 0x56, 0xe5, 0x98], "mp4a.40.5", 48_000, 2, 2048)]
#[case::he_v2(&[0xeb, 0x09, 0x88, 0x00], "mp4a.40.29", 48_000, 2, 2048)]
#[case::low_delay(&[0xb9, 0x90, 0x00], "mp4a.40.23", 48_000, 2, 512)]
fn configs(
    #[case] config: &[u8],
    #[case] codec: &str,
    #[case] rate_hz: u32,
    #[case] channels: u8,
    #[case] samples: u32,
) {
    let says = says(config);
    assert_eq!(says.codec_string(), codec);
    assert_eq!(
        (says.sample_rate_hz(), says.channels(), says.frame_samples()),
        (rate_hz, channels, samples)
    );
    let aac = Aac::parse(config).unwrap();
    assert_eq!(
        (aac.sample_rate_hz, aac.channels, &aac.config[..]),
        (rate_hz, channels, config)
    );
}

#[test]
fn channels_of_a_program() {
    // channelConfiguration 0; one pair in front, one single element behind, one low frequency element.
    let bits = "00010 0100 0000 000 0000 01 0100 0001 0000 0001 01 000 0000 0 0 0 1 0000 0 0001";
    let bits: Vec<u8> = bits.bytes().filter(|&bit| bit != b' ').map(|bit| bit - b'0').collect();
    let config: Vec<u8> = bits
        .chunks(8)
        .map(|byte| byte.iter().enumerate().fold(0, |sum, (at, bit)| sum | bit << (7 - at)))
        .collect();
    assert_eq!(says(&config).channels(), 4);
    assert!(matches!(
        AudioSpecificConfig::parse(&config[..config.len() - 2]),
        Err(ConfigError::Short(_))
    ));
    let none = [0x12, 0x00, 0, 0, 0, 0, 0, 0];
    assert_eq!(AudioSpecificConfig::parse(&none), Err(ConfigError::Channels(0)));
}

#[rstest]
#[case(&[], ConfigError::Short("audioObjectType"))]
#[case(&[0x12], ConfigError::Short("samplingFrequencyIndex"))]
#[case(&[0x16, 0x80], ConfigError::SampleRate)]
#[case(&[0x17, 0xff, 0xff, 0xff, 0x90], ConfigError::SampleRate)]
#[case(&[0x17, 0x80, 0x00, 0x00, 0x10], ConfigError::SampleRate)]
#[case(&[0x12, 0x40], ConfigError::Channels(8))]
#[case(&[0xf9, 0x48, 0x40, 0x00], ConfigError::ObjectType(42))]
#[case(&[0x32, 0x10], ConfigError::ObjectType(6))]
fn refused(#[case] config: &[u8], #[case] why: ConfigError) {
    assert_eq!(AudioSpecificConfig::parse(config), Err(why));
}

#[test]
fn the_size_limit_is_exact() {
    let mut config = vec![0x12, 0x10];
    config.resize(MAX_CONFIG_BYTES, 0);
    assert!(AudioSpecificConfig::parse(&config).is_ok());
    config.push(0);
    assert_eq!(
        AudioSpecificConfig::parse(&config),
        Err(ConfigError::TooLarge(MAX_CONFIG_BYTES + 1))
    );
}

#[test]
fn low_complexity_as_encoders_write_it() {
    assert_eq!(AudioSpecificConfig::low_complexity(44_100, 2).unwrap(), [0x12, 0x10]);
    assert_eq!(AudioSpecificConfig::low_complexity(16_000, 1).unwrap(), [0x14, 0x08]);
    assert_eq!(AudioSpecificConfig::low_complexity(48_000, 8).unwrap(), [0x11, 0xb8]);
    for (rate, channels) in [(48_000, 0), (48_000, 7), (48_000, 9), (7_349, 1), (96_001, 1)] {
        assert_eq!(AudioSpecificConfig::low_complexity(rate, channels), None);
    }
}

proptest! {
    #[test]
    fn low_complexity_round_trips(rate in 7_350_u32..=96_000, channels in 1_u8..=6) {
        let aac = Aac::low_complexity(rate, channels).unwrap();
        prop_assert_eq!(Aac::parse(&aac.config), Ok(aac));
    }

    #[test]
    fn hostile_configs_never_panic(config in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(says) = AudioSpecificConfig::parse(&config) {
            prop_assert!((1..=8).contains(&says.channels()) && (7_350..=96_000).contains(&says.sample_rate_hz()));
        }
    }
}
