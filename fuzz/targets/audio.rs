//! What describes a track of AAC.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::audio::{Aac, AudioSpecificConfig};

fuzz_target!(|data: &[u8]| {
    let Ok(config) = AudioSpecificConfig::parse(data) else {
        return;
    };
    assert!(config.sample_rate_hz() > 0 && config.channels() > 0 && config.frame_samples() > 0);
    assert!(config.codec_string().starts_with("mp4a.40."));
    let aac = Aac::parse(data).expect("what can be read can be carried");
    assert_eq!(
        (aac.sample_rate_hz, aac.channels),
        (config.sample_rate_hz(), config.channels())
    );
    if let Some(ours) = AudioSpecificConfig::low_complexity(config.sample_rate_hz(), config.channels()) {
        let again = AudioSpecificConfig::parse(&ours).expect("what we write can be read");
        assert_eq!(again.sample_rate_hz(), config.sample_rate_hz());
        assert_eq!(again.channels(), config.channels());
    }
});
