/** Several videos in step: wall time leads. Functions of their arguments. */

/** Where a video is. */
export interface Position {
  /** The time of day of the picture that it shows, ms of Unix time; `null`: not known. */
  readonly wallMs: number | null;
  /** How long a picture of it is shown. */
  readonly pictureMs: number;
}

export type Order = { readonly kind: 'rate'; readonly rate: number } | { readonly kind: 'seek'; readonly toMs: number };

/** What a video is to do so that it shows what was at `wallMs`, which goes on at `rate` (0: it stands). */
export function steer({ wallMs, pictureMs }: Position, leaderMs: number, rate: number): Order {
  if (wallMs === null) return { kind: 'rate', rate };
  const behindMs = leaderMs - wallMs;
  // A faster picture is a later one by the time that it is noticed.
  const far = FAR_MS * Math.max(1, rate);
  if (Math.abs(behindMs) > far) return { kind: 'seek', toMs: leaderMs };
  if (rate === 0) return Math.abs(behindMs) > pictureMs ? { kind: 'seek', toMs: leaderMs } : { kind: 'rate', rate };
  if (Math.abs(behindMs) <= pictureMs * Math.max(1, rate)) return { kind: 'rate', rate };
  return { kind: 'rate', rate: rate * (behindMs > 0 ? 1 + NUDGE : 1 - NUDGE) };
}

/** Beyond this nobody waits for it to be caught up with. */
const FAR_MS = 500;
const NUDGE = 0.05;

export const RATES = [0.25, 0.5, 1, 2, 4, 8, 16] as const;

/** The next rate up or down. */
export function nextRate(rate: number, by: 1 | -1): number {
  const index = RATES.findIndex((known) => known >= rate);
  return RATES[Math.min(RATES.length - 1, Math.max(0, (index < 0 ? RATES.length - 1 : index) + by))] ?? 1;
}

/** The time that leads: it goes on at its rate while it is let. Its clock is an argument. */
export class Leader {
  #at: number;
  #sinceMs: number;
  #rate = 1;
  #running = false;

  constructor(at: number, nowMs: number) {
    this.#at = at;
    this.#sinceMs = nowMs;
  }

  at(nowMs: number): number {
    return this.#running ? this.#at + (nowMs - this.#sinceMs) * this.#rate : this.#at;
  }

  set(at: number, nowMs: number): void {
    this.#at = at;
    this.#sinceMs = nowMs;
  }

  run(running: boolean, nowMs: number): void {
    this.set(this.at(nowMs), nowMs);
    this.#running = running;
  }

  rate(rate: number, nowMs: number): void {
    this.set(this.at(nowMs), nowMs);
    this.#rate = rate;
  }
}
