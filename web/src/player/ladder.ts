/**
 * When LL-HLS changes to another variant of the stream, where hls.js by itself would not or not in time.
 *
 * hls.js measures the way by how long parts take, and counts less than 50 ms as 50 ms. Parts of 100 ms of a small variant are so small that they seem to come
 * over a way that carries twice their rate and no more, however wide it is: it never changes up again. And it forgets what it measured over seconds,
 * in which the picture stands still again and again. So what tells is the picture: down when it stands still, up on trial when it has not for a while.
 * A rise that was too much makes that while twice as long.
 */
export class Ladder {
  #stillMs: number[] = [];
  #calmSinceMs: number | null = null;
  #patienceMs = PATIENCE_MS;
  /** While it has not come down again since. */
  #roseMs: number | null = null;
  #level: number | null = null;

  /** Nothing lay ready, and the picture stood still. Says whether to go down. */
  stalled(nowMs: number): boolean {
    this.#calmSinceMs = nowMs;
    this.#stillMs = [...this.#stillMs.filter((at) => at > nowMs - WINDOW_MS), nowMs];
    if ((this.#level ?? 0) <= 0 || this.#stillMs.length < STALLS) return false;
    this.#stillMs = [];
    return true;
  }

  /** A picture is shown while this variant, of so many, is loaded; the lowest is 0. Says whether to go up. */
  shows(nowMs: number, level: number, levels: number): boolean {
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
    if (level + 1 >= levels || nowMs - this.#calmSinceMs < this.#patienceMs) return false;
    this.#calmSinceMs = this.#roseMs = nowMs;
    return true;
  }
}

/** One picture that stands still may be the machine's fault; so many within this time are the way's. */
const STALLS = 3;
const WINDOW_MS = 3_000;
/** How long nothing stands still before a larger variant is tried, at first and at most. */
const PATIENCE_MS = 6_000;
const MAX_PATIENCE_MS = 96_000;
/** Down again within this time after going up: that was too early. */
const TRIAL_MS = 15_000;
