/** What a viewer sees of a stream, as one figure: pictures shown as a share of those there are, less ten points for each standstill. Pure. */

export class Quality {
  #samples: { atMs: number; frames: number }[] = [];
  /** When the counter was last seen to grow, and whether the standstill since then is counted. */
  #moved: { atMs: number; frames: number } | null = null;
  #stills: number[] = [];
  #still = false;

  /** `frames`: shown since the beginning. Several times a second. */
  sample(atMs: number, frames: number): void {
    this.#samples.push({ atMs, frames });
    while ((this.#samples[0]?.atMs ?? 0) < atMs - WINDOW_MS || this.#samples.length > MAX_SAMPLES) this.#samples.shift();
    this.#stills = this.#stills.filter((at) => at >= atMs - WINDOW_MS);
    if (this.#moved === null || frames !== this.#moved.frames) {
      this.#moved = { atMs, frames };
      this.#still = false;
    } else if (!this.#still && frames > 0 && atMs - this.#moved.atMs > STILL_MS) {
      this.#still = true;
      this.#stills.push(atMs);
    }
  }

  clear(): void {
    this.#samples = [];
    this.#moved = null;
    this.#stills = [];
    this.#still = false;
  }

  /** Pictures a second over the window; `null` before there are some seconds of it. */
  shownFps(): number | null {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (!first || !last || last.atMs - first.atMs < LEAST_MS) return null;
    return ((last.frames - first.frames) * 1_000) / (last.atMs - first.atMs);
  }

  get stills(): number {
    return this.#stills.length;
  }

  /** Per cent, where it is known how many pictures the stream has. */
  percent(streamFps: number | null): number | null {
    const shown = this.shownFps();
    if (shown === null || streamFps === null || streamFps <= 0) return null;
    return Math.max(0, Math.min(100, (shown / streamFps) * 100) - this.stills * POINTS_A_STILL);
  }
}

const WINDOW_MS = 10_000;
const LEAST_MS = 2_000;
const STILL_MS = 500;
const POINTS_A_STILL = 10;
const MAX_SAMPLES = 200;
