//! openh264, linked, behind a wrapper that is safe to use.
//!
//! Belongs here: every call into openh264, and the settings that make it a low-latency camera encoder. The only module of
//! the encoders with `unsafe`.
//!
//! Why not the `openh264` crate: it changes no bitrate at run time and offers no fixed number of slices, so that more threads
//! do nothing for one picture.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::thread;

use openh264_sys2 as sys;

use super::{AccessUnit, Encoder, Error, Output, Settings, level, rate};
use crate::picture::{FrameRate, Picture};
use crate::source::Taken;

const NAME: &str = "openh264";
/// From this many pixels on a picture is cut into slices that are encoded by several threads. Measured at 1920×1080 on two
/// cores: 6.5 ms with one, 4.0 ms with two. At 640×480 the hand-over costs more than it gains.
const SLICED_FROM_PIXELS: u32 = 1280 * 720;
/// Slices of a picture that is encoded by several threads: more than threads, so that a costly part of the picture does not
/// leave the other threads waiting.
const SLICES: u32 = 4;
/// More threads than this gain little, and each slice costs bits.
const MAX_THREADS: usize = 4;

/// The linked encoder: Constrained Baseline, 1.1 ms a 640×480 picture on the machine of `docs/design/first-light.md`.
pub struct OpenH264 {
    settings: Settings,
    raw: Raw,
    /// Level in the current parameter sets.
    level: level::Level,
    rate: rate::Controller,
    output: Output,
}

impl OpenH264 {
    /// An encoder whose first picture will be an IDR.
    pub fn new(settings: Settings, output: Output) -> Result<Self, Error> {
        let settings = settings.clamped();
        let level = find_level(&settings)?;
        Ok(Self {
            raw: Raw::new(&settings, level)?,
            rate: rate::Controller::new(settings.bitrate_kbps, settings.fps),
            settings,
            level,
            output,
        })
    }

    /// Takes over changed settings: in the running encoder, or by a new one when the parameter sets must change.
    fn apply(&mut self, settings: Settings) -> Result<(), Error> {
        let settings = settings.clamped();
        let level = find_level(&settings)?;
        if level.idc > self.level.idc {
            self.raw = Raw::new(&settings, level)?;
            self.level = level;
        } else {
            self.raw.set_fps(settings.fps)?;
            self.raw.set_bitrate(settings.bitrate_kbps * 1_000)?;
        }
        self.rate.retarget(settings.bitrate_kbps, settings.fps);
        self.settings = settings;
        Ok(())
    }
}

impl Encoder for OpenH264 {
    fn name(&self) -> &str {
        NAME
    }

    fn encode(&mut self, picture: &Picture, taken: Taken) -> Result<(), Error> {
        self.settings.check(picture)?;
        let (mut bits, mut is_keyframe) = (0, false);
        let output = &mut self.output;
        self.raw.encode(picture, |nals, keyframe| {
            // What the network carries: NAL units and about four bytes each for start code or length.
            bits = nals.iter().map(|nal| (nal.len() as u64 + 4) * 8).sum();
            is_keyframe = keyframe;
            output(AccessUnit { nals, keyframe, taken });
        })?;
        if let Some(bits_per_second) = self.rate.encoded(bits, is_keyframe) {
            self.raw.set_bitrate(bits_per_second.min(self.level.kbps * 1_000))?;
        }
        Ok(())
    }

    fn request_keyframe(&mut self) {
        self.raw.request_keyframe();
    }

    fn set_bitrate_kbps(&mut self, kbps: u32) -> Result<(), Error> {
        self.apply(Settings {
            bitrate_kbps: kbps,
            ..self.settings
        })
    }

    fn set_fps(&mut self, fps: FrameRate) -> Result<(), Error> {
        self.apply(Settings { fps, ..self.settings })
    }
}

fn find_level(settings: &Settings) -> Result<level::Level, Error> {
    level::lowest(settings)
        .filter(|level| level.idc <= 52)
        .ok_or_else(|| Error::Refused {
            encoder: NAME.to_owned(),
            settings: settings.to_string(),
            why: "more macroblocks than level 5.2 allows (36,864 a picture, 2,073,600 a second); choose a smaller size or rate".to_owned(),
        })
}

