//! The ciphers of SRTP, over aws-lc.
//!
//! Belongs here: key derivation (RFC 3711 §4.3), AES in counter mode with HMAC-SHA1 (§4.1.1, §4.2), AES-GCM (RFC 7714). Does not belong here: which
//! bytes of a packet are encrypted.

use std::fmt;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use str0m::crypto::dtls::SrtpProfile;

use super::Refused;

/// Bytes of HMAC-SHA1 that are sent.
pub(super) const SHORT_TAG_BYTES: usize = 10;
const BLOCK_BYTES: usize = 16;
const COUNTER_SALT_BYTES: usize = 14;
const GCM_SALT_BYTES: usize = 12;
const HMAC_KEY_BYTES: usize = 20;

/// Bytes of a master key and of its salt.
pub(super) fn master_bytes(profile: SrtpProfile) -> Option<(usize, usize)> {
    match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Some((16, COUNTER_SALT_BYTES)),
        SrtpProfile::AEAD_AES_128_GCM => Some((16, GCM_SALT_BYTES)),
        SrtpProfile::AEAD_AES_256_GCM => Some((32, GCM_SALT_BYTES)),
        _ => None,
    }
}

/// What keys are derived for (RFC 3711 §4.3.2).
#[derive(Clone, Copy)]
pub(super) struct Labels {
    encryption: u8,
    authentication: u8,
    salt: u8,
}

impl Labels {
    pub(super) const RTP: Self = Self {
        encryption: 0,
        authentication: 1,
        salt: 2,
    };
    pub(super) const RTCP: Self = Self {
        encryption: 3,
        authentication: 4,
        salt: 5,
    };
}

/// A master key, from which session keys are derived.
pub(super) struct Master {
    key: EncryptingKey,
    key_bytes: usize,
    /// Shorter salts fill the front (RFC 7714 §11).
    salt: [u8; COUNTER_SALT_BYTES],
}

impl Master {
    pub(super) fn new(key: &[u8], salt: &[u8]) -> Result<Self, Refused> {
        let mut whole = [0; COUNTER_SALT_BYTES];
        whole.get_mut(..salt.len()).ok_or(Refused)?.copy_from_slice(salt);
        Ok(Self {
            key: counter_key(key)?,
            key_bytes: key.len(),
            salt: whole,
        })
    }

    /// Fills `out` with the key for a label.
    pub(super) fn derive(&self, label: u8, out: &mut [u8]) -> Result<(), Refused> {
        let mut block = [0; BLOCK_BYTES];
        for (byte, salt) in block.iter_mut().zip(self.salt) {
            *byte = salt;
        }
        block[7] ^= label;
        out.fill(0);
        keystream(&self.key, block, out)
    }
}

/// The session keys of one direction, for RTP or for RTCP.
#[derive(Debug)]
pub(super) enum Cipher {
    Gcm(Box<Gcm>),
    /// For peers that have no GCM.
    Counter(Box<Counter>),
}

impl Cipher {
    pub(super) fn derive(profile: SrtpProfile, master: &Master, labels: Labels) -> Result<Self, Refused> {
        let mut key = [0; 32];
        let key = key.get_mut(..master.key_bytes).ok_or(Refused)?;
        master.derive(labels.encryption, key)?;
        if profile == SrtpProfile::AES128_CM_SHA1_80 {
            let mut authentication = [0; HMAC_KEY_BYTES];
            master.derive(labels.authentication, &mut authentication)?;
            let mut salt = [0; COUNTER_SALT_BYTES];
            master.derive(labels.salt, &mut salt)?;
            return Ok(Self::Counter(Box::new(Counter::new(key, &authentication, salt)?)));
        }
        let mut salt = [0; GCM_SALT_BYTES];
        master.derive(labels.salt, &mut salt)?;
        Ok(Self::Gcm(Box::new(Gcm::new(key, salt)?)))
    }
}

/// AES-GCM, of either key length.
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: [u8; GCM_SALT_BYTES],
}

