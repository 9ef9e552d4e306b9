//! Frames to another server.
//!
//! Belongs here: announcing our tracks, sending a reader's frames, sender reports. Does not belong here: where the frames come
//! from; they are read from a hub, so that a slow connection jumps to a keyframe like any viewer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::hub::{Entry, Event as HubEvent, Reader};
use media::stats::SessionStats;
use media::{Track, WallTime};
use protocol::rtp::{Framing, Packetizer, rtcp};
use protocol::rtsp::client::{Event, Mode};
use protocol::sdp;

use super::super::forms::packetizers;
use super::super::udp::Port;
use super::link::{Input, Link};
use super::{Error, Settings, Url};

/// Time between sender reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Sends a stream to another server.
pub struct Sender {
    link: Link,
    /// By track.
    outlets: Vec<Outlet>,
    scratch: Vec<u8>,
    next_report: Instant,
}

/// How a track is sent, and what was sent of it.
struct Outlet {
    packetizer: Packetizer,
    /// Of the next packet.
    sequence: u16,
    packets: u32,
    bytes: u32,
    /// Capture time and RTP timestamp of the newest frame.
    newest: Option<(WallTime, u32)>,
}

impl Sender {
    /// Connects and announces the tracks, which came through the servers of `via`. Returns when the server takes media.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn connect(
        url: Url,
        name: &str,
        tracks: &[Track],
        via: Option<String>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let described = sdp::tracks(tracks);
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let session = sdp::Describe {
            name,
            address,
            session_id: (settings.random)() >> 1,
        };
        let mode = Mode::Publish {
            sdp: sdp::describe(&session, &described),
            controls: (0..described.len()).map(|track| format!("trackID={track}")).collect(),
            via,
        };
        let outlet = |packetizer: Packetizer| Outlet {
            sequence: packetizer.config().first_sequence,
            packetizer,
            packets: 0,
            bytes: 0,
            newest: None,
        };
        let outlets = packetizers(tracks, settings.random).into_iter().map(outlet).collect();
        let now = settings.clock.now();
        let mut link = Link::connect(url, mode, settings).await?;
        while !matches!(link.next().await?, Input::Event(Event::Recording)) {}
        Ok(Self {
            link,
            outlets,
            scratch: Vec::new(),
            next_report: now,
        })
    }

    /// Sends what the reader gives until the connection or the stream ends. `stats` counts.
    ///
    /// # Errors
    /// Always ends with one: [`Error::SourceEnded`] when the stream ended, else what broke.
    pub async fn run(&mut self, reader: &mut Reader, stats: &SessionStats) -> Result<(), Error> {
        let mut frames: Vec<Arc<Entry>> = Vec::new();
        loop {
            tokio::select! {
                // What was sent must be gone before more is taken: the ring is the queue, and knows where to jump.
                event = reader.next(&mut frames), if self.link.is_written() => match event {
                    HubEvent::Frames(_) => {
                        for entry in frames.drain(..) {
                            self.send(&entry, stats)?;
                        }
                    }
                    HubEvent::Jumped { frames_skipped } => {
                        stats.jumps.add(1);
                        stats.frames_dropped.add(frames_skipped);
                    }
                    HubEvent::Tracks(_) | HubEvent::Ended(_) => return Err(Error::SourceEnded),
                },
                input = self.link.next() => match input? {
                    Input::Packet { .. } | Input::Event(_) | Input::Woken | Input::Written => {}
                },
            }
        }
    }

    /// Takes leave of the server. Waits for its answer for a moment.
    pub async fn close(self) {
        self.link.close().await;
    }

    fn send(&mut self, entry: &Entry, stats: &SessionStats) -> Result<(), Error> {
        let track = usize::from(entry.frame.track.0);
        let framing = match self.link.channels(track) {
            Some((channel, _)) => Framing::Interleaved { channel },
            None => Framing::Datagram,
        };
        let Some(outlet) = self.outlets.get_mut(track) else {
            return Ok(());
        };
        let (frame, bytes) = (&entry.frame, &mut self.scratch);
        let timestamp = outlet.packetizer.timestamp(frame.time);
        bytes.clear();
        let ranges = outlet
            .packetizer
            .render(frame, outlet.sequence, timestamp, framing, bytes);
        match framing {
            Framing::Interleaved { .. } => self.link.write(bytes)?,
            Framing::Datagram => {
                for packet in ranges.packets() {
                    self.link.send(track, Port::Rtp, bytes.get(packet).unwrap_or_default());
                }
            }
        }
        stats.frames.add(1);
        stats.keyframes.add(u64::from(frame.keyframe));
        stats.packets.add(u64::from(ranges.len()));
        stats.bytes.add(bytes.len() as u64);
        outlet.sequence = outlet.sequence.wrapping_add(ranges.len());
        outlet.packets = outlet.packets.wrapping_add(u32::from(ranges.len()));
        outlet.bytes = outlet.bytes.wrapping_add(frame.data.len() as u32);
        outlet.newest = Some((frame.capture.at, timestamp));
        self.report_if_due()
    }

    /// Reports go out behind a frame, so that the first one already tells when that frame was captured.
    fn report_if_due(&mut self) -> Result<(), Error> {
        let clock = self.link.settings().clock.clone();
        let now = clock.now();
        if now < self.next_report {
            return Ok(());
        }
        self.next_report = now + REPORT_INTERVAL;
        let wall = clock.wall();
        for (track, outlet) in self.outlets.iter().enumerate() {
            let Some((captured, timestamp)) = outlet.newest else {
                continue;
            };
            let hz = i128::from(outlet.packetizer.clock().hz());
            let ticks = i128::from(wall.micros_since(captured)) * hz / 1_000_000;
            let info = rtcp::SenderInfo {
                ssrc: outlet.packetizer.config().ssrc,
                ntp: wall.to_ntp(),
                rtp_timestamp: timestamp.wrapping_add(ticks as u32),
                packets: outlet.packets,
                bytes: outlet.bytes,
            };
            let mut report = Vec::new();
            rtcp::write_sender_report(info, &[], "sightline", &mut report);
            self.link.send_report(track, &report)?;
        }
        Ok(())
    }
}