/// An `ISVCEncoder` that has been initialised and belongs to us alone.
struct Raw {
    encoder: NonNull<sys::ISVCEncoder>,
}

// SAFETY: the object has no ties to the thread that made it (its own threads come from a pool guarded by mutexes), and all
// methods that use it take `&mut self`.
unsafe impl Send for Raw {}

impl Raw {
    fn new(settings: &Settings, level: level::Level) -> Result<Self, Error> {
        let refused = |code: c_int| Error::Refused {
            encoder: NAME.to_owned(),
            settings: settings.to_string(),
            why: format!("code {code}"),
        };
        built_without_nasm_so_run_cargo_clean_p_openh264_sys2();
        let mut encoder: *mut sys::ISVCEncoder = ptr::null_mut();
        // SAFETY: writes one pointer, or leaves it null on failure.
        let code = unsafe { sys::source::APILoader::WelsCreateSVCEncoder(&raw mut encoder) };
        let mut raw = Self {
            encoder: NonNull::new(encoder).ok_or_else(|| refused(code))?,
        };
        // The default would print warnings to stderr, such as one about the frame skipping that we switch off on purpose.
        let mut quiet = sys::WELS_LOG_QUIET;
        raw.set_option(sys::ENCODER_OPTION_TRACE_LEVEL, &mut quiet)
            .map_err(refused)?;
        let mut parameters = sys::SEncParamExt::default();
        let get_defaults = raw.table().GetDefaultParams.ok_or_else(|| refused(-1))?;
        // SAFETY: `encoder` is a live object, `parameters` is writable for the call.
        let code = unsafe { get_defaults(raw.encoder.as_ptr(), &raw mut parameters) };
        if code != sys::cmResultSuccess {
            return Err(refused(code));
        }
        configure(&mut parameters, settings, level);
        let initialize = raw.table().InitializeExt.ok_or_else(|| refused(-1))?;
        // SAFETY: as above; the parameters are copied by the callee.
        let code = unsafe { initialize(raw.encoder.as_ptr(), &raw const parameters) };
        if code != sys::cmResultSuccess {
            return Err(refused(code));
        }
        let mut format = sys::videoFormatI420;
        raw.set_option(sys::ENCODER_OPTION_DATAFORMAT, &mut format)
            .map_err(refused)?;
        Ok(raw)
    }

    fn table(&self) -> &sys::ISVCEncoderVtbl {
        // SAFETY: `ISVCEncoder` is a pointer to a table that lives as long as the object, and the object lives until drop.
        unsafe { &**self.encoder.as_ptr() }
    }

