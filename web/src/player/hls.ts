/** Playing by LL-HLS: hls.js where the browser has Media Source Extensions, else the browser itself. */
import type { Fragment, FragParsedData, HlsConfig } from 'hls.js';
import { Dates } from './dates';
import { Edge } from './edge';
import { Ladder } from './ladder';
import { watchPictures, type Picture } from './pictures';
import { kindOf, wordsIn, type Failure, type FailureKind, type Listener, type Session } from './session';

/** Capture time of a picture by the list, and how much lies ready behind it. */
export interface ListTimes {
  /** Server's UTC, ms since 1970; `null` where the list does not say. */
  readonly capturedMs: number | null;
  readonly bufferedMs: number;
}

export function openHls(
  url: URL,
  video: HTMLVideoElement,
  listener: Listener,
  shown: (picture: Picture, times: ListTimes) => void,
): Session {
  let over = false;
  let playing: Playing | null = null;
  const edge = new Edge();

  const fail = (failure: Failure): void => {
    if (over) return;
    over = true;
    listener.failed(failure);
  };
  const unwatch = watchPictures(video, (picture) => {
    if (over) return;
    const bufferedMs = Math.max(0, bufferedEnd(video, picture.mediaTimeS) - picture.mediaTimeS) * 1_000;
    shown(picture, { capturedMs: playing?.capturedMs(picture.mediaTimeS) ?? null, bufferedMs });
    listener.picture();
    if (!playing?.ours) return;
    playing.shows();
    const { rate, skipMs } = edge.add(picture.callbackMs, bufferedMs);
    if (video.playbackRate !== rate) video.playbackRate = rate;
    if (skipMs > 0) video.currentTime += skipMs / 1_000;
  });
  const waiting = (): void => {
    edge.stalled(performance.now());
    playing?.stalled();
  };
  const plays = (): void => playing?.plays();
  video.addEventListener('waiting', waiting);
  video.addEventListener('playing', plays);
  const ended = (): void => fail({ kind: 'ended', message: 'the stream is over' });
  video.addEventListener('ended', ended);

  const begin = async (): Promise<void> => {
    const begun = hasMediaSource() ? await byLibrary(url, video, listener, fail) : natively(url, video, fail);
    if (over) begun.close();
    else playing = begun;
  };
  begin().catch((error: unknown) => fail({ kind: 'unreachable', message: `the HLS player cannot be loaded (${String(error)})` }));

  const quiet = (): void => {
    over = true;
    unwatch();
    video.removeEventListener('ended', ended);
    video.removeEventListener('waiting', waiting);
    video.removeEventListener('playing', plays);
  };
  return {
    via: 'hls',
    arriving: () => video.buffered.length > 0,
    silence: () => {
      quiet();
      playing?.silence();
    },
    close: () => {
      quiet();
      playing?.close();
    },
  };
}

interface Playing {
  /** Whether how near to the edge it plays is ours to decide. */
  readonly ours: boolean;
  capturedMs(mediaTimeS: number): number | null;
  /** A picture is shown. */
  shows(): void;
  /** It stands still. */
  stalled(): void;
  /** It does not any more. */
  plays(): void;
  silence(): void;
  close(): void;
}

