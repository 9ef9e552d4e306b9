import { describe, expect, it } from 'vitest';
import { Ladder } from '../src/player/ladder';

/** Plays so long, thirty pictures a second, and gives the times at which it went up. The way carries the lower variant alone, or both. */
function play(ladder: Ladder, from: { atMs: number; level: number }, seconds: number, wide: boolean): number[] {
  const ups: number[] = [];
  const endMs = from.atMs + seconds * 1_000;
  for (; from.atMs < endMs; from.atMs += 33) {
    if (ladder.shows(from.atMs, from.level, 2)) {
      ups.push(from.atMs);
      from.level = 1;
    }
    if (!wide && from.level === 1 && from.atMs % 10 === 0 && ladder.stalled(from.atMs)) from.level = 0;
  }
  return ups;
}

describe('the ladder', () => {
  it('goes down when the picture stands still again and again, and not for once', () => {
    const ladder = new Ladder();
    ladder.shows(0, 1, 2);
    expect([0, 5_000, 6_000].map((atMs) => ladder.stalled(atMs))).toEqual([false, false, false]);
    expect(ladder.stalled(7_000)).toBe(true);
    ladder.shows(7_100, 0, 2);
    expect([8_000, 8_100, 8_200, 8_300].some((atMs) => ladder.stalled(atMs))).toBe(false);
  });

  it('goes up when nothing stood still for a while', () => {
    const ladder = new Ladder();
    const at = { atMs: 0, level: 1 };
    expect(play(ladder, at, 5, false)).toEqual([]);
    expect(at.level).toBe(0);
    const [up] = play(ladder, at, 10, true);
    expect(up).toBeGreaterThan(6_000);
    expect(play(ladder, at, 60, true)).toEqual([]);
    expect(at.level).toBe(1);
  });

  it('tries more and more seldom where there is no room, and forgets that', () => {
    const ladder = new Ladder();
    const at = { atMs: 0, level: 0 };
    const ups = play(ladder, at, 600, false);
    expect(ups.length).toBeGreaterThan(4);
    expect(ups.length).toBeLessThan(14);
    play(ladder, at, 300, true);
    play(ladder, at, 5, false);
    const fellMs = at.atMs;
    const [up] = play(ladder, at, 30, true);
    expect((up ?? Infinity) - fellMs).toBeLessThan(10_000);
  });

  it('has nothing to do where there is one variant', () => {
    const ladder = new Ladder();
    expect([0, 60_000].map((atMs) => ladder.shows(atMs, 0, 1))).toEqual([false, false]);
    expect([1, 2, 3, 4].map((atMs) => ladder.stalled(atMs))).toEqual([false, false, false, false]);
  });
});
