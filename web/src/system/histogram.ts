/** Histograms of latency, as the server counts them. Pure. */

/** What `GET /api/v1/latency` tells of one stage and protocol. */
export interface Stage {
  readonly stage: string;
  readonly protocol: string;
  /** One more than there are bounds. */
  readonly counts: readonly number[];
  readonly sum_ms: number;
}

/** One bar. */
export interface Bar {
  /** `null`: nothing is longer. */
  readonly upToMs: number | null;
  readonly count: number;
  /** Of the highest, 0 to 1. */
  readonly height: number;
}

/** What came since `before`, which may be of a program that was started anew meanwhile. */
export function since(now: Stage, before: Stage | undefined): Stage {
  if (!before || now.counts.some((count, index) => count < (before.counts[index] ?? 0))) return now;
  return {
    ...now,
    counts: now.counts.map((count, index) => count - (before.counts[index] ?? 0)),
    sum_ms: now.sum_ms - before.sum_ms,
  };
}

/** Without what is empty at both ends. */
export function bars(stage: Stage, bounds: readonly number[]): readonly Bar[] {
  const first = stage.counts.findIndex((count) => count > 0);
  const last = stage.counts.reduce((found, count, index) => (count > 0 ? index : found), -1);
  if (first < 0) return [];
  const highest = Math.max(...stage.counts);
  return stage.counts.slice(first, last + 1).map((count, index) => ({ upToMs: bounds[first + index] ?? null, count, height: count / highest }));
}

/**
 * Below which this share of all was: the bound of the class in which it lies, so never less than it was. `null` where there are none, or where that
 * class has no bound.
 */
export function atMost(stage: Stage, bounds: readonly number[], share: number): number | null {
  const all = stage.counts.reduce((sum, count) => sum + count, 0);
  let sum = 0;
  for (const [index, count] of stage.counts.entries()) {
    sum += count;
    if (sum > 0 && sum >= share * all) return bounds[index] ?? null;
  }
  return null;
}

export function mean(stage: Stage): number | null {
  const all = stage.counts.reduce((sum, count) => sum + count, 0);
  return all === 0 ? null : stage.sum_ms / all;
}
