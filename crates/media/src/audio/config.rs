//! AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1): what an AAC decoder is told before the first frame.

use h264_reader::rbsp::{BitRead, BitReader, BitReaderError, BitWrite, BitWriter};

type Bits<'a> = BitReader<&'a [u8]>;

/// Sampling rates by index (Table 1.18).
pub(crate) const RATES_HZ: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
];
/// Index that says that the rate follows in 24 bits.
const RATE_FOLLOWS: u8 = 15;
/// syncExtensionType in front of SBR that older decoders are to overlook.
const SYNC_SBR: u16 = 0x2b7;
/// The same for parametric stereo.
const SYNC_PS: u16 = 0x548;

/// Largest AudioSpecificConfig that is accepted, in bytes: with every channel element of a program_config_element and its comment it
/// can have some 330.
pub const MAX_CONFIG_BYTES: usize = 512;

/// Audio object types (Table 1.17) that are carried.
pub mod object_type {
    /// AAC Main.
    pub const MAIN: u8 = 1;
    /// AAC LC, which nearly everything is.
    pub const LOW_COMPLEXITY: u8 = 2;
    /// AAC scalable sample rate.
    pub const SSR: u8 = 3;
    /// AAC long term prediction.
    pub const LTP: u8 = 4;
    /// Spectral band replication: HE-AAC.
    pub const SBR: u8 = 5;
    /// AAC low delay.
    pub const ER_LD: u8 = 23;
    /// Parametric stereo: HE-AAC version 2.
    pub const PS: u8 = 29;
}

/// Why an AudioSpecificConfig was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Larger than [`MAX_CONFIG_BYTES`].
    #[error("an AudioSpecificConfig of {0} bytes; at most {MAX_CONFIG_BYTES} are accepted")]
    TooLarge(usize),
    /// It ends before it is complete.
    #[error("the AudioSpecificConfig breaks off at {0}")]
    Short(&'static str),
    /// Something other than the AAC that is carried.
    #[error("audio object type {0} is not carried; AAC Main, LC, SSR, LTP, LD and HE-AAC are")]
    ObjectType(u8),
    /// A sampling rate outside of 7,350 to 96,000 Hz, or a reserved index.
    #[error("a sampling rate that AAC does not have")]
    SampleRate,
    /// A reserved channel configuration, or a program with none or more than eight channels.
    #[error("channel configuration {0} is not carried")]
    Channels(u8),
}

/// What an AudioSpecificConfig says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioSpecificConfig {
    /// Audio object type of the core, see [`object_type`].
    pub object_type: u8,
    /// Sampling rate of the core in Hz, 7,350 to 96,000.
    pub core_rate_hz: u32,
    /// Sampling rate of what SBR makes of it in Hz, where it is signalled.
    pub sbr_rate_hz: Option<u32>,
    /// Whether parametric stereo makes two channels of one.
    pub parametric_stereo: bool,
    /// Channels of the core, 1 to 8.
    pub core_channels: u8,
    /// Samples of the core in a frame: 1,024 or 960; 512 or 480 for low delay.
    pub core_frame_samples: u32,
}

