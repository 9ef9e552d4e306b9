//! The DTLS handshake of a session (RFC 5764), over the DTLS that str0m brings.
//!
//! Belongs here: opening or awaiting the handshake, holding the peer's certificate against its offer, the keys that come of it, goodbyes. Does not
//! belong here: the way that its datagrams go ([`super::ice`]), what the keys are used for ([`super::srtp`]).

use std::time::Instant;

use str0m::config::DtlsVersion;
use str0m::crypto::dtls::{DtlsInstance, DtlsOutput};

use super::super::Identity;
use super::srtp::Srtp;

/// Largest datagram of the handshake.
const DATAGRAM_BYTES: usize = 1_150;
/// Largest datagram of the peer that is looked at: a handshake is cut to fit the way (RFC 6347 §4.1.1).
const MAX_TAKEN_BYTES: usize = 2_048;
/// Room for what DTLS hands out: its datagrams, and what the peer sends for nobody to read.
const OUTPUT_BYTES: usize = 2_048;
/// The same until the peer's certificate is there. DTLS panics when there is no room for that; more than it keeps of datagrams (30) does not come of it.
const CERTIFICATE_BYTES: usize = 32 * MAX_TAKEN_BYTES;

/// What came of a step.
pub(super) enum Told {
    /// Datagrams are to be sent to the peer.
    Datagram(Box<[u8]>),
    /// It is through, the peer is who it said it was, and these are the keys.
    Connected(Box<Srtp>),
    /// The peer said goodbye.
    Left,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Handshake {
    dtls: Box<dyn DtlsInstance>,
    /// Of the peer's certificate, as it said.
    fingerprint: [u8; 32],
    verified: bool,
    keys: Option<Box<Srtp>>,
    timeout: Instant,
}

impl Handshake {
    /// Opened by us when `active`, which then has something to say at once.
    pub(super) fn new(identity: &Identity, fingerprint: [u8; 32], active: bool, now: Instant) -> Result<Self, String> {
        let provider = identity.crypto.dtls_provider;
        let mut dtls = provider
            .new_dtls(&identity.certificate, now, DtlsVersion::Dtls12, Some(DATAGRAM_BYTES))
            .map_err(|error| error.to_string())?;
        dtls.set_active(active);
        dtls.handle_timeout(now).map_err(|error| error.to_string())?;
        if active {
            // An empty datagram is what makes it say hello; that it is no record is no error.
            let _ = dtls.handle_packet(&[]);
        }
        Ok(Self {
            dtls,
            fingerprint,
            verified: false,
            keys: None,
            timeout: now,
        })
    }

    /// Takes a datagram in.
    pub(super) fn receive(
        &mut self,
        datagram: &[u8],
        now: Instant,
        identity: &Identity,
        told: &mut dyn FnMut(Told),
    ) -> Result<(), String> {
        if datagram.len() > MAX_TAKEN_BYTES {
            return Ok(());
        }
        let clock = self.dtls.handle_timeout(now);
        clock.map_err(|error| format!("DTLS: {error}"))?;
        let taken = self.dtls.handle_packet(datagram);
        // What is to be sent is, also by a handshake that broke: the peer learns why.
        let polled = self.poll(identity, told);
        taken.map_err(|error| format!("DTLS: {error}")).and(polled)
    }

    /// To be called at [`Handshake::poll_timeout`].
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        identity: &Identity,
        told: &mut dyn FnMut(Told),
    ) -> Result<(), String> {
        if self.timeout > now {
            return Ok(());
        }
        let clock = self.dtls.handle_timeout(now);
        clock.map_err(|error| format!("DTLS: {error}"))?;
        self.poll(identity, told)
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.timeout
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, identity: &Identity, told: &mut dyn FnMut(Told)) {
        // What fails here would have been a courtesy.
        let _ = self.dtls.close();
        let _ = self.poll(identity, told);
    }

    fn poll(&mut self, identity: &Identity, told: &mut dyn FnMut(Told)) -> Result<(), String> {
        let mut small = [0; OUTPUT_BYTES];
        let mut large = vec![0; if self.verified { 0 } else { CERTIFICATE_BYTES }];
        let mut connected = false;
        loop {
            let room = if large.is_empty() {
                &mut small[..]
            } else {
                &mut large[..]
            };
            match self.dtls.poll_output(room) {
                DtlsOutput::Packet(datagram) => told(Told::Datagram(datagram.into())),
                DtlsOutput::BufferTooSmall { .. } => return Err("DTLS: a record that is too large".to_owned()),
                DtlsOutput::Timeout(at) => {
                    self.timeout = at;
                    break;
                }
                DtlsOutput::PeerCert(certificate) => {
                    let digest = identity.crypto.sha256_provider.sha256(certificate);
                    if digest != self.fingerprint {
                        return Err("the peer has another certificate than its offer says".to_owned());
                    }
                    self.verified = true;
                }
                DtlsOutput::KeyingMaterial(material, profile) => {
                    let keys = Srtp::new(profile, &material, self.dtls.is_active());
                    self.keys = Some(Box::new(keys.map_err(|error| error.to_string())?));
                }
                DtlsOutput::Connected => connected = true,
                DtlsOutput::CloseNotify => told(Told::Left),
                // There are no data channels.
                _ => {}
            }
        }
        if connected {
            if !self.verified {
                return Err("the peer has shown no certificate".to_owned());
            }
            // The keys come right behind the end of the handshake.
            told(Told::Connected(
                self.keys.take().ok_or("the peer has agreed on no SRTP")?,
            ));
        }
        Ok(())
    }
}
