/**
 * How fast LL-HLS plays, to be as near to the live edge as the network allows: by what lies ready in the browser, never by clocks.
 *
 * hls.js itself speeds up only where more than a second lies ready, which at these delays is never. What lies ready is least just before a
 * part comes; whatever is left then beyond a margin is delay that nobody needs. A picture that stood still means that the margin was too small.
 */

/** What to do about what lies ready. */
export interface Pace {
  readonly rate: number;
  /** Leave out so much instead: it would take too long to catch up. */
  readonly skipMs: number;
}

export class Edge {
  #readings: { atMs: number; aheadMs: number }[] = [];
  #marginMs = MARGIN_MS;
  #calmSinceMs = 0;
  #fast = false;

  /** So much lay ready behind the picture that is shown now. */
  add(nowMs: number, aheadMs: number): Pace {
    this.#readings.push({ atMs: nowMs, aheadMs });
    while ((this.#readings[0]?.atMs ?? nowMs) < nowMs - WINDOW_MS || this.#readings.length > MAX_READINGS) this.#readings.shift();
    if (nowMs - this.#calmSinceMs > CALM_MS) {
      this.#calmSinceMs = nowMs;
      this.#marginMs = Math.max(MARGIN_MS, this.#marginMs * 0.8);
    }
    // Before the window is full it may not hold the least.
    if (nowMs - (this.#readings[0]?.atMs ?? nowMs) < WINDOW_MS / 2) return { rate: this.#fast ? SLOWLY : 1, skipMs: 0 };
    const needless = Math.min(...this.#readings.map((reading) => reading.aheadMs)) - this.#marginMs;
    if (needless > SKIP_MS) {
      this.#readings = [];
      return { rate: 1, skipMs: needless };
    }
    this.#fast = needless > (this.#fast ? 0 : WORTH_MS);
    return { rate: !this.#fast ? 1 : needless > QUICKLY_MS ? QUICKLY : SLOWLY, skipMs: 0 };
  }

  /** Nothing lay ready, and the picture stood still. */
  stalled(nowMs: number): void {
    this.#marginMs = Math.min(MAX_MARGIN_MS, this.#marginMs * 1.5);
    this.#calmSinceMs = nowMs;
    this.#readings = [];
    this.#fast = false;
  }
}

const WINDOW_MS = 1_500;
const MAX_READINGS = 400;
/** Less than this is asking for a still picture: parts take their time, and browsers draw when they do. */
const MARGIN_MS = 80;
const MAX_MARGIN_MS = 1_500;
/** After so long without a still picture the network may be better. */
const CALM_MS = 20_000;
/** Less than this is not worth a change of speed. */
const WORTH_MS = 40;
const SLOWLY = 1.05;
const QUICKLY_MS = 400;
const QUICKLY = 1.15;
const SKIP_MS = 3_000;
