/**
 * Which way to play, and what to say about it: the rules alone, without a browser.
 *
 * WebRTC first. Where it fails, LL-HLS plays meanwhile and WebRTC is tried on. A session that fails or stops showing pictures is replaced by
 * another as soon as that one has a picture, never before, so that something is on the screen; and whatever is on it is never called live
 * when it is not. Nothing is ever given up. At any time there are at most one session that is shown and one try for each way.
 */
import { Backoff } from './backoff';
import type { Failure, Open, Session, Via } from './session';

export type Phase =
  | 'connecting'
  /** By WebRTC. */
  | 'live'
  /** Live by LL-HLS, since WebRTC does not work. */
  | 'fallen-back'
  /** There was a picture, and there is no new one. */
  | 'held'
  /** There is no such stream, now, or we may not see it. */
  | 'gone'
  /** By the viewer's wish. */
  | 'stopped';

export interface Status {
  readonly phase: Phase;
  /** Why, where there is something to say. */
  readonly message: string | null;
  /** When the newest picture came, by the clock that `now` reads; `null` before the first. */
  readonly lastPictureMs: number | null;
}

export interface World {
  readonly open: Readonly<Record<Via, Open>>;
  now(): number;
  /** Calls once after this time; the answer takes it back. */
  after(ms: number, call: () => void): () => void;
  random(): number;
  /** This session's picture takes the place of the one before. */
  present(session: Session): void;
  changed(status: Status): void;
}

interface Slot {
  readonly via: Via;
  session: Session | null;
  connected: boolean;
  /** When its first picture came. */
  firstPictureMs: number | null;
  over: boolean;
}

/** One way to play: the try at hand, or the pause before the next. */
interface Way {
  readonly backoff: Backoff;
  slot: Slot | null;
  cancel: (() => void) | null;
  failure: Failure | null;
  /** Failures in a row. */
  failures: number;
}

export class Supervisor {
  #shown: Slot | null = null;
  #ways: Record<Via, Way>;
  #running = false;
  #visible = true;
  /** Since when pictures are waited for, while none has come. */
  #waitingSince = 0;
  #lastPictureMs: number | null = null;
  #tick: (() => void) | null = null;
  #told: Status | null = null;

  constructor(private readonly world: World) {
    const way = (): Way => ({
      backoff: new Backoff(FIRST_PAUSE_MS, MAX_PAUSE_MS, () => world.random()),
      slot: null,
      cancel: null,
      failure: null,
      failures: 0,
    });
    this.#ways = { webrtc: way(), hls: way() };
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#waitingSince = this.world.now();
    this.#try('webrtc');
    this.#watch();
    this.#tell();
  }

  /** Ends everything; the last picture goes, too. */
  stop(): void {
    this.#running = false;
    for (const via of ['webrtc', 'hls'] as const) {
      this.#dismiss(via);
      const way = this.#ways[via];
      way.failure = null;
      way.failures = 0;
      way.backoff.reset();
    }
    this.#end(this.#shown);
    this.#shown = null;
    this.#lastPictureMs = null;
    this.#tick?.();
    this.#tick = null;
    this.#tell();
  }

  /** Something changed outside that may make the next try succeed: no more pauses. */
  nudge(): void {
    if (!this.#running) return;
    for (const via of ['webrtc', 'hls'] as const) {
      const way = this.#ways[via];
      if (way.slot === null && way.cancel !== null && way.failure?.kind !== 'denied') {
        way.backoff.reset();
        this.#try(via);
      }
    }
  }

  /** A page that nobody sees shows no pictures: their absence says nothing then. */
  visible(visible: boolean): void {
    this.#visible = visible;
    if (!visible) return;
    this.#waitingSince = this.world.now();
    this.nudge();
  }

  #try(via: Via): void {
    const way = this.#ways[via];
    way.cancel?.();
    const slot: Slot = { via, session: null, connected: false, firstPictureMs: null, over: false };
    way.slot = slot;
    way.cancel = this.world.after(CONNECT_MS[via], () => {
      this.#failed(slot, { kind: 'blocked', message: BLOCKED[via] });
    });
    slot.session = this.world.open[via]({
      connected: () => this.#connected(slot),
      picture: () => this.#picture(slot),
      failed: (failure) => this.#failed(slot, failure),
    });
  }

  #connected(slot: Slot): void {
    if (slot.over || slot.connected) return;
    slot.connected = true;
    if (this.#ways[slot.via].slot === slot) this.#expectPicture(slot);
  }

