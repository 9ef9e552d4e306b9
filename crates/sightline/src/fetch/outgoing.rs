//! What is sent, all at once or no faster than it may.

use std::future::Future as _;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// Pieces of what is paced: small enough that others' packets come in between, large enough that the timer costs nothing.
const PIECE_BYTES: usize = 16 << 10;

/// The body of a request.
pub(super) struct Outgoing {
    left: Bytes,
    pace: Option<Pace>,
}

struct Pace {
    bytes_per_second: NonZeroU64,
    /// When the next piece may go.
    next: Pin<Box<Sleep>>,
}

impl Outgoing {
    /// `bytes_per_second`: how fast at the most.
    pub(super) fn new(bytes: Bytes, bytes_per_second: Option<NonZeroU64>) -> Self {
        let pace = bytes_per_second
            .filter(|_| !bytes.is_empty())
            .map(|bytes_per_second| Pace {
                bytes_per_second,
                next: Box::pin(tokio::time::sleep(Duration::ZERO)),
            });
        Self { left: bytes, pace }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let Some(pace) = &mut self.pace else {
            let all = std::mem::take(&mut self.left);
            return Poll::Ready(Some(Ok(Frame::data(all))));
        };
        if pace.next.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let rate = pace.bytes_per_second.get();
        let bytes = PIECE_BYTES.min(self.left.len());
        let takes = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / rate);
        if let Some(pace) = &mut self.pace {
            // From now on, not from when it was due: what was held up is not made good in a burst.
            pace.next.as_mut().reset(Instant::now() + takes);
        }
        let piece = self.left.split_to(bytes);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn what_is_paced_takes_its_time_and_is_whole() {
        let sent = Bytes::from(vec![7; 100_000]);
        let begun = Instant::now();
        let body = Outgoing::new(sent.clone(), NonZeroU64::new(500_000));
        assert_eq!(body.size_hint().exact(), Some(100_000));
        assert_eq!(body.collect().await.unwrap().to_bytes(), sent);
        // All but the last piece were waited for.
        assert!(
            begun.elapsed() >= Duration::from_millis(6 * 32),
            "{:?}",
            begun.elapsed()
        );
        let all = Outgoing::new(sent.clone(), None).collect().await.unwrap();
        assert_eq!(all.to_bytes(), sent);
        assert!(Outgoing::new(Bytes::new(), NonZeroU64::new(1)).is_end_stream());
    }
}
