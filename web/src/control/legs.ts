/** The legs of a latency as the control center shows them. Pure. */
import type { Leg, Report } from '../player/latency';

/**
 * Those whose ends are known. Both of the first two are middles of measurements by two clocks: where the second comes out below nothing, the time at the
 * server is not known well enough to tell them apart, and they are one, with both ends in its name.
 *
 * With the encoder's share of the first leg apart, where the camera tells it. Only of pictures whose capture time is the camera's own: other
 * senders put their time on what is encoded already. What is left has the name of both ends.
 */
export function legsOf(report: Report, encodeMs: number | null): readonly Leg[] {
  const [first, ...rest] = joined(report.legs);
  if (!first || report.since !== 'capture' || encodeMs === null || !(encodeMs > 0) || encodeMs > first.ms) return joined(report.legs);
  const name = first.name === 'camera to browser' ? 'capture and way to browser' : 'capture and way to server';
  return [{ name: 'encoding', ms: encodeMs }, { name, ms: first.ms - encodeMs }, ...rest];
}

function joined(legs: readonly Leg[]): readonly Leg[] {
  const [first, second, ...rest] = legs;
  const name = JOINED[first?.name ?? ''];
  if (!first || !second || second.name !== 'server to browser' || second.ms >= 0 || name === undefined) return legs;
  return [{ name, ms: first.ms + second.ms }, ...rest];
}

const JOINED: Readonly<Record<string, string>> = {
  'camera to server': 'camera to browser',
  'sender to server': 'sender to browser',
  'in the server': 'server to browser',
};

/** Shares of the whole, in per cent; legs that are below nothing (clocks are only known so well) have none. */
export function shares(legs: readonly Leg[]): readonly number[] {
  const sum = legs.reduce((total, { ms }) => total + Math.max(0, ms), 0);
  return legs.map(({ ms }) => (sum > 0 ? (Math.max(0, ms) / sum) * 100 : 0));
}
