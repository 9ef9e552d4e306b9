//! SRTP and SRTCP (RFC 3711, RFC 7714).
//!
//! Belongs here: session keys derived from the master keys of a handshake, sealing packets in place, opening RTCP and refusing what was there
//! before. Does not belong here: where the master keys come from ([`super::handshake`]), what packets say.
//!
//! A viewer sends RTP and both send RTCP, so packets of RTP are never opened here. There is no rekeying: a session ends long before its 2^48
//! packets. All sources of a session share the keys, as RFC 3711 §4.3 has it; a packet's number and source make its nonce.

mod cipher;

use str0m::config::KeyingMaterial;
use str0m::crypto::dtls::SrtpProfile;

use self::cipher::{Cipher, Labels, Master};

/// Bytes of an RTCP packet that stay readable: its first header and source.
const CLEAR_BYTES: usize = 8;
/// The number of an SRTCP packet, and whether it is encrypted.
const INDEX_BYTES: usize = 4;
const ENCRYPTED: u32 = 1 << 31;
/// Sources of RTCP that are told apart. More than these are not heard.
const MAX_SOURCES: usize = 32;

/// The library refused: a packet beyond the limits of the cipher, or keys that are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SRTP: the cryptographic library refused")]
pub(in crate::webrtc) struct Refused;

/// The keys of one session, in both directions.
#[derive(Debug)]
pub(in crate::webrtc) struct Srtp {
    rtp: Cipher,
    rtcp: Cipher,
    /// Of the next packet of RTCP, of whichever source.
    rtcp_index: u32,
    theirs: Cipher,
    replay: Replay,
}

impl Srtp {
    /// From what a handshake exported (RFC 5764 §4.2). `client`: we opened it.
    pub(super) fn new(profile: SrtpProfile, material: &KeyingMaterial, client: bool) -> Result<Self, Refused> {
        let (key_bytes, salt_bytes) = cipher::master_bytes(profile).ok_or(Refused)?;
        let mut rest: &[u8] = material;
        let mut take = |bytes| {
            let (piece, tail) = rest.split_at_checked(bytes).ok_or(Refused)?;
            rest = tail;
            Ok(piece)
        };
        let keys = [take(key_bytes)?, take(key_bytes)?];
        let salts = [take(salt_bytes)?, take(salt_bytes)?];
        let [of_client, of_server] = [(keys[0], salts[0]), (keys[1], salts[1])];
        let (ours, theirs) = if client {
            (of_client, of_server)
        } else {
            (of_server, of_client)
        };
        let (ours, theirs) = (Master::new(ours.0, ours.1)?, Master::new(theirs.0, theirs.1)?);
        Ok(Self {
            rtp: Cipher::derive(profile, &ours, Labels::RTP)?,
            rtcp: Cipher::derive(profile, &ours, Labels::RTCP)?,
            rtcp_index: 0,
            theirs: Cipher::derive(profile, &theirs, Labels::RTCP)?,
            replay: Replay::default(),
        })
    }

    /// Seals the packet of RTP that `out` holds from `start` on: everything behind its first `header_bytes`. `index` is its number, extended
    /// by how often the sixteen bits came round; it must be another for each packet of a source.
    pub(in crate::webrtc) fn seal_rtp(
        &self,
        out: &mut Vec<u8>,
        start: usize,
        header_bytes: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), Refused> {
        let packet = out.get_mut(start..).ok_or(Refused)?;
        let (header, body) = packet.split_at_mut_checked(header_bytes).ok_or(Refused)?;
        match &self.rtp {
            Cipher::Gcm(gcm) => {
                let tag = gcm.seal(gcm.nonce(ssrc, index), header, body)?;
                out.extend_from_slice(tag.as_ref());
            }
            Cipher::Counter(counter) => {
                counter.keystream(ssrc, index, body)?;
                let rounds = ((index >> 16) as u32).to_be_bytes();
                let tag = counter.tag(&[packet, &rounds]);
                out.extend_from_slice(&tag);
            }
        }
        Ok(())
    }