async function byLibrary(
  url: URL,
  video: HTMLVideoElement,
  listener: Listener,
  fail: (failure: Failure) => void,
): Promise<Playing> {
  const { default: Hls } = await import('hls.js');
  if (!Hls.isSupported()) return natively(url, video, fail);
  const hls = new Hls(SETTINGS);
  let recovered = false;
  const dates = new Dates();
  hls.on(Hls.Events.MANIFEST_PARSED, () => listener.connected());
  let loading: Fragment | null = null;
  hls.on(Hls.Events.FRAG_LOADING, (_, { frag }) => (loading = frag));
  hls.on(Hls.Events.FRAG_PARSED, (_, parsed) => date(parsed, dates));
  hls.on(Hls.Events.ERROR, (_, error) => {
    if (!error.fatal) return;
    if (error.type === Hls.ErrorTypes.MEDIA_ERROR && !recovered) {
      recovered = true;
      hls.recoverMediaError();
      return;
    }
    const status = error.response?.code ?? 0;
    const words = error.networkDetails instanceof XMLHttpRequest ? textOf(error.networkDetails, kindOf(status)) : '';
    if (status >= 400) fail({ kind: kindOf(status), message: words || `the server answered ${status}` });
    else if (error.type === Hls.ErrorTypes.NETWORK_ERROR) fail({ kind: 'unreachable', message: 'the server does not answer' });
    else fail({ kind: 'broken', message: `LL-HLS stopped: ${error.details}` });
  });
  hls.loadSource(url.href);
  hls.attachMedia(video);
  /** What it measured is forgotten, and so much believed until it has measured again. */
  const believe = (level: number, share: number): void => {
    const bits = hls.levels[level]?.maxBitrate;
    if (bits) hls.bandwidthEstimate = bits * share;
  };
  const ladder = new Ladder({
    now: () => performance.now(),
    after,
    down: (standing) => {
      if (!standing) return believe(hls.loadLevel - 1, JUST_ENOUGH);
      // A picture that stands while nothing is on its way waits for the publisher, or for what is as small as it gets.
      if (!loading?.loader || loading.level <= 0) return;
      believe(loading.level - 1, JUST_ENOUGH);
      // Else it would stand until all of it has come: a segment of a second takes two where half of its rate gets through.
      loading.abortRequests();
    },
    up: () => believe(hls.loadLevel + 1, ENOUGH),
  });
  return {
    ours: true,
    capturedMs: (mediaTimeS) => dates.at(mediaTimeS),
    shows: () => {
      if (hls.loadLevel >= 0) ladder.shows(hls.loadLevel, hls.levels.length);
    },
    stalled: () => ladder.stalled(),
    plays: () => ladder.plays(),
    silence: () => {
      ladder.close();
      hls.stopLoad();
    },
    close: () => {
      ladder.close();
      hls.destroy();
    },
  };
}

function natively(url: URL, video: HTMLVideoElement, fail: (failure: Failure) => void): Playing {
  const failed = (): void => fail({ kind: 'broken', message: video.error?.message || 'this browser cannot play it' });
  video.addEventListener('error', failed);
  video.src = url.href;
  const dated = video as HTMLVideoElement & { getStartDate?: () => Date };
  return {
    ours: false,
    capturedMs: (mediaTimeS) => {
      const start = dated.getStartDate?.().getTime() ?? Number.NaN;
      return Number.isFinite(start) ? start + mediaTimeS * 1_000 : null;
    },
    shows: () => {},
    stalled: () => {},
    plays: () => {},
    silence: () => video.removeEventListener('error', failed),
    close: () => {
      video.removeEventListener('error', failed);
      video.removeAttribute('src');
      video.load();
    },
  };
}

/** By `EXT-X-PROGRAM-DATE-TIME` of the segment, which is the date of the decode time at which it begins. */
function date({ frag, part }: FragParsedData, dates: Dates): void {
  const { audiovideo, video, audio } = (part ?? frag).elementaryStreams;
  const startS = (audiovideo ?? video ?? audio)?.startDTS;
  if (startS === undefined || typeof frag.sn !== 'number' || frag.programDateTime === null) return;
  dates.appended(frag.sn, startS, frag.programDateTime + (part?.fragOffset ?? 0) * 1_000);
}

function after(ms: number, call: () => void): () => void {
  const timer = setTimeout(call, ms);
  return () => clearTimeout(timer);
}

function bufferedEnd(video: HTMLVideoElement, at: number): number {
  for (let index = 0; index < video.buffered.length; index++) {
    if (video.buffered.start(index) <= at + SLACK_S && at <= video.buffered.end(index)) return video.buffered.end(index);
  }
  return at;
}

function hasMediaSource(): boolean {
  return 'MediaSource' in window || 'ManagedMediaSource' in window;
}

function textOf(request: XMLHttpRequest, kind: FailureKind): string {
  try {
    return wordsIn(request.responseText, kind);
  } catch {
    return '';
  }
}

/** What is shown may lie a little before what is buffered. */
const SLACK_S = 0.005;
/** Of a variant's rate: what hls.js has to believe to take it, going up or down. */
const ENOUGH = 1.6;
const JUST_ENOUGH = 1.1;
const SETTINGS: Partial<HlsConfig> = {
  lowLatencyMode: true,
  // A worker would have to be made of text, which our policy forbids, and would add a hop to each part.
  enableWorker: false,
  // A page that is open for a day keeps no more than this.
  backBufferLength: 4,
  maxBufferLength: 8,
  maxMaxBufferLength: 8,
  liveDurationInfinity: true,
  // Not its business: see `edge`.
  maxLiveSyncPlaybackRate: 1,
};
