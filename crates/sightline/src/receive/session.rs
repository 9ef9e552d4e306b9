//! Playing for ever: connect, receive, connect again.
//!
//! Belongs here: when and how often to try again, the line once a second. Does not belong here: decoding ([`super::worker`]).

use std::io::{self, Write as _};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use protocol::rtsp::client as session;
use tokio::sync::watch;

use super::report::Totals;
use super::worker::{Sink, Worker};
use super::{Error, Options};
use crate::rtsp::client::{self, Player};

/// First wait before connecting again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest wait: a person who has mended what was wrong looks at the screen.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest time that a line is written for at the end.
const SHORTEST_LINE: Duration = Duration::from_millis(250);

/// Receives until `quit`, and takes leave of the server.
pub(super) async fn run(options: &Options, sink: Sink, mut quit: watch::Receiver<bool>) -> Result<(), Error> {
    let worker = Worker::start(sink, options.client.clock.clone()).map_err(super::system("start a thread"))?;
    let now = options.client.clock.now();
    let mut receiving = Receiving {
        options,
        worker,
        lost_before: 0,
        bytes_before: 0,
        reconnections: 0,
        last_line: now,
        last_error: None,
        ever_played: false,
        is_unread: false,
        has_line: false,
    };
    let ended = receiving.play_for_ever(&mut quit).await;
    let pictures = receiving.worker.shared.pictures.load(Relaxed);
    let trouble = receiving
        .worker
        .shared
        .trouble
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let last_error = receiving.last_error.take();
    let is_unread = receiving.is_unread;
    let finished = tokio::task::block_in_place(|| receiving.worker.finish());
    ended.and(finished)?;
    if pictures == 0 && !is_unread {
        let why = last_error
            .or(trouble)
            .unwrap_or_else(|| "the time was over before the first one; give it more with --seconds".to_owned());
        return Err(Error::NoPicture {
            url: format!("{:?}", options.url),
            why,
        });
    }
    Ok(())
}

struct Receiving<'a> {
    options: &'a Options,
    worker: Worker,
    /// Of connections that are over.
    lost_before: u64,
    /// Of the current connection, at the last line.
    bytes_before: u64,
    reconnections: u64,
    last_line: Instant,
    last_error: Option<String>,
    ever_played: bool,
    /// Who read the lines has seen enough (`| head`).
    is_unread: bool,
    /// There was a line.
    has_line: bool,
}

/// How a connection came to its end.
enum Over {
    /// It is no longer wanted: the program is to end, or the decoding thread has.
    Unwanted,
    /// The lines cannot be written.
    Output(io::Error),
    /// It broke, or there was none.
    Lost(client::Error),
}

impl Receiving<'_> {
    async fn play_for_ever(&mut self, quit: &mut watch::Receiver<bool>) -> Result<(), Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.play(&mut pause, quit).await {
                Over::Unwanted => return Ok(()),
                // No failure, and nothing to say it to.
                Over::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.is_unread = true;
                    return Ok(());
                }
                Over::Output(error) => return Err(Error::Output(error)),
                Over::Lost(error) => error,
            };
            if !self.ever_played && is_final(&error) {
                return Err(Error::Refused(error));
            }
            let text = error.to_string();
            tracing::warn!(
                reason = text,
                "not receiving; trying again in {:.1} s",
                pause.as_secs_f64()
            );
            self.last_error = Some(text);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = quit.wait_for(|&quit| quit) => return Ok(()),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One connection.
    async fn play(&mut self, pause: &mut Duration, quit: &mut watch::Receiver<bool>) -> Over {
        let connected = tokio::select! {
            connected = Player::connect(self.options.url.clone(), self.options.client.clone()) => connected,
            _ = quit.wait_for(|&quit| quit) => return Over::Unwanted,
        };
        let mut player = match connected {
            Ok(player) => player,
            Err(error) => return Over::Lost(error),
        };
        let codecs: Vec<_> = player.tracks().map(|track| track.format.codec().name()).collect();
        let transport = if player.is_udp() { "UDP" } else { "TCP" };
        tracing::info!(url = ?self.options.url, codecs = codecs.join(", "), transport, "receiving");
        self.reconnections += u64::from(self.ever_played);
        self.ever_played = true;
        self.bytes_before = 0;
        self.worker.joined();
        let mut line = tokio::time::interval(LINE_INTERVAL);
        line.tick().await;
        self.last_line = self.options.client.clock.now();
        let over = loop {
            tokio::select! {
                received = player.next() => match received {
                    Ok(received) => {
                        *pause = FIRST_PAUSE;
                        if !self.worker.take(received) {
                            break Over::Unwanted;
                        }
                    }
                    Err(error) => return self.lost(&player, error),
                },
                _ = line.tick() => if let Err(error) = self.line(&player) {
                    break Over::Output(error);
                },
                _ = quit.wait_for(|&quit| quit) => break match self.last_line(&player) {
                    Ok(()) => Over::Unwanted,
                    Err(error) => Over::Output(error),
                },
            }
        };
        player.close().await;
        over
    }

    fn lost(&mut self, player: &Player, error: client::Error) -> Over {
        self.lost_before += lost(player);
        Over::Lost(error)
    }

    /// The last line, of less than a second: nothing is told by a moment, unless it is all there was.
    fn last_line(&mut self, player: &Player) -> io::Result<()> {
        let now = self.options.client.clock.now();
        if self.has_line && now.saturating_duration_since(self.last_line) < SHORTEST_LINE {
            return Ok(());
        }
        self.line(player)
    }

    fn line(&mut self, player: &Player) -> io::Result<()> {
        let now = self.options.client.clock.now();
        let begun = std::mem::replace(&mut self.last_line, now);
        self.has_line = true;
        let bytes: u64 = player.stats().map(|track| track.received.bytes).sum();
        let dropped: u64 = player.stats().map(|track| track.received.units_dropped).sum();
        let totals = Totals {
            bytes_in_second: bytes.saturating_sub(self.bytes_before),
            packets_lost: self.lost_before + lost(player),
            frames_lost: dropped + self.worker.shared.lost.load(Relaxed),
            frames_skipped: self.worker.skipped(),
            reconnections: self.reconnections,
        };
        self.bytes_before = bytes;
        let second = self
            .worker
            .shared
            .collector
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(begun, now, totals);
        let text = if self.options.json {
            // Cannot fail: numbers and fixed names.
            serde_json::to_string(&second).unwrap_or_default()
        } else {
            second.to_string()
        };
        writeln!(io::stdout().lock(), "{text}")?;
        if let Some(trouble) = self
            .worker
            .shared
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            tracing::warn!(reason = trouble, "a frame gave no picture");
        }
        Ok(())
    }
}

fn lost(player: &Player) -> u64 {
    // Below zero when more came twice than was lost.
    player
        .stats()
        .map(|track| u64::try_from(track.received.lost).unwrap_or(0))
        .sum()
}

/// Whether trying again cannot help until a person changes something.
fn is_final(error: &client::Error) -> bool {
    matches!(
        error,
        client::Error::Tls { .. }
            | client::Error::Certificate { .. }
            | client::Error::Session(
                session::Error::WrongLogin { .. }
                    | session::Error::LoginNeeded { .. }
                    | session::Error::UnknownLogin { .. }
                    | session::Error::Forbidden { .. }
            )
    )
}
