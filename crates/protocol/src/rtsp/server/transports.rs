//! The choice among the transports that a SETUP offers.

use super::super::message::{Request, Response, Status};
use super::super::transport::{Lower, Transport};
use super::session::Session;
use super::{Action, Refusal, SetUpTransport};

impl Session {
    /// The first offer that can be served, and the answer to it but for what the driver adds.
    pub(super) fn choose_transport(
        &self,
        request: &Request,
        action: Action,
        index: usize,
    ) -> Result<(SetUpTransport, Transport), Response> {
        let tracks = self.media.as_ref().map_or(&[][..], |media| &media.tracks);
        let mut others = tracks.iter().filter(|track| track.index != index);
        let bound_to = others.next().map(|track| track.transport.is_interleaved());
        let offers: Vec<Transport> = request
            .headers
            .all("Transport")
            .flat_map(Transport::parse_list)
            .collect();
        if action == Action::View && offers.iter().any(|offer| offer.record) {
            let why = "SETUP with mode=record comes after ANNOUNCE";
            return Err(Refusal::because(Status::NOT_VALID_IN_THIS_STATE, why).into());
        }
        for offer in offers.iter().filter(|offer| !offer.multicast) {
            let transport = match offer.lower {
                Lower::Tcp if self.config.interleaved && bound_to != Some(false) => self.channels(offer, index),
                Lower::Udp { .. } if self.config.udp && bound_to != Some(true) => {
                    offer.client_port.map(|(client_rtp, client_rtcp)| SetUpTransport::Udp {
                        client_rtp,
                        client_rtcp,
                    })
                }
                _ => None,
            };
            if let Some(transport) = transport {
                let mut answer = Transport::new(offer.lower.clone());
                match transport {
                    SetUpTransport::Interleaved { rtp, rtcp } => answer.interleaved = Some((rtp, rtcp)),
                    SetUpTransport::Udp { .. } => answer.client_port = offer.client_port,
                }
                answer.record = action == Action::Publish;
                return Ok((transport, answer));
            }
        }
        Err(self.unsupported(bound_to))
    }

    /// The channels asked for, or the first free pair where they are missing, equal or another track's.
    fn channels(&self, offer: &Transport, index: usize) -> Option<SetUpTransport> {
        let tracks = self.media.as_ref().map_or(&[][..], |media| &media.tracks);
        let is_free = |channel: u8| {
            tracks
                .iter()
                .filter(|track| track.index != index)
                .all(|track| match track.transport {
                    SetUpTransport::Interleaved { rtp, rtcp } => channel != rtp && channel != rtcp,
                    SetUpTransport::Udp { .. } => true,
                })
        };
        let asked = offer.interleaved.into_iter();
        let pairs = (0..=u8::MAX).step_by(2).map(|rtp| (rtp, rtp | 1));
        let (rtp, rtcp) = asked
            .chain(pairs)
            .find(|&(rtp, rtcp)| rtp != rtcp && is_free(rtp) && is_free(rtcp))?;
        Some(SetUpTransport::Interleaved { rtp, rtcp })
    }

    fn unsupported(&self, bound_to: Option<bool>) -> Response {
        let interleaved = self.config.interleaved && bound_to != Some(false);
        let udp = self.config.udp && bound_to != Some(true);
        let supported = match (interleaved, udp) {
            (true, true) => "RTP/AVP/TCP;unicast;interleaved=0-1 and RTP/AVP;unicast;client_port=5000-5001 are",
            (true, false) => "RTP/AVP/TCP;unicast;interleaved=0-1 is",
            (false, true) => "RTP/AVP;unicast;client_port=5000-5001 is",
            (false, false) => "nothing is",
        };
        let of = if bound_to.is_some() {
            " beside this session's other tracks"
        } else {
            ""
        };
        let why = format!("Unsupported Transport: {supported} supported{of}");
        Refusal::because(Status::UNSUPPORTED_TRANSPORT, why).into()
    }
}