impl fmt::Debug for Gcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gcm").finish_non_exhaustive()
    }
}

impl Gcm {
    pub(super) fn new(key: &[u8], salt: [u8; GCM_SALT_BYTES]) -> Result<Self, Refused> {
        let algorithm = if key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
        let key = UnboundKey::new(algorithm, key).map_err(|_| Refused)?;
        Ok(Self {
            key: LessSafeKey::new(key),
            salt,
        })
    }

    /// Two zero bytes, the source and the packet's number in six, over the salt (RFC 7714 §8.1, and with 31 bits of number §9.1).
    pub(super) fn nonce(&self, ssrc: u32, index: u64) -> [u8; GCM_SALT_BYTES] {
        let [a, b, c, d] = ssrc.to_be_bytes();
        let [_, _, e, f, g, h, i, j] = index.to_be_bytes();
        let mut nonce = [0, 0, a, b, c, d, e, f, g, h, i, j];
        for (byte, salt) in nonce.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        nonce
    }

    /// Encrypts `body` in place. Nonces are never used twice, since numbers are not.
    pub(super) fn seal(&self, nonce: [u8; GCM_SALT_BYTES], clear: &[u8], body: &mut [u8]) -> Result<Tag, Refused> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self.key.seal_in_place_separate_tag(nonce, Aad::from(clear), body);
        sealed.map_err(|_| Refused)
    }

    /// Decrypts in place what ends with its tag.
    pub(super) fn open<'a>(
        &self,
        nonce: [u8; GCM_SALT_BYTES],
        clear: &[u8],
        body_and_tag: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self.key.open_in_place(nonce, Aad::from(clear), body_and_tag);
        opened.ok().map(|body| &*body)
    }
}

/// AES-128 in counter mode, with HMAC-SHA1 of which 80 bits are sent.
pub(super) struct Counter {
    key: EncryptingKey,
    authentication: hmac::Key,
    salt: [u8; COUNTER_SALT_BYTES],
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").finish_non_exhaustive()
    }
}

impl Counter {
    pub(super) fn new(key: &[u8], authentication: &[u8], salt: [u8; COUNTER_SALT_BYTES]) -> Result<Self, Refused> {
        Ok(Self {
            key: counter_key(key)?,
            authentication: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, authentication),
            salt,
        })
    }

    /// Encrypts or decrypts in place.
    pub(super) fn keystream(&self, ssrc: u32, index: u64, body: &mut [u8]) -> Result<(), Refused> {
        let [a, b, c, d] = ssrc.to_be_bytes();
        let [_, _, e, f, g, h, i, j] = index.to_be_bytes();
        let mut block = [0, 0, 0, 0, a, b, c, d, e, f, g, h, i, j, 0, 0];
        for (byte, salt) in block.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        keystream(&self.key, block, body)
    }

    pub(super) fn tag(&self, parts: &[&[u8]]) -> [u8; SHORT_TAG_BYTES] {
        let mut context = hmac::Context::with_key(&self.authentication);
        for part in parts {
            context.update(part);
        }
        let mut tag = [0; SHORT_TAG_BYTES];
        for (byte, whole) in tag.iter_mut().zip(context.sign().as_ref()) {
            *byte = *whole;
        }
        tag
    }

    pub(super) fn is_tag(&self, parts: &[&[u8]], tag: &[u8; SHORT_TAG_BYTES]) -> bool {
        verify_slices_are_equal(&self.tag(parts), tag).is_ok()
    }
}

fn counter_key(key: &[u8]) -> Result<EncryptingKey, Refused> {
    let algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
    let key = UnboundCipherKey::new(algorithm, key).map_err(|_| Refused)?;
    EncryptingKey::ctr(key).map_err(|_| Refused)
}

fn keystream(key: &EncryptingKey, block: [u8; BLOCK_BYTES], body: &mut [u8]) -> Result<(), Refused> {
    let context = EncryptionContext::Iv128(block.into());
    key.less_safe_encrypt(body, context).map_err(|_| Refused)?;
    Ok(())
}