    /// Seals the compound packet of RTCP that `out` holds from `start` on.
    pub(in crate::webrtc) fn seal_rtcp(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), Refused> {
        let index = self.rtcp_index;
        if index >= ENCRYPTED {
            return Err(Refused);
        }
        let packet = out.get_mut(start..).ok_or(Refused)?;
        let (head, body) = packet.split_first_chunk_mut::<CLEAR_BYTES>().ok_or(Refused)?;
        let ssrc = source(*head);
        let word = (ENCRYPTED | index).to_be_bytes();
        match &self.rtcp {
            Cipher::Gcm(gcm) => {
                let tag = gcm.seal(gcm.nonce(ssrc, index.into()), &clear(*head, word), body)?;
                out.extend_from_slice(tag.as_ref());
                out.extend_from_slice(&word);
            }
            Cipher::Counter(counter) => {
                counter.keystream(ssrc, index.into(), body)?;
                let tag = counter.tag(&[packet, &word]);
                out.extend_from_slice(&word);
                out.extend_from_slice(&tag);
            }
        }
        self.rtcp_index = index + 1;
        Ok(())
    }

    /// Opens a packet of RTCP. `None` for one that is not the peer's, or that was there before.
    pub(super) fn open_rtcp(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (head, rest) = sealed.split_first_chunk::<CLEAR_BYTES>()?;
        let ssrc = source(*head);
        let mut opened = Vec::with_capacity(sealed.len());
        let index = match &self.theirs {
            Cipher::Gcm(gcm) => {
                let (body, word) = rest.split_last_chunk::<INDEX_BYTES>()?;
                let index = self.replay.expects(ssrc, *word)?;
                opened.extend_from_slice(body);
                let body_bytes = gcm
                    .open(gcm.nonce(ssrc, index.into()), &clear(*head, *word), &mut opened)?
                    .len();
                opened.truncate(body_bytes);
                opened.splice(..0, *head);
                index
            }
            Cipher::Counter(counter) => {
                let (packet, tag) = sealed.split_last_chunk::<{ cipher::SHORT_TAG_BYTES }>()?;
                let (packet, word) = packet.split_last_chunk::<INDEX_BYTES>()?;
                let index = self.replay.expects(ssrc, *word)?;
                if !counter.is_tag(&[packet, word], tag) {
                    return None;
                }
                opened.extend_from_slice(packet);
                counter
                    .keystream(ssrc, index.into(), opened.get_mut(CLEAR_BYTES..)?)
                    .ok()?;
                index
            }
        };
        self.replay.note(ssrc, index);
        Some(opened)
    }
}

fn source(head: [u8; CLEAR_BYTES]) -> u32 {
    let [_, _, _, _, a, b, c, d] = head;
    u32::from_be_bytes([a, b, c, d])
}

/// What of an RTCP packet is authenticated without being encrypted (RFC 7714 §9.2).
fn clear(head: [u8; CLEAR_BYTES], word: [u8; INDEX_BYTES]) -> [u8; CLEAR_BYTES + INDEX_BYTES] {
    let ([a, b, c, d, e, f, g, h], [i, j, k, l]) = (head, word);
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// Which packets of RTCP were there (RFC 3711 §3.3.2): for each source the highest number, and of the 64 up to it those that came.
#[derive(Debug, Default)]
struct Replay {
    sources: Vec<(u32, Window)>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    highest: u32,
    /// Bit n: the packet n below the highest came.
    came: u64,
}

impl Replay {
    /// The number in the word at a packet's end, when it is encrypted and may be new. Only known of a packet that turns out to be the peer's.
    fn expects(&self, ssrc: u32, word: [u8; INDEX_BYTES]) -> Option<u32> {
        let word = u32::from_be_bytes(word);
        let index = word & !ENCRYPTED;
        let known = self.sources.iter().find(|(source, _)| *source == ssrc);
        let fits = match known {
            Some((_, window)) => window.expects(index),
            None => self.sources.len() < MAX_SOURCES,
        };
        // What is not encrypted was never agreed on.
        (word & ENCRYPTED != 0 && fits).then_some(index)
    }

    fn note(&mut self, ssrc: u32, index: u32) {
        match self.sources.iter_mut().find(|(source, _)| *source == ssrc) {
            Some((_, window)) => window.note(index),
            None => self.sources.push((
                ssrc,
                Window {
                    highest: index,
                    came: 1,
                },
            )),
        }
    }
}

impl Window {
    fn expects(self, index: u32) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(below) => below < u64::BITS && self.came >> below & 1 == 0,
        }
    }

    fn note(&mut self, index: u32) {
        if let Some(below) = self.highest.checked_sub(index) {
            self.came |= 1_u64.checked_shl(below).unwrap_or(0);
            return;
        }
        self.came = self.came.checked_shl(index - self.highest).unwrap_or(0) | 1;
        self.highest = index;
    }
}

#[cfg(test)]
mod tests;
