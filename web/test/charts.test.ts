import { describe, expect, it } from 'vitest';
import { aligned, bounds, decimals, rows, valueAt, type Line } from '../src/charts/align';
import { path } from '../src/charts/spark';

const line = (x: number[], y: (number | null)[], label = 'a'): Line => ({ label, x, y });
const percent = { unit: '%', digits: 1, greatest: 100 };

describe('aligned', () => {
  it('puts a hole where nothing came, so that no line is drawn across it', () => {
    expect(aligned([line([1, 2, 3, 10, 11], [5, 5, 5, 7, 7])], 2.5)).toEqual([
      [1, 2, 3, 4.25, 10, 11],
      [5, 5, 5, null, 7, 7],
    ]);
  });

  it('keeps what is not known as a hole', () => {
    expect(aligned([line([1, 2, 3], [5, null, 7])], 2.5)[1]).toEqual([5, null, 7]);
  });

  it('goes on across the instants of other lines', () => {
    expect(aligned([line([1, 3], [5, 7]), line([2], [1], 'b')], 2.5)).toEqual([
      [1, 2, 3],
      [5, undefined, 7],
      [null, 1, null],
    ]);
  });

  it('is empty of nothing', () => {
    expect(aligned([line([], [])], 2.5)).toEqual([[], []]);
  });
});

describe('valueAt', () => {
  const values = line([10, 11, 20], [1, null, 3]);
  it('is the newest in front of it, while that is near', () => {
    expect([9, 10, 10.9, 11, 19, 20, 22.5, 23].map((at) => valueAt(values, at, 2.5))).toEqual([null, 1, 1, null, null, 3, 3, null]);
  });
});

describe('bounds', () => {
  it('begins at zero, ends at a number that people like, and has room', () => {
    expect(bounds(3, 87, { unit: 'ms', digits: 0 })).toEqual([0, 100]);
    expect(bounds(3, 100, { unit: 'ms', digits: 0 })).toEqual([0, 120]);
    expect(bounds(0.2, 1.4, { unit: 'ms', digits: 0, atLeast: 10 })).toEqual([0, 12]);
  });
  it('is that of the metric where it has one', () => {
    expect(bounds(1, 3, percent)).toEqual([0, 100]);
  });
  it('is never of no height', () => {
    for (const [least, greatest] of [[null, null], [0, 0], [-5, -5]] as const) {
      const [low, high] = bounds(least, greatest, { unit: '', digits: 0 });
      expect(high).toBeGreaterThan(low);
    }
  });
});

describe('rows', () => {
  it('are few, and only where something is known', () => {
    const x = Array.from({ length: 3_600 }, (_, index) => index);
    const found = rows([line(x, x.map((at) => (at < 1_800 ? null : at)))], { from: 0, to: 3_600 }, 2.5);
    expect(found).toHaveLength(7);
    expect(found.at(-1)).toEqual({ at: 3_600, values: [3_599] });
  });
});

describe('path', () => {
  const box = { width: 100, height: 20 };
  const span = { from: 0, to: 100, holeS: 2.5 };
  it('breaks at holes and makes a dot of a value alone', () => {
    expect(path([0, 1, 2, 50, 98, 99], [1, 1, null, 1, 1, 1], box, { ...span, greatest: 1 })).toBe('M0 1.5L1 1.5M50 1.5h0M98 1.5L99 1.5');
  });
  it('has no more points than pixels and loses no peak', () => {
    const x = Array.from({ length: 3_600 }, (_, index) => index);
    const y = x.map((at) => (at === 1_234 ? 100 : 1));
    const drawn = path(x, y, box, { from: 0, to: 3_599, holeS: 100 });
    expect(drawn.match(/[ML]/g)?.length).toBeLessThanOrEqual(101);
    expect(drawn).toContain(' 1.5L');
  });
  it('is nothing of nothing', () => {
    expect(path([], [], box, span)).toBe('');
    expect(path([1, 2], [null, null], box, span)).toBe('');
  });
});

it('an axis has as many digits as its steps need', () => {
  for (const [step, digits] of [[1, 0], [20, 0], [250, 0], [2.5, 1], [0.1, 1], [0.25, 2], [0.30000000000000004, 1], [0.005, 3]] as const) expect([step, decimals(step)]).toEqual([step, digits]);
});
