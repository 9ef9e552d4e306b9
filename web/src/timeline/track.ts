/**
 * One camera's recording in a video: hls.js on a list of two hours, the next one behind it before its end, and where it is by the clock on the wall.
 *
 * Does not belong here: which time is shown (`steer` and the screen say), what is recorded (`recordings`).
 */
import type HlsType from 'hls.js';
import type { HlsConfig } from 'hls.js';
import { mediaAt, wallAt, type Piece } from './pieces';
import { steer } from './steer';
import type { Span } from './axis';

export type State =
  | { readonly kind: 'loading' }
  | { readonly kind: 'shown' }
  /** Nothing is recorded then; where it is known, when it goes on. */
  | { readonly kind: 'gap'; readonly goesOnMs: number | null }
  | { readonly kind: 'failed'; readonly message: string };

export interface Deps {
  readonly stage: HTMLElement;
  readonly listUrl: (span: Span) => URL;
  readonly changed: (state: State) => void;
  readonly label: string;
  /** Of the stream, where it is known: until it has been measured. */
  readonly fps: number | null;
}

/** A list in a video. */
class Clip {
  readonly video = document.createElement('video');
  pieces: readonly Piece[] = [];
  /** The server has no list, as nothing is recorded in it. */
  empty = false;
  failure: string | null = null;
  /** When it turned out to be empty, or failed, ms of `performance.now()`. */
  overMs: number | null = null;
  pictureMs: number;
  shownS: number | null = null;
  pictures = 0;
  #hls: HlsType | null = null;
  #over = false;
  #handle = 0;

  constructor(
    deps: Deps,
    readonly span: Span,
    private at: number,
    /** There was none before: while it is looked for again, what was said of it stays. */
    readonly isAgain = false,
  ) {
    const { video } = this;
    this.pictureMs = 1_000 / Math.max(1, deps.fps ?? 25);
    video.muted = true;
    video.playsInline = true;
    video.disableRemotePlayback = true;
    video.setAttribute('aria-label', deps.label);
    deps.stage.prepend(video);
    this.#watch();
    this.#load(deps.listUrl(span)).catch((error: unknown) => this.#fail(String(error)));
  }

  get ready(): boolean {
    return this.pieces.length > 0 && this.video.readyState >= HTMLMediaElement.HAVE_METADATA;
  }

  /** Of the picture that is shown. */
  get wallMs(): number | null {
    if (!this.ready) return null;
    // Without that callback a browser tells no better.
    const tells = 'requestVideoFrameCallback' in this.video;
    const atS = tells && this.video.paused ? this.shownS : this.video.currentTime;
    return atS === null || (tells && this.shownS === null) ? null : wallAt(this.pieces, atS);
  }

  close(): void {
    this.#over = true;
    if ('cancelVideoFrameCallback' in this.video) this.video.cancelVideoFrameCallback(this.#handle);
    this.#hls?.destroy();
    this.video.removeAttribute('src');
    this.video.load();
    this.video.remove();
  }

  async #load(url: URL): Promise<void> {
    const { default: Hls } = await import('hls.js');
    if (this.#over) return;
    const hls = new Hls(SETTINGS);
    this.#hls = hls;
    let begun = false;
    let recovered = false;
    hls.on(Hls.Events.LEVEL_LOADED, (_, { details }) => {
      this.pieces = details.fragments;
      if (begun) return;
      begun = true;
      const place = mediaAt(this.pieces, this.at);
      hls.startLoad(place?.mediaS ?? 0);
      this.video.currentTime = place?.mediaS ?? 0;
    });
    // Where media really came to lie: hls.js moves its fragments then.
    hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => (this.pieces = details.fragments));
    hls.on(Hls.Events.ERROR, (_, error) => {
      if (!error.fatal) return;
      const status = error.response?.code ?? 0;
      if (status === 404) [this.empty, this.overMs] = [true, performance.now()];
      else if (error.type === Hls.ErrorTypes.MEDIA_ERROR && !recovered) {
        recovered = true;
        hls.recoverMediaError();
      } else this.#fail(status > 0 ? String(status) : error.details);
    });
    hls.attachMedia(this.video);
    hls.loadSource(url.href);
  }

