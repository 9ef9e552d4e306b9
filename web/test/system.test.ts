import { describe, expect, it } from 'vitest';
import { atMost, bars, mean, since, type Stage } from '../src/system/histogram';
import { lineOf } from '../src/system/past';

const BOUNDS = [1, 5, 25];
const stage = (counts: readonly number[], sum_ms = 0): Stage => ({ stage: 'capture_to_server', protocol: 'RTSP/TCP', counts, sum_ms });

describe('histograms', () => {
  it('are of what came since', () => {
    expect(since(stage([5, 7, 0, 1], 100), stage([5, 2, 0, 0], 60))).toEqual(stage([0, 5, 0, 1], 40));
    expect(since(stage([1, 0, 0, 0], 1), undefined)).toEqual(stage([1, 0, 0, 0], 1));
    // The program was started anew.
    expect(since(stage([1, 0, 0, 0], 1), stage([9, 9, 9, 9], 99))).toEqual(stage([1, 0, 0, 0], 1));
  });

  it('begin and end where something is', () => {
    expect(bars(stage([0, 4, 2, 0]), BOUNDS)).toEqual([
      { upToMs: 5, count: 4, height: 1 },
      { upToMs: 25, count: 2, height: 0.5 },
    ]);
    expect(bars(stage([0, 0, 0, 3]), BOUNDS)).toEqual([{ upToMs: null, count: 3, height: 1 }]);
    expect(bars(stage([0, 0, 0, 0]), BOUNDS)).toEqual([]);
  });

  it('never tell less than it was', () => {
    const one = stage([50, 49, 1, 0], 150);
    expect([0.5, 0.51, 0.99, 1].map((share) => atMost(one, BOUNDS, share))).toEqual([1, 5, 5, 25]);
    expect(atMost(stage([0, 0, 0, 1]), BOUNDS, 0.5)).toBeNull();
    expect(atMost(stage([0, 0, 0, 0]), BOUNDS, 0.5)).toBeNull();
    expect([mean(one), mean(stage([0, 0, 0, 0]))]).toEqual([1.5, null]);
  });
});

describe('the past', () => {
  it('stands in the middle of its steps, with its holes', () => {
    const values = { cpu_percent: { mean: [1, null, 3], min: [1, null, 3], max: [1, null, 3] } };
    const line = lineOf({ from: '1970-01-01T00:01:00Z', step_ms: 60_000, values }, 'cpu_percent', 'machine');
    expect(line).toEqual({ label: 'machine', x: [90, 150, 210], y: [1, null, 3] });
    expect(lineOf({ from: '1970-01-01T00:01:00Z', step_ms: 60_000, values }, 'viewers', '').x).toEqual([]);
  });
});