    /// `value` must be of the type that `option` stands for (codec_app_def.h).
    fn set_option<T>(&mut self, option: sys::ENCODER_OPTION, value: &mut T) -> Result<(), c_int> {
        let set = self.table().SetOption.ok_or(-1)?;
        // SAFETY: the object is live, the value readable for the call. All callers are in this module and pass the
        // option's own type.
        let code = unsafe { set(self.encoder.as_ptr(), option, ptr::from_mut(value).cast::<c_void>()) };
        if code == sys::cmResultSuccess {
            Ok(())
        } else {
            Err(code)
        }
    }

    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), Error> {
        let mut bitrate = sys::SBitrateInfo {
            iLayer: sys::SPATIAL_LAYER_ALL,
            iBitrate: bits_per_second.try_into().unwrap_or(c_int::MAX),
        };
        self.set_option(sys::ENCODER_OPTION_BITRATE, &mut bitrate)
            .map_err(|code| failed("bitrate", code))
    }

    fn set_fps(&mut self, fps: FrameRate) -> Result<(), Error> {
        self.set_option(sys::ENCODER_OPTION_FRAME_RATE, &mut (fps.as_f64() as f32))
            .map_err(|code| failed("frame rate", code))
    }

    fn request_keyframe(&mut self) {
        /// What the C++ class declares. The C header leaves out the second argument, which C++ gives a default.
        type ForceIntraFrame = unsafe extern "C" fn(*mut sys::ISVCEncoder, bool, c_int) -> c_int;
        const ALL_LAYERS: c_int = -1;
        if let Some(force) = self.table().ForceIntraFrame {
            // SAFETY: the entry points to `int ForceIntraFrame(bool, int)` of the class (codec_api.h), whose object is the
            // first argument.
            let force: ForceIntraFrame = unsafe { std::mem::transmute(force) };
            // SAFETY: the object is live and initialised. The result only says that it is, too.
            unsafe { force(self.encoder.as_ptr(), true, ALL_LAYERS) };
        }
    }

    /// Encodes a picture of the size given at initialisation and lends the NAL units to `output`, if there are any.
    fn encode(&mut self, picture: &Picture, output: impl FnOnce(&[&[u8]], bool)) -> Result<(), Error> {
        let [y, u, v] = picture.planes().map(<[u8]>::as_ptr);
        // At most MAX_DIMENSION.
        let [width, height] = [picture.width(), picture.height()].map(|size| size as c_int);
        let source = sys::SSourcePicture {
            iColorFormat: sys::videoFormatI420,
            iStride: [width, width / 2, width / 2, 0],
            // The callee only reads; the C struct just does not say so.
            pData: [y.cast_mut(), u.cast_mut(), v.cast_mut(), ptr::null_mut()],
            iPicWidth: width,
            iPicHeight: height,
            ..Default::default()
        };
        let mut info = sys::SFrameBSInfo::default();
        let encode = self
            .table()
            .EncodeFrame
            .ok_or_else(|| failed("missing EncodeFrame", -1))?;
        // SAFETY: the object is live and initialised for pictures of this size (`Settings::check`); the planes are tightly
        // packed, as the strides say, and outlive the call.
        let code = unsafe { encode(self.encoder.as_ptr(), &raw const source, &raw mut info) };
        if code != sys::cmResultSuccess {
            return Err(failed("picture", code));
        }
        let keyframe = info.eFrameType == sys::videoFrameTypeIDR;
        let mut nals: Vec<&[u8]> = Vec::with_capacity(8);
        for layer in info.sLayerInfo.iter().take(info.iLayerNum.max(0) as usize) {
            let count = layer.iNalCount.max(0) as usize;
            if layer.pBsBuf.is_null() || layer.pNalLengthInByte.is_null() {
                continue;
            }
            // SAFETY: the encoder filled `iNalCount` lengths, and they stay until the next call on it, which `&mut self`
            // keeps away for the life of `nals`.
            let lengths = unsafe { std::slice::from_raw_parts(layer.pNalLengthInByte, count) };
            let total = lengths.iter().map(|&length| length.max(0) as usize).sum();
            // SAFETY: the NAL units of a layer stand one behind the other in its buffer, `total` bytes, as long as above.
            let mut rest = unsafe { std::slice::from_raw_parts(layer.pBsBuf.cast_const(), total) };
            for &length in lengths {
                let (nal, after) = rest.split_at(length.max(0) as usize);
                nals.extend(without_start_code(nal));
                rest = after;
            }
        }
        if !nals.is_empty() {
            output(&nals, keyframe);
        }
        Ok(())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: the object is live and used by nobody else; it is not used after this. Uninitialising one that was never
        // initialised does nothing.
        unsafe {
            if let Some(uninitialize) = self.table().Uninitialize {
                uninitialize(self.encoder.as_ptr());
            }
            sys::source::APILoader::WelsDestroySVCEncoder(self.encoder.as_ptr());
        }
    }
}

/// Refers to a function that only the assembler can have provided. Without it nothing links, and the linker's message names
/// this function, which says what to do. The build script looks for nasm as well, but cannot know that openh264 was built
/// before nasm was installed, and is not built again.
#[inline(never)]
fn built_without_nasm_so_run_cargo_clean_p_openh264_sys2() {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    {
        unsafe extern "C" {
            fn McCopyWidthEq16_sse2();
        }
        std::hint::black_box(McCopyWidthEq16_sse2 as *const ());
    }
    #[cfg(target_arch = "aarch64")]
    {
        unsafe extern "C" {
            fn McCopyWidthEq16_AArch64_neon();
        }
        std::hint::black_box(McCopyWidthEq16_AArch64_neon as *const ());
    }
}

