/** What figures of the machine were, for charts: the last hour from the feed, what is before from the server. */
import type { History } from '../api.types';
import type { Line } from '../charts/align';
import type { MachineMetric } from '../feed/values';

export type Range = 'minutes' | 'hour' | 'day' | 'month';

export const SECONDS: Readonly<Record<Range, number>> = { minutes: 600, hour: 3_600, day: 86_400, month: 31 * 86_400 };

/** One line of a chart, with the times of its steps: the middle of each. */
export function lineOf(history: History, metric: MachineMetric, label: string): Line {
  const mean = history.values[metric]?.mean ?? [];
  const from = Date.parse(history.from);
  return { label, x: mean.map((_, index) => (from + (index + 0.5) * history.step_ms) / 1_000), y: mean };
}