  /** Media that come without a picture are not understood. None at all: the stream is held, and waiting is right. */
  #expectPicture(slot: Slot): void {
    const way = this.#ways[slot.via];
    way.cancel?.();
    way.cancel = this.world.after(PICTURE_MS, () => {
      if (slot.session?.arriving()) {
        this.#failed(slot, { kind: 'broken', message: 'media arrive, but this browser shows no picture of them' });
      } else {
        this.#expectPicture(slot);
      }
    });
  }

  #picture(slot: Slot): void {
    if (slot.over) return;
    const now = this.world.now();
    slot.firstPictureMs ??= now;
    this.#lastPictureMs = now;
    if (slot !== this.#shown) {
      this.#promote(slot);
    } else if (this.#told?.phase !== phaseOf(slot.via)) {
      // It stood still, and replacements were begun or thought of.
      this.#dismiss(slot.via);
      if (slot.via === 'webrtc') this.#dismiss('hls');
    }
    if (this.#told?.phase !== phaseOf(slot.via)) this.#tell();
  }

  #promote(slot: Slot): void {
    const before = this.#shown;
    const way = this.#ways[slot.via];
    way.cancel?.();
    way.cancel = null;
    way.slot = null;
    way.failure = null;
    way.failures = 0;
    this.#shown = slot;
    if (slot.session) this.world.present(slot.session);
    this.#end(before);
    const webrtc = this.#ways.webrtc;
    if (slot.via === 'webrtc') {
      this.#dismiss('hls');
      webrtc.backoff.limit(MAX_PAUSE_MS);
    } else {
      webrtc.backoff.limit(MAX_PAUSE_FALLEN_BACK_MS);
      // It was the server that was away, not WebRTC.
      if (webrtc.failure?.kind === 'unreachable') this.nudge();
    }
  }

  #failed(slot: Slot, failure: Failure): void {
    if (slot.over) return;
    const way = this.#ways[slot.via];
    way.failure = failure;
    if (slot === this.#shown) {
      // What worked until now is tried again before anything else.
      slot.over = true;
      slot.session?.silence();
      this.#resetIfSteady(slot);
      if (way.slot === null) this.#retry(slot.via, failure);
    } else {
      this.#end(slot);
      way.slot = null;
      way.failures += 1;
      this.#retry(slot.via, failure);
      if (slot.via === 'webrtc') this.#considerHls(failure, way.failures);
    }
    this.#tell();
  }

  #retry(via: Via, failure: Failure | null): void {
    const way = this.#ways[via];
    way.cancel?.();
    const least = failure?.kind === 'denied' ? DENIED_PAUSE_MS : (failure?.retryAfterMs ?? 0);
    const pause = Math.max(way.backoff.next(), least);
    way.cancel = this.world.after(pause, () => this.#try(via));
  }

  #resetIfSteady(slot: Slot): void {
    const playedMs = (this.#lastPictureMs ?? 0) - (slot.firstPictureMs ?? 0);
    if (playedMs >= STEADY_MS) this.#ways[slot.via].backoff.reset();
  }

  #considerHls(failure: Failure, failures: number): void {
    const hls = this.#ways.hls;
    if (failure.kind === 'missing' || failure.kind === 'denied') {
      // Nothing to fall back to; what still plays may go on playing.
      this.#dismiss('hls');
      return;
    }
    if (failure.kind === 'ended') return;
    if (failure.kind === 'unreachable' && failures < UNREACHABLE_BEFORE_HLS) return;
    const plays = this.#shown?.via === 'hls' && !this.#shown.over;
    if (!plays && hls.slot === null && hls.cancel === null) this.#try('hls');
  }

  /** Looks after the session that is shown, a few times a second. */
  #watch(): void {
    this.#tick = this.world.after(TICK_MS, () => {
      const shown = this.#shown;
      if (shown && !shown.over && this.#isStill(shown.via === 'webrtc' ? STILL_MS : HLS_STILL_MS)) {
        const way = this.#ways[shown.via];
        // It may recover, as it does when a publisher returns: another is begun beside it.
        if (way.slot === null && way.cancel === null) {
          this.#resetIfSteady(shown);
          this.#retry(shown.via, null);
        }
      }
      this.#tell();
      this.#watch();
    });
  }

  #isStill(ms: number): boolean {
    const since = Math.max(this.#lastPictureMs ?? 0, this.#waitingSince);
    return this.#visible && this.world.now() - since >= ms;
  }

  #dismiss(via: Via): void {
    const way = this.#ways[via];
    way.cancel?.();
    way.cancel = null;
    this.#end(way.slot);
    way.slot = null;
  }

  #end(slot: Slot | null): void {
    if (slot === null) return;
    slot.over = true;
    slot.session?.close();
  }

  #tell(): void {
    const status = this.#status();
    const told = this.#told;
    if (told && told.phase === status.phase && told.message === status.message) return;
    this.#told = status;
    this.world.changed(status);
  }

  #status(): Status {
    const lastPictureMs = this.#lastPictureMs;
    const say = (phase: Phase, message: string | null): Status => ({ phase, message, lastPictureMs });
    if (!this.#running) return say('stopped', null);
    const webrtc = this.#ways.webrtc.failure;
    const why = webrtc?.message ?? null;
    const shown = this.#shown;
    if (shown && !this.#isStill(STILL_MS)) return say(phaseOf(shown.via), shown.via === 'hls' ? why : null);
    if (webrtc?.kind === 'missing' || webrtc?.kind === 'denied') return say('gone', why);
    if (lastPictureMs !== null) return say('held', (shown && this.#ways[shown.via].failure?.message) ?? null);
    return say('connecting', why);
  }
}

function phaseOf(via: Via): Phase {
  return via === 'webrtc' ? 'live' : 'fallen-back';
}

/** A still is called one after this. */
export const STILL_MS = 2_000;
/** hls.js looks after itself first. */
const HLS_STILL_MS = 4_000;
const TICK_MS = 250;
const CONNECT_MS: Record<Via, number> = { webrtc: 5_000, hls: 10_000 };
const PICTURE_MS = 4_000;
const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 4_000;
const MAX_PAUSE_FALLEN_BACK_MS = 30_000;
/** A wrong credential, shown again and again, is taken for guessing. */
const DENIED_PAUSE_MS = 60_000;
/** What has played for so long did work: the next try need not wait. */
const STEADY_MS = 5_000;
const UNREACHABLE_BEFORE_HLS = 3;
const BLOCKED: Record<Via, string> = {
  webrtc: 'no connection for media came about (is UDP to the server blocked?)',
  hls: 'no picture came',
};