  #fail(why: string): void {
    this.failure = why;
    this.overMs = performance.now();
  }

  #watch(): void {
    const { video } = this;
    if (!('requestVideoFrameCallback' in video)) return;
    const next = (_: number, { mediaTime }: VideoFrameCallbackMetadata): void => {
      this.#handle = video.requestVideoFrameCallback(next);
      this.pictures++;
      const stepMs = this.shownS === null ? 0 : (mediaTime - this.shownS) * 1_000;
      // At a high rate pictures are left out: the shortest step is that of the stream.
      if (stepMs > 4 && stepMs < 1_000 && video.playbackRate <= 1) this.pictureMs += (stepMs - this.pictureMs) / 4;
      this.shownS = mediaTime;
    };
    this.#handle = video.requestVideoFrameCallback(next);
  }
}

export class Track {
  #clip: Clip | null = null;
  #next: Clip | null = null;
  #state: State = { kind: 'loading' };
  #counted = { pictures: 0, atMs: 0 };
  #soughtS = -1;
  #muted = true;
  /** Pictures a second that were shown. */
  fps = 0;

  constructor(private readonly deps: Deps) {}

  get state(): State {
    return this.#state;
  }

  /** `null`: not known. */
  get wallMs(): number | null {
    return this.#state.kind === 'shown' ? (this.#clip?.wallMs ?? null) : null;
  }

  get pictureMs(): number {
    return this.#clip?.pictureMs ?? 40;
  }

  /** Whether it waits for data. */
  get waits(): boolean {
    const clip = this.#clip;
    return this.#state.kind === 'loading' || (clip !== null && this.#state.kind === 'shown' && (clip.video.seeking || clip.video.readyState < HTMLMediaElement.HAVE_FUTURE_DATA));
  }

  get video(): HTMLVideoElement | null {
    return this.#clip?.video ?? null;
  }

  /** Several times a second: what is to be seen now, and how fast it goes on (0: it stands). */
  follow(wallMs: number, rate: number): void {
    this.#count();
    const clip = this.#clip;
    if (!clip || wallMs < clip.span.from || wallMs >= clip.span.to) {
      this.#open(wallMs);
      return;
    }
    // What was not there may be by now: a camera that began, a server that is back.
    if (isToTryAgain(clip, performance.now())) return this.#open(wallMs);
    if (clip.failure !== null) return this.#tell({ kind: 'failed', message: clip.failure });
    if (clip.empty) return this.#tell({ kind: 'gap', goesOnMs: null });
    if (clip.pieces.length === 0) {
      if (!clip.isAgain) this.#tell({ kind: 'loading' });
      return;
    }
    if (rate > 0 && clip.span.to - wallMs < AHEAD_MS * Math.max(1, rate)) this.#prepare(clip.span.to);
    const place = mediaAt(clip.pieces, wallMs);
    if (!place || place.goesOnMs !== null) {
      clip.video.pause();
      if (place && Math.abs(clip.video.currentTime - place.mediaS) > NEAR_S) clip.video.currentTime = place.mediaS;
      return this.#tell({ kind: 'gap', goesOnMs: place?.goesOnMs ?? null });
    }
    this.#tell(clip.video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA ? { kind: 'loading' } : { kind: 'shown' });
    this.#steer(clip, wallMs, rate, place.mediaS);
  }

