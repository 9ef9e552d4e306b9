/** Each picture as it comes onto the screen. */

export interface Picture {
  /** When it was handed to the screen, by `performance.now()`. */
  readonly callbackMs: number;
  /** When the browser expects it on the screen. */
  readonly displayMs: number;
  /** When its last packet came. WebRTC only. */
  readonly receivedMs: number | null;
  /** How long it was decoded. */
  readonly decodingMs: number | null;
  /** WebRTC only. */
  readonly rtpTimestamp: number | null;
  /** Position in the media, seconds. */
  readonly mediaTimeS: number;
}

/** Calls for each new picture until told to stop. Browsers without `requestVideoFrameCallback` tell only that there are new ones. */
export function watchPictures(video: HTMLVideoElement, call: (picture: Picture) => void): () => void {
  return 'requestVideoFrameCallback' in video ? byFrames(video, call) : byProgress(video, call);
}

function byFrames(video: HTMLVideoElement, call: (picture: Picture) => void): () => void {
  let handle = 0;
  const next = (callbackMs: number, frame: VideoFrameCallbackMetadata): void => {
    handle = video.requestVideoFrameCallback(next);
    const displayMs = frame.expectedDisplayTime;
    call({
      callbackMs,
      // The callback may come after it: a page that is busy is told late.
      displayMs: Math.abs(displayMs - callbackMs) < BELIEVABLE_MS ? displayMs : callbackMs,
      receivedMs: frame.receiveTime ?? null,
      decodingMs: frame.processingDuration === undefined ? null : frame.processingDuration * 1_000,
      rtpTimestamp: frame.rtpTimestamp ?? null,
      mediaTimeS: frame.mediaTime,
    });
  };
  handle = video.requestVideoFrameCallback(next);
  return () => video.cancelVideoFrameCallback(handle);
}

function byProgress(video: HTMLVideoElement, call: (picture: Picture) => void): () => void {
  let shown = 0;
  const timer = setInterval(() => {
    const frames = video.getVideoPlaybackQuality().totalVideoFrames;
    if (frames === shown) return;
    shown = frames;
    const now = performance.now();
    call({
      callbackMs: now,
      displayMs: now,
      receivedMs: null,
      decodingMs: null,
      rtpTimestamp: null,
      mediaTimeS: video.currentTime,
    });
  }, 250);
  return () => clearInterval(timer);
}

/** A screen is no further away than this; else it is the time of another clock. */
const BELIEVABLE_MS = 500;
