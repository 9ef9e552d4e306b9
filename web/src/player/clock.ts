/**
 * How far the server's wall clock is from this page's monotonic one, by round trips, as NTP does it.
 *
 * The page's own wall clock is never asked: it may be wrong by hours without anything here noticing.
 */

export interface Estimate {
  /** Server's UTC, ms since 1970, minus this page's `performance.now()`. */
  readonly offsetMs: number;
  /** By how much that may be wrong. */
  readonly errorMs: number;
}

interface RoundTrip {
  readonly offsetMs: number;
  readonly halfMs: number;
  readonly atMs: number;
}

export class Clock {
  #trips: RoundTrip[] = [];

  /** One round trip: when the question left, when the answer came, and what the server's clock said in between. */
  add(sentMs: number, receivedMs: number, serverUs: number): void {
    const halfMs = (receivedMs - sentMs) / 2;
    if (!(halfMs >= 0) || !Number.isFinite(serverUs)) return;
    const trip = { offsetMs: serverUs / 1_000 - (sentMs + halfMs), halfMs, atMs: receivedMs };
    const before = this.estimate(receivedMs);
    const apart = before === null ? 0 : Math.abs(trip.offsetMs - before.offsetMs);
    // Two truths that exclude each other: one of the clocks was set. What was known before is about another time.
    if (before !== null && apart > before.errorMs + halfMs + JUMP_MS) this.#trips = [];
    this.#trips.push(trip);
    if (this.#trips.length > MAX_TRIPS) this.#trips.shift();
  }

  /** From the round trip that says most now: a short one, unless it is so old that the clocks may have drifted apart since. */
  estimate(nowMs: number): Estimate | null {
    let best: Estimate | null = null;
    for (const trip of this.#trips) {
      const errorMs = trip.halfMs + Math.max(0, nowMs - trip.atMs) * DRIFT;
      if (best === null || errorMs < best.errorMs) best = { offsetMs: trip.offsetMs, errorMs };
    }
    return best;
  }

  /** When the next question is due: some quickly, then now and then. */
  pauseMs(): number {
    return this.#trips.length < QUICK_TRIPS ? 100 : 5_000;
  }
}

const MAX_TRIPS = 32;
const QUICK_TRIPS = 8;
/** Quartz clocks differ by some ten millionths; two of them by up to this. */
const DRIFT = 1e-4;
/** Clocks that are steered by NTP move by less than this between two round trips. */
const JUMP_MS = 2;
