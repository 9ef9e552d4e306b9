/** Pauses between tries: each twice the one before, up to a limit, and never the same for all pages that lost the same server. */

export class Backoff {
  #next: number;

  constructor(
    private readonly minMs: number,
    private maxMs: number,
    private readonly random: () => number,
  ) {
    this.#next = minMs;
  }

  next(): number {
    const pause = Math.min(this.#next, this.maxMs);
    this.#next = Math.min(pause * 2, this.maxMs);
    return pause * (0.8 + 0.4 * this.random());
  }

  reset(): void {
    this.#next = this.minMs;
  }

  /** From now on up to this. */
  limit(maxMs: number): void {
    this.maxMs = maxMs;
  }
}
