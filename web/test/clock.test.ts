import { describe, expect, it } from 'vitest';
import { Clock } from '../src/player/clock';

const OFFSET = 1_790_000_000_000;

/** One round trip of which the way there took `there` and the way back `back`. */
function trip(clock: Clock, at: number, there: number, back: number, offset = OFFSET): void {
  clock.add(at, at + there + back, (at + there + offset) * 1_000);
}

describe('the clock of the server', () => {
  it('is not known before somebody asked', () => {
    expect(new Clock().estimate(0)).toBeNull();
  });

  it('is taken from the shortest round trip, and is right within its error', () => {
    const clock = new Clock();
    for (const [at, there, back] of [[0, 40, 2], [100, 3, 1], [200, 1, 60], [300, 9, 9]] as const) trip(clock, at, there, back);
    const estimate = clock.estimate(400);
    expect(estimate?.errorMs).toBeCloseTo(2 + 0.03, 1);
    expect(Math.abs((estimate?.offsetMs ?? 0) - OFFSET)).toBeLessThanOrEqual(estimate?.errorMs ?? 0);
  });

  it('is less certain the longer nobody asked, until an ordinary answer is worth more than an old good one', () => {
    const clock = new Clock();
    trip(clock, 0, 0.1, 0.1);
    expect(clock.estimate(60_000)?.errorMs).toBeCloseTo(0.1 + 6, 1);
    trip(clock, 60_000, 2, 2);
    expect(clock.estimate(60_010)?.errorMs).toBeCloseTo(2, 1);
  });

  it('is learned anew when one of the two was set', () => {
    const clock = new Clock();
    for (let at = 0; at < 1_000; at += 100) trip(clock, at, 1, 1);
    trip(clock, 2_000, 5, 5, OFFSET + 500);
    expect(clock.estimate(2_020)?.offsetMs).toBeCloseTo(OFFSET + 500, 0);
  });

  it('is not fooled by answers that make no sense', () => {
    const clock = new Clock();
    clock.add(10, 5, OFFSET * 1_000);
    clock.add(0, 1, Number.NaN);
    clock.add(0, Number.NaN, OFFSET * 1_000);
    expect(clock.estimate(10)).toBeNull();
  });

  it('keeps no more than a few, and asks rarely once it knows', () => {
    const clock = new Clock();
    expect(clock.pauseMs()).toBe(100);
    trip(clock, 0, 0.1, 0.1);
    for (let at = 1; at <= 100; at++) trip(clock, at, 3, 3);
    expect(clock.pauseMs()).toBe(5_000);
    // The best one was the oldest and has been dropped: its number is limited.
    expect(clock.estimate(110)?.errorMs).toBeGreaterThan(2.9);
  });
});