impl AudioSpecificConfig {
    /// Reads one; what follows behind it is passed over.
    pub fn parse(config: &[u8]) -> Result<Self, ConfigError> {
        if config.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge(config.len()));
        }
        let mut bits = BitReader::new(config);
        let mut object_type = read_object_type(&mut bits)?;
        let core_rate_hz = read_rate(&mut bits)?;
        let channel_configuration = read::<4>(&mut bits, "channelConfiguration")?;
        let parametric_stereo = object_type == object_type::PS;
        let mut sbr_rate_hz = None;
        if object_type == object_type::SBR || parametric_stereo {
            sbr_rate_hz = Some(read_rate(&mut bits)?);
            object_type = read_object_type(&mut bits)?;
        }
        if !matches!(object_type, object_type::MAIN..=object_type::LTP | object_type::ER_LD) {
            return Err(ConfigError::ObjectType(object_type));
        }
        let short = bits.read_bit("frameLengthFlag").map_err(breaks_off)?;
        let core_frame_samples = match (object_type, short) {
            (object_type::ER_LD, false) => 512,
            (object_type::ER_LD, true) => 480,
            (_, false) => 1024,
            (_, true) => 960,
        };
        if bits.read_bit("dependsOnCoreCoder").map_err(breaks_off)? {
            bits.skip(14, "coreCoderDelay").map_err(breaks_off)?;
        }
        let extension = bits.read_bit("extensionFlag").map_err(breaks_off)?;
        let core_channels = match channel_configuration {
            0 => read_program_channels(&mut bits)?,
            1..=6 => channel_configuration,
            7 | 12 | 14 => 8,
            11 => 7,
            other => return Err(ConfigError::Channels(other)),
        };
        let mut found = Self {
            object_type,
            core_rate_hz,
            sbr_rate_hz,
            parametric_stereo,
            core_channels,
            core_frame_samples,
        };
        // Error resilient types go on with flags where it would stand; none of them has it in practice.
        if !extension && object_type != object_type::ER_LD && sbr_rate_hz.is_none() {
            found.read_overlooked_extension(&mut bits);
        }
        Ok(found)
    }

    /// Writes the AudioSpecificConfig of AAC LC; `None` for a number of channels that has no configuration, and for rates outside of
    /// 7,350 to 96,000 Hz.
    pub fn low_complexity(sample_rate_hz: u32, channels: u8) -> Option<Vec<u8>> {
        let configuration = match channels {
            1..=6 => channels,
            8 => 7,
            _ => return None,
        };
        if !(7_350..=96_000).contains(&sample_rate_hz) {
            return None;
        }
        let mut config = Vec::with_capacity(5);
        let mut bits = BitWriter::new(&mut config);
        let mut write = || {
            bits.write::<5, u8>(object_type::LOW_COMPLEXITY)?;
            match RATES_HZ.iter().position(|&rate| rate == sample_rate_hz) {
                Some(index) => bits.write::<4, u8>(index as u8)?,
                None => {
                    bits.write::<4, u8>(RATE_FOLLOWS)?;
                    bits.write::<24, u32>(sample_rate_hz)?;
                }
            }
            bits.write::<4, u8>(configuration)?;
            // frameLengthFlag, dependsOnCoreCoder, extensionFlag, and what is left of the last byte.
            bits.write::<3, u8>(0)?;
            while bits.writer().is_none() {
                bits.write_bit(false)?;
            }
            std::io::Result::Ok(())
        };
        write().ok()?;
        Some(config)
    }

    /// Sampling rate of what comes out of a decoder, in Hz.
    pub fn sample_rate_hz(&self) -> u32 {
        self.sbr_rate_hz.unwrap_or(self.core_rate_hz)
    }

    /// Channels that come out of a decoder, 1 to 8.
    pub fn channels(&self) -> u8 {
        if self.parametric_stereo { 2 } else { self.core_channels }
    }

    /// Samples a channel that come out of a decoder for every frame.
    pub fn frame_samples(&self) -> u32 {
        // SBR makes two of one, or, at the highest rates, leaves them.
        match self.sbr_rate_hz {
            Some(rate) if rate > self.core_rate_hz => 2 * self.core_frame_samples,
            _ => self.core_frame_samples,
        }
    }

    /// Codec string of RFC 6381, such as `mp4a.40.2`.
    pub fn codec_string(&self) -> String {
        let signalled = match (self.parametric_stereo, self.sbr_rate_hz) {
            (true, _) => object_type::PS,
            (false, Some(_)) => object_type::SBR,
            (false, None) => self.object_type,
        };
        format!("mp4a.40.{signalled}")
    }

    /// SBR and parametric stereo behind the end, where only decoders that know them look (§1.6.6.1).
    fn read_overlooked_extension(&mut self, bits: &mut Bits<'_>) {
        let mut sbr = || -> Result<Option<u32>, ConfigError> {
            if bits.read::<11, u16>("syncExtensionType").map_err(breaks_off)? != SYNC_SBR
                || read_object_type(bits)? != object_type::SBR
                || !bits.read_bit("sbrPresentFlag").map_err(breaks_off)?
            {
                return Ok(None);
            }
            read_rate(bits).map(Some)
        };
        if let Ok(Some(rate)) = sbr() {
            self.sbr_rate_hz = Some(rate);
            let ps = bits
                .read::<11, u16>("syncExtensionType")
                .is_ok_and(|sync| sync == SYNC_PS);
            self.parametric_stereo = ps && bits.read_bit("psPresentFlag").is_ok_and(|present| present);
        }
    }
}

fn read_object_type(bits: &mut Bits<'_>) -> Result<u8, ConfigError> {
    match read::<5>(bits, "audioObjectType")? {
        31 => Ok(32 + read::<6>(bits, "audioObjectTypeExt")?),
        other => Ok(other),
    }
}

fn read_rate(bits: &mut Bits<'_>) -> Result<u32, ConfigError> {
    let index = read::<4>(bits, "samplingFrequencyIndex")?;
    let rate = if index == RATE_FOLLOWS {
        bits.read::<24, u32>("samplingFrequency").map_err(breaks_off)?
    } else {
        *RATES_HZ.get(usize::from(index)).ok_or(ConfigError::SampleRate)?
    };
    if (7_350..=96_000).contains(&rate) {
        Ok(rate)
    } else {
        Err(ConfigError::SampleRate)
    }
}

/// Channels of a program_config_element (§4.4.1.1), as far as they tell.
fn read_program_channels(bits: &mut Bits<'_>) -> Result<u8, ConfigError> {
    bits.skip(4 + 2 + 4, "element_instance_tag, object_type, sampling_frequency_index")
        .map_err(breaks_off)?;
    let [front, side, back] = [
        read::<4>(bits, "num_front_channel_elements")?,
        read::<4>(bits, "num_side_channel_elements")?,
        read::<4>(bits, "num_back_channel_elements")?,
    ];
    let low_frequency = read::<2>(bits, "num_lfe_channel_elements")?;
    bits.skip(3 + 4, "num_assoc_data_elements, num_valid_cc_elements")
        .map_err(breaks_off)?;
    for (name, width) in [("mono_mixdown", 4), ("stereo_mixdown", 4), ("matrix_mixdown_idx", 3)] {
        if bits.read_bit(name).map_err(breaks_off)? {
            bits.skip(width, name).map_err(breaks_off)?;
        }
    }
    let mut channels = low_frequency;
    for _ in 0..front + side + back {
        channels += 1 + u8::from(bits.read_bit("element_is_cpe").map_err(breaks_off)?);
        bits.skip(4, "element_tag_select").map_err(breaks_off)?;
    }
    if (1..=8).contains(&channels) {
        Ok(channels)
    } else {
        Err(ConfigError::Channels(0))
    }
}

fn read<const BITS: u32>(bits: &mut Bits<'_>, name: &'static str) -> Result<u8, ConfigError> {
    bits.read::<BITS, u8>(name).map_err(breaks_off)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn breaks_off(error: BitReaderError) -> ConfigError {
    match error {
        BitReaderError::ReaderError(name, _) | BitReaderError::ExpGolombTooLarge(name) => ConfigError::Short(name),
        BitReaderError::RemainingData => ConfigError::Short("the end"),
    }
}
