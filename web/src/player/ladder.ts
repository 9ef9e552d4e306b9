/**
 * When LL-HLS changes to another variant of the stream, where hls.js by itself would not or not in time.
 *
 * hls.js measures the way by how long parts take, and counts less than 50 ms as 50 ms. Parts of 100 ms of a small variant are so small that they seem to come
 * over a way that carries twice their rate and no more, however wide it is: it never changes up again. And it forgets what it measured over seconds,
 * in which the picture stands still again and again, or once for as long as a whole segment of the large variant takes. So what tells is the picture: down
 * when it stands still, up on trial when it has not for a while. A rise that was too much makes that while twice as long.
 */

/** What a ladder stands on. */
export interface Ground {
  now(): number;
  /** Calls once after this time; the answer takes it back. */
  after(ms: number, call: () => void): () => void;
  /** To the variant below, where there is one. `standing`: the picture stands still now, and what is being loaded is what it waits for. */
  down(standing: boolean): void;
  /** To the variant above. */
  up(): void;
}

export class Ladder {
  #stillMs: number[] = [];
  #calmSinceMs: number | null = null;
  #patienceMs = PATIENCE_MS;
  /** While it has not come down again since. */
  #roseMs: number | null = null;
  #level: number | null = null;
  /** While a picture stands still. */
  #standsSinceMs: number | null = null;
  #cancel: (() => void) | null = null;

  constructor(private readonly ground: Ground) {}

  /** Nothing lay ready, and the picture stands still. */
  stalled(): void {
    const nowMs = this.ground.now();
    this.#calmSinceMs = nowMs;
    this.#stillMs = [...this.#stillMs.filter((at) => at > nowMs - WINDOW_MS), nowMs];
    if (this.#isAbove() && this.#stillMs.length >= STALLS) {
      this.#stillMs = [];
      this.ground.down(false);
    }
    if (this.#standsSinceMs !== null) return;
    this.#standsSinceMs = nowMs;
    this.#wait();
  }

  /** It plays again. */
  plays(): void {
    if (this.#standsSinceMs === null) return;
    this.#standsSinceMs = null;
    this.#calmSinceMs = this.ground.now();
    this.#cancel?.();
  }

  /** A picture is shown while this variant, of so many, is loaded; the lowest is 0. */
  shows(level: number, levels: number): void {
    const nowMs = this.ground.now();
    // The last picture before a still is told of behind it.
    if (nowMs - (this.#standsSinceMs ?? nowMs) > LATE_MS) this.plays();
    const fell = this.#level !== null && level < this.#level;
    this.#level = level;
    this.#calmSinceMs ??= nowMs;
    if (fell) {
      this.#calmSinceMs = nowMs;
      if (this.#roseMs !== null && nowMs - this.#roseMs < TRIAL_MS) this.#patienceMs = Math.min(MAX_PATIENCE_MS, this.#patienceMs * 2);
      this.#roseMs = null;
    } else if (this.#roseMs !== null && nowMs - this.#roseMs > MAX_PATIENCE_MS) {
      this.#patienceMs = PATIENCE_MS;
    }
    if (level + 1 >= levels || nowMs - this.#calmSinceMs < this.#patienceMs) return;
    this.#calmSinceMs = this.#roseMs = nowMs;
    this.ground.up();
  }

  /** No more is to happen. */
  close(): void {
    this.#cancel?.();
  }

  /** Where there are more than two variants, a picture that stands on goes down on. */
  #wait(): void {
    this.#cancel = this.ground.after(LONG_MS, () => {
      if (!this.#isAbove()) return;
      this.#stillMs = [];
      this.ground.down(true);
      this.#wait();
    });
  }

  #isAbove(): boolean {
    return (this.#level ?? 0) > 0;
  }
}

/** One picture that stands still for a moment may be the machine's fault; so many within this time are the way's. */
const STALLS = 3;
const WINDOW_MS = 3_000;
/** And one that stands for so long. */
const LONG_MS = 1_000;
/** From coming onto the screen to being told of, at the most. */
const LATE_MS = 200;
/** How long nothing stands still before a larger variant is tried, at first and at most. */
const PATIENCE_MS = 6_000;
const MAX_PATIENCE_MS = 96_000;
/** Down again within this time after going up: that was too early. */
const TRIAL_MS = 15_000;
