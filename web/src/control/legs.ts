/** The legs of a latency as the control center shows them. Pure. */
import type { Leg, Report } from '../player/latency';

/**
 * With the encoder's share of the first leg apart, where the camera tells it. Only of pictures whose capture time is the camera's own: other
 * senders put their time on what is encoded already. What is left has the name of both ends.
 */
export function legsOf(report: Report, encodeMs: number | null): readonly Leg[] {
  const [first, ...rest] = report.legs;
  if (!first || report.since !== 'capture' || encodeMs === null || !(encodeMs > 0) || encodeMs > first.ms) return report.legs;
  return [{ name: 'encoding', ms: encodeMs }, { name: 'capture and way to server', ms: first.ms - encodeMs }, ...rest];
}

/** Shares of the whole, in per cent; legs that are below nothing (clocks are only known so well) have none. */
export function shares(legs: readonly Leg[]): readonly number[] {
  const sum = legs.reduce((total, { ms }) => total + Math.max(0, ms), 0);
  return legs.map(({ ms }) => (sum > 0 ? (Math.max(0, ms) / sum) * 100 : 0));
}