fn failed(what: &str, code: c_int) -> Error {
    Error::Failed {
        encoder: NAME.to_owned(),
        why: format!("{what}: code {code}"),
    }
}

fn without_start_code(nal: &[u8]) -> Option<&[u8]> {
    nal.strip_prefix(&[0, 0, 0, 1])
        .or_else(|| nal.strip_prefix(&[0, 0, 1]))
        .filter(|nal| !nal.is_empty())
}

/// Camera video in real time: nothing that reorders, looks ahead or leaves pictures out.
fn configure(parameters: &mut sys::SEncParamExt, settings: &Settings, level: level::Level) {
    let threads = threads(settings, thread::available_parallelism().map_or(1, usize::from));
    let bits_per_second = settings.bitrate_kbps as c_int * 1_000;
    let fps = settings.fps.as_f64() as f32;
    parameters.iUsageType = sys::CAMERA_VIDEO_REAL_TIME;
    parameters.iPicWidth = settings.width as c_int;
    parameters.iPicHeight = settings.height as c_int;
    parameters.iTargetBitrate = bits_per_second;
    parameters.iRCMode = sys::RC_BITRATE_MODE;
    parameters.fMaxFrameRate = fps;
    parameters.iTemporalLayerNum = 1;
    parameters.iSpatialLayerNum = 1;
    parameters.iComplexityMode = sys::LOW_COMPLEXITY;
    parameters.uiIntraPeriod = settings.gop_frames;
    parameters.iNumRefFrame = 1;
    // The same bytes at each IDR: players that compare parameter sets need not start anew.
    parameters.eSpsPpsIdStrategy = sys::CONSTANT_ID;
    parameters.iEntropyCodingModeFlag = 0;
    parameters.bEnableFrameSkip = false;
    parameters.iMinQp = 10;
    parameters.iMaxQp = 51;
    parameters.bEnableLongTermReference = false;
    parameters.iMultipleThreadIdc = threads as u16;
    // It would move slice borders by measured time: the same pictures would no longer give the same bytes.
    parameters.bUseLoadBalancing = false;
    parameters.bEnableDenoise = false;
    // It freezes the noise of a still scene until the next keyframe, and then leaves half the bitrate unused.
    parameters.bEnableBackgroundDetection = false;
    // Costs time, and with a keyframe every few frames there is nothing to detect.
    parameters.bEnableSceneChangeDetect = false;
    parameters.bFixRCOverShoot = true;
    let layer = &mut parameters.sSpatialLayers[0];
    layer.iVideoWidth = settings.width as c_int;
    layer.iVideoHeight = settings.height as c_int;
    layer.fFrameRate = fps;
    layer.iSpatialBitrate = bits_per_second;
    layer.iMaxSpatialBitrate = sys::UNSPECIFIED_BIT_RATE as c_int;
    layer.uiProfileIdc = sys::PRO_BASELINE;
    layer.uiLevelIdc = c_int::from(level.idc);
    if threads > 1 {
        layer.sSliceArgument.uiSliceMode = sys::SM_FIXEDSLCNUM_SLICE;
        layer.sSliceArgument.uiSliceNum = SLICES;
    } else {
        layer.sSliceArgument.uiSliceMode = sys::SM_SINGLE_SLICE;
    }
    // BT.601, limited range: what `Picture` holds. Without it players guess by size, and guess BT.709 from 720 rows on.
    layer.bVideoSignalTypePresent = true;
    layer.uiVideoFormat = sys::VF_UNDEF as u8;
    layer.bFullRange = false;
    layer.bColorDescriptionPresent = true;
    layer.uiColorPrimaries = sys::CP_SMPTE170M as u8;
    layer.uiTransferCharacteristics = sys::TRC_SMPTE170M as u8;
    layer.uiColorMatrix = sys::CM_SMPTE170M as u8;
}

/// Threads for one picture on a machine with `cores`.
fn threads(settings: &Settings, cores: usize) -> usize {
    if settings.width * settings.height < SLICED_FROM_PIXELS {
        1
    } else {
        cores.clamp(1, MAX_THREADS)
    }
}

#[cfg(test)]
mod tests;
