import { describe, expect, it } from 'vitest';
import { Ring, Series } from '../src/feed/ring';

describe('a ring', () => {
  it('keeps the newest, in order, and nothing more', () => {
    const ring = new Ring(60);
    for (let second = 0; second < 1_000; second++) ring.push(second, second * 2);
    const { x, y } = ring.read(0, 2_000);
    expect(x.length).toBe(60);
    expect([x[0], x[59]]).toEqual([940, 999]);
    expect([y[0], y[59]]).toEqual([1_880, 1_998]);
    expect(ring.newest()).toBe(1_998);
  });

  it('gives both ends of what is asked for, and holes as they are', () => {
    const ring = new Ring(10);
    for (const second of [5, 6, 8, 9]) ring.push(second, second === 6 ? null : second);
    const { x, y } = ring.read(6, 8);
    expect([[...x], y]).toEqual([[6, 8], [null, 8]]);
    expect(ring.read(20, 30).x.length).toBe(0);
    expect(ring.read(30, 20).x.length).toBe(0);
  });

  it('is the same as a plain list, whatever is asked', () => {
    const ring = new Ring(17);
    const list: [number, number][] = [];
    let at = 100;
    for (let index = 0; index < 200; index++) {
      at += 1 + ((index * 7) % 3);
      ring.push(at, index);
      list.push([at, index]);
      const kept = list.slice(-17);
      for (const [from, to] of [[at - 20, at], [at - 5, at - 2], [0, at + 5], [at, at]] as const) {
        const expected = kept.filter(([when]) => when >= from && when <= to);
        const { x, y } = ring.read(from, to);
        expect([...x].map((when, place) => [when, y[place]])).toEqual(expected);
      }
    }
  });

  it('forgets what was before, when the clock was set back', () => {
    const ring = new Ring(10);
    for (const second of [100, 101, 50]) ring.push(second, second);
    expect([...ring.read(0, 1_000).x]).toEqual([50]);
    expect(ring.newest()).toBe(50);
  });

  it('is empty at first', () => {
    expect(new Ring(3).newest()).toBeNull();
    expect(new Ring(3).read(0, 9).y).toEqual([]);
  });
});

it('the figures of one stream share their times', () => {
  const series = new Series(5, ['fps', 'kbps']);
  for (let second = 0; second < 8; second++) series.push(second, { fps: second, other: 1 });
  expect(series.ring('fps')?.read(6, 7).y).toEqual([6, 7]);
  expect(series.ring('kbps')?.read(6, 7).y).toEqual([null, null]);
  expect(series.ring('other')).toBeUndefined();
});