  /** To the next picture or the one before, while it stands. Answers the time of it; `null`: it is the last that there is. */
  async step(by: 1 | -1): Promise<number | null> {
    const clip = this.#clip;
    if (!clip || clip.shownS === null) return null;
    const { video, shownS, pictureMs } = clip;
    video.pause();
    for (let times = 1; times <= STEP_TRIES; times++) {
      // Into the middle of the picture: its edge may be a rounding away. How long pictures are shown may have been guessed too small.
      const toS = Math.max(0, shownS + ((by * times + 0.5) * pictureMs) / 1_000);
      video.currentTime = toS;
      this.#soughtS = toS;
      await landed(video);
      if (this.#clip !== clip) return null;
      if (clip.shownS !== shownS) return wallAt(clip.pieces, clip.shownS);
    }
    return null;
  }

  set muted(muted: boolean) {
    this.#muted = muted;
    if (this.#clip) this.#clip.video.muted = muted;
  }

  close(): void {
    this.#clip?.close();
    this.#next?.close();
    this.#clip = null;
    this.#next = null;
  }

  #steer(clip: Clip, wallMs: number, rate: number, mediaS: number): void {
    const { video } = clip;
    if (video.seeking) return;
    const order = steer({ wallMs: clip.wallMs, pictureMs: clip.pictureMs }, wallMs, rate);
    if (order.kind === 'seek') {
      // While it stands once is enough: where pictures are further apart than was thought it would seek for ever.
      if (rate === 0 && Math.abs(mediaS - this.#soughtS) < 0.001) return;
      this.#soughtS = mediaS;
      video.currentTime = mediaS;
    } else if (rate > 0 && Math.abs(video.playbackRate - order.rate) > 0.001) {
      video.playbackRate = order.rate;
    }
    if (rate === 0) video.pause();
    else if (video.paused) void video.play().catch(() => undefined);
  }

  #open(wallMs: number): void {
    const next = this.#next;
    const ready = next && next.overMs === null && wallMs >= next.span.from && wallMs < next.span.to ? next : null;
    if (!ready && next?.overMs != null) next.close();
    if (ready || next?.overMs != null) this.#next = null;
    const before = this.#clip;
    const again = before?.overMs != null && wallMs >= before.span.from && wallMs < before.span.to;
    const from = Math.max(0, Math.floor((wallMs - BEFORE_MS) / 1_000) * 1_000);
    this.#clip = ready ?? new Clip(this.deps, { from, to: from + LIST_MS }, wallMs, again);
    this.#clip.video.muted = this.#muted;
    this.#clip.video.dataset['shown'] = '';
    this.#counted = { pictures: 0, atMs: performance.now() };
    this.#soughtS = -1;
    before?.close();
    if (!ready && !again) this.#tell({ kind: 'loading' });
  }

  #prepare(from: number): void {
    if (this.#next?.span.from === from && !isToTryAgain(this.#next, performance.now())) return;
    this.#next?.close();
    this.#next = new Clip(this.deps, { from, to: from + LIST_MS }, from);
  }

  #count(): void {
    const now = performance.now();
    const pictures = this.#clip?.pictures ?? 0;
    if (now - this.#counted.atMs < 1_000) return;
    this.fps = ((pictures - this.#counted.pictures) * 1_000) / (now - this.#counted.atMs);
    this.#counted = { pictures, atMs: now };
  }

  #tell(state: State): void {
    const before = this.#state;
    this.#state = state;
    const same = before.kind === state.kind && (state.kind !== 'gap' || (before.kind === 'gap' && before.goesOnMs === state.goesOnMs));
    if (!same) this.deps.changed(state);
  }
}

/** Whether a list that was not there is to be asked for again. */
export function isToTryAgain({ overMs }: { readonly overMs: number | null }, nowMs: number): boolean {
  return overMs !== null && nowMs - overMs > AGAIN_MS;
}

/** When it has sought and shown what is there, or does not in time. */
function landed(video: HTMLVideoElement): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(done, LANDED_MS);
    if (!('requestVideoFrameCallback' in video)) return;
    video.requestVideoFrameCallback(() => {
      clearTimeout(timer);
      // Behind the one that notes which picture it is.
      setTimeout(done);
    });
  });
}

const AGAIN_MS = 5_000;
const LANDED_MS = 250;
const STEP_TRIES = 6;
/** So much in front of where one goes to is in the list: a step back needs no other. */
const BEFORE_MS = 60_000;
/** The server gives four hours at the most; half of it is asked for, as few look at more. */
const LIST_MS = 2 * 3_600_000;
const AHEAD_MS = 20_000;
const NEAR_S = 0.05;
const SETTINGS: Partial<HlsConfig> = {
  autoStartLoad: false,
  lowLatencyMode: false,
  // A worker would have to be made of text, which our policy forbids.
  enableWorker: false,
  // A page that is open for a day keeps no more than this.
  backBufferLength: 30,
  maxBufferLength: 30,
  maxMaxBufferLength: 60,
  maxBufferSize: 30_000_000,
  liveDurationInfinity: true,
  maxLiveSyncPlaybackRate: 1,
};
