import { describe, expect, it } from 'vitest';
import { Edge } from '../src/player/edge';

interface State {
  aheadMs: number;
  atMs: number;
  nextPartMs?: number;
}

/** Plays parts of 100 ms that arrive when they are complete. */
function play(edge: Edge, seconds: number, from: State): { leastMs: number; rates: number[] } {
  let { aheadMs, atMs } = from;
  let leastMs = Infinity;
  const rates: number[] = [];
  let next = from.nextPartMs ?? atMs + 100;
  const end = atMs + seconds * 1_000;
  for (; atMs < end; atMs += 33) {
    while (next <= atMs) {
      aheadMs += 100;
      next += 100;
    }
    const { rate, skipMs } = edge.add(atMs, aheadMs);
    rates.push(rate);
    aheadMs -= 33 * rate + skipMs;
    if (atMs > end - 5_000) leastMs = Math.min(leastMs, aheadMs);
    if (aheadMs <= 0) {
      edge.stalled(atMs);
      aheadMs = 0;
    }
  }
  Object.assign(from, { aheadMs, atMs, nextPartMs: next });
  return { leastMs, rates };
}

describe('the live edge', () => {
  it('is approached until little lies ready, and then played at its own speed', () => {
    const state = { aheadMs: 700, atMs: 0 };
    const edge = new Edge();
    play(edge, 30, state);
    const { leastMs, rates } = play(edge, 10, state);
    expect(leastMs).toBeGreaterThan(0);
    expect(leastMs).toBeLessThan(130);
    expect(rates.every((rate) => rate === 1)).toBe(true);
  });

  it('is approached without people hearing it, and at once where it is far away', () => {
    const far = { aheadMs: 10_000, atMs: 0 };
    const { rates } = play(new Edge(), 5, far);
    expect(Math.max(...rates)).toBeLessThanOrEqual(1.15);
    expect(far.aheadMs).toBeLessThan(1_000);
  });

  it('is kept off further after each still picture, and approached again when it has been calm', () => {
    const edge = new Edge();
    for (let stall = 0; stall < 4; stall++) edge.stalled(0);
    const state = { aheadMs: 1_500, atMs: 1 };
    const careful = play(edge, 15, state);
    expect(careful.leastMs).toBeGreaterThan(300);
    const calm = play(edge, 300, state);
    expect(calm.leastMs).toBeLessThan(130);
  });

  it('remembers no more than it needs', () => {
    const edge = new Edge();
    for (let index = 0; index < 100_000; index++) edge.add(0, index);
    // All came at one time: the window is never full, and the limit holds.
    expect(edge.add(0, 1)).toEqual({ rate: 1, skipMs: 0 });
  });
});
